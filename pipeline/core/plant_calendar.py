"""The simulated plant's own calendar: local shifts, breaks and days as UTC instants, by zoneinfo.

It knows nothing of the engine's calendar, so that the simulator's truth can disagree with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from pipeline.core.model import MachineConfig, Shift

DAY_MS = 86_400_000
EPOCH = date(1970, 1, 1)
Span = tuple[int, int]


class WorkShift(NamedTuple):
    """One shift on one date: instants in ms, `day` in days since 1970-01-01."""

    start: int
    end: int
    name: str
    day: int


def to_instant(day: date, clock: str, zone: ZoneInfo) -> int:
    """UTC ms of a local time HH:MM (24:00: next midnight); a skipped one: the first instant after the gap."""
    hours, minutes = (int(part) for part in clock.split(":"))
    if hours == 24:
        day, hours = day + timedelta(days=1), 0
    local = datetime.combine(day, time(hours, minutes), zone)
    instant = _ms(local)
    back = datetime.fromtimestamp(instant / 1000, zone)
    if (back.hour, back.minute) == (hours, minutes):
        return instant
    before = _offset(instant - DAY_MS, zone)
    low, high = instant - DAY_MS, instant
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _offset(middle, zone) == before else (low, middle)
    return high


def local_date(at: int, zone: ZoneInfo) -> date:
    """Local date of an instant."""
    return datetime.fromtimestamp(at // 1000, zone).date()


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - EPOCH).days


def midnights(start: int, end: int, zone: ZoneInfo) -> list[int]:
    """Starts of the local days that touch [start, end)."""
    starts = [to_instant(day, "00:00", zone) for day in _dates(start, end, zone)]
    return [at for at, following in pairwise(starts) if at < end and following > start]


def shifts(config: MachineConfig, start: int, end: int) -> list[WorkShift]:
    """Shifts of a machine that touch [start, end), in order; none when it is always planned busy."""
    zone = _zone(config.timezone)
    found = []
    for day in _dates(start, end, zone):
        if day.isoformat() in config.closed:
            continue
        for shift in config.shifts:
            if day.isoweekday() in shift.days:
                found.append(WorkShift(*_on(shift, day, zone), shift.name, day_number(day)))
    return sorted(shift for shift in found if shift.start < end and shift.end > start)


def planned_stops(config: MachineConfig, start: int, end: int) -> list[Span]:
    """Breaks and planned down time that touch [start, end), united, in order."""
    zone = _zone(config.timezone)
    spans = list(config.planned_down)
    for day in _dates(start, end, zone):
        spans += [_on(pause, day, zone) for pause in config.breaks if day.isoweekday() in pause.days]
    return united(span for span in spans if span[0] < end and span[1] > start)


def united(spans: Iterable[Span]) -> list[Span]:
    """The same instants as disjoint spans that do not touch, in order."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        elif start < end:
            merged.append((start, end))
    return merged


def without(spans: Iterable[Span], holes: list[Span]) -> list[Span]:
    """Spans less the holes (disjoint, in order)."""
    left = []
    for start, end in spans:
        for hole_start, hole_end in holes:
            if hole_end <= start or hole_start >= end:
                continue
            if hole_start > start:
                left.append((start, hole_start))
            start = hole_end
        if start < end:
            left.append((start, end))
    return left


def _on(shift: Shift, day: date, zone: ZoneInfo) -> Span:
    start = to_instant(day, shift.start, zone)
    next_day = shift.end <= shift.start
    return start, to_instant(day + timedelta(days=1) if next_day else day, shift.end, zone)


def _dates(start: int, end: int, zone: ZoneInfo) -> list[date]:
    first = local_date(start, zone) - timedelta(days=2)
    last = local_date(end, zone) + timedelta(days=1)
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _offset(at: int, zone: ZoneInfo) -> timedelta | None:
    return datetime.fromtimestamp(at // 1000, zone).utcoffset()


def _ms(local: datetime) -> int:
    return int(local.astimezone(UTC).timestamp()) * 1000
