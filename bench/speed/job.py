"""The job that every contender does, made from a seed: frames of 200 machines, and the truth about their windows.

Each machine gives one sample a second of 20 signals, changes its state every five minutes on average and reads its
part counter every 30 s. One frame in a hundred is sent up to 25 s late, behind younger ones; one in a thousand twice.
The same machines live through the same time whatever the length of the frames, so that one truth holds for all.

What is asked, per machine and window of 60 s: ms in `running`, ms in `stopped`, and parts, which are differences of the
counter and belong to the window of the reading.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.codec import Codec
from pipeline.core.model import CountReading, Frame, SignalBlock, StateChange

T0 = 1_767_571_200_000  # 2026-01-05T00:00Z, ms: event time begins here
WINDOW_MS = 60_000
LATENESS_MS = 30_000
LATEST_MS = 25_000  # no frame is later than this: within the lateness, whoever measures it
MEAN_STATE_MS = 300_000
READ_EVERY_MS = 30_000
LATE, TWICE = 0.01, 0.001
SIGNALS = tuple(f"signal_{k:02d}" for k in range(1, 21))
BLOCK = 512  # samples drawn at once
LEVELS = {"running": 1.0, "stopped": 0.2, "idle": 0.5}  # of a signal, as parts of its level in `running`
AFTER_RUNNING = (("stopped", 0.7), ("idle", 0.3))

Truth = dict[tuple[str, int], tuple[int, int, int]]


class Sent(NamedTuple):
    """A record as it goes into the topic: when (ms of event time), for which machine, in Confluent's wire format."""

    at: int
    machine: str
    value: bytes


@dataclass(frozen=True)
class Job:
    """So many seconds of so many machines, `rate` samples a second; `values` numbers in all, by sample and signal."""

    seconds: int = 1000
    machines: int = 200
    seed: int = 1
    rate: int = 1  # divides 1000

    @classmethod
    def of_values(cls, values: int, machines: int = 200, seed: int = 1) -> Job:
        """The job with about so many values, in whole windows."""
        minutes = max(2, round(values / (machines * len(SIGNALS) * 60)))
        return cls(minutes * 60, machines, seed)

    @property
    def values(self) -> int:
        return self.samples * self.machines * len(SIGNALS)

    @property
    def samples(self) -> int:
        """Of each signal."""
        return self.seconds * self.rate

    @property
    def step_ms(self) -> int:
        """From one sample to the next."""
        return 1000 // self.rate

    @property
    def end(self) -> int:
        return T0 + self.seconds * 1000

    @cached_property
    def lives(self) -> list[Life]:
        return [Life(self, number) for number in range(self.machines)]

    def truth(self) -> Truth:
        """(machine, window start) to (running ms, stopped ms, parts), for every window of the job."""
        return {
            (life.name, start): life.window(start) for life in self.lives for start in range(T0, self.end, WINDOW_MS)
        }

    def checked_until(self, samples: int) -> int:
        """Windows that end by this instant are passed by every watermark, even by one per partition.

        A partition hears of the oldest sample of a frame only when the frame is full, hence its length on top.
        """
        return self.end - LATENESS_MS - samples * self.step_ms

    def frames(self, samples: int) -> Iterator[tuple[int, Frame]]:
        """Frames of up to `samples` samples with the time when they are ready, in that order; none late, none twice.

        Machines are spread evenly over the length of a frame; each begins with a shorter one.
        """
        streams = [life.telemetry(samples) for life in self.lives]
        for _, frame in heapq.merge(*streams, key=itemgetter(0)):
            yield frame.sent, frame

    def sent(self, samples: int) -> Iterator[Sent]:
        """Everything that goes into the topic, in order: late frames behind younger ones, some frames twice."""
        rng, codec = np.random.default_rng((self.seed, samples)), Codec()
        waiting: list[tuple[int, int, Sent]] = []
        for number, (ready, frame) in enumerate(self.frames(samples)):
            while waiting and waiting[0][0] <= ready:
                yield heapq.heappop(waiting)[2]
            late, twice = rng.random() < LATE, rng.random() < TWICE
            at = ready + int(rng.integers(1, LATEST_MS)) if late else ready
            frame.sent = at
            record = Sent(at, frame.machine, codec.encode(frame))
            if late:
                heapq.heappush(waiting, (at, 2 * number, record))
            else:
                yield record
            if twice:  # within the lateness too, or a window could be closed when its repeat comes
                again = min(ready + LATEST_MS, at + int(rng.integers(1, LATEST_MS)))
                heapq.heappush(waiting, (again, 2 * number + 1, record._replace(at=again)))
        while waiting:
            yield heapq.heappop(waiting)[2]


class Life:
    """What one machine does: its states, its counter, its signals."""

    def __init__(self, job: Job, number: int) -> None:
        self.job, self.number, self.name = job, number, f"machine-{number:03d}"
        self._rng = np.random.default_rng((job.seed, number))
        self.changes, self.states = self._states()
        self._run_ms = self._spent("running")
        self._stopped_ms = self._spent("stopped")
        self._base = int(self._rng.integers(0, 100_000))
        self._cycle_ms = int(self._rng.integers(2_000, 20_000))
        first = T0 + int(self._rng.integers(1, READ_EVERY_MS))
        self.reads = np.concatenate(([T0], np.arange(first, job.end, READ_EVERY_MS)))
        self._change_list, self._read_list = self.changes.tolist(), self.reads.tolist()
        self.counter = self._base + self._until(self._run_ms, self.reads) // self._cycle_ms

    def window(self, start: int) -> tuple[int, int, int]:
        """Running ms, stopped ms and parts of [start, start + 60 s)."""
        edges = np.array([start, start + WINDOW_MS])
        running, stopped = (int(np.diff(self._until(spent, edges))[0]) for spent in (self._run_ms, self._stopped_ms))
        inside = np.flatnonzero((self.reads >= start) & (self.reads < edges[1]))
        parts = sum(int(self.counter[k] - self.counter[k - 1]) for k in inside if k > 0)
        return running, stopped, parts

    def telemetry(self, samples: int) -> Iterator[tuple[tuple[int, int], Frame]]:
        """Frames in order, each with ((when it is full, ms), machine number), sequence numbers from 0."""
        signals, start, sequence, step = _Signals(self), 0, 0, self.job.step_ms
        length = samples * self.number // self.job.machines or samples
        while start < self.job.samples:
            end = min(start + length, self.job.samples)
            frame = self._frame(sequence, T0 + start * step, T0 + end * step)
            times = T0 + np.arange(start, end, dtype=np.int64) * step
            frame.signals.append(SignalBlock(times, list(SIGNALS), signals.take(start, end)))
            yield (frame.sent, self.number), frame
            start, length, sequence = end, samples, sequence + 1

    def values(self) -> NDArray[np.float64]:
        """Everything that its signals say: [signals, instants]."""
        return _Signals(self).take(0, self.job.samples)

    def _frame(self, sequence: int, start: int, end: int) -> Frame:
        changes, reads = _within(self._change_list, start, end), _within(self._read_list, start, end)
        return Frame(
            self.name, "gateway", T0, sequence, end,
            states=[StateChange(self._change_list[k], self.states[k]) for k in changes],
            counts=[CountReading(self._read_list[k], True, total=int(self.counter[k])) for k in reads],
        )  # fmt: skip

    def _states(self) -> tuple[NDArray[np.int64], list[str]]:
        """Instants of change and the state from each on; a machine works half of the time."""
        rng, at, changes, states = self._rng, T0, [], []
        running = bool(rng.random() < 0.5)
        while at < self.job.end:
            changes.append(at)
            names, odds = [name for name, _ in AFTER_RUNNING], [odds for _, odds in AFTER_RUNNING]
            states.append("running" if running else str(rng.choice(names, p=odds)))
            running = not running
            at += 1 + int(rng.exponential(MEAN_STATE_MS))
        return np.array(changes, np.int64), states

    def _spent(self, state: str) -> NDArray[np.int64]:
        """Milliseconds spent in a state up to each change, and up to the end of the job."""
        lengths = np.diff(np.append(self.changes, self.job.end))
        there = np.array([one == state for one in self.states])
        return np.concatenate(([0], np.cumsum(lengths * there)))

    def _until(self, spent: NDArray[np.int64], at: NDArray[np.int64]) -> NDArray[np.int64]:
        edges = np.append(self.changes, self.job.end)
        which = np.clip(np.searchsorted(edges, at, "right") - 1, 0, len(self.states) - 1)
        inside = np.sign(spent[which + 1] - spent[which]) * (at - edges[which])
        until: NDArray[np.int64] = spent[which] + inside
        return until


class _Signals:
    """The 20 signals of one machine, second by second: gaussian around a level that depends on the state."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._rng = np.random.default_rng((life.job.seed, life.number, 1))
        self._levels = self._rng.uniform(10, 100, len(SIGNALS))[:, None]
        self._factors = np.array([LEVELS[state] for state in life.states])
        self._drawn = np.empty((len(SIGNALS), 0))
        self._first = self._next = 0  # samples: the first that is drawn, the first that is not

    def take(self, start: int, end: int) -> NDArray[np.float64]:
        """The samples [start, end): [signals, instants], two decimals as sensors have them."""
        if end > self._next:
            blocks = [self._drawn[:, start - self._first :]]
            while self._next < end:
                blocks.append(self._block())
            self._drawn, self._first = np.hstack(blocks), start
        return self._drawn[:, start - self._first : end - self._first]

    def _block(self) -> NDArray[np.float64]:
        times = T0 + np.arange(self._next, self._next + BLOCK) * self._life.job.step_ms
        factors = self._factors[np.searchsorted(self._life.changes, times, "right") - 1]
        noise = self._rng.standard_normal((len(SIGNALS), BLOCK))
        self._next += BLOCK
        return np.round(self._levels * (factors + 0.02 * noise), 2)


def _within(instants: list[int], start: int, end: int) -> range:
    return range(bisect_left(instants, start), bisect_left(instants, end))
