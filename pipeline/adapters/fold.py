"""Items and their values, as a mapping file understands them, into frames: what every item-based adapter shares."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from pipeline.adapters import Tally
from pipeline.adapters.cutter import Cutter
from pipeline.adapters.meaning import UNAVAILABLE, Conditions, CycleFold, StateFold
from pipeline.core.admission import MOST_READ
from pipeline.core.model import Context, CountReading, Frame, MachineEvent
from pipeline.limits import MAX_TEXT
from pipeline.mapping import Mapping

LEVELS = {"normal": "Normal", "warning": "Warning", "fault": "Fault", "unavailable": "Unavailable"}
ALARMS = ("Warning", "Fault")
LONGEST_TEXT = MAX_TEXT  # what is longer is cut


class Entry(NamedTuple):
    """One item with its value; for conditions level, code, qualifier and text, for messages code and text."""

    line: int
    at: int
    item: str
    value: str
    rest: tuple[str, ...] = ()


class MachineFold:
    """Folds the entries of one machine and source, in order of arrival, into numbered frames.

    `entry` gives the reason where an entry cannot be used. `opening` folds values that the source already held.
    """

    def __init__(self, mapping: Mapping, source: str, units: dict[str, str], tally: Tally) -> None:
        self._map, self._tally = mapping, tally
        self._cut = Cutter(mapping.machine, source, units)
        self._state = StateFold(mapping.state) if mapping.state else None
        self._cycle = CycleFold(mapping.cycle) if mapping.cycle else None
        self._conditions = Conditions()
        self._values: dict[str, str] = {}
        self._said: dict[str, str] = {}
        self._opening = False
        roles = (mapping.watched, mapping.remembered, mapping.counters, mapping.context, mapping.messages)
        self._special = frozenset[str]().union(*roles, mapping.conditions)
        self.known = self._special | mapping.signals.keys()
        self._plain = {
            item: (signal.names[0], signal.scale)
            for item, signal in mapping.signals.items()
            if len(signal.names) == 1 and item not in self._special
        }

    def begin(self, epoch: int) -> None:
        """When the source began to count, in ms; before its first frame."""
        self._cut.epoch = epoch

    def room(self, at: int) -> Frame | None:
        """To be called before an entry: the frame that it no longer fits into."""
        return self._counted(self._cut.room(at))

    def close(self) -> Frame | None:
        """The frame that is still open, None when it holds nothing."""
        return self._counted(self._cut.close())

    def opening(self, head: Iterable[Entry]) -> tuple[Frame | None, list[tuple[Entry, str]]]:
        """One frame of what these old values come to, however old and disordered, and what could not be used."""
        refused = []
        self._opening = True
        newest = 0
        for entry in sorted(head, key=lambda entry: entry.at):
            newest = entry.at
            if reason := self.entry(entry):
                refused.append((entry, reason))
        self._opening = False
        cut = self._cut
        cut.newest = newest
        if cut.states:
            cut.states = dict([max(cut.states.items())])
        if cut.contexts:
            said = [context._asdict() for context in cut.contexts]
            merged = {kind: value for one in said for kind, value in one.items() if value is not None}
            cut.contexts = [Context(**merged)]
        cut.samples = {name: (instants[-1:], numbers[-1:]) for name, (instants, numbers) in cut.samples.items()}
        frame = self._counted(cut.close(opening=True))
        self._tally.opening += frame is not None
        return frame, refused

    def entry(self, entry: Entry) -> str | None:
        """Takes one entry; the reason when it cannot be used."""
        reason = None
        plain = self._plain.get(entry.item)
        if plain is not None:
            try:
                if entry.value != UNAVAILABLE:
                    self._sample(plain[0], entry.at, number(entry.value) * plain[1])
            except ValueError:
                reason = "no number"
        else:
            if entry.item in self._map.signals and entry.value != UNAVAILABLE:
                reason = self._samples(entry)
            if entry.item in self._special:
                reason = self._meaning(entry) or reason
        if reason is None:
            self._tally.used[entry.item] += 1
        else:
            self._tally.refused[reason] += 1
        return reason

    def _sample(self, name: str, at: int, value: float) -> None:
        column = self._cut.samples.get(name)
        if column is None:
            column = self._cut.samples[name] = ([], [])
        column[0].append(at)
        column[1].append(value)

    def _samples(self, entry: Entry) -> str | None:
        signal = self._map.signals[entry.item]
        texts = entry.value.split() if len(signal.names) > 1 else [entry.value]
        try:
            numbers = [number(text) * signal.scale for text in texts]
        except ValueError:
            numbers = []
        if len(numbers) != len(signal.names):
            return "no number" if len(signal.names) == 1 else f"not {len(signal.names)} numbers"
        for name, value in zip(signal.names, numbers, strict=True):
            self._sample(name, entry.at, value)
        return None

    def _counted(self, frame: Frame | None) -> Frame | None:
        if frame is not None:
            tally = self._tally
            tally.frames += 1
            tally.states += len(frame.states)
            tally.parts += sum(reading.total or 0 for reading in frame.counts if not reading.cumulative)
            tally.contexts += len(frame.contexts)
            tally.events += len(frame.events)
            tally.samples += sum(block.values.size for block in frame.signals)
        return frame

    def _meaning(self, entry: Entry) -> str | None:
        _, at, item, value, rest = entry
        mapping = self._map
        reason = None
        if item in mapping.conditions:
            level = LEVELS.get(value.lower())
            if level is None:
                return "unknown level of a condition"
            value = self._condition(at, item, level, rest)
        elif item in mapping.messages and value not in ("", UNAVAILABLE):
            text = " ".join(part for part in (value, *rest[1:]) if part)
            self._event(at, "message", mapping.messages[item], rest[0] if rest else item, text)
        if item in mapping.context and value != UNAVAILABLE:
            self._context(at, item, value)
        if item in mapping.counters and value != UNAVAILABLE:
            reason = self._counter(at, mapping.counters[item], value)
        self._values[item] = value
        if self._state is not None and item in mapping.watched:
            reason = self._follow(at, item, value) or reason
        if self._cycle is not None and mapping.cycle is not None and item == mapping.cycle.item:
            made = self._cycle.set(at, value, self._values)
            if made and not self._opening:
                self._cut.counts.append(CountReading(at, False, total=1))
        return reason

    def _follow(self, at: int, item: str, value: str) -> str | None:
        assert self._state is not None
        assert self._map.state is not None
        changes = self._state.set(at, item, value)
        if changes is None:
            return "too old to be put among the states"
        for change in changes:
            self._cut.states[change.at] = change
        if item == self._map.state.item and value != UNAVAILABLE and value not in self._map.state.values:
            return "value not in the mapping's state.values (the state is unknown)"
        return None

    def _condition(self, at: int, item: str, level: str, rest: tuple[str, ...]) -> str:
        code, _, qualifier, text = (*rest, "", "", "", "")[:4]
        severity = self._map.severities.get(level)
        worst, news = self._conditions.set(item, level, code)
        if severity is not None and news and not (self._opening and level not in ALARMS):
            text = f"{text.strip()} ({qualifier})" if qualifier else text.strip()
            self._event(at, "condition", severity, f"{item}/{code}" if code else item, text)
        return worst

    def _event(self, at: int, kind: str, severity: str, code: str, text: str) -> None:
        self._cut.events.append(MachineEvent(at, kind, severity, code[:LONGEST_TEXT], text[:LONGEST_TEXT]))

    def _context(self, at: int, item: str, value: str) -> None:
        if self._said.get(item) == value:
            return
        self._said[item] = value
        said: dict[str, Any] = dict.fromkeys(self._map.context[item], value[:LONGEST_TEXT])
        contexts = self._cut.contexts
        if contexts and contexts[-1].at == at:
            contexts[-1] = contexts[-1]._replace(**said)
        else:
            contexts.append(Context(at, **said))

    def _counter(self, at: int, kind: str, value: str) -> str | None:
        try:
            count = int(number(value))
        except ValueError:
            return "no number"
        if count < 0:
            return "a counter below 0"
        if count > MOST_READ:
            return f"a counter above {MOST_READ:,}"
        counts = self._cut.counts
        said: dict[str, Any] = {kind: count}
        if counts and counts[-1].cumulative and (counts[-1].at == at or self._opening):
            counts[-1] = counts[-1]._replace(at=at, **said)
        else:
            counts.append(CountReading(at, True, **said))
        return None


def number(text: str) -> float:
    """The finite number that is written. Raises ValueError."""
    value = float(text)
    if value - value != 0 or "_" in text:
        raise ValueError(text)
    return value
