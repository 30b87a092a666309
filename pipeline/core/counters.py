"""Parts from counters and reports: deltas, two of three, what was never said (oee.md, section 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from pipeline.core.model import CountReading
from pipeline.core.series import Key, Readings

COUNTERS = ("total", "good", "reject", "rework")
RESET, NO_QUALITY, DISAGREE = "counter_reset", "no_quality_signal", "counts_disagree"


class Parts(NamedTuple):
    """Parts made at one instant, and what is to be said about them."""

    at: int
    total: int
    good: int
    reject: int
    rework: int
    flags: tuple[str, ...]

    def times(self, units: int) -> Parts:
        """The same with so many parts per count."""
        return Parts(
            self.at, self.total * units, self.good * units, self.reject * units, self.rework * units, self.flags
        )


class Counts:
    """All counters of one machine, in order of event time."""

    __slots__ = ("readings", "since")

    def __init__(self) -> None:
        self.readings: dict[str, Readings] = {name: Readings() for name in COUNTERS}
        self.since: dict[str, int] = {}  # counter -> the first instant at which the machine spoke of it

    def insert(self, key: Key, reading: CountReading) -> None:
        for name in COUNTERS:
            value = getattr(reading, name)
            if value is None:
                continue
            self.since[name] = min(self.since.get(name, reading.at), reading.at)
            if reading.cumulative:
                self.readings[name].read(reading.at, value)
            else:
                self.readings[name].report(key, value)

    def between(self, start: int, end: int, modulus: Callable[[int], int | None]) -> list[Parts]:
        """Parts of [start, end) by instant. `modulus`: where the counters roll over, at an instant."""
        made: dict[int, dict[str, int]] = {}
        resets: set[int] = set()
        for name, readings in self.readings.items():
            for at, count, reset in readings.parts(start, end, modulus):
                at_once = made.setdefault(at, {})
                at_once[name] = at_once.get(name, 0) + count
                if reset:
                    resets.add(at)
        return [self._parts(at, made[at], at in resets) for at in sorted(made)]

    def before(self, at: int) -> int | None:
        """The newest instant before `at` for which anything was read or reported; None: there is none."""
        return max((found for readings in self.readings.values() for found in readings.before(at)), default=None)

    def following(self, at: int) -> int | None:
        """The first instant from `at` on for which anything was read or reported; None: there is none."""
        return min((found for readings in self.readings.values() for found in readings.since(at)), default=None)

    def _parts(self, at: int, made: Mapping[str, int], reset: bool) -> Parts:
        total, good, reject, flags = resolve(made, [name for name, since in self.since.items() if since <= at])
        return Parts(at, total, good, reject, made.get("rework", 0), (RESET, *flags) if reset else flags)

    def prune(self, horizon: int) -> None:
        for readings in self.readings.values():
            readings.prune(horizon)

    def pack(self) -> list[Any]:
        return [{name: readings.pack() for name, readings in self.readings.items()}, self.since]

    @classmethod
    def unpack(cls, packed: list[Any]) -> Counts:
        counts = cls()
        counts.readings = {name: Readings.unpack(readings) for name, readings in packed[0].items()}
        counts.since = dict(packed[1])
        return counts


def resolve(made: Mapping[str, int], known: Iterable[str]) -> tuple[int, int, int, tuple[str, ...]]:
    """(total, good, reject, flags) of what was said at one instant by a machine that reports the `known` counters.

    Two of three give the third; a machine that counts only total, or only good, makes good parts and is flagged.

    >>> resolve({"total": 5, "reject": 1}, ["total", "reject"]), resolve({"total": 5}, ["total"])
    ((5, 4, 1, ()), (5, 5, 0, ('no_quality_signal',)))
    """
    said = {name for name in made if name != "rework"}
    names = said if len(said) > 1 else said | set(known)
    total, good, reject = made.get("total", 0), made.get("good", 0), made.get("reject", 0)
    if "total" in names and "good" in names:
        disagree = len(said) == 3 and total - good != reject
        return total, good, total - good, (DISAGREE,) if disagree else ()
    if "total" in names and "reject" in names:
        return total, total - reject, reject, ()
    if "reject" in names:
        return good + reject, good, reject, ()
    if not said:
        return 0, 0, 0, ()
    return total or good, total or good, 0, (NO_QUALITY,)
