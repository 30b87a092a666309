"""What differs between two factory files, in sentences: of the site, of each machine, of the reasons."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipeline.core.model import MachineConfig, Shift, SignalConfig
from pipeline.factory_calendar import WEEKDAYS
from pipeline.factory_levels import Calendar, Key, dates_words
from pipeline.reasons import Reason

if TYPE_CHECKING:
    from pipeline.factory import Factory

OF_SITE = ("enterprise", "timezone")  # the same for every machine: said once
OF_CALENDAR = ("calendar_level", "always", "shifts", "planned_down", "breaks", "closed", "exceptions", "above")
FEW = 3


def changes(before: Factory | None, after: Factory) -> list[str]:
    """What differs between two factory files, a sentence per machine and key; `before` None: nothing was known."""
    if before is None:
        return [f"{name}: new" for name in after.machines]
    found = [
        f"{name}: gone from the file; what was last said of it stays"
        for name in before.machines
        if name not in after.machines
    ]
    for key in OF_SITE:
        found += _values(f"site {after.site}: {key}", getattr(before, key), getattr(after, key))
    found += _above(before.calendars, after.calendars)
    for name, config in after.machines.items():
        known = before.machines.get(name)
        if known is None:
            found.append(f"{name}: new")
            continue
        found += [f"{name}: {words}" for words in _machine(known, config)]
        own = [factory.calendars.get(("machine", name)) for factory in (before, after)]
        found += [f"{name}: {words}" for words in _calendar(*own)]
    return [*found, *_reasons(before.reasons, after.reasons)]


def _above(before: Mapping[Key, Calendar], after: Mapping[Key, Calendar]) -> Iterator[str]:
    """The calendars of all levels but the machines'."""
    for key in dict.fromkeys((*before, *after)):
        if key[0] != "machine":
            yield from (f"{' '.join(key)}: {words}" for words in _calendar(before.get(key), after.get(key)))


def _machine(before: MachineConfig, after: MachineConfig) -> Iterator[str]:
    for key in (item.name for item in fields(MachineConfig)):
        if key in ("effective", "site", *OF_SITE, *OF_CALENDAR):
            continue
        old, new = getattr(before, key), getattr(after, key)
        if key == "signals":
            yield from _signals(old, new)
        elif isinstance(new, Mapping):
            for name in dict.fromkeys((*old, *new)):
                yield from _values(f"{key}[{name}]", old.get(name), new.get(name))
        else:
            yield from _values(key, old, new)


def _signals(before: Sequence[SignalConfig], after: Sequence[SignalConfig]) -> Iterator[str]:
    old, new = ({signal.name: signal for signal in signals} for signals in (before, after))
    for name in dict.fromkeys((*old, *new)):
        if name not in old or name not in new:
            yield f"signals[{name}]: {'new' if name in new else 'gone'}"
            continue
        for key in (item.name for item in fields(SignalConfig)):
            yield from _values(f"signals[{name}].{key}", getattr(old[name], key), getattr(new[name], key))


def _values(where: str, old: Any, new: Any) -> list[str]:
    return [f"{where}: {_word(old)} -> {_word(new)}"] if old != new else []


def _word(value: Any) -> str:
    return "none" if value is None or value == "" else str(value)


def _calendar(before: Calendar | None, after: Calendar | None) -> Iterator[str]:
    """What differs between two calendars of one level; None: it has none."""
    if before == after:
        return
    if before is None or after is None:
        yield f"calendar: {'gone' if after is None else 'new'}"
    old, new = before or Calendar(), after or Calendar()
    for key in ("always", "inherit"):
        yield from _values(f"calendar: {key}", *("yes" if getattr(one, key) else "no" for one in (old, new)))
    yield from _said("calendar: shifts", _by_name(old.shifts), _by_name(new.shifts))
    yield from _said("calendar: breaks", _by_name(old.breaks), _by_name(new.breaks))
    yield from _dates("planned_down", *(map(_span_words, one.planned_down) for one in (old, new)))
    free = [{day for day, _ in one.holidays} for one in (old, new)]
    yield from _dates("holidays", *free)
    yield from _dates("closed", *(set(one.closed) - days for one, days in zip((old, new), free, strict=True)))
    yield from _said("calendar: exception", _exceptions(old), _exceptions(new))


def _said(where: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    for name in dict.fromkeys((*old, *new)):
        was, now = old.get(name), new.get(name)
        if was is None or now is None:
            yield f"{where} {name} {was or now}: {'new' if was is None else 'gone'}"
        elif was != now:
            yield f"{where} {name} {was} -> {now}"


def _dates(what: str, old: Iterable[str], new: Iterable[str]) -> Iterator[str]:
    """A few dates are named, many are counted."""
    was, now = set(old), set(new)
    for days, word in ((sorted(was - now), "gone"), (sorted(now - was), "new")):
        if len(days) > FEW:
            yield f"calendar: {what}: {len(days)} {word}, from {days[0]} to {days[-1]}"
        elif days:
            yield f"calendar: {what} {', '.join(days)}: {word}"


def _by_name(shifts: Sequence[Shift]) -> dict[str, str]:
    found: dict[str, str] = {}
    for shift in shifts:
        found[shift.name] = f"{found[shift.name]} and {_times(shift)}" if shift.name in found else _times(shift)
    return found


def _times(shift: Shift) -> str:
    days = [WEEKDAYS[day - 1][:3].capitalize() for day in shift.days]
    if len(days) == len(WEEKDAYS):
        return f"{shift.start}-{shift.end}"
    in_a_row = len(days) > 2 and shift.days[-1] - shift.days[0] == len(days) - 1
    return f"{shift.start}-{shift.end} {f'{days[0]}-{days[-1]}' if in_a_row else ' '.join(days)}"


def _span_words(span: tuple[int, int]) -> str:
    start, end = (datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for at in span)
    return f"{start} to {end}"


def _exceptions(calendar: Calendar) -> dict[str, str]:
    found = {}
    for one in calendar.exceptions:
        breaks = [f"break {name} {times}" for name, times in _by_name(one.breaks).items()]
        shifts = [f"{name} {times}" for name, times in _by_name(one.shifts).items()]
        found[dates_words(one)] = ", ".join(shifts + breaks) or "closed"
    return found


def _reasons(before: Sequence[Reason], after: Sequence[Reason]) -> Iterator[str]:
    old, new = ({reason.code: reason for reason in reasons} for reasons in (before, after))
    for code in dict.fromkeys((*old, *new)):
        if code not in old or code not in new:
            yield f"reasons: {code}: {'new' if code in new else 'gone'}"
            continue
        yield from _values(f"reasons: {code}: name", old[code].name, new[code].name)
        yield from _values(f"reasons: {code}: loss", old[code].loss, new[code].loss)
        yield from _values(f"reasons: {code}: place", *(" > ".join(one[code].path) for one in (old, new)))
