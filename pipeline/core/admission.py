"""What of a frame may be used: entries with impossible times are kept out, the rest goes on (oee.md, section 4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.core.model import Context, CountReading, Frame, MachineEvent, SignalBlock, StateChange

YEAR_2000 = 946_684_800_000
FUTURE, BEFORE_2000 = "future", "before_2000"
Entry = TypeVar("Entry", StateChange, CountReading, Context, MachineEvent)


def admit(frame: Frame, arrived: int, max_future_ms: int) -> tuple[Frame, Counter[str]]:
    """The frame without entries from before 2000 or from later than `max_future_ms` after its arrival.

    Returns the frame itself when all is well, and how many entries were kept out, by reason. A sample counts as one
    entry however many signals it holds.
    """
    latest = arrived + max_future_ms
    if all(first >= YEAR_2000 and last <= latest for first, last in extents(frame)):
        return frame, Counter()
    out: Counter[str] = Counter()

    def good(at: int) -> bool:
        if YEAR_2000 <= at <= latest:
            return True
        out[BEFORE_2000 if at < YEAR_2000 else FUTURE] += 1
        return False

    def kept(entries: list[Entry]) -> list[Entry]:
        return [entry for entry in entries if good(entry.at)]

    return (
        replace(
            frame,
            states=kept(frame.states),
            counts=kept(frame.counts),
            contexts=kept(frame.contexts),
            events=kept(frame.events),
            signals=[block for block in (_cut(block, good) for block in frame.signals) if len(block.at)],
        ),
        out,
    )


def extents(frame: Frame) -> Iterable[tuple[int, int]]:
    """First and last instant of each list of the frame that holds anything."""
    for entries in (frame.states, frame.counts, frame.contexts, frame.events):
        if entries:
            times = [entry.at for entry in entries]
            yield min(times), max(times)
    for block in frame.signals:
        if len(block.at):
            yield int(block.at[0]), int(block.at[-1])


def instants(frame: Frame) -> NDArray[np.int64]:
    """Every instant at which the frame says something, ascending. An empty frame is a sign of life when sent."""
    said = [
        entry.at
        for entries in (frame.states, frame.counts, frame.contexts, frame.events)
        for entry in entries
    ]
    if not frame.signals:
        return np.array(sorted(said) or [frame.sent], dtype=np.int64)
    if len(frame.signals) == 1 and not said:
        return frame.signals[0].at
    return np.unique(np.concatenate([np.array(said, dtype=np.int64), *(block.at for block in frame.signals)]))


def _cut(block: SignalBlock, good: Callable[[int], bool]) -> SignalBlock:
    keep = np.fromiter((good(int(at)) for at in block.at), bool, len(block.at))
    return block if keep.all() else SignalBlock(block.at[keep], block.names, block.values[:, keep], block.units)
