"""How commands answer, and how far long work has come: on a terminal, and nowhere else."""

from __future__ import annotations

import json
import math
import os
import pty
import subprocess
import sys
from decimal import Decimal
from uuid import UUID

import pytest

from pipeline.cli.answer import Progress, answer, columns, event
from pipeline.errors import UsageError
from pipeline.queries import Answer

CODE = """
from pipeline.cli import answer
from pipeline.cli.answer import Progress
answer.PAUSE_S = -1.0  # words that follow too soon are left out
with Progress("counting", {total}, quiet={quiet}) as progress:
    for done in range(3):
        progress(f"at {{done}}", done)
print("done")
"""


def on_a_terminal(total: str = "3", quiet: bool = False, **more: str) -> tuple[str, str]:
    """What stands on standard output (a pipe) and on standard error (a terminal)."""
    ours, theirs = pty.openpty()
    code = CODE.format(total=total, quiet=quiet)
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", **more}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=theirs, text=True, env=environment
    ) as done:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 65_536)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            shown += piece
        os.close(ours)
        assert done.stdout is not None
        return done.stdout.read(), shown.decode()


def test_a_terminal_sees_how_far_it_is_and_the_pipe_only_what_was_asked_for() -> None:
    out, shown = on_a_terminal()
    assert out == "done\n"
    assert "counting" in shown
    assert "at 2" in shown
    assert "67%" in shown


def test_without_a_total_it_says_that_work_goes_on() -> None:
    out, shown = on_a_terminal("None")
    assert out == "done\n"
    assert "at 2" in shown
    assert "%" not in shown


def test_no_color_holds_for_it_too() -> None:
    assert "\x1b[35m" in on_a_terminal(NO_COLOR="")[1]
    assert "\x1b[35m" not in on_a_terminal(NO_COLOR="1")[1]


def test_nothing_with_json() -> None:
    assert on_a_terminal(quiet=True) == ("done\n", "")


def test_nothing_when_piped() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(total=3, quiet=False)], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_one_that_fails_in_the_middle_leaves_no_bar_behind() -> None:
    with pytest.raises(KeyError), Progress("counting", 3):
        raise KeyError


def test_answers_are_lines_or_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    answer({"a": 1}, ["one", "two"], as_json=False)
    event("site", {"machines": 2}, "2 machines", as_json=False)
    assert capsys.readouterr().out == "one\ntwo\nsite      2 machines\n"
    answer({"a": "Zürich"}, ["one", "two"], as_json=True)
    assert json.loads(capsys.readouterr().out) == {"a": "Zürich"}
    event("site", {"machines": 2}, "2 machines", as_json=True)
    assert json.loads(capsys.readouterr().out) == {"what": "site", "machines": 2}


def test_what_json_does_not_know_is_null_or_text(capsys: pytest.CaptureFixture[str]) -> None:
    told = {"oee": math.nan, "most": math.inf, "id": UUID(int=1), "price": Decimal("1.50"), "by": {("a", 1): {2}}}
    answer(told, [], as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "oee": None, "most": None, "id": "00000000-0000-0000-0000-000000000001", "price": "1.50",
        "by": {"('a', 1)": [2]},
    }  # fmt: skip
    with pytest.raises(UsageError, match="two columns are called 'a'"):
        Answer(("a", "a"), [(1, 2)]).dicts()


def test_columns_are_as_wide_as_their_cells() -> None:
    assert columns([("part", "pid"), ("store", None), ("k", 12)]) == ["part   pid", "store  -", "k      12"]
