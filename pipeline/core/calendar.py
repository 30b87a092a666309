"""The plant's calendar: which instants are planned, in which shift and on which local date."""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from pipeline.core.model import MachineConfig, Shift

EPOCH = date(1970, 1, 1).toordinal()
NONWORK, PDOT, PBT = "nonwork", "pdot", "pbt"
CACHED_DAYS = 64
YEAR_2026 = 1_767_225_600_000
LONGEST_CYCLE_US = 7 * 86_400_000_000


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

    A local time that does not exist means the first instant after the gap, one that exists twice its first
    occurrence; so a local day has 23, 24 or 25 hours (oee.md, section 3).
    """

    def __init__(self, config: MachineConfig) -> None:
        self._config = config
        self._zone = ZoneInfo(config.timezone)
        self._days: dict[int, list[Span]] = {}
        self._closed = {date.fromisoformat(text).toordinal() - EPOCH for text in config.closed}

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

    def shift_interval(self, name: str, day: int) -> tuple[int, int]:
        """The interval [start, end) of the shift that starts on a local date. Raises KeyError when there is none."""
        for shift in self._config.shifts:
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
        shifts = [
            (*self._occurrence(shift, on), shift.name, on)
            for on in (day - 1, day)
            for shift in self._config.shifts
            if on not in self._closed and _weekday(on) in shift.days
        ]
        stops = [*self._config.planned_down] + [
            self._occurrence(pause, on)
            for on in (day - 1, day)
            for pause in self._config.breaks
            if _weekday(on) in pause.days
        ]
        cuts = {start, end}
        edges = [edge[:2] for edge in shifts] + stops
        cuts.update(at for edge in edges for at in edge if start < at < end)
        ordered = sorted(cuts)
        spans: list[Span] = []
        for span in (self._answer(a, b, shifts, stops, day) for a, b in pairwise(ordered)):
            if spans and spans[-1][2:] == span[2:]:
                span = spans.pop()._replace(end=span.end)
            spans.append(span)
        return spans

    def _answer(
        self, start: int, end: int, shifts: list[tuple[int, int, str, int]], stops: list[tuple[int, int]], day: int
    ) -> Span:
        shift, shift_date, work = "", day, PBT if self._config.always else NONWORK
        for first, last, name, on in shifts:
            if first <= start < last:
                shift, shift_date, work = name, on, PBT
        if work == PBT and any(first <= start < last for first, last in stops):
            work = PDOT
        return Span(start, end, work, shift, shift_date, day)

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


def unusable(config: MachineConfig) -> str:
    """Why a configuration cannot be reckoned with; empty when it can. factory.yaml is checked with more to say."""
    try:
        Calendar(config).spans(YEAR_2026, YEAR_2026 + 8 * 86_400_000)
    except (ValueError, KeyError, OSError, OverflowError) as error:
        return f"{type(error).__name__}: {error}"
    ideal = config.ideal_cycle_us.values()
    return "" if all(0 < us <= LONGEST_CYCLE_US for us in ideal) else "an ideal cycle time is not within 0 s and a week"


def _ms(at: datetime) -> int:
    return int(at.timestamp()) * 1000


def _weekday(day: int) -> int:
    return (day + 3) % 7 + 1  # 1970-01-01 was a Thursday
