"""Times of factory.yaml: zones, shifts, breaks, planned stops, moments and dates, read and checked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from pipeline.core.model import Shift
from pipeline.errors import FactoryFileError
from pipeline.yaml_lines import Node

DAY_MIN = 24 * 60
WEEK_MIN = 7 * DAY_MIN
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
FIRST_YEAR, LAST_YEAR = 2000, 2100
LONGEST_BREAK_MIN = 8 * 60
CLOCK = re.compile(r"(\d{1,2}):(\d\d)(:00)?", re.ASCII)
INSTANT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,3})?)? ?(Z|[+-](\d\d):?\d\d)?", re.ASCII)
MOMENTS = "2026-03-02T10:00:00Z, or 2026-03-02 11:00 for the site's local time"


def check_shifts(shifts: Sequence[Shift], where: str = "calendar") -> None:
    """Raise FactoryFileError when two shifts overlap anywhere in the week, or a time or weekday is nonsense."""
    for shift in shifts:
        for text in (shift.start, shift.end):
            if clock_min(text) is None:
                raise FactoryFileError(f"{where}: shift {shift.name}: {text!r} is no time of day; write HH:MM")
        if not shift.days or not set(shift.days) <= set(range(1, 8)):
            raise FactoryFileError(f"{where}: shift {shift.name}: days are 1 (Monday) to 7; got {list(shift.days)}")
    if found := find_overlap(shifts):
        raise FactoryFileError(f"{where}: {_overlap_words(shifts, *found)}; move the start or the end of one")


def find_overlap(shifts: Sequence[Shift]) -> tuple[int, int, int] | None:
    """Positions of two shifts that overlap and the weekday (1 = Monday) on which they do; None when none do."""
    starts: list[tuple[int, int, int]] = []
    for index, shift in enumerate(shifts):
        begin, end = clock_min(shift.start) or 0, clock_min(shift.end) or 0
        length = (end - begin - 1) % DAY_MIN + 1
        starts += [((day - 1) * DAY_MIN + begin, length, index) for day in shift.days]
    starts.sort()
    for (begin, length, index), (then, _, other) in zip(starts, _next_week(starts), strict=True):
        if begin + length > then:
            return index, other, then // DAY_MIN % 7 + 1
    return None


def _next_week(starts: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    return starts[1:] + [(begin + WEEK_MIN, length, index) for begin, length, index in starts[:1]]


def _overlap_words(shifts: Sequence[Shift], one: int, other: int, day: int) -> str:
    first, second = shifts[one], shifts[other]
    times = f"{first.name} ({first.start}-{first.end}) and {second.name} ({second.start}-{second.end})"
    return f"the shifts {times} overlap on {WEEKDAYS[day - 1].capitalize()}"


def clock_min(text: str) -> int | None:
    """Minutes after midnight of a time HH:MM, 0 to 1440 (24:00); None when it is no such time."""
    found = CLOCK.fullmatch(text)
    if not found or int(found[2]) > 59:
        return None
    minutes = int(found[1]) * 60 + int(found[2])
    return minutes if minutes <= DAY_MIN else None


def local_ms(local: datetime, zone: ZoneInfo) -> int:
    """UTC milliseconds of a local time without offset.

    A time that exists twice means its first occurrence, one that does not exist the first instant after the gap.
    """
    first = local.replace(tzinfo=zone, fold=0)
    if first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == local:
        return _ms(first)
    low, high = _ms(local.replace(tzinfo=zone, fold=1)), _ms(first)
    new = _offset(high, zone)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _offset(middle, zone) == new else (middle, high)
    return high


def moment_ms(text: str, zone: ZoneInfo) -> int:
    """UTC milliseconds of an ISO 8601 moment; without an offset it is a local time of the zone. Raises ValueError."""
    found = INSTANT.fullmatch(text)
    if not found:
        raise ValueError("not date and time of day")
    if int(found[4] or 0) > 14:
        raise ValueError(f"no offset is {found[3]}")
    moment = datetime.fromisoformat(re.sub(r" (?=Z|[+-])", "", text))
    _require_year(moment.year)
    at_ms = _ms(moment) if moment.tzinfo else local_ms(moment, zone)
    _require_year((datetime(1970, 1, 1) + timedelta(milliseconds=at_ms)).year)
    return at_ms


def _require_year(year: int) -> None:
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise ValueError(f"before the year {FIRST_YEAR}" if year < FIRST_YEAR else f"after the year {LAST_YEAR}")


def _ms(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _offset(at_ms: int, zone: ZoneInfo) -> timedelta | None:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)).astimezone(zone).utcoffset()


def read_shifts(node: Node, what: str) -> tuple[Shift, ...]:
    """The list of shifts or breaks (`what`) that is written; shifts must not overlap."""
    entries = node.items(f"{what}s such as {{name: early, start: 06:00, end: 14:00}}")
    shifts = [_read_shift(entry, what) for entry in entries]
    if what == "shift" and (found := find_overlap(shifts)):
        one, other = sorted(found[:2])
        earlier = f"see line {entries[one].line}; " if entries[one].line != entries[other].line else ""
        entries[other].fail(_overlap_words(shifts, *found), f"{earlier}move the start or the end of one")
    return tuple(shifts)


def _read_shift(node: Node, what: str) -> Shift:
    required = ("start", "end") if what == "break" else ("name", "start", "end")
    given = node.mapping(("name", "start", "end", "days"), required)
    name = given["name"].text() if "name" in given else what
    start, end = _read_clock(given["start"]), _read_clock(given["end"])
    if start == "24:00":
        given["start"].fail("24:00 is the end of a day", "write 00:00 for a start at midnight")
    shift = Shift(name, start, "00:00" if end == "24:00" else end)
    if what == "break" and shift.start == shift.end:
        node.fail("the break lasts a whole day", "correct its end, or use `closed` or `planned_down`")
    length = ((clock_min(shift.end) or 0) - (clock_min(shift.start) or 0)) % DAY_MIN
    if what == "break" and length > LONGEST_BREAK_MIN:
        long = f"the break from {start} to {end} lasts {length // 60} h {length % 60:02d} min"
        node.fail(long, "correct its end, or use `planned_down`")
    return replace(shift, days=_read_days(given["days"])) if "days" in given else shift


def _read_clock(node: Node) -> str:
    text = node.text("a local time such as 06:00")
    minutes = clock_min(text)
    if minutes is None:
        node.fail(f"{text!r} is no time of day", "write hours and minutes, 00:00 to 24:00, such as 06:30")
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _read_days(node: Node) -> tuple[int, ...]:
    days: list[int] = []
    for entry in node.items("weekdays, 1 = Monday to 7 = Sunday"):
        text = entry.text("a weekday, 1 = Monday to 7 = Sunday").lower()
        day = next((i for i, name in enumerate(WEEKDAYS, 1) if text in (str(i), name, name[:3])), 0)
        if not day:
            entry.fail(f"{text!r} is no weekday", "write 1 (Monday) to 7 (Sunday), or mon, tue ... sun")
        if day in days:
            entry.fail(f"{text} stands twice among the days", "name each day once")
        days.append(day)
    if not days:
        node.fail("the list of days is empty", "name the weekdays, or delete the key for every day")
    return tuple(sorted(days))


def read_planned_down(node: Node, zone: ZoneInfo) -> tuple[tuple[int, int], ...]:
    """Planned stops (start, end) in UTC ms, in order."""
    stops = []
    for entry in node.items("planned stops such as {from: 2026-03-02T10:00:00Z, to: 2026-03-02T10:30:00Z}"):
        given = entry.mapping(("name", "from", "to"), ("from", "to"))
        start, end = read_instant(given["from"], zone), read_instant(given["to"], zone)
        if end <= start:
            problem = f"the planned stop ends ({given['to'].value}) {'when' if end == start else 'before'} it starts"
            entry.fail(f"{problem} ({given['from'].value})", "give `to` a later time than `from`")
        stops.append((start, end))
    return tuple(sorted(stops))


def read_instant(node: Node, zone: ZoneInfo) -> int:
    """A moment in UTC ms; without an offset it is a local time of the zone."""
    text = node.text(f"a moment such as {MOMENTS}")
    try:
        return moment_ms(text, zone)
    except ValueError as error:
        node.fail(f"{text!r} is no moment in time ({error})", f"write it as {MOMENTS}")


def read_dates(node: Node, what: str) -> tuple[str, ...]:
    """Local dates (YYYY-MM-DD) in order; `what` they are is named when one stands twice."""
    dates: list[str] = []
    for entry in node.items("dates such as 2026-12-25"):
        text = read_date(entry)
        if text in dates:
            entry.fail(f"{text} stands twice among {what}", "delete one")
        dates.append(text)
    return tuple(sorted(dates))


def read_date(node: Node) -> str:
    """The local date (YYYY-MM-DD) that is written."""
    text = node.text("a date such as 2026-12-25")
    try:
        if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            raise ValueError("not YYYY-MM-DD")
        _require_year(date.fromisoformat(text).year)
    except ValueError as error:
        node.fail(f"{text!r} is no date ({error})", "write year-month-day, such as 2026-12-25")
    return text
