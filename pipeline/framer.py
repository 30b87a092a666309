"""Single entries of one machine to numbered frames: N entries or T milliseconds of event time each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from pipeline.core.model import Context, CountReading, Frame, MachineEvent, SignalBlock, StateChange


class Framer:
    """Gathers the entries of one machine and source into numbered frames.

    A frame is closed after `samples` entries, or when an entry lies `span_ms` or more of event time away from its
    first. Every method returns the frames that it closed, often none; `close` gives what is left. `clock` gives the
    time of sending in ms; without it a frame is sent at its newest event time, so that files give equal frames.
    """

    def __init__(
        self,
        machine: str,
        source: str,
        epoch: int = 0,
        *,
        samples: int = 200,
        span_ms: int = 1000,
        sequence: int = 0,
        units: Mapping[str, str] | None = None,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self.sequence = sequence
        self._machine, self._source, self._epoch = machine, source, epoch
        self._samples, self._span_ms = samples, span_ms
        self._units = dict(units or {})
        self._clock = clock
        self._reset()

    def state(self, at: int, state: str, reason: str | None = None, *, opening: bool = False) -> list[Frame]:
        closed = self._room(at, opening)
        self._states.append(StateChange(at, state, reason))
        return closed + self._full()

    def count(self, reading: CountReading, *, opening: bool = False) -> list[Frame]:
        closed = self._room(reading.at, opening)
        self._counts.append(reading)
        return closed + self._full()

    def context(
        self,
        at: int,
        product: str | None = None,
        order: str | None = None,
        program: str | None = None,
        *,
        opening: bool = False,
    ) -> list[Frame]:
        closed = self._room(at, opening)
        self._contexts.append(Context(at, product, order, program))
        return closed + self._full()

    def event(self, event: MachineEvent, *, opening: bool = False) -> list[Frame]:
        closed = self._room(event.at, opening)
        self._events.append(event)
        return closed + self._full()

    def sample(self, at: int, values: Mapping[str, float], *, opening: bool = False) -> list[Frame]:
        """Signals sampled at one instant, in their units."""
        closed = self._room(at, opening)
        self._rows.setdefault(tuple(values), []).append((at, tuple(values.values())))
        return closed + self._full()

    def close(self) -> list[Frame]:
        """The frame that is still open, if it holds anything."""
        if not self._entries:
            return []
        sent = self._newest if self._clock is None else self._clock()
        frame = Frame(
            self._machine, self._source, self._epoch, self.sequence, sent, self._opening,
            sorted(self._states, key=_at), sorted(self._counts, key=_at), sorted(self._contexts, key=_at),
            sorted(self._events, key=_at), [self._block(names, rows) for names, rows in self._rows.items()],
        )  # fmt: skip
        self.sequence += 1
        self._reset()
        return [frame]

    def _reset(self) -> None:
        self._entries = 0
        self._first = self._newest = 0
        self._opening = False
        self._states: list[StateChange] = []
        self._counts: list[CountReading] = []
        self._contexts: list[Context] = []
        self._events: list[MachineEvent] = []
        self._rows: dict[tuple[str, ...], list[tuple[int, tuple[float, ...]]]] = {}

    def _room(self, at: int, opening: bool) -> list[Frame]:
        other = self._entries > 0 and (opening != self._opening or abs(at - self._first) >= self._span_ms)
        closed = self.close() if other else []
        if not self._entries:
            self._first = self._newest = at
            self._opening = opening
        self._newest = max(self._newest, at)
        self._entries += 1
        return closed

    def _full(self) -> list[Frame]:
        return self.close() if self._entries >= self._samples else []

    def _block(self, names: tuple[str, ...], rows: list[tuple[int, tuple[float, ...]]]) -> SignalBlock:
        rows.sort(key=lambda row: row[0])
        at = np.array([row[0] for row in rows], dtype=np.int64)
        values = np.array([row[1] for row in rows], dtype=np.float64).T.reshape(len(names), len(rows))
        units = [self._units.get(name, "") for name in names] if self._units else []
        return SignalBlock(at, list(names), np.ascontiguousarray(values), units)


def _at(entry: StateChange | CountReading | Context | MachineEvent) -> int:
    return entry.at
