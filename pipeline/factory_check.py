"""What `openoee factory check` says of a file without mistakes: lines, holidays, and where calendars meet."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.factory import Factory
from pipeline.factory_holidays import Holidays
from pipeline.factory_levels import Key, keys_of

NEXT = 3
NAMED = 5
SHORTEST_US, LONGEST_US = 10_000, 3_600_000_000  # ideal cycle times beyond are rarely meant


def describe(factory: Factory, today: str) -> Iterator[str]:
    """Lines for a person; `today` is the local date (YYYY-MM-DD) of the site."""
    yield f"site {factory.site}, {factory.timezone}, {len(factory.machines)} machines"
    for line in factory.lines.values():
        yield f"  line {line.name}: {' -> '.join(' | '.join(station) for station in line.stations)}"
    if single := [name for name, config in factory.machines.items() if not config.line]:
        yield f"  on no line: {', '.join(single)}"
    if without := [name for name, config in factory.machines.items() if not config.ideal_cycle_us]:
        yield f"  without an ideal cycle time, so without performance and OEE: {', '.join(without)}"
    if odd := list(_odd_cycles(factory)):
        more = f" and {len(odd) - NAMED} more" if len(odd) > NAMED else ""
        yield f"  ideal cycle times that are unusual, are they in seconds? {', '.join(odd[:NAMED])}{more}"
    if factory.reasons:
        free = sum(not reason.loss for reason in factory.reasons)
        yield f"  reasons: {len(factory.reasons)}, {free} of them without a loss"
    yield from _holidays(factory, today)
    yield from _meetings(factory)


def _odd_cycles(factory: Factory) -> Iterator[str]:
    for name, config in factory.machines.items():
        for product, us in config.ideal_cycle_us.items():
            if not SHORTEST_US <= us <= LONGEST_US:
                yield f"{name} {us / 1_000_000:g} s" + (f" for {product}" if product != "*" else "")


def _holidays(factory: Factory, today: str) -> Iterator[str]:
    places: dict[Holidays, list[Key]] = {}
    for key, calendar in factory.calendars.items():
        if calendar.holidays:
            places.setdefault(calendar.holidays, []).append(key)
    for holidays, keys in places.items():
        coming = [f"{day} {name}" for day, name in holidays if day >= today][:NEXT]
        span = f"{len(holidays)} holidays from {holidays[0][0]} to {holidays[-1][0]}"
        yield f"  {_names(keys)}: {span}; next: {', '.join(coming) or 'none'}"


def _meetings(factory: Factory) -> Iterator[str]:
    """Shifts of one level above which others count too: what follows from it is easily missed."""
    said: dict[str, list[Key]] = {}
    for key, above in _stacks(factory).items():
        calendar = factory.calendars[key]
        if not calendar.shifts or not calendar.inherit:
            continue
        if planned := [one for one in above if factory.calendars[one].plans]:
            words = f"outside its own shifts, what {_names(planned)} plans counts too; `inherit: false` leaves it out"
            said.setdefault(words, []).append(key)
        if closed := [one for one in above if factory.calendars[one].closed]:
            words = f"the closed dates of {_names(closed)} do not close its own shifts; name them here to close those"
            said.setdefault(words, []).append(key)
    for words, keys in said.items():
        yield f"  calendar of {_names(keys)}: {words}"


def _stacks(factory: Factory) -> dict[Key, list[Key]]:
    """Of every calendar: those that lie above it."""
    found: dict[Key, list[Key]] = {}
    for name, config in factory.machines.items():
        keys = keys_of(name, config.line, config.area, config.site, config.enterprise)
        keys = [key for key in keys if key in factory.calendars]
        for at, key in enumerate(keys):
            chain = [factory.calendars[one] for one in keys[at:]]
            end = next((n for n, one in enumerate(chain) if one.always or not one.inherit), len(chain))
            found[key] = keys[at + 1 : at + 1 + end]
    return found


def _names(keys: list[Key]) -> str:
    more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
    return ", ".join(" ".join(key) for key in keys[:NAMED]) + more
