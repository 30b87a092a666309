"""The calendar of the oracle: shifts, breaks and closed days of every level, written out one by one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from pipeline.core.model import CalendarLevel, MachineConfig, Shift

DAY = timedelta(days=1)
EPOCH = date(1970, 1, 1).toordinal()


def wall(zone: str, at: int) -> datetime:
    """What a clock on the wall shows."""
    return (
        (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at)).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    )


@lru_cache(maxsize=100_000)
def instant(zone: str, day: date, clock: str) -> int:
    """The first instant at which the clock shows that time or a later one: so in gaps, so where a time comes twice."""
    hour, minute = clock.split(":")
    wanted = datetime(day.year, day.month, day.day) + timedelta(hours=int(hour), minutes=int(minute))
    at = int((wanted - timedelta(hours=4)).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 1000
    while wall(zone, at) < wanted:
        at += 60_000
    return at


class Spell(NamedTuple):
    """A shift or break on a local date."""

    start: int
    end: int
    name: str
    date: int


def spells(zone: str, days: Sequence[date], shifts: Sequence[Shift]) -> list[Spell]:
    found = []
    for day in days:
        for shift in shifts:
            if day.isoweekday() in shift.days:
                ends = day if shift.end > shift.start else day + DAY
                times = instant(zone, day, shift.start), instant(zone, ends, shift.end)
                found.append(Spell(*times, shift.name, day.toordinal() - EPOCH))
    return found


class Level(NamedTuple):
    """One level of a calendar: its shifts, and its planned stops."""

    name: str
    shifts: list[Spell]
    stops: list[tuple[int, int]]


def layers(config: MachineConfig) -> list[CalendarLevel]:
    """The calendars of a machine, lowest level first."""
    own = CalendarLevel(
        config.calendar_level, config.always, config.shifts, config.breaks, config.planned_down, config.closed,
        config.exceptions,
    )  # fmt: skip
    return [own, *config.above]


def levels(said: Sequence[CalendarLevel], zone: str, days: Sequence[date]) -> list[Level]:
    """Levels of a calendar, lowest first, written out over some days."""
    found, closed = [], set[str]()
    for level in said:
        closed |= set(level.closed)
        shifts, breaks = [], []
        for day in days:
            usual = (Shift("", "00:00", "00:00"),) if level.always else level.shifts
            usual_breaks = level.breaks
            for other in level.exceptions:
                if other.first <= day.isoformat() <= other.last:
                    usual, usual_breaks = other.shifts, other.breaks
            if day.isoformat() not in closed:
                shifts += spells(zone, [day], usual)
            breaks += spells(zone, [day], usual_breaks)
        found.append(Level(level.level, shifts, [spell[:2] for spell in breaks] + list(level.planned_down)))
    return found


def planned(calendar: Sequence[Level], at: int) -> tuple[str, str, int | None]:
    """What is planned: pbt, pdot or nonwork; shift and its date."""
    stop = False
    for level in calendar:
        stop = stop or any(start <= at < end for start, end in level.stops)
        for shift in level.shifts:
            if shift.start <= at < shift.end:
                return "pdot" if stop else "pbt", shift.name, shift.date
    return "nonwork", "", None
