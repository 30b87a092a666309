"""A seeded plant: machines on lines whose telemetry is made up and whose truth is known exactly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.core.model import Control, EndOfSource, Frame, MachineConfig, SignalBlock
from pipeline.core.plant_dirt import Dirt, mutes, resets
from pipeline.core.plant_layout import HOUR_MS, Habits, LineDesign, MachineDesign, layout
from pipeline.core.plant_reports import MachineLog, Reporter, Said
from pipeline.core.plant_signals import Planted, SignalMachine
from pipeline.core.plant_states import Line, Segment

SOURCE = "plant"
FRAME_MS = 60_000
LISTS = ("states", "counts", "contexts", "events")


@dataclass(slots=True)
class _Chunk:
    """What one machine says in the stretch of time at hand, and how much of it stands in frames already."""

    at: NDArray[np.int64]
    values: NDArray[np.float64]
    said: Said
    sampled: int = 0
    told: list[int] = field(default_factory=lambda: [0] * len(LISTS))


class Plant:
    """`machines` machines of `site`, from `start` (ms) on, all chance from `seed`.

    The same seed gives the same frames, whatever the stretches in which they are asked for. Memory is bounded by an
    hour of telemetry, unless `truth` asks for a log of everything that was reported (`logs`, `planted`).
    """

    def __init__(
        self,
        site: str,
        seed: int,
        start: int,
        machines: int = 12,
        *,
        habits: Habits | None = None,
        dirt: Dirt | None = None,
        truth: bool = True,
    ) -> None:
        self.site, self.seed, self.start = site, seed, start
        self.habits = habits or Habits()
        self.dirt = dirt or Dirt()
        self.lines: list[LineDesign] = layout(site, seed, machines, start, self.habits)
        self.designs: dict[str, MachineDesign] = {m.name: m for line in self.lines for m in line.machines}
        self.logs: dict[str, MachineLog] = {name: MachineLog() for name in self.designs} if truth else {}
        self.planted: list[Planted] = []
        self.at = start
        planted = self.planted if truth else None
        self._reporters = {}
        self._signals = {}
        for name, design in self.designs.items():
            silent = mutes(self.dirt, seed, design.key, start), resets(self.dirt, seed, design.key, start)
            self._reporters[name] = Reporter(design, self.logs.get(name), *silent)
            self._signals[name] = SignalMachine(design, self.habits, seed, start, planted)
        self._mutes = {n: mutes(self.dirt, seed, design.key, start) for n, design in self.designs.items()}
        self._mute = {name: next(spans) for name, spans in self._mutes.items()}
        self._lines = [Line(line, self._reporters, seed, start) for line in self.lines]
        self._sequence = dict.fromkeys(self.designs, 0)

    @property
    def machines(self) -> dict[str, MachineConfig]:
        """What the factory file of this plant says of each machine."""
        return {name: design.config for name, design in self.designs.items()}

    def forget(self) -> None:
        """Drops the logs and keeps none from here on, so that a plant can run for ever."""
        self.logs, self.planted = {}, []
        for name in self.designs:
            self._reporters[name].forget()
            self._signals[name].forget()

    def ends(self, at: int, issued: int) -> list[Control]:
        """One end of source per machine: everything before `at` was said."""
        return [
            Control(name, f"{self.site}-end-{at}-{name}", issued, SOURCE, EndOfSource(SOURCE, at - 1))
            for name in self.designs
        ]

    def frames(self, until: int, frame_ms: int = FRAME_MS) -> Iterator[Frame]:
        """Frames of `frame_ms` each, in order of time, from where the last call ended to `until` (ms; the last whole
        frame before it). `sent` is the end of the frame's stretch."""
        until = self.at + (until - self.at) // frame_ms * frame_ms
        step = max(frame_ms, HOUR_MS // frame_ms * frame_ms)
        while self.at < until:
            end = min(self.at + step, until)
            yield from self._stretch(end, frame_ms)

    def _stretch(self, until: int, frame_ms: int) -> Iterator[Frame]:
        chunks = {}
        for line in self._lines:
            line.advance(until)
            for machine in line.machines:
                name = machine.design.name
                chunks[name] = self._chunk(name, machine.connected_at, machine.segments, until)
                machine.segments = []
        units = {name: [signal.unit for signal in design.signals] for name, design in self.designs.items()}
        while self.at < until:
            self.at += frame_ms
            for name, chunk in chunks.items():
                frame = self._frame(name, chunk, self.at, units[name])
                if frame is not None:
                    yield frame

    def _chunk(self, name: str, connected_at: int, segments: list[Segment], until: int) -> _Chunk:
        signals = self._signals[name]
        if connected_at >= until:
            return _Chunk(np.empty(0, dtype=np.int64), np.empty((0, 0)), Said())
        signals.begin(connected_at + 1)
        at, values = signals.samples(segments, until)
        while self._mute[name][0] < until:
            start, end = self._mute[name]
            heard = (at <= start) | (at >= end)
            at, values = at[heard], values[:, heard]
            if end >= until:
                break
            self._mute[name] = next(self._mutes[name])
        chunk = _Chunk(at, values, self._reporters[name].take(until))
        if name in self.logs:
            self._log_silences(name, chunk)
        return chunk

    def _log_silences(self, name: str, chunk: _Chunk) -> None:
        """Notes first and last message, and every silence after which the machine was stale."""
        log, stale_after = self.logs[name], self.designs[name].config.stale_after_ms
        entries = [entry.at for which in LISTS for entry in getattr(chunk.said, which)]
        instants = np.unique(np.concatenate([chunk.at, np.array(entries, dtype=np.int64)]))
        if not len(instants):
            return
        if log.first_message is None:
            log.first_message = log.last_message = int(instants[0])
        if stale_after is not None:
            instants = np.concatenate([[log.last_message], instants])
            for index in np.flatnonzero(np.diff(instants) > stale_after):
                log.silences.append((int(instants[index]), int(instants[index + 1])))
        log.last_message = int(instants[-1])

    def _frame(self, name: str, chunk: _Chunk, end: int, units: list[str]) -> Frame | None:
        first = chunk.sampled
        chunk.sampled = int(np.searchsorted(chunk.at, end))
        frame = Frame(name, SOURCE, self.start, self._sequence[name], end)
        for index, which in enumerate(LISTS):
            entries, begin = getattr(chunk.said, which), chunk.told[index]
            stop = begin
            while stop < len(entries) and entries[stop].at < end:
                stop += 1
            if stop > begin:
                setattr(frame, which, entries[begin:stop])
                chunk.told[index] = stop
        if chunk.sampled > first:
            names = [signal.name for signal in self.designs[name].signals]
            at, values = chunk.at[first : chunk.sampled].copy(), chunk.values[:, first : chunk.sampled].copy()
            frame.signals = [SignalBlock(at, names, values, units)]
        elif not (frame.states or frame.counts or frame.contexts or frame.events):
            return None
        self._sequence[name] += 1
        return frame
