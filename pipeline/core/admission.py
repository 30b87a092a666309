"""What of a frame may be used: entries with impossible times, states or counts are kept out, the rest goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.core.calendar import LONGEST_CYCLE_US
from pipeline.core.model import STATES, Context, Correction, CountReading, Frame, MachineEvent, SignalBlock, StateChange

YEAR_2000 = 946_684_800_000
FUTURE, BEFORE_2000, INVALID = "future", "before_2000", "invalid"
MOST_READ, MOST_MADE = 10**12, 10**9  # parts on a counter, parts in one report: more is no count
KNOWN_STATES = frozenset(STATES)
Entry = TypeVar("Entry", StateChange, CountReading, Context, MachineEvent)


def admit(frame: Frame, arrived: int, max_future_ms: int) -> tuple[Frame, Counter[str]]:
    """The frame without entries from before 2000, from later than `max_future_ms` after its arrival, or without sense.

    Returns the frame itself when all is well, and how many entries were kept out, by reason. A sample counts as one
    entry however many signals it holds, and so does an empty frame, which is a sign of life when sent.
    """
    latest = arrived + max_future_ms
    if all(first >= YEAR_2000 and last <= latest for first, last in extents(frame)) and _sensible(frame):
        return frame, Counter()
    out: Counter[str] = Counter()

    def good(at: int) -> bool:
        if YEAR_2000 <= at <= latest:
            return True
        out[BEFORE_2000 if at < YEAR_2000 else FUTURE] += 1
        return False

    if is_empty(frame):
        good(frame.sent)

    def kept(entries: list[Entry]) -> list[Entry]:
        sensible = [entry for entry in entries if _makes_sense(entry)]
        out[INVALID] += len(entries) - len(sensible)
        return [entry for entry in sensible if good(entry.at)]

    return (
        replace(
            frame,
            states=kept(frame.states),
            counts=kept(frame.counts),
            contexts=kept(frame.contexts),
            events=kept(frame.events),
            signals=[block for block in (_cut(block, good) for block in frame.signals) if len(block.at)],
        ),
        +out,
    )


def _sensible(frame: Frame) -> bool:
    return all(map(_makes_sense, (*frame.states, *frame.counts, *frame.contexts)))


def _makes_sense(entry: Any) -> bool:
    if isinstance(entry, StateChange):
        return entry.state in KNOWN_STATES
    if isinstance(entry, CountReading):
        least, most = (0, MOST_READ) if entry.cumulative else (-MOST_MADE, MOST_MADE)
        return all(least <= count <= most for count in entry[2:] if count is not None)
    if isinstance(entry, Context):
        return entry.planned is None or 0 <= entry.planned <= MOST_MADE
    return True


def is_empty(frame: Frame) -> bool:
    """Whether the frame says nothing but that its machine is there."""
    said = frame.states or frame.counts or frame.contexts or frame.events
    return not said and not any(len(block.at) for block in frame.signals)


def refused(frame: Frame, counted: Mapping[str, int]) -> Frame:
    """The entries of a frame that were kept out of it: the rest of `admit`, and those that came too late.

    `counted`: how many there were for each reason. Times are cut off where they are too new or too late, so the number
    tells which ones they are. An empty frame is a single entry: itself.
    """
    if is_empty(frame):
        return frame
    said: list[Any] = [*frame.states, *frame.counts, *frame.contexts]
    known = [entry.at for entry in (*said, *frame.events) if _makes_sense(entry)]
    newest = sorted([*known, *(int(at) for block in frame.signals for at in block.at)], reverse=True)
    future = min(counted.get(FUTURE, 0), len(newest))
    latest = newest[future - 1] if future else 1 << 62
    oldest = sorted(entry.at for entry in said if _makes_sense(entry) and YEAR_2000 <= entry.at < latest)
    late = min(counted.get("too_late", 0), len(oldest))
    changeable = oldest[late - 1] + 1 if late else YEAR_2000

    def kept(entries: list[Entry], since: int) -> list[Entry]:
        return [entry for entry in entries if not _makes_sense(entry) or entry.at < since or entry.at >= latest]

    blocks = [_cut(block, lambda at: at < YEAR_2000 or at >= latest) for block in frame.signals]
    return replace(
        frame, states=kept(frame.states, changeable), counts=kept(frame.counts, changeable),
        contexts=kept(frame.contexts, changeable), events=kept(frame.events, YEAR_2000),
        signals=[block for block in blocks if len(block.at)],
    )  # fmt: skip


def extents(frame: Frame) -> Iterable[tuple[int, int]]:
    """First and last instant of each list of the frame that holds anything; of an empty frame when it was sent."""
    if is_empty(frame):
        yield frame.sent, frame.sent
    for entries in (frame.states, frame.counts, frame.contexts, frame.events):
        if entries:
            times = [entry.at for entry in entries]
            yield min(times), max(times)
    for block in frame.signals:
        if len(block.at):
            yield int(block.at[0]), int(block.at[-1])


def instants(frame: Frame) -> NDArray[np.int64]:
    """The instants at which the frame says something, ascending. An empty frame is a sign of life when sent."""
    if is_empty(frame):
        return np.array([frame.sent], dtype=np.int64)
    said = [entry.at for entries in (frame.states, frame.counts, frame.contexts, frame.events) for entry in entries]
    if not frame.signals:
        return np.array(sorted(said), dtype=np.int64)
    if len(frame.signals) == 1 and not said:
        return frame.signals[0].at
    return np.sort(np.concatenate([np.array(said, dtype=np.int64), *(block.at for block in frame.signals)]))


def is_sensible(correction: Correction) -> bool:
    """Whether a correction says something that can be: a stretch of time, known words, counts that are counts."""
    said = (correction.state, correction.calendar, correction.reason, correction.product, correction.order)
    counts = (correction.good, correction.reject, correction.rework)
    ideal = correction.ideal_cycle_us
    says_anything = correction.withdrawn or any(word is not None for word in (*said, *counts, ideal))
    known_state = correction.state is None or correction.state in KNOWN_STATES
    known_word = correction.calendar in (None, "planned", "unplanned", "closed")
    counted = all(abs(count or 0) <= MOST_MADE for count in counts)
    timed = ideal is None or 0 < ideal <= LONGEST_CYCLE_US
    return correction.start < correction.end and all((says_anything, known_state, known_word, counted, timed))


def _cut(block: SignalBlock, good: Callable[[int], bool]) -> SignalBlock:
    keep = np.fromiter((good(int(at)) for at in block.at), bool, len(block.at))
    return block if keep.all() else SignalBlock(block.at[keep], block.names, block.values[:, keep], block.units)


def between(frame: Frame, first: int, last: int) -> Frame:
    """What the frame says of [first, last)."""

    def cut(entries: list[Any]) -> list[Any]:
        return [entry for entry in entries if first <= entry.at < last]

    blocks = []
    for block in frame.signals:
        low, high = (int(place) for place in block.at.searchsorted((first, last)))
        if low < high:
            blocks.append(SignalBlock(block.at[low:high], block.names, block.values[:, low:high], block.units))
    return replace(
        frame, states=cut(frame.states), counts=cut(frame.counts), contexts=cut(frame.contexts),
        events=cut(frame.events), signals=blocks,
    )  # fmt: skip


def entries_of(frame: Frame) -> list[Any]:
    return [*frame.states, *frame.counts, *frame.contexts]


def without_older(frame: Frame, horizon: int) -> tuple[Frame, int]:
    if all(entry.at >= horizon for entry in entries_of(frame)):
        return frame, 0
    states = [entry for entry in frame.states if entry.at >= horizon]
    counts = [entry for entry in frame.counts if entry.at >= horizon]
    contexts = [entry for entry in frame.contexts if entry.at >= horizon]
    gone = len(entries_of(frame)) - len(states) - len(counts) - len(contexts)
    return replace(frame, states=states, counts=counts, contexts=contexts), gone
