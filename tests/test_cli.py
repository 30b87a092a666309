"""The command line as a whole: its page, its errors, completion, answers for programs, colours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import cli
from pipeline.cli.errors import leaves
from pipeline.cli.errors import markdown as errors_page
from pipeline.cli.overview import answers_in_json, commands, markdown
from pipeline.errors import REMEDIES

DOCS = Path(__file__).parents[1] / "docs"
DATA = (
    "status",
    "doctor",
    "report",
    "query",
    "topics",
    "settings",
    "metrics",
    "errors",
    "schemas list",
    "access show",
    "dead-letters list",
    "dead-letters show",
    "audit",
)
"""Commands that print data: programs can read them all."""


def test_the_page_of_commands_is_current() -> None:
    shown = CliRunner().invoke(cli, ["--markdown"])
    assert shown.exit_code == 0
    assert shown.output == markdown() == (DOCS / "cli.md").read_text(), "run: openoee --markdown > docs/cli.md"


def test_the_page_of_errors_is_current_and_each_has_a_remedy() -> None:
    assert set(leaves()) == set(REMEDIES)
    assert errors_page() == (DOCS / "errors.md").read_text(), "run: openoee errors --markdown > docs/errors.md"


def test_commands_that_print_data_answer_programs() -> None:
    known = dict(commands())
    assert [name for name in DATA if not answers_in_json(known[name])] == []


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
