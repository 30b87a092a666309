"""Some minutes of `make faults`: a round of the faults that the rest of the tests tries least, and the book itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from book import BOOK, FAIL, PASS, Fault, table
from rounds import Places, run_round
from soak import rising

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]
FAULTS = 34
SEED = 4
DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    with Places(tmp_path_factory.mktemp("faults")) as found:
        yield found


def test_the_book_has_every_fault_and_the_document_tells_what_each_did() -> None:
    assert {one.number for one in BOOK} == set(range(1, FAULTS + 1))
    assert len({one.name for one in BOOK}) == len(BOOK)
    told = re.findall(r"^\| (\d+) \|", DOCUMENT.read_text(), re.M)
    assert set(map(int, told)) == set(range(1, FAULTS + 1))


@pytest.mark.parametrize("one", [one for one in BOOK if one.quick], ids=lambda one: f"{one.number}-{one.name}")
def test_survived(one: Fault, places: Places, tmp_path: Path) -> None:
    outcome = run_round(one, places, SEED, tmp_path)
    assert outcome.verdict == PASS, [*outcome.seen, *outcome.wrong]


@pytest.mark.parametrize("one", [one for one in BOOK if one.quick and one.control], ids=lambda one: one.name)
def test_control_is_found_out(one: Fault, places: Places, tmp_path: Path) -> None:
    outcome = run_round(one, places, SEED, tmp_path, control=True)
    assert outcome.verdict == FAIL, [*outcome.seen, *outcome.wrong]
    assert "**not found out**" not in table([outcome])


def test_what_rises_is_told_from_what_is_flat() -> None:
    flat = [100.0 + 10 * (step % 3) for step in range(100)]
    leak = [100.0 + step for step in range(100)]
    assert rising({"at": leak, "worker MiB": flat, "sink handles": flat}) == {}
    assert rising({"at": flat, "worker MiB": leak, "sink handles": leak}).keys() == {"worker MiB", "sink handles"}
