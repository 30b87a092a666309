"""`openoee verify`: the shipped cases pass, a wrong expectation is found, the full collection passes where it is."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from pipeline.errors import UsageError
from pipeline.verify import load, verify

CASES = Path(__file__).parent / "cases" / "first_cases.json"
COLLECTION = Path(__file__).parents[2] / "shared" / "spec" / "oee_cases.json"


def test_the_shipped_cases_pass() -> None:
    results = dict(verify(load(CASES)))
    assert len(results) >= 8
    assert {name: found for name, found in results.items() if found} == {}


def test_every_wrong_expectation_is_found() -> None:
    cases = load(CASES)
    for kind in ("aggregate", "events"):
        for place, case in enumerate(cases[kind]):
            wrong = copy.deepcopy(case)
            expect = wrong["expect"] if kind == "aggregate" else wrong["windows"][0]["expect"]
            column = next(iter(expect))
            expect[column] = 12345 if expect[column] is None else None
            found = dict(verify({"aggregate": [], "events": [], kind: [wrong]}))[wrong["id"]]
            assert found[0].column == column, (kind, place)


def test_the_whole_collection_passes() -> None:
    if not COLLECTION.exists():
        pytest.skip(f"the collection of cases is not beside this repository ({COLLECTION.name})")
    results = dict(verify(load(COLLECTION)))
    assert len(results) >= 34
    assert {name: [str(d) for d in found] for name, found in results.items() if found} == {}


def test_a_file_that_is_no_case_file_is_one_clear_sentence(tmp_path: Path) -> None:
    path = tmp_path / "cases.json"
    path.write_text("[1, 2")
    with pytest.raises(UsageError, match=r"cases\.json: cannot be read as a case file"):
        load(path)
    path.write_text(json.dumps([]))
    with pytest.raises(UsageError, match="cannot be read"):
        load(path)
