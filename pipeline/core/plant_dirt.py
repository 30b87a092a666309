"""The real world's dirt on a simulated plant's telemetry: repeats, disorder, lateness, silences, lost counters."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pipeline.core.model import Frame
from pipeline.core.plant_reports import FAR

HOUR_MS = 3_600_000
REPEATED_LATE_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Dirt:
    """How dirty. None of it changes the truth of what was reported.

    repeat: share of frames sent twice. shuffle_ms: frames arrive up to so much later than those sent with them (at
    most lateness less the length of a frame, or windows are restated). late: share of frames that come up to
    `late_ms` late. gaps: mean hours between silences of a machine (0: none), 2 to 40 minutes each. resets: mean hours
    between losses of its counters (0: none).
    """

    repeat: float = 0.0
    shuffle_ms: int = 0
    late: float = 0.0
    late_ms: int = HOUR_MS
    gaps: float = 0.0
    resets: float = 0.0


def disturb(frames: Iterable[Frame], dirt: Dirt, seed: int) -> Iterator[Frame]:
    """The frames (in order of `sent`) in the order in which they arrive, some twice."""
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
