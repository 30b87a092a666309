"""Signals of one simulated machine: levels by state and product, wear, lag, coloured noise, and planted anomalies."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.core.plant_layout import Habits, MachineDesign, SignalDesign
from pipeline.core.plant_states import Segment

TAPS = np.array([1.0, 0.6, 0.36, 0.216, 0.13, 0.078])  # AR(1) with 0.6, cut off: the same wherever a chunk ends
TAPS /= math.sqrt(float((TAPS**2).sum()))
KINDS = ("spike", "shift", "drift", "flatline", "gap")
MINUTE_MS = 60_000
ROUND_TO = 4


class Planted(NamedTuple):
    """An anomaly that the simulator put into a signal: first and last sample concerned, in ms; `size` in the
    signal's unit (0: flatline, gap)."""

    machine: str
    signal: str
    kind: str
    first: int
    last: int
    size: float


@dataclass(slots=True)
class _Active:
    planted: Planted
    column: int
    held: float = math.nan


@dataclass(slots=True)
class _Levels:
    """What the signals tend to from an instant on; `start_value`: where the lagging ones are then."""

    at: int
    state: str
    target: NDArray[np.float64]
    noise: NDArray[np.float64]
    start_value: NDArray[np.float64]


class SignalMachine:
    """Makes the samples of one machine, chunk after chunk; the same numbers wherever the chunks end."""

    def __init__(
        self, design: MachineDesign, habits: Habits, seed: int, start: int, planted: list[Planted] | None
    ) -> None:
        self.design, self.habits, self.planted = design, habits, planted
        self.next_at = 0
        self._levels: list[_Levels] = []
        self._active: list[_Active] = []
        number = random.Random(f"{seed}/{design.key}/noise").getrandbits(63)
        self._noise = np.random.Generator(np.random.PCG64(number))
        self._plan = random.Random(f"{seed}/{design.key}/anomalies")
        self._tail = self._noise.standard_normal((len(TAPS) - 1, len(design.signals)))
        self._due = start + habits.anomaly_free_ms + int(self._draw_gap())
        self._lag = np.array([signal.lag_ms for signal in design.signals], dtype=np.float64)

    def begin(self, first: int) -> None:
        """The first sample is taken at `first`; later calls change nothing."""
        self.next_at = self.next_at or first

    def forget(self) -> None:
        """Notes no planted anomaly any more."""
        self.planted = None

    def samples(self, segments: list[Segment], until: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Instants [n] and values [signals, n] from where the last call ended to `until`; new segments in order."""
        for segment in segments:
            self._levels.append(self._next_levels(segment))
        period = self.habits.signal_period_ms
        count = max(0, -((self.next_at - until) // period))
        at = self.next_at + period * np.arange(count, dtype=np.int64)
        self.next_at += period * count
        if not count:
            return at, np.empty((len(self.design.signals), 0))
        starts = np.array([levels.at for levels in self._levels], dtype=np.int64)
        index = np.searchsorted(starts, at, side="right") - 1
        values = self._plain(at, index, starts)
        self._plant(at, index, values)
        self._levels = self._levels[int(index[-1]) :]
        return at, values

    def _plain(self, at: NDArray[np.int64], index: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.float64]:
        white = np.concatenate([self._tail, self._noise.standard_normal((len(at), len(self.design.signals)))])
        self._tail = white[len(white) - len(TAPS) + 1 :].copy()
        noise = np.zeros((len(at), len(self.design.signals)))
        for lag, tap in enumerate(TAPS):
            begin = len(TAPS) - 1 - lag
            noise += tap * white[begin : begin + len(at)]
        noise *= np.array([levels.noise for levels in self._levels])[index]
        values = np.array([levels.target for levels in self._levels])[index]
        for column in np.flatnonzero(self._lag):
            begun = np.array([levels.start_value[column] for levels in self._levels])[index]
            decay = np.exp((starts[index] - at) / self._lag[column])
            values[:, column] += (begun - values[:, column]) * decay
        return np.ascontiguousarray(np.round(values + noise, ROUND_TO).T)

    def _next_levels(self, segment: Segment) -> _Levels:
        signals = self.design.signals
        target = np.array([_level(signal, segment) for signal in signals])
        busy = segment.state in ("running", "setup")
        noise = np.array([signal.noise if busy else signal.quiet for signal in signals])
        value = target
        if self._levels:
            last = self._levels[-1]
            value = last.target.copy()
            for column, signal in enumerate(signals):
                if signal.lag_ms:
                    decay = math.exp((last.at - segment.at) / signal.lag_ms)
                    value[column] += (last.start_value[column] - last.target[column]) * decay
        return _Levels(segment.at, segment.state, target, noise, value)

    def _plant(self, at: NDArray[np.int64], index: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        running = np.array([levels.state == "running" for levels in self._levels])[index]
        while self._due <= int(at[-1]):
            onset = np.flatnonzero(running & (at >= self._due))
            if not len(onset):
                break
            self._begin(int(at[onset[0]]))
        for active in self._active:
            self._apply(active, at, values[active.column])
        self._active = [active for active in self._active if active.planted.last > int(at[-1])]

    def _begin(self, first: int) -> None:
        rng = self._plan
        column = rng.randrange(len(self.design.signals))
        signal = self.design.signals[column]
        kind = rng.choice(KINDS)
        period = self.habits.signal_period_ms
        minutes = {"shift": (10, 25), "drift": (40, 90), "flatline": (15, 30), "gap": (10, 20)}
        if kind == "spike":
            length = rng.randrange(1, 4) * period
        else:
            length = int(rng.uniform(*minutes[kind]) * MINUTE_MS) // period * period
        sigmas = {"spike": (10, 16), "shift": (6, 9), "drift": (8, 12)}.get(kind, (0, 0))
        size = round(rng.uniform(*sigmas) * signal.noise * rng.choice((-1, 1, 1)), 4)
        planted = Planted(self.design.name, signal.name, kind, first, first + length - period, size)
        self._due = first + length + int(self._draw_gap())
        self._active.append(_Active(planted, column))
        if self.planted is not None:
            self.planted.append(planted)

    def _apply(self, active: _Active, at: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        _, _, kind, first, last, size = active.planted
        begin, end = np.searchsorted(at, [first, last + 1])
        if begin == end:
            return
        if kind == "gap":
            values[begin:end] = np.nan
        elif kind == "flatline":
            if math.isnan(active.held):
                active.held = float(values[begin])
            values[begin:end] = active.held
        elif kind == "drift":
            values[begin:end] += np.round(size * (at[begin:end] - first) / max(1, last - first), ROUND_TO)
        else:
            values[begin:end] += size

    def _draw_gap(self) -> float:
        return self._plan.expovariate(1 / self.habits.anomaly_mean_ms)


def _level(signal: SignalDesign, segment: Segment) -> float:
    if segment.state == "running":
        return signal.running * segment.load + signal.wear * segment.wear
    if segment.state == "setup":
        return signal.setup
    return signal.off if segment.state in ("off", "unknown") else signal.waiting
