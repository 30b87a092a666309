"""Calendars of factory.yaml by level of the hierarchy: read and checked, and what counts for a machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from pipeline.core.calendar import levels
from pipeline.core.model import CalendarException, CalendarLevel, MachineConfig, Shift
from pipeline.factory_calendar import read_date, read_dates, read_planned_down, read_shifts
from pipeline.factory_holidays import Holidays, read_holidays
from pipeline.yaml_lines import Node

LEVELS = ("machine", "line", "area", "site", "enterprise")  # lowest first
CALENDAR_KEYS = ("inherit", "shifts", "breaks", "planned_down", "closed", "holidays", "exceptions")
LONGEST_EXCEPTION = 366

Key = tuple[str, str]  # a level, and the name of what has the calendar there


@dataclass(frozen=True)
class Calendar:
    """What is written of one level; `closed` holds the holidays too. `inherit`: the levels above it count as well."""

    always: bool = False
    shifts: tuple[Shift, ...] = ()
    breaks: tuple[Shift, ...] = ()
    planned_down: tuple[tuple[int, int], ...] = ()
    closed: tuple[str, ...] = ()
    exceptions: tuple[CalendarException, ...] = ()
    inherit: bool = True
    holidays: Holidays = field(default=(), compare=False)

    @property
    def plans(self) -> bool:
        """True where it says itself when production is planned."""
        return self.always or bool(self.shifts)


ALWAYS = Calendar(always=True)


def read_calendar(node: Node, zone: str, year: int) -> Calendar:
    """The calendar that is written: `always`, or a mapping. `year` is the current one, for its holidays."""
    if isinstance(node.value, str) and not node.empty:
        node.choice(["always"])
        return ALWAYS
    if isinstance(node.value, dict) and "always" in node.value:
        node.fail("`always` is no key but the whole calendar", "write `calendar: always`", node.keys["always"])
    given = node.mapping(CALENDAR_KEYS)
    if not given:
        node.fail("the calendar says nothing", "write `calendar: always`, or give it shifts")
    shifts = read_shifts(given["shifts"], "shift") if "shifts" in given else ()
    if "shifts" in given and not shifts:
        given["shifts"].fail("the list of shifts is empty", "give one, or delete the key: the levels above count then")
    holidays = read_holidays(given["holidays"], year) if "holidays" in given else ()
    closed = read_dates(given["closed"], "the closed dates") if "closed" in given else ()
    closed = tuple(sorted({*closed, *(day for day, _ in holidays)}))
    return Calendar(
        shifts=shifts,
        breaks=read_shifts(given["breaks"], "break") if "breaks" in given else (),
        planned_down=read_planned_down(given["planned_down"], ZoneInfo(zone)) if "planned_down" in given else (),
        closed=closed,
        exceptions=_read_exceptions(given["exceptions"], closed, dict(holidays)) if "exceptions" in given else (),
        inherit=given["inherit"].boolean() if "inherit" in given else True,
        holidays=holidays,
    )


def _read_exceptions(node: Node, closed: Sequence[str], holidays: dict[str, str]) -> tuple[CalendarException, ...]:
    entries = node.items("exceptions such as {from: 2026-07-20, to: 2026-08-07}")
    found = sorted(
        ((_read_exception(entry, closed, holidays), entry) for entry in entries), key=lambda one: one[0].first
    )
    for (earlier, place), (later, entry) in pairwise(found):
        if later.first <= earlier.last:
            see = f"see line {place.line}; " if place.line != entry.line else ""
            problem = f"the exceptions of {dates_words(earlier)} and {dates_words(later)} overlap"
            entry.fail(problem, f"{see}let each date be in one of them")
    return tuple(exception for exception, _ in found)


def _read_exception(node: Node, closed: Sequence[str], holidays: dict[str, str]) -> CalendarException:
    given = node.mapping(("name", "on", "from", "to", "shifts", "breaks"))
    if "on" in given and ("from" in given or "to" in given):
        node.fail("both `on` and `from` or `to` are given", "write `on` for one date, `from` and `to` for several")
    for key in ("from", "to"):
        if "on" not in given and key not in given:
            node.fail(f"the key `{key}` is missing", f"add `{key}: ...`, or write `on` for one date")
    first, last = (read_date(given.get("on") or given[key]) for key in ("from", "to"))
    if last < first:
        node.fail(f"the exception ends ({last}) before it starts ({first})", "give `to` a later date than `from`")
    dates = _dates(first, last)
    if len(dates) > LONGEST_EXCEPTION:
        remedy = "change the calendar itself and apply it with --effective"
        node.fail(f"an exception of {len(dates)} days lasts more than a year", remedy)
    shifts = read_shifts(given["shifts"], "shift") if "shifts" in given else ()
    breaks = read_shifts(given["breaks"], "break") if "breaks" in given else ()
    if breaks and not shifts:
        given["breaks"].fail("these dates have breaks but no shifts", "give their shifts too, or delete the breaks")
    if shifts and set(dates) <= set(closed):
        why = f"a holiday ({holidays[first]})" if first in holidays else "closed"
        remedy = "add it to `except` of the holidays" if first in holidays else "delete it under `closed`"
        node.fail(f"{first} is {why}, so that no shift starts on it", f"{remedy} to work on it")
    return CalendarException(first, last, shifts, breaks)


def dates_words(exception: CalendarException) -> str:
    """The dates of an exception, for a person."""
    return exception.first if exception.first == exception.last else f"{exception.first} to {exception.last}"


def _dates(first: str, last: str) -> tuple[str, ...]:
    start = date.fromisoformat(first)
    days = range((date.fromisoformat(last) - start).days + 1)
    return tuple((start + timedelta(days=day)).isoformat() for day in days)


def keys_of(machine: str, line: str, area: str, site: str, enterprise: str) -> list[Key]:
    """Where calendars that count for a machine may stand, lowest level first."""
    return [key for key in zip(LEVELS, (machine, line, area, site, enterprise), strict=True) if key[1]]


def place(config: MachineConfig, stack: Sequence[tuple[str, Calendar]]) -> MachineConfig:
    """The configuration with the calendars of its levels (level, calendar), lowest first; with none always planned."""
    counts = counting(stack)
    found = [level for at, one in enumerate(counts) for level in _resolved(*one, topmost=at == len(counts) - 1)]
    if not found:
        return config
    own, *above = found
    return replace(
        config, calendar_level=own.level, always=own.always, shifts=own.shifts, breaks=own.breaks,
        planned_down=own.planned_down, closed=own.closed, exceptions=own.exceptions, above=tuple(above),
    )  # fmt: skip


def counting(stack: Sequence[tuple[str, Calendar]]) -> list[tuple[str, Calendar]]:
    """The levels that count, lowest first, up to the first that inherits nothing.

    Where none of them has shifts, every instant is planned: the topmost is `always`. Where one has, those over it
    without shifts have nothing to say: outside its shifts nothing is planned, and they close only what is above them.
    """
    if not stack:
        return []
    if stack[0][0] == "machine" and stack[0][1].always and stack[0][1].inherit:
        return [stack[0], *counting(stack[1:])]  # it hides the levels above, but the line is reckoned by them
    end = next((at for at, (_, one) in enumerate(stack) if one.always or not one.inherit), len(stack) - 1)
    found = list(stack[: end + 1])
    while any(one.plans for _, one in found[:-1]) and not _plans_ever(found[-1][1]):
        found.pop()
    if not any(one.plans for _, one in found):
        found[-1] = found[-1][0], replace(found[-1][1], always=True)
    return found


def _plans_ever(calendar: Calendar) -> bool:
    return calendar.plans or any(exception.shifts for exception in calendar.exceptions)


def _resolved(level: str, calendar: Calendar, topmost: bool) -> list[CalendarLevel]:
    """A level for the engine. Its exceptions speak for whole dates: a second one closes these to all that is above."""
    own = CalendarLevel(
        level, calendar.always, calendar.shifts, calendar.breaks, calendar.planned_down, calendar.closed,
        calendar.exceptions,
    )  # fmt: skip
    dates = tuple(day for exception in calendar.exceptions for day in _dates(exception.first, exception.last))
    if not dates or (topmost and not calendar.always):
        return [own]
    return [replace(own, always=False), CalendarLevel(level, always=calendar.always, closed=dates)]


def written(config: MachineConfig) -> list[tuple[str, Calendar]]:
    """The calendars that `place` would resolve to those of a configuration, lowest level first."""
    found: list[tuple[str, Calendar]] = []
    for level in levels(config):
        if found and found[-1][0] == level.level:  # the second one of a level that has exceptions
            found[-1] = level.level, replace(found[-1][1], always=level.always)
        else:
            one = Calendar(level.always, level.shifts, level.breaks, level.planned_down, level.closed, level.exceptions)
            found.append((level.level, one))
    return found


def shared(site: str, machines: Mapping[str, MachineConfig]) -> tuple[dict[str, MachineConfig], dict[Key, Calendar]]:
    """Machines, and their calendars as they could be written; that of the first machine becomes the site's."""
    placed, calendars = dict(machines), dict[Key, Calendar]()
    if any(config.above or config.calendar_level != "machine" for config in machines.values()):
        for name, config in machines.items():
            names = dict(keys_of(name, config.line, config.area, site, config.enterprise))
            stack = written(config)
            for level, calendar in stack:
                key = level, names.get(level, "")
                inherits = level != stack[-1][0] or (key in calendars and calendars[key].inherit)
                calendars[key] = replace(calendar, inherit=inherits or calendar == ALWAYS)
        return placed, calendars
    own = {name: written(config)[0][1] for name, config in machines.items()}
    base = next(iter(own.values()), ALWAYS)
    if base != ALWAYS:
        calendars["site", site] = base
        placed |= {name: replace(placed[name], calendar_level="site") for name in own if own[name] == base}
    others = {name: replace(one, always=False, inherit=False) for name, one in own.items() if one != base}
    return placed, calendars | {("machine", name): one for name, one in others.items()}
