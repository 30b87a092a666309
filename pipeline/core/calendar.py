"""The plant's calendar: which instants are planned, in which shift and on which local date."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import fields, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from pipeline.core.model import CalendarLevel, MachineConfig, Shift

EPOCH = date(1970, 1, 1).toordinal()
NONWORK, PDOT, PBT = "nonwork", "pdot", "pbt"
CACHED_DAYS = 64
YEAR_2026 = 1_767_225_600_000
LONGEST_CYCLE_US = 7 * 86_400_000_000
MOST_UNITS = 100_000


class Span(NamedTuple):
    """A stretch with one answer. `shift_date` and `local_date` are days since 1970-01-01."""

    start: int
    end: int
    work: str
    shift: str
    shift_date: int
    local_date: int


class Calendar:
    """Answers for one machine configuration; local days are worked out once and kept.

    At each instant the lowest level that has something to say decides: a shift of a level overrides the shifts and
    planned stops of the levels above it, a planned stop those shifts, a closed date the shifts that start on it.

    A local time that does not exist means the first instant after the gap, one that exists twice its first
    occurrence; so a local day has 23, 24 or 25 hours (oee.md, section 3).
    """

    def __init__(self, config: MachineConfig) -> None:
        self._levels = [_Level(level) for level in levels(config)]
        self._zone = ZoneInfo(config.timezone)
        self._days: dict[int, list[Span]] = {}

    def spans(self, start: int, end: int) -> list[Span]:
        """Spans that cover [start, end) without holes, cut where any answer changes, clipped to it."""
        found: list[Span] = []
        day = self.local_date(start)
        while start < end:
            spans = self._day(day)
            index = bisect_right(spans, start, key=lambda span: span.start) - 1
            for span in spans[index:]:
                if span.start >= end:
                    break
                found.append(span._replace(start=max(span.start, start), end=min(span.end, end)))
            start = spans[-1].end
            day += 1
        return found

    def local_date(self, at: int) -> int:
        """Local date of an instant, in days since 1970-01-01."""
        return datetime.fromtimestamp(at / 1000, self._zone).date().toordinal() - EPOCH

    def busy_ms(self, start: int, end: int) -> int:
        """Planned busy time within [start, end)."""
        return sum(span.end - span.start for span in self.spans(start, end) if span.work == PBT)

    def shift_interval(self, name: str, day: int) -> tuple[int, int]:
        """The interval [start, end) of the shift that starts on a local date. Raises KeyError when there is none."""
        for level in self._levels:
            for shift in level.shifts(day):
                if shift.name == name:
                    return self._occurrence(shift, day)
        raise KeyError(name)

    def _day(self, day: int) -> list[Span]:
        spans = self._days.get(day)
        if spans is None:
            if len(self._days) >= CACHED_DAYS:
                self._days.pop(next(iter(self._days)))
            spans = self._days[day] = self._work_out(day)
        return spans

    def _work_out(self, day: int) -> list[Span]:
        start, end = self._instant(day, "00:00"), self._instant(day + 1, "00:00")
        said = [self._said(place, day, (start, end)) for place in range(len(self._levels))]
        cuts = {start, end}
        edges = [edge for one in said for edge in (*one.stops, *((shift[0], shift[1]) for shift in one.shifts))]
        cuts.update(at for edge in edges for at in edge if start < at < end)
        spans: list[Span] = []
        for span in (Span(a, b, *_answer(a, said, day), day) for a, b in pairwise(sorted(cuts))):
            if spans and spans[-1][2:] == span[2:]:
                span = spans.pop()._replace(end=span.end)
            spans.append(span)
        return spans

    def _said(self, place: int, day: int, whole: tuple[int, int]) -> _Said:
        """What a level says of a local day, and of the night before that reaches into it."""
        level = self._levels[place]
        dates = [on for on in (day - 1, day) if not any(on in lower.closed for lower in self._levels[: place + 1])]
        shifts = [(*self._occurrence(shift, on), shift.name, on) for on in dates for shift in level.shifts(on)]
        if level.always and day in dates and not level.exceptional(day):
            shifts.insert(0, (*whole, "", day))
        stops = [self._occurrence(pause, on) for on in (day - 1, day) for pause in level.breaks(on)]
        return _Said(shifts, [*level.planned_down, *stops])

    def _occurrence(self, shift: Shift, day: int) -> tuple[int, int]:
        last = day if shift.end > shift.start else day + 1
        return self._instant(day, shift.start), self._instant(last, shift.end)

    def _instant(self, day: int, local: str) -> int:
        naive = datetime.combine(date.fromordinal(day + EPOCH), time.fromisoformat(local))
        early = naive.replace(tzinfo=self._zone).astimezone(UTC)
        if early.astimezone(self._zone).replace(tzinfo=None) == naive:
            return _ms(early)
        return self._end_of_gap(_ms(naive.replace(tzinfo=self._zone, fold=1).astimezone(UTC)), _ms(early))

    def _end_of_gap(self, before: int, after: int) -> int:
        """The instant in (before, after] at which the clocks jump."""
        offset = self._offset(before)
        while after - before > 1000:
            middle = (before + after) // 2000 * 1000
            if self._offset(middle) == offset:
                before = middle
            else:
                after = middle
        return after

    def _offset(self, at: int) -> timedelta | None:
        return datetime.fromtimestamp(at / 1000, self._zone).utcoffset()


class _Said(NamedTuple):
    """Of one level: shifts (start, end, name, local date) and planned stops that touch a day."""

    shifts: list[tuple[int, int, str, int]]
    stops: list[tuple[int, int]]


def _answer(at: int, said: list[_Said], day: int) -> tuple[str, str, int]:
    """(work, shift, its date) at an instant; `said` lowest level first. Of shifts that overlap the later start wins."""
    stopped = False
    for level in said:
        stopped = stopped or any(first <= at < last for first, last in level.stops)
        on = [shift for shift in level.shifts if shift[0] <= at < shift[1]]
        if on:
            _, _, name, date_of = max(on, key=lambda shift: shift[0])
            return PDOT if stopped else PBT, name, date_of
    return NONWORK, "", day


class _Level:
    """One level's calendar, asked by local date (days since 1970-01-01)."""

    def __init__(self, level: CalendarLevel) -> None:
        self.always, self.planned_down = level.always, level.planned_down
        self.closed = frozenset(_day_number(text) for text in level.closed)
        self._usual = (level.shifts, level.breaks)
        self._exceptions = [
            (_day_number(one.first), _day_number(one.last), (one.shifts, one.breaks)) for one in level.exceptions
        ]

    def shifts(self, day: int) -> list[Shift]:
        """Shifts that start on a date, closed or not."""
        return [shift for shift in self._of(day)[0] if _weekday(day) in shift.days]

    def breaks(self, day: int) -> list[Shift]:
        return [pause for pause in self._of(day)[1] if _weekday(day) in pause.days]

    def exceptional(self, day: int) -> bool:
        """Whether an exception holds a date."""
        return any(first <= day <= last for first, last, _ in self._exceptions)

    def _of(self, day: int) -> tuple[tuple[Shift, ...], tuple[Shift, ...]]:
        """Shifts and breaks of a date: those of the last exception that holds it, else the usual ones."""
        for first, last, instead in reversed(self._exceptions):
            if first <= day <= last:
                return instead
        return self._usual


def levels(config: MachineConfig, of_line: bool = False) -> list[CalendarLevel]:
    """The calendars of a machine, lowest level first; `of_line`: without that of the machine itself."""
    own = CalendarLevel(
        config.calendar_level, config.always, config.shifts, config.breaks, config.planned_down, config.closed,
        config.exceptions,
    )  # fmt: skip
    return [level for level in (own, *config.above) if not (of_line and level.level == "machine")]


def line_calendar(config: MachineConfig) -> Calendar | None:
    """The calendar of the machine's line; None when the line has none of its own."""
    found = levels(config, of_line=True)
    if not config.line or all(level.level != "line" for level in found):
        return None
    first, *above = found
    calendar = {field.name: getattr(first, field.name) for field in fields(CalendarLevel) if field.name != "level"}
    return Calendar(replace(config, calendar_level=first.level, above=tuple(above), **calendar))


def unusable(config: MachineConfig) -> str:
    """Why a configuration cannot be reckoned with; empty when it can. factory.yaml is checked with more to say."""
    try:
        Calendar(config).spans(YEAR_2026, YEAR_2026 + 8 * 86_400_000)
    except (ValueError, KeyError, OSError, OverflowError) as error:
        return f"{type(error).__name__}: {error}"
    if not all(0 < us <= LONGEST_CYCLE_US for us in config.ideal_cycle_us.values()):
        return "an ideal cycle time is not within 0 s and a week"
    if not all(0 < units <= MOST_UNITS for units in config.units_per_cycle.values()):
        return f"units per cycle are not within 1 and {MOST_UNITS}"
    if config.micro_stop_ms < 0 or (config.stale_after_ms or 0) < 0:
        return "a length of time is below 0"
    if config.counter_modulus is not None and config.counter_modulus < 2:
        return "a counter rolls over below 2"
    return ""


def _ms(at: datetime) -> int:
    return int(at.timestamp()) * 1000


def _day_number(text: str) -> int:
    return date.fromisoformat(text).toordinal() - EPOCH


def _weekday(day: int) -> int:
    return (day + 3) % 7 + 1  # 1970-01-01 was a Thursday
