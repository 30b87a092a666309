"""The command line as a whole: its page, its errors, completion, answers for programs, colours."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from pipeline.cli import COMMANDS, cli, module
from pipeline.cli.errors import leaves
from pipeline.cli.errors import markdown as errors_page
from pipeline.cli.overview import WITHOUT_JSON, answers_in_json, commands, markdown
from pipeline.errors import REMEDIES

DOCS = Path(__file__).parents[1] / "docs"


def test_the_page_of_commands_is_current() -> None:
    shown = CliRunner().invoke(cli, ["--markdown"])
    assert shown.exit_code == 0
    assert shown.output == markdown() == (DOCS / "cli.md").read_text(), "run: openoee --markdown > docs/cli.md"


def test_the_page_of_errors_is_current_and_each_has_a_remedy() -> None:
    assert set(leaves()) == set(REMEDIES)
    assert errors_page() == (DOCS / "errors.md").read_text(), "run: openoee errors --markdown > docs/errors.md"


def test_every_command_answers_programs_or_has_a_reason_why_not() -> None:
    assert {name for name, command in commands() if not answers_in_json(command)} == set(WITHOUT_JSON)


EVERY = [("", cli), *((name, import_module(module(name)).command) for name in COMMANDS), *commands()]


@pytest.mark.parametrize(("name", "command"), EVERY, ids=[name or "openoee" for name, _ in EVERY])
def test_every_help_text_has_an_example_that_can_be_called(name: str, command: click.Command) -> None:
    """What stands after `Example` is a call of this command (of a group: of one below it) with options that it has."""
    examples = (command.epilog or "").partition(":")[2].split("   |   ")
    known = dict(commands())
    for example in examples:
        words = [word for word in shlex.split(example.split(" > ")[0].split(" >> ")[0].split(" && ")[0]) if word]
        called = words[words.index("openoee") + 1 :]
        assert called[: len(name.split())] == name.split()
        whole = next(key for key in known if called[: len(key.split())] == key.split())
        rest = list(itertools.takewhile(lambda word: word != "|", called[len(whole.split()) :]))
        options = {word.partition("=")[0] for word in rest if word.startswith("--")}
        assert options <= {option for param in known[whole].params for option in param.opts}


@pytest.mark.parametrize("name", [name for name, command in commands() if answers_in_json(command)])
def test_an_error_leaves_nothing_for_a_program_to_read(name: str) -> None:
    done = CliRunner().invoke(cli, [*name.split(), "--json", "--no-such-option"])
    assert (done.exit_code, done.stdout) == (2, "")


def test_files_are_answered_as_documents(tmp_path: Path) -> None:
    def document(*arguments: str) -> Any:
        done = CliRunner().invoke(cli, [*arguments, "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    table = tmp_path / "press.csv"
    rows = [f"2026-03-02T08:{minute:02}:00Z,{'RUN' if minute % 9 else 'JAM'},{minute}" for minute in range(60)]
    table.write_text("\n".join(["time,state,parts", *rows]))
    out, results = str(tmp_path / "plant"), str(tmp_path / "results")
    made = document("init", "--yes", "--timezone", "UTC", "--lines", "press", "--files", str(table), "--out", out)
    factory, mapping = made["files"]
    assert document("factory", "check", factory)["machines"] == ["press"]
    told = document(
        "replay", "--adapter", "csv", "--mapping", mapping, "--factory", factory, "--out", results, str(table)
    )
    assert (told["lines"], told["refused"], told["machines"][0]["total"]) == (61, {}, 59)
    assert told["machines"][0].keys() >= {"oee", "a", "p", "q", "oee_null", "pbt_ms"}
    cases = document("verify", "--only", "counters")
    assert cases["passed"] == len(cases["cases"]) > 0
    assert document("verify", "--list", "--only", "counters")[0].keys() == {"case", "theme", "source"}
    assert document("schemas", "check")["compatibility"] == "FULL_TRANSITIVE"


@pytest.mark.parametrize("name", ["settings", "metrics", "errors", "schemas list", "access show"])
def test_tables_are_arrays_of_objects(name: str) -> None:
    rows = json.loads(CliRunner().invoke(cli, [*name.split(), "--json"]).output)
    assert len(rows) > 5
    assert all(row.keys() == rows[0].keys() for row in rows)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_the_commands(shell: str) -> None:
    script = CliRunner().invoke(cli, ["completion", shell])
    assert script.exit_code == 0
    assert "_OPENOEE_COMPLETE" in script.output


def test_bash_completes_a_command_by_that_script() -> None:
    asked = {"_OPENOEE_COMPLETE": "bash_complete", "COMP_WORDS": "openoee doc", "COMP_CWORD": "1"}
    code = "from pipeline.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **asked}, capture_output=True, text=True)
    assert done.stdout.strip() == "plain,doctor", done.stderr


def test_a_full_disk_is_one_line() -> None:
    code = "import errno\nfrom pipeline import cli\ndef full(**_):\n raise OSError(errno.ENOSPC, 'No space left')\n"
    code += "cli.cli = full\ncli.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (
        1, "openoee: [Errno 28] No space left: make room, give the rights, or name another place\n"
    )  # fmt: skip


@pytest.mark.parametrize(("value", "coloured"), [("", True), ("1", False)])
def test_no_color_switches_colours_off(monkeypatch: pytest.MonkeyPatch, value: str, coloured: bool) -> None:
    monkeypatch.setenv("NO_COLOR", value)
    place = ["--kafka", "127.0.0.1:1", "--store", "http://127.0.0.1:1"]
    shown = CliRunner().invoke(cli, ["doctor", *place], color=True).output
    assert ("\x1b[31m" in shown) == coloured


def test_a_pipe_gets_no_colours(tmp_path: Path) -> None:
    place = ["--home", str(tmp_path), "--kafka", "127.0.0.1:1", "--store", "http://127.0.0.1:1"]
    done = subprocess.run([sys.executable, "-m", "pipeline", "doctor", *place], capture_output=True, text=True)
    assert done.returncode == 1
    assert "\x1b" not in done.stdout + done.stderr
