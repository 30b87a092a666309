"""What a simulated machine says of itself, and the log of it that the truth is computed from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from pipeline.core.model import Context, CountReading, MachineEvent, StateChange
from pipeline.core.plant_layout import MachineDesign, Order

FAR = 1 << 60


class Made(NamedTuple):
    """Parts that a report stands for, at the instant of the report, as far as the machine tells them apart."""

    at: int
    total: int
    good: int
    reject: int
    rework: int


@dataclass(slots=True)
class MachineLog:
    """Everything that the machine reported: the ground of the truth. Times in ms, ascending.

    `silences`: (last message before, first message after) of every silence longer than the machine's stale_after.
    """

    states: list[StateChange] = field(default_factory=list)
    contexts: list[Context] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)
    silences: list[tuple[int, int]] = field(default_factory=list)
    resets: list[int] = field(default_factory=list)
    first_message: int | None = None
    last_message: int | None = None


@dataclass(slots=True)
class Said:
    """Entries not yet framed, each list in order of `at`."""

    states: list[StateChange] = field(default_factory=list)
    counts: list[CountReading] = field(default_factory=list)
    contexts: list[Context] = field(default_factory=list)
    events: list[MachineEvent] = field(default_factory=list)


class Reporter:
    """Turns what happens at a machine into entries, in order of time; `settle(until)` makes all before `until` final.

    `mutes` are spans without end in which nothing is said; when one is over, the state and the parts made meanwhile
    are. `resets`, without end, are instants at which the control loses its counters.
    """

    def __init__(
        self, design: MachineDesign, log: MachineLog | None, mutes: Iterator[tuple[int, int]], resets: Iterator[int]
    ) -> None:
        self.said = Said()
        self._design = design
        self._log = log
        self._modulus = design.config.counter_modulus
        self._state: tuple[int, str, str | None] | None = None  # the newest state, still replaceable at its instant
        self._told_state = ""
        self._context: Context | None = None
        self._new = [0, 0, 0, 0]  # total, good, reject, rework since the last reading
        self._counters = dict.fromkeys(design.reporting.counters, design.counter_start)
        self._due = FAR
        self._mutes, self._resets = mutes, resets
        self._mute, self._reset = next(mutes), next(resets)

    def forget(self) -> None:
        """Logs nothing any more."""
        self._log = None

    def take(self, until: int) -> Said:
        """What was said before `until`; later entries stay."""
        said, self.said = self.said, Said()
        for which in ("states", "counts", "contexts", "events"):
            entries = getattr(said, which)
            cut = len(entries)
            while cut and entries[cut - 1].at >= until:
                cut -= 1
            getattr(self.said, which).extend(entries[cut:])
            del entries[cut:]
        return said

    def connect(self, at: int, state: str, order: Order) -> None:
        """First words of the machine: product, state, counters."""
        self.order(at, order)
        self.state(at, state)
        self._read(at)

    def state(self, at: int, state: str, reason: str | None = None) -> None:
        self.settle(at)
        self._state = (at, state, reason)

    def order(self, at: int, order: Order) -> None:
        self.settle(at)
        self._context = Context(at, order.product.name, order.name, f"{order.product.name}.nc")
        if not self._muted(at):
            self._tell_context(at)

    def event(self, event: MachineEvent) -> None:
        self.settle(event.at)
        if not self._muted(event.at):
            self.said.events.append(event)

    def part(self, at: int, good: bool, rework: bool) -> None:
        self.settle(at)
        for index, count in enumerate((1, int(good), int(not good), int(rework))):
            self._new[index] += count
        period = self._design.reporting.period_ms
        if period == 0:
            self._due = at
        elif self._due == FAR:
            self._due = at // period * period + period

    def settle(self, until: int) -> None:
        """Says everything whose time came before `until`."""
        while True:
            at = min(self._mute[1], self._reset, self._due)
            if at >= until:
                break
            self._tell_state(at + 1)
            if at == self._mute[1]:
                self._unmute(at)
            elif at == self._reset:
                self._lose_counters(at)
            else:
                self._due = FAR
                self._read(at)
        self._tell_state(until)

    def _tell_state(self, until: int) -> None:
        if self._state is None or self._state[0] >= until or self._muted(self._state[0]):
            return
        at, state, reason = self._state
        self._state = None
        if state == self._told_state:
            return
        self._told_state = state
        change = StateChange(at, state, reason)
        self.said.states.append(change)
        if self._log is not None:
            self._log.states.append(change)

    def _tell_context(self, at: int) -> None:
        assert self._context is not None
        context = self._context._replace(at=at)
        self.said.contexts.append(context)
        if self._log is not None:
            self._log.contexts.append(context)

    def _unmute(self, at: int) -> None:
        start, _ = self._mute
        self._mute = next(self._mutes)
        if self._context is not None and self._context.at > start:
            self._tell_context(at)
        if self._state is not None:
            self._state = (at, *self._state[1:])
            self._tell_state(at + 1)
        else:  # a gateway that is back tells the state again
            again = StateChange(at, self._told_state)
            self.said.states.append(again)
            if self._log is not None:
                self._log.states.append(again)
        if self._due <= at:
            self._due = FAR
            self._read(at)

    def _lose_counters(self, at: int) -> None:
        self._reset = next(self._resets)
        high = self._modulus is not None and max(self._counters.values()) > 0.85 * self._modulus
        if not self._design.reporting.cumulative or high or self._muted(at) or self._muted(at + 1):
            return
        self._due = FAR
        self._read(at)
        self._counters = dict.fromkeys(self._counters, 0)
        self._read(at + 1)
        if self._log is not None:
            self._log.resets.append(at + 1)

    def _read(self, at: int) -> None:
        if self._muted(at):
            self._due = self._mute[1]
            return
        total, good, reject, rework = self._new
        self._new = [0, 0, 0, 0]
        made = {"total": total, "good": good, "reject": reject, "rework": rework}
        told: dict[str, int] = {}
        for name in self._design.reporting.counters:
            told[name] = made[name]
            if self._design.reporting.cumulative:
                self._counters[name] += made[name]
                if self._modulus is not None:
                    self._counters[name] %= self._modulus
                told[name] = self._counters[name]
        self.said.counts.append(CountReading(at, self._design.reporting.cumulative, **told))
        if self._log is not None and total:
            self._log.made.append(_as_told(at, made, self._design.reporting.counters))

    def _muted(self, at: int) -> bool:
        return self._mute[0] < at < self._mute[1]


def _as_told(at: int, made: dict[str, int], counters: tuple[str, ...]) -> Made:
    """What follows from the counters that the machine has: with only one of them every part counts as good."""
    rework = made["rework"] if "rework" in counters else 0
    told = {"total", "good", "reject"} & set(counters)
    if len(told) >= 2:
        return Made(at, made["total"], made["good"], made["reject"], rework)
    only = made[next(iter(told))]
    return Made(at, only, only, 0, rework)
