"""The real world's dirt on simulated telemetry: repeats, disorder, lateness, silences, lost counters, wrong clocks."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.core.model import CountReading, Frame, SignalBlock, StateChange
from pipeline.core.plant_reports import FAR

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
YEAR_MS = 365 * DAY_MS
REPEATED_LATE_SHARE = 0.1
BROKEN_CLOCK = "broken clock"  # source of the frames with impossible times


@dataclass(frozen=True, slots=True)
class Dirt:
    """How dirty. None of it changes the truth of what was reported.

    repeat: share of frames sent twice. shuffle_ms: frames arrive up to so much later than those sent with them (at
    most lateness less the length of a frame, or windows are restated). late: share of frames that come up to
    `late_ms` late. gaps: mean hours between silences of a machine (0: none), 2 to 40 minutes each. resets: mean hours
    between losses of its counters (0: none). clock: share of frames beside which the machine sends another one whose
    entries stand a year ahead, at 0, or in seconds instead of ms: none of them may be used.
    """

    repeat: float = 0.0
    shuffle_ms: int = 0
    late: float = 0.0
    late_ms: int = HOUR_MS
    gaps: float = 0.0
    resets: float = 0.0
    clock: float = 0.0


def disturb(frames: Iterable[Frame], dirt: Dirt, seed: int, now: int = 0) -> Iterator[Frame]:
    """The frames (in order of `sent`) in the order in which they arrive, some twice, some beside others.

    `now` (ms) is when frames of the past arrive: a clock that is a year ahead, or years, is ahead of that.
    """
    if dirt.clock:
        frames = _with_broken_clocks(frames, dirt.clock, seed, now)
    if not (dirt.repeat or dirt.shuffle_ms or dirt.late):
        yield from frames
        return
    rng = random.Random(f"{seed}/arrival")
    waiting: list[tuple[int, int, Frame]] = []
    number = 0
    for frame in frames:
        delays = [_delay(rng, dirt)]
        if rng.random() < dirt.repeat:
            much_later = rng.random() < REPEATED_LATE_SHARE
            delays.append(rng.randrange(HOUR_MS) if much_later else _delay(rng, dirt))
        for delay in delays:
            number += 1
            heapq.heappush(waiting, (frame.sent + delay, number, frame))
        while waiting and waiting[0][0] <= frame.sent:
            yield heapq.heappop(waiting)[2]
    while waiting:
        yield heapq.heappop(waiting)[2]


def _with_broken_clocks(frames: Iterable[Frame], share: float, seed: int, now: int) -> Iterator[Frame]:
    """The frames, and behind so many of them one of their machine's broken clock, which has numbers of its own."""
    rng = random.Random(f"{seed}/clock")
    epoch = 0
    told: dict[str, int] = {}
    for frame in frames:
        yield frame
        epoch = epoch or frame.sent
        if rng.random() < share:
            years = 1 + max(0, now + DAY_MS - frame.sent) // YEAR_MS
            at = rng.choice((frame.sent + years * YEAR_MS, 0, frame.sent // 1000))
            number = told[frame.machine] = told.get(frame.machine, -1) + 1
            yield _stamped(frame, epoch, number, at, rng)


def _stamped(beside: Frame, epoch: int, sequence: int, at: int, rng: random.Random) -> Frame:
    """A frame that would change every figure of its machine, if `at` could be true."""
    samples = [
        SignalBlock(at + np.arange(2), block.names, np.full((len(block.names), 2), 1e6), block.units)
        for block in beside.signals[:1]
    ]
    return Frame(
        beside.machine, BROKEN_CLOCK, epoch, sequence, beside.sent,
        states=[StateChange(at, rng.choice(("running", "fault", "off")))],
        counts=[CountReading(at, rng.random() < 0.5, *[rng.randrange(1, 1000)] * 3)],
        signals=samples,
    )  # fmt: skip


def mutes(dirt: Dirt, seed: int, machine: str, start: int) -> Iterator[tuple[int, int]]:
    """Spans (ms), in order and without end, in which a machine's gateway is away."""
    rng = random.Random(f"{seed}/{machine}/gaps")
    at = start
    while dirt.gaps:
        begin = at + 60_000 + int(rng.expovariate(1 / (dirt.gaps * HOUR_MS)))
        at = begin + rng.randrange(120_000, 2_400_000)
        yield begin, at
    while True:
        yield FAR, FAR


def resets(dirt: Dirt, seed: int, machine: str, start: int) -> Iterator[int]:
    """Instants (ms), in order and without end, at which a machine's counters start again from 0."""
    rng = random.Random(f"{seed}/{machine}/resets")
    at = start
    while dirt.resets:
        at += 60_000 + int(rng.expovariate(1 / (dirt.resets * HOUR_MS)))
        yield at
    while True:
        yield FAR


def _delay(rng: random.Random, dirt: Dirt) -> int:
    if dirt.late and rng.random() < dirt.late:
        return rng.randrange(dirt.late_ms)
    return rng.randrange(dirt.shuffle_ms + 1)
