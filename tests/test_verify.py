"""`openoee verify`: the shipped suite passes, and what is wrong in a case, a file or an expectation is found."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pipeline.cases import AGGREGATE, COLUMNS, EVENTS, CaseFile, load, suite
from pipeline.cli.verify import command
from pipeline.errors import UsageError
from pipeline.verify import Result, verify

COLLECTION = Path(__file__).parents[2] / "shared" / "spec" / "oee_cases.json"
FORMAT = Path(__file__).parents[1] / "docs" / "oee-cases.md"
RUNNING = {"at": "2026-03-02T10:00:00Z", "state": "running"}
HOUR = {"from": "2026-03-02T10:00:00Z", "to": "2026-03-02T11:00:00Z", "expect": {"apt_ms": 3_600_000}}


def case(**more: Any) -> dict[str, Any]:
    usual = {"id": "c", "source": "test", "machines": {"m1": {}}, "events": [RUNNING], "windows": [HOUR]}
    return {name: value for name, value in (usual | more).items() if value is not None}


def saved(tmp_path: Path, *events: Any, **kinds: Any) -> Path:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"events": list(events), **kinds}))
    return path


def differences(results: Iterator[Result]) -> dict[str, list[str]]:
    return {result.case: [str(found) for found in result.differences] for result in results if not result.passed}


@pytest.mark.parametrize("path", suite(), ids=lambda path: path.stem)
def test_the_shipped_suite_passes(path: Path) -> None:
    assert differences(verify(load(path))) == {}


def test_the_suite_is_as_large_as_it_says_and_no_id_stands_twice() -> None:
    ids = [one["id"] for path in suite() for one in load(path).cases]
    assert len(ids) >= 120
    assert len(set(ids)) == len(ids)


def test_the_collection_beside_this_repository_passes() -> None:
    if not COLLECTION.exists():
        pytest.skip(f"the collection of cases is not beside this repository ({COLLECTION.name})")
    file = load(COLLECTION)
    assert len(file.cases) >= 34
    assert differences(verify(file)) == {}
    assert {one["id"] for one in file.cases} <= {one["id"] for path in suite() for one in load(path).cases}


@pytest.mark.parametrize("path", suite(), ids=lambda path: path.stem)
def test_every_wrong_expectation_is_found(path: Path) -> None:
    file = load(path)
    for one in file.cases:
        if "refused" in one:
            continue
        wrong = copy.deepcopy(one) | {"shuffle": False}
        for expect in [wrong["expect"]] if "expect" in wrong else [window["expect"] for window in wrong["windows"]]:
            column = next(iter(expect))
            expect[column] = 12345 if expect[column] is None else None
        kinds = ([wrong], []) if "expect" in wrong else ([], [wrong])
        [result] = verify(CaseFile(path, *kinds))
        assert len(result.differences) >= len(wrong.get("windows", [1])), one["id"]


def found(tmp_path: Path, **more: Any) -> list[str]:
    [result] = verify(load(saved(tmp_path, case(**more))))
    assert not result.passed
    return [*map(str, result.differences), *result.unverified]


def test_what_is_wrong_is_named_with_case_window_column_expected_and_got(tmp_path: Path) -> None:
    window = HOUR | {"expect": {"apt_ms": 1, "oee": 0.5, "a": None}, "flags": ["counter_reset"]}
    assert found(tmp_path, windows=[window], machines={"m1": {"ideal_cycle_s": {"*": 1}}}) == [
        "c, m1 2026-03-02T10:00:00Z: apt_ms expected 1, got 3600000",
        "c, m1 2026-03-02T10:00:00Z: oee expected 0.5, got 0.0",
        "c, m1 2026-03-02T10:00:00Z: a expected None, got 1.0",
        "c, m1 2026-03-02T10:00:00Z: flags expected ['counter_reset'], got []",
    ]
    # facts are compared with ==, ratios within a tolerance that a case may widen
    assert found(tmp_path, windows=[HOUR | {"expect": {"apt_ms": 3_600_001}}], tol=5)
    almost = HOUR | {"expect": {"a": 1.000004}}
    [result] = verify(load(saved(tmp_path, case(windows=[almost]))))
    assert result.passed
    assert found(tmp_path, windows=[HOUR | {"expect": {"a": 1.000006}}])


def test_an_order_of_arrival_that_matters_is_found(tmp_path: Path) -> None:
    events = [RUNNING, {"at": "2026-03-02T10:00:00Z", "state": "stopped"}, RUNNING]
    [result] = verify(load(saved(tmp_path, case(events=events))))
    assert result.passed
    assert "apt_ms expected 3600000" in found(tmp_path, events=events, shuffle=True)[0]


def test_entries_that_the_engine_left_out_are_named_when_a_case_fails(tmp_path: Path) -> None:
    found_ = found(tmp_path, events=[{"at": "2026-03-02T10:00:00Z", "state": "Running"}])
    assert any("the log: entries left out" in text and "invalid" in text for text in found_)


def test_windows_that_no_row_can_answer_are_not_passed(tmp_path: Path) -> None:
    window = HOUR | {"from": "2026-03-02T10:00:00.500Z", "expect": {"apt_ms": 3_599_500}}
    [text] = found(tmp_path, windows=[window])
    assert "its borders lie within a second" in text


def test_refusals_are_asked_for_and_not_accepted_otherwise(tmp_path: Path) -> None:
    bad = {"shifts": [{"name": "day", "start": "25:00", "end": "14:00"}]}
    assert "refused expected 26:00, got" in found(tmp_path, calendar=bad, windows=None, refused="26:00")[0]
    assert "refused expected nothing, got c:1: calendar" in found(tmp_path, calendar=bad)[0]
    assert "refused expected day, got loaded" in found(tmp_path, windows=None, refused="day")[0]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (case(machins={}), "c: the key 'machins' means nothing here"),
        (case(source=None), "c: the key 'source' is missing"),
        (case(machines={"m1": {"micro_stop": 5}}), "c.machines.m1: the key 'micro_stop' means nothing here"),
        (case(calendar={"shift": []}), "c.calendar: the key 'shift' means nothing"),
        (case(events={}), "c.events: this has to be a list"),
        (case(events=[{"at": "2026-03-02T10:00:00Z"}]), r"c.events\[1\]: give one of state, counters"),
        (case(events=[RUNNING | {"delta": {"good": 1}}]), r"c.events\[1\]: give one of"),
        (case(events=[{"at": HOUR["from"], "delta": {"total": 1.5}}]), r"c.events\[1\]: parts are whole numbers"),
        (case(windows=[HOUR | {"expect": {"oe": 1}}]), r"c.windows\[1\]: oe: no column"),
        (case(windows=[HOUR | {"line": "l1", "expect": {"a": 1}}]), r"c.windows\[1\]: a: no column"),
        (case(windows=[{"from": HOUR["from"], "expect": {}}]), "give either `from` and `to`, or `shift` and `date`"),
        (case(refused="x"), "give either `windows` or `refused`"),
        (case(windows=None), "give either `windows` or `refused`"),
        ("text", "this has to be an object"),
    ],
)  # fmt: skip
def test_a_file_with_a_slip_of_the_pen_is_one_clear_sentence(tmp_path: Path, wrong: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words) as error:
        load(saved(tmp_path, wrong))
    assert str(error.value).startswith(f"{tmp_path / 'mine.json'}: ")
    assert str(error.value).endswith("see docs/oee-cases.md")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (case(events=[RUNNING | {"at": "10:00"}]), "'10:00' is no moment"),
        (case(events=[RUNNING | {"at": "2026-03-02T10:00:00"}]), "no offset"),
        (case(windows=[{"shift": "late", "date": "2026-03-02", "expect": {}}]), "no shift 'late' starts on 2026-03-02"),
        (case(windows=[HOUR | {"line": "l9", "expect": {}}]), "c: this case makes no sense .*'lines'"),
        (case(corrections=[{"from": HOUR["from"], "to": HOUR["to"], "ideal_cycle_s": "5"}]), "makes no sense"),
    ],
)
def test_a_case_that_cannot_be_played_is_one_clear_sentence(tmp_path: Path, wrong: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        list(verify(load(saved(tmp_path, wrong))))


def test_what_is_no_case_file_is_one_clear_sentence(tmp_path: Path) -> None:
    path = tmp_path / "cases.json"
    for text in ("[1, 2", "[]", '{"events": 5}'):
        path.write_text(text)
        with pytest.raises(UsageError, match=r"cases\.json: cannot be read as a case file"):
            load(path)
    path.write_text('{"event": []}')
    with pytest.raises(UsageError, match="the key 'event' means nothing here"):
        load(path)
    numbers = {"id": "n", "source": "test", "pbt": "1", "run": 1, "parts": [], "expect": {}}
    for wrong in (numbers, numbers | {"pbt": 1, "parts": [[1, 2]]}, numbers | {"pbt": 1, "parts": [[1, 2, "3"]]}):
        with pytest.raises(UsageError, match="n: give numbers"):
            load(saved(tmp_path, aggregate=[wrong]))
    with pytest.raises(UsageError, match="a case with this id stands above"):
        load(saved(tmp_path, case(), case()))


def test_the_document_names_every_key_and_column() -> None:
    def keys(of: Any) -> Iterator[str]:
        for name, inner in of.items() if isinstance(of, dict) else ():
            yield name.removeprefix("!")
            yield from keys(inner[0] if isinstance(inner, list) else inner)

    said = set(re.findall(r"`([\w*]+)`", FORMAT.read_text(encoding="utf-8")))
    assert (set(keys(AGGREGATE)) | set(keys(EVENTS)) | COLUMNS) - said == {"*"}
    assert {path.stem for path in suite()} - said == set()


def run(*words: str) -> tuple[int, list[str]]:
    answer = CliRunner().invoke(command, words, catch_exceptions=False)
    return answer.exit_code, answer.output.splitlines()


def test_the_command_prints_failures_and_a_line_per_file(tmp_path: Path) -> None:
    good, bad = case(id="good"), case(id="bad", windows=[HOUR | {"expect": {"apt_ms": 5}}])
    path = str(saved(tmp_path, good, bad))
    failure = "FAIL  bad, m1 2026-03-02T10:00:00Z: apt_ms expected 5, got 3600000"
    assert run(path) == (1, [failure, "mine.json: 1 passed, 1 failed"])
    assert run(path, "-v") == (1, ["ok    good", failure, "mine.json: 1 passed, 1 failed"])
    assert run(path, "--only", "goo") == (0, ["mine.json: 1 passed, 0 failed"])
    assert run(path, "--list") == (0, ["good  mine  test", "bad  mine  test"])
    code, lines = run(path, path)
    assert (code, lines[-1].split(",")[:2]) == (1, ["2 passed", " 2 failed in 2 files"])
    assert run(path, "--only", "nothing") == (1, [])


def test_without_a_file_the_command_runs_the_suite() -> None:
    code, lines = run("--only", "micro-stop")
    assert code == 0
    assert [line.split(":")[0] for line in lines[:-1]] == ["corrections.json", "states.json"]
    code, listed = run("--list")
    assert (code, len(listed)) == (0, sum(len(load(path).cases) for path in suite()))
