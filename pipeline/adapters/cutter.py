"""What was read of one file to numbered frames, cut by event time and size only, so that numbers are identities."""

from __future__ import annotations

import numpy as np

from pipeline.core.model import Context, CountReading, Frame, MachineEvent, SignalBlock, StateChange

FRAME_MS = 10_000  # fixed, not settings: a file's frames must have the same content under the same number every time
FRAME_ENTRIES = 2_000


class Cutter:
    """Gathers entries of one machine and file.

    `room(at)` comes before the entries of an instant and gives the frame that they no longer fit into; the caller
    then adds to the public lists. `samples` is signal -> (instants, values), `units` signal -> unit. `epoch` [ms] is
    when the source began to count: with its name and the frame's number the identity of a frame.
    """

    def __init__(self, machine: str, source: str, units: dict[str, str]) -> None:
        self._machine, self._source, self._units = machine, source, units
        self.epoch = 0
        self.sequence = 0
        self._newest_state: StateChange | None = None
        self._clear()

    def _clear(self) -> None:
        self.first = 0
        self.newest = 0
        self.entries = 0
        self.states: dict[int, StateChange] = {}
        self.counts: list[CountReading] = []
        self.contexts: list[Context] = []
        self.events: list[MachineEvent] = []
        self.samples: dict[str, tuple[list[int], list[float]]] = {}

    def room(self, at: int) -> Frame | None:
        """Opens the frame for `at`: the frame before, when `at` is too far from its first instant or it is full."""
        closed = None
        if self.entries and (abs(at - self.first) >= FRAME_MS or self.entries >= FRAME_ENTRIES):
            closed = self.close()
        if not self.entries:
            self.first = self.newest = at
        elif at > self.newest:
            self.newest = at
        self.entries += 1
        return closed

    def close(self, opening: bool = False) -> Frame | None:
        """The open frame, None when nothing is in it."""
        states = self._states()
        blocks = self._blocks()
        frame = None
        if states or self.counts or self.contexts or self.events or blocks:
            frame = Frame(
                self._machine, self._source, self.epoch, self.sequence, self.newest, opening, states,
                sorted(self.counts, key=_at), sorted(self.contexts, key=_at), sorted(self.events, key=_at), blocks,
            )  # fmt: skip
            self.sequence += 1
        self._clear()
        return frame

    def _states(self) -> list[StateChange]:
        """States in order of time, without those newer than any said before that only repeat the newest."""
        kept = []
        for at in sorted(self.states):
            change, newest = self.states[at], self._newest_state
            if newest is None or at <= newest.at or (change.state, change.reason) != (newest.state, newest.reason):
                kept.append(change)
                if newest is None or at >= newest.at:
                    self._newest_state = change
        return kept

    def _blocks(self) -> list[SignalBlock]:
        """One block per set of signals with the same instants; a signal said twice at one instant keeps the last."""
        groups: dict[bytes, tuple[np.ndarray, list[str], list[np.ndarray]]] = {}
        for name, (instants, numbers) in self.samples.items():
            at, values = np.array(instants, np.int64), np.array(numbers, np.float64)
            if len(at) > 1 and not (at[1:] > at[:-1]).all():
                order = np.argsort(at, kind="stable")
                at, values = at[order], values[order]
                last = np.append(at[1:] > at[:-1], True)
                at, values = at[last], values[last]
            _, names, columns = groups.setdefault(at.tobytes(), (at, [], []))
            names.append(name)
            columns.append(values)
        return [
            SignalBlock(at, names, np.array(columns), [self._units.get(name, "") for name in names])
            for at, names, columns in groups.values()
        ]


def _at(entry: CountReading | Context | MachineEvent) -> int:
    return entry.at
