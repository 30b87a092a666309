"""What is exported: which windows, what counts as known of each, how far ahead is looked, which split it is in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UsageError

DAY_MS, HOUR_MS = 86_400_000, 3_600_000
SPLITS = ("train", "validation", "test")
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Windows that lie in [start, end) (ms); what they are labelled with has ended before the next split begins."""

    name: str
    start: int
    end: int


@dataclass(frozen=True)
class Plan:
    """Windows that lie in [start, end), all in ms, on borders of windows.

    Of a window is known what had arrived by its cut-off: its end plus `allowance_ms`. Labels say what begins in
    [cut-off, cut-off + horizon_ms). `train` and `validation` are shares of the time; the rest is for tests.
    `backfilled`: what was loaded afterwards is taken to have arrived at its own time.
    """

    start: int
    end: int
    window_ms: int = 60_000
    allowance_ms: int = 30_000
    horizon_ms: int = 1_800_000
    train: float = 0.7
    validation: float = 0.15
    site: str = ""
    machine: str = ""
    backfilled: bool = False

    @cached_property
    def splits(self) -> tuple[Split, ...]:
        """Train, validation and test, in order of time. Between them lies a gap as long as label and allowance reach.

        Raises UsageError when the range is too short for that.
        """
        if not (0 < self.train < 1 and 0 < self.validation < 1 and self.train + self.validation < 1):
            raise UsageError(f"--split {self.train:g},{self.validation:g}: two shares whose sum is below 1")
        length = self.end - self.start
        reach = self.allowance_ms + self.horizon_ms
        starts = [self.start, *(self._border(self.start + round(length * share))
                                for share in (self.train, self.train + self.validation))]  # fmt: skip
        ends = [*(self._border(start - reach) for start in starts[1:]), self.end]
        if any(end <= start for start, end in zip(starts, ends, strict=True)):
            raise UsageError(
                f"{length / HOUR_MS:.1f} h are too short for three splits with gaps of {reach / 60_000:g} min between"
                " them: ask for more time, a shorter --horizon-min or another --split"
            )
        return tuple(Split(*one) for one in zip(SPLITS, starts, ends, strict=True))

    @property
    def look_back(self) -> int:
        """How many windows the sums over an hour reach, the window itself included."""
        return max(1, HOUR_MS // self.window_ms)

    @property
    def last_cut_off(self) -> int:
        return self.end + self.allowance_ms

    def batches(self) -> Iterator[Windows]:
        """The windows, one UTC day after the other."""
        at = self.start
        while at < self.end:
            until = min(self.end, (at // DAY_MS + 1) * DAY_MS)
            yield Windows(self, np.arange(at, until, self.window_ms, dtype=np.int64))
            at = until

    def _border(self, at: int) -> int:
        return at // self.window_ms * self.window_ms


@dataclass(frozen=True)
class Windows:
    """Windows that follow each other, by their starts (ms)."""

    plan: Plan
    starts: Ints

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def first(self) -> int:
        return int(self.starts[0])

    @property
    def end(self) -> int:
        return int(self.starts[-1]) + self.plan.window_ms

    @cached_property
    def ends(self) -> Ints:
        return self.starts + self.plan.window_ms

    @cached_property
    def cuts(self) -> Ints:
        """Cut-offs (ms)."""
        return self.ends + self.plan.allowance_ms

    def slots(self, at: Ints) -> Ints:
        """Which window an instant lies in; negative or too large: none of these."""
        return (at - self.first) // self.plan.window_ms

    def within(self, split: Split) -> NDArray[np.bool_]:
        return (self.starts >= split.start) & (self.ends <= split.end)
