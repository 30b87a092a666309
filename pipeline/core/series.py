"""Values in order of event time: states, products, counter readings, signs of life; late ones find their place."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pipeline.core.model import Correction

Key = tuple[int, str, int, int, int]  # at, source, epoch, sequence, place in the frame: at one instant the last wins
STOP_STATES = frozenset({"stopped", "fault"})


class Run(NamedTuple):
    """The machine's state from `start` until the next run. `stop` is the logical stop it belongs to."""

    start: int
    state: str
    reason: str
    corrected: bool
    stop: Stop | None


class Stop(NamedTuple):
    """`stopped` and `fault` without another state between; `end` is None while it lasts."""

    start: int
    end: int | None


class Series:
    """Values that hold until the next one, ordered by key; at one instant the highest key wins."""

    __slots__ = ("keys", "values")

    def __init__(self) -> None:
        self.keys: list[Key] = []
        self.values: list[str] = []

    def insert(self, key: Key, value: str) -> None:
        if not self.keys or key > self.keys[-1]:
            self.keys.append(key)
            self.values.append(value)
            return
        place = bisect_left(self.keys, key)
        if place < len(self.keys) and self.keys[place] == key:
            self.values[place] = value
        else:
            self.keys.insert(place, key)
            self.values.insert(place, value)

    def at(self, at: int) -> str:
        """The value in force at an instant; empty before the first one."""
        place = bisect_right(self.keys, (at + 1,)) - 1
        return self.values[place] if place >= 0 else ""

    def changes(self, start: int, end: int) -> list[int]:
        """Instants in (start, end) at which a value was said."""
        keys = self.keys
        return [key[0] for key in keys[bisect_left(keys, (start + 1,)) : bisect_left(keys, (end,))]]

    def prune(self, horizon: int) -> None:
        """Forget what was overtaken before the horizon."""
        keep = bisect_right(self.keys, (horizon + 1,)) - 1
        if keep > 0:
            del self.keys[:keep], self.values[:keep]

    def pack(self) -> list[Any]:
        return [[list(key) for key in self.keys], self.values]

    @classmethod
    def unpack(cls, packed: list[Any]) -> Series:
        series = cls()
        series.keys = [(key[0], key[1], key[2], key[3], key[4]) for key in packed[0]]
        series.values = list(packed[1])
        return series


class Heard:
    """Instants of messages as stretches [first, last] within which no gap was longer than allowed."""

    __slots__ = ("first", "last")

    def __init__(self) -> None:
        self.first: list[int] = []
        self.last: list[int] = []

    def add(self, first: int, last: int, gap: int | None) -> None:
        """Messages from `first` to `last` without a gap longer than `gap` ms between them (None: any gap)."""
        reach = gap if gap is not None else 1 << 62
        low = bisect_left(self.last, first - reach)
        high = bisect_right(self.first, last + reach)
        if low < high:
            first, last = min(first, self.first[low]), max(last, self.last[high - 1])
        self.first[low:high] = [first]
        self.last[low:high] = [last]

    def silences(self, start: int, end: int, stale_after: int) -> list[tuple[int, int]]:
        """Stretches of [start, end) that are further than `stale_after` ms from the message before them."""
        found = []
        place = max(bisect_right(self.first, start) - 1, 0)
        silent_from = start
        while place < len(self.first) and silent_from < end:
            if self.first[place] > silent_from:
                found.append((silent_from, min(self.first[place], end)))
            silent_from = max(start, self.last[place] + stale_after)
            place += 1
        if silent_from < end:
            found.append((silent_from, end))
        return found

    def looks(self, after: int, until: int) -> list[tuple[int, int]]:
        """(now, last message by now): at each end of a silence in (after, until], before and after the message that
        ends it, and at `until` itself."""
        low, high = bisect_right(self.first, after), bisect_right(self.first, until)
        found = []
        for place in range(max(low, 1), high):
            now = self.first[place]
            found += [(now, self.last[place - 1]), (now, now)]
        return [*found, (until, min(self.last[high - 1], until))] if high else []

    def prune(self, horizon: int) -> None:
        keep = bisect_right(self.first, horizon) - 1
        if keep > 0:
            del self.first[:keep], self.last[:keep]


def runs_of(states: Series, reasons: dict[Key, str], corrections: Sequence[Correction], first: int = 0) -> list[Run]:
    """States, from the one at place `first` on, with corrections laid over them in their order, equal neighbours
    merged, stops recognised."""
    said: list[tuple[int, str, str, bool]] = []
    for key, state in zip(states.keys[first:], states.values[first:], strict=True):
        if said and said[-1][0] == key[0]:
            said.pop()  # the same instant: the higher key wins
        said.append((key[0], state, reasons.get(key, ""), False))
    for correction in corrections:
        if correction.state or correction.reason is not None:
            said = _lay_over(said, correction)
    return _with_stops(said)


def _lay_over(said: list[tuple[int, str, str, bool]], correction: Correction) -> list[tuple[int, str, str, bool]]:
    """A state in [start, end), or another reason for the states that are there."""
    before = [entry for entry in said if entry[0] <= correction.start]
    resumed = [entry for entry in said if entry[0] <= correction.end]
    within = [(correction.start, *(before[-1][1:] if before else ("unknown", "", False)))]
    within += [entry for entry in said if correction.start < entry[0] < correction.end]
    if correction.state:
        within = [(correction.start, correction.state, correction.reason or "", True)]
    elif correction.reason is not None:
        within = [(at, state, correction.reason, sure) for at, state, _, sure in within]
    return [
        *(entry for entry in said if entry[0] < correction.start),
        *within,
        (correction.end, *(resumed[-1][1:] if resumed else ("unknown", "", False))),
        *(entry for entry in said if entry[0] > correction.end),
    ]


def _with_stops(said: list[tuple[int, str, str, bool]]) -> list[Run]:
    merged: list[tuple[int, str, str, bool]] = []
    for entry in said:
        if not merged or merged[-1][1:] != entry[1:]:
            merged.append(entry)
    runs: list[Run] = []
    place = 0
    while place < len(merged):
        start, state, reason, corrected = merged[place]
        if state not in STOP_STATES:
            runs.append(Run(start, state, reason, corrected, None))
            place += 1
            continue
        after = place
        while after < len(merged) and merged[after][1] in STOP_STATES:
            after += 1
        stop = Stop(start, merged[after][0] if after < len(merged) else None)
        runs.extend(Run(*entry, stop) for entry in merged[place:after])
        place = after
    return runs


class Readings:
    """Counts of one counter: cumulative readings (the larger wins at one instant) and parts reported as deltas."""

    __slots__ = ("at", "deltas", "values")

    def __init__(self) -> None:
        self.at: list[int] = []
        self.values: list[int] = []
        self.deltas: list[tuple[Key, int]] = []

    def read(self, at: int, value: int) -> None:
        place = bisect_left(self.at, at)
        if place < len(self.at) and self.at[place] == at:
            self.values[place] = max(self.values[place], value)
        else:
            self.at.insert(place, at)
            self.values.insert(place, value)

    def report(self, key: Key, made: int) -> None:
        insort(self.deltas, (key, made))

    def parts(self, start: int, end: int, modulus: Callable[[int], int | None]) -> list[tuple[int, int, bool]]:
        """(instant, parts, whether the counter was reset) for what was said in [start, end)."""
        if not self.at and not self.deltas:
            return []
        found = []
        for place in range(bisect_left(self.at, start), bisect_left(self.at, end)):
            before = self.values[place - 1] if place else self.values[place]
            at, value = self.at[place], self.values[place]
            made, reset = counted(before, value, modulus(at)) if value < before else (value - before, False)
            found.append((at, made, reset))
        low, high = bisect_left(self.deltas, ((start,),)), bisect_left(self.deltas, ((end,),))
        found.extend((key[0], made, False) for key, made in self.deltas[low:high])
        return found

    def before(self, at: int) -> list[int]:
        """Newest instants before `at`: of a reading, of a report."""
        read, reported = bisect_left(self.at, at), bisect_left(self.deltas, ((at,),))
        return self.at[max(read - 1, 0) : read] + [key[0] for key, _ in self.deltas[max(reported - 1, 0) : reported]]

    def since(self, at: int) -> list[int]:
        """First instants from `at` on: of a reading, of a report."""
        read, reported = bisect_left(self.at, at), bisect_left(self.deltas, ((at,),))
        return self.at[read : read + 1] + [key[0] for key, _ in self.deltas[reported : reported + 1]]

    def prune(self, horizon: int) -> None:
        keep = bisect_right(self.at, horizon) - 1
        if keep > 0:
            del self.at[:keep], self.values[:keep]
        del self.deltas[: bisect_left(self.deltas, ((horizon,),))]

    def pack(self) -> list[Any]:
        return [self.at, self.values, [[*key, made] for key, made in self.deltas]]

    @classmethod
    def unpack(cls, packed: list[Any]) -> Readings:
        readings = cls()
        readings.at, readings.values = list(packed[0]), list(packed[1])
        readings.deltas = [((row[0], row[1], row[2], row[3], row[4]), row[5]) for row in packed[2]]
        return readings


def counted(before: int, value: int, modulus: int | None) -> tuple[int, bool]:
    """Parts made between two readings, and whether the counter was reset (oee.md, section 4, counters).

    >>> counted(65534, 3, 65536), counted(65534, 3, None), counted(10, 12, None)
    ((5, False), (3, True), (2, False))
    """
    if value >= before:
        return value - before, False
    if modulus is not None and before * 10 > modulus * 9 and value * 10 < modulus:
        return value + modulus - before, False
    return value, True
