"""Calendars of factory.yaml: local times become instants, overlapping shifts are found."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.model import Shift
from pipeline.errors import FactoryFileError
from pipeline.factory_calendar import check_shifts, find_overlap, moment_ms


@pytest.mark.parametrize(
    ("local", "utc"),
    [
        ("2026-07-01 12:00", "2026-07-01T10:00:00"),
        ("2026-03-29 02:30", "2026-03-29T01:00:00"),  # does not exist: the first instant after the gap
        ("2026-10-25 02:30", "2026-10-25T00:30:00"),  # exists twice: its first occurrence
        ("2026-07-01 12:00+05:30", "2026-07-01T06:30:00"),
    ],
)
def test_local_times_are_those_of_the_site(local: str, utc: str) -> None:
    at_ms = moment_ms(local, ZoneInfo("Europe/Paris"))
    assert datetime.fromtimestamp(at_ms / 1000, UTC).replace(tzinfo=None).isoformat() == utc


def test_check_shifts_names_the_overlap() -> None:
    early, late = Shift("early", "06:00", "14:30"), Shift("late", "14:00", "22:00")
    with pytest.raises(FactoryFileError, match=r"early \(06:00-14:30\) and late \(14:00-22:00\) overlap on Mon"):
        check_shifts([late, early])
    with pytest.raises(FactoryFileError, match="'6am' is no time of day"):
        check_shifts([Shift("a", "6am", "07:00")])
    with pytest.raises(FactoryFileError, match="days are 1"):
        check_shifts([Shift("a", "06:00", "07:00", (0,))])
    check_shifts([Shift("all", "00:00", "00:00")])
    check_shifts([early, Shift("late", "14:30", "22:00"), Shift("night", "22:00", "06:00")])


CLOCKS = st.integers(0, 23).map(lambda hour: f"{hour:02d}:00")
DAYS = st.sets(st.integers(1, 7), min_size=1, max_size=3).map(lambda days: tuple(sorted(days)))


@given(st.lists(st.builds(Shift, st.just("s"), CLOCKS, CLOCKS, DAYS), max_size=4))
def test_overlaps_are_those_that_a_count_of_hours_finds(shifts: list[Shift]) -> None:
    taken: list[int] = []
    for shift in shifts:
        begin, end = int(shift.start[:2]), int(shift.end[:2])
        hours = end - begin if end > begin else end - begin + 24
        taken += [((day - 1) * 24 + begin + hour) % 168 for day in shift.days for hour in range(hours)]
    assert (find_overlap(shifts) is not None) == (len(taken) != len(set(taken)))
