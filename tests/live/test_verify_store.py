"""`openoee verify --store`: a real store says of every case what it expects, and wrong figures are found."""

from __future__ import annotations

import copy
from contextlib import closing
from typing import Any

import pytest
from click.testing import CliRunner
from live_stack import LiveStack, environment

from pipeline.cases import CaseFile, load, suite
from pipeline.cli.verify import command
from pipeline.errors import StoreUnavailable
from pipeline.settings import Settings
from pipeline.store.client import Store
from pipeline.store.migrate import migrate
from pipeline.verify_store import verify

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def settings(stack: LiveStack) -> Settings:
    """A database of its own."""
    found = stack.settings("verify")
    migrate(found)
    return found


def left(settings: Settings) -> int:
    with closing(Store(settings)) as store:
        tables = ("oee_facts", "oee_revisions", "intervals", "oee_hours", "events", "machines", "open_hours")
        return sum(store.query(f"SELECT count() FROM {table}").result_rows[0][0] for table in tables)


def test_the_views_say_what_every_case_of_the_suite_expects(settings: Settings) -> None:
    said: list[str] = []
    files = [load(path) for path in suite()]
    results = verify(files, settings, keep=True, tell=said.append)
    assert [len(of_file) for of_file in results] == [len(file.cases) for file in files]
    wrong = {one.case: [*map(str, one.differences), *one.unverified] for found in results for one in found}
    assert {name: texts for name, texts in wrong.items() if texts} == {}
    assert len(said) == 1
    assert left(settings) > 0


def spoilt(expect: dict[str, Any]) -> None:
    """Each kind of figure a little wrong: a fact by one, a ratio by 1e-5, a value for none, none for a value."""
    for column, value in expect.items():
        if value is None or isinstance(value, str):
            expect[column] = 0
        elif isinstance(value, int):
            expect[column] = value + 1
        else:
            expect[column] = value + 1e-5 if value else None


def test_every_wrong_figure_is_found_and_the_rows_are_taken_away(stack: LiveStack) -> None:
    settings = stack.settings("verify_wrong")
    with pytest.raises(StoreUnavailable):
        verify([], settings)
    migrate(settings)
    chosen = ("serial-line", "counter-rolls-over", "never-ran", "spring-forward-lord-howe-half-an-hour", "-one-product")
    files: list[CaseFile] = []
    for path in suite():
        file = copy.deepcopy(load(path))
        kinds = ([one for one in cases if one["id"].endswith(chosen)] for cases in (file.aggregate, file.events))
        files.append(CaseFile(path, *kinds))
    wanted = {}
    for one in (one for file in files for one in file.cases):
        windows = [one] if "expect" in one else one["windows"]
        for window in windows:
            spoilt(window["expect"])
            if "flags" in window:
                window["flags"] = ["nothing_of_the_kind"]
        wanted[one["id"]] = sum(len(window["expect"]) + ("flags" in window) for window in windows)
        wanted[one["id"]] += sum(len(window["expect"]) for window in windows if "shift" in window)  # asked twice
    assert len(wanted) == len(chosen)
    results = {one.case: len(one.differences) for found in verify(files, settings) for one in found}
    assert results == wanted
    assert left(settings) == 0


def test_the_command_asks_the_store(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    lines = suite()[[path.stem for path in suite()].index("lines")]
    answer = CliRunner().invoke(command, ["--store", str(lines), "--only", "serial", "--keep"], catch_exceptions=False)
    assert answer.exit_code == 0
    assert answer.output.splitlines()[0].startswith(f"the rows stay in database {settings['database']}, under sites")
    assert answer.output.splitlines()[1:] == ["lines.json: 1 passed, 0 failed"]
    away = CliRunner().invoke(command, ["--store", "http://127.0.0.1:9", "--only", "serial"])
    assert isinstance(away.exception, StoreUnavailable)
