"""Frames of samples and a count now and then, one after the other: what most of a log consists of, folded as one."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pipeline.core.model import CountReading, Frame, Record, SignalBlock


@dataclass
class Burst:
    """Frames of one machine and source that follow each other without a hole and hold one block of samples each.

    Frame k has number `sequence + k`, arrived at `arrived[k]`, says something of [`starts[k]`, `ends[k]`], and holds
    the samples `at[edges[k]:edges[k + 1]]`, of which there is at least one. No frame starts before the one before it
    ends; within one `at` ascends. `values` is float64 [len(names), len(at)]; all frames have the same signals.
    `counts` are sensible readings with the frames that hold them, at most one each. `offsets` are the records' own.
    """

    machine: str
    source: str
    epoch: int
    sequence: int
    names: list[str]
    units: list[str]
    sent: list[int]
    arrived: list[int]
    starts: list[int]
    ends: list[int]
    edges: list[int]
    at: NDArray[np.int64]
    values: NDArray[np.float64]
    counts: list[tuple[int, CountReading]] = field(default_factory=list)
    partition: int = 0
    offsets: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.arrived)

    @cached_property
    def first_arrived(self) -> int:
        return min(self.arrived)

    @cached_property
    def last_arrived(self) -> int:
        return max(self.arrived)

    def block(self, first: int, last: int) -> SignalBlock:
        """The samples of the frames [first, last)."""
        low, high = self.edges[first], self.edges[last]
        return SignalBlock(self.at[low:high], self.names, self.values[:, low:high], self.units)

    def counted(self, first: int, last: int) -> list[tuple[int, CountReading]]:
        """The counts of the frames [first, last)."""
        return [one for one in self.counts if first <= one[0] < last] if self.counts else []

    def record(self, k: int) -> Record:
        """Frame k as a record of its own."""
        frame = Frame(self.machine, self.source, self.epoch, self.sequence + k, self.sent[k])
        frame.counts = [reading for _, reading in self.counted(k, k + 1)]
        frame.signals.append(self.block(k, k + 1))
        return Record(self.arrived[k], frame, self.partition, self.offsets[k] if self.offsets else -1)
