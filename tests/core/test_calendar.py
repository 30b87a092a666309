"""Shifts, breaks and local days, with the two nights a year that have another length."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.calendar import EPOCH, NONWORK, PBT, PDOT, Calendar
from pipeline.core.model import MachineConfig, Shift

HOUR = 3_600_000
BERLIN = MachineConfig(
    timezone="Europe/Berlin",
    always=False,
    shifts=(Shift("early", "06:00", "14:00"), Shift("night", "22:00", "06:00", (1, 2, 3, 4, 5, 6, 7))),
    breaks=(Shift("pause", "10:00", "10:30", (1, 2, 3, 4, 5)),),
    closed=("2026-12-25",),
)


def day(text: str) -> int:
    return date.fromisoformat(text).toordinal() - EPOCH


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


@pytest.mark.parametrize(("on", "hours"), [("2026-03-28", 7), ("2026-10-24", 9), ("2026-06-01", 8)])
def test_a_night_shift_has_the_hours_that_the_clocks_give_it(on: str, hours: int) -> None:
    start, end = Calendar(BERLIN).shift_interval("night", day(on))
    assert end - start == hours * HOUR


def test_a_local_time_that_does_not_exist_is_the_first_instant_after_the_gap() -> None:
    config = MachineConfig(timezone="Europe/Berlin", always=False, shifts=(Shift("s", "02:30", "06:00"),))
    assert Calendar(config).shift_interval("s", day("2026-03-29"))[0] == at("2026-03-29T01:00:00")


def test_a_local_time_that_exists_twice_is_its_first_occurrence() -> None:
    config = MachineConfig(timezone="Europe/Berlin", always=False, shifts=(Shift("s", "02:30", "06:00"),))
    assert Calendar(config).shift_interval("s", day("2026-10-25"))[0] == at("2026-10-25T00:30:00")


def test_a_day_of_shifts_and_breaks() -> None:
    #  00 night 06 early 10 pause 10:30 early 14 (nothing) 22 night 24, local = UTC + 1
    spans = Calendar(BERLIN).spans(at("2026-03-01T23:00:00"), at("2026-03-02T23:00:00"))
    told = [
        ((s.start - at("2026-03-01T23:00:00")) / HOUR, s.work, s.shift, s.shift_date - day("2026-03-02")) for s in spans
    ]
    assert told == [
        (0, PBT, "night", -1),
        (6, PBT, "early", 0),
        (10, PDOT, "early", 0),
        (10.5, PBT, "early", 0),
        (14, NONWORK, "", 0),
        (22, PBT, "night", 0),
    ]


def test_no_shift_starts_on_a_closed_date_but_the_night_before_ends() -> None:
    spans = Calendar(BERLIN).spans(at("2026-12-24T23:00:00"), at("2026-12-25T23:00:00"))
    assert [(span.work, span.shift) for span in spans] == [(PBT, "night"), (NONWORK, "")]


@given(st.integers(0, 366 * 24 * 60), st.integers(1, 3 * 24 * 60))
def test_spans_cover_every_instant_once(offset: int, minutes: int) -> None:
    start = at("2026-01-01T00:00:00") + offset * 60_000
    end = start + minutes * 60_000
    spans = Calendar(BERLIN).spans(start, end)
    assert [span.start for span in spans] == [start, *(span.end for span in spans[:-1])]
    assert spans[-1].end == end


@given(st.integers(0, 366 * 24 * 60), st.integers(2, 3 * 24 * 60))
def test_a_part_of_a_stretch_gives_the_same_answers(offset: int, minutes: int) -> None:
    start = at("2026-01-01T00:00:00") + offset * 60_000
    middle, end = start + minutes // 2 * 60_000, start + minutes * 60_000
    whole = Calendar(BERLIN).spans(start, end)
    parts = Calendar(BERLIN).spans(start, middle) + Calendar(BERLIN).spans(middle, end)

    def lasted(spans: list) -> dict:
        total: dict = {}
        for span in spans:
            total[span[2:]] = total.get(span[2:], 0) + span.end - span.start
        return total

    assert lasted(whole) == lasted(parts)
