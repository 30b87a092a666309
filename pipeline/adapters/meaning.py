"""What item values mean over time: states from several items, parts from the end of cycles, active conditions."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container
from collections.abc import Mapping as Map

from pipeline.core.model import StateChange
from pipeline.limits import MAX_TEXT
from pipeline.mapping import CycleRule, StateRule

UNAVAILABLE = "UNAVAILABLE"
HISTORY = 2000


def holds(when: Map[str, Container[str]], values: Map[str, str]) -> bool:
    """True when every item has one of its values."""
    return all(item in values and values[item] in wanted for item, wanted in when.items())


def _cut(text: str | None) -> str | None:
    return None if text is None else text[:MAX_TEXT]


class StateFold:
    """Values of items, in any order of time, to state changes.

    A late value is put where it belongs in time, and every state from there on is said again. `set` gives None for a
    value older than the last HISTORY / 2 values, whose place is no longer known.
    """

    def __init__(self, rule: StateRule) -> None:
        self._rule = rule
        self._values: dict[str, str] = {}
        self._times: list[int] = []
        self._history: list[tuple[str, str]] = []
        self._base: dict[str, str] = {}
        self._floor: int | None = None

    def set(self, at: int, item: str, value: str) -> list[StateChange] | None:
        """From `at` on the item has this value: the states that follow from it."""
        if self._floor is not None and at < self._floor:
            return None
        place = bisect_right(self._times, at)
        self._times.insert(place, at)
        self._history.insert(place, (item, value))
        if place == len(self._history) - 1:
            self._values[item] = value
            changes = self._changes(at, {})
        else:
            changes = self._again(at)
        if len(self._times) > HISTORY:
            self._trim()
        return changes

    def _changes(self, at: int, said: dict[int, StateChange]) -> list[StateChange]:
        state = self.state(self._values, at)
        if state is not None:
            said[at] = state
        return list(said.values())

    def _again(self, at: int) -> list[StateChange]:
        self._values = dict(self._base)
        said: dict[int, StateChange] = {}
        for when, (item, value) in zip(self._times, self._history, strict=True):
            self._values[item] = value
            if when >= at:
                self._changes(when, said)
        return list(said.values())

    def _trim(self) -> None:
        half = HISTORY // 2
        self._base.update(self._history[:half])
        self._floor = self._times[half - 1]
        del self._times[:half], self._history[:half]

    def state(self, values: Map[str, str], at: int) -> StateChange | None:
        """The state that these values mean; None before anything decides."""
        value = values.get(self._rule.item)
        for override in self._rule.overrides:
            if holds(override.when, values):
                return StateChange(at, override.state, _cut(value) if override.reason is None else override.reason)
        if value is None:
            return None
        return StateChange(at, self._rule.values.get(value, "unknown"), _cut(value))


class CycleFold:
    """Values of the cycle's item, in order of time, to finished parts."""

    def __init__(self, rule: CycleRule) -> None:
        self._rule = rule
        self._value = ""
        self._since: int | None = None
        self._open = False
        self._ran = 0

    def set(self, at: int, value: str, others: Map[str, str]) -> bool:
        """True when the value ends a cycle that made a part; values older than the last one are passed over."""
        rule = self._rule
        if self._since is not None and at < self._since:
            return False
        if self._value in rule.running and self._since is not None:
            self._ran += at - self._since
        before, self._value, self._since = self._value, value, at
        if value in rule.running:
            if not self._open:
                self._open, self._ran = True, 0
            return False
        if value in rule.hold or value in rule.through:
            return False
        made = (
            self._open
            and value in rule.end
            and before not in rule.through
            and self._ran >= rule.min_running_ms
            and holds(rule.when, others)
            and not (rule.unless and any(others.get(item) in words for item, words in rule.unless.items()))
        )
        self._open = False
        return made


class Conditions:
    """Active codes per condition item; the item's level as a whole is its worst active one."""

    ORDER = ("Normal", "Warning", "Fault")

    def __init__(self) -> None:
        self._active: dict[str, dict[str, str]] = {}
        self._raised: set[str] = set()

    def set(self, item: str, level: str, code: str) -> tuple[str, bool]:
        """Takes one report (a Normal without code clears all); gives the item's level, and whether it is news.

        A Normal is news only when it ends something: controls say Normal of everything whenever they connect.
        """
        active = self._active.setdefault(item, {})
        news = True
        if level == "Normal" and code:
            news = active.pop(code, None) is not None
            if not active:
                self._raised.discard(item)
        elif level == "Normal":
            news = item in self._raised
            self._raised.discard(item)
            active.clear()
        elif level == "Unavailable":
            active.clear()
            return level, True
        else:
            active[code] = level
            self._raised.add(item)
        return max(active.values(), key=self.ORDER.index, default="Normal"), news
