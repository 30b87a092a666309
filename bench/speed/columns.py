"""Frames decoded by hand, as quickly as numpy allows: for the loop that nobody can beat, and that trusts its input.

It checks nothing, knows one version of the schema and this job's way of writing it (one block, doubles in one piece).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.speed.answers import Change, Reading

HEADER = 5  # bytes of the wire format before the body
TAIL = 2  # bytes after the doubles: the ends of values and signals
SIGNALS = 20  # per block
NOTHING = b"\0\0\0\0"  # no states, counts, contexts, events
Ints = NDArray[np.int64]


class Decoded(NamedTuple):
    """What the question needs of one frame, and its signals as views: at [n] in ms, values [signals, n]."""

    machine: bytes
    sequence: int
    changes: list[Change]
    readings: list[Reading]
    at: Ints
    values: NDArray[np.float64]


def frame_of(data: bytes) -> Decoded:
    """One frame."""
    machine, p = _bytes(data, HEADER)
    _, p = _bytes(data, p)
    _, p = _long(data, p)
    sequence, p = _long(data, p)
    _, p = _long(data, p)
    p += 1
    changes: list[Change] = []
    readings: list[Reading] = []
    if data.startswith(NOTHING, p):
        p += 4
    else:
        changes, p = _changes(data, p)
        readings, p = _readings(data, p)
        p += 2  # no contexts, no events in this job
    start, p = _long(data, p + 1)
    count, p = _long(data, p)
    offsets, p = _varints(data, p, count)
    size = SIGNALS * count
    values = np.frombuffer(data, "<f8", size, len(data) - TAIL - 8 * size).reshape(SIGNALS, count)
    return Decoded(machine, sequence, changes, readings, offsets + start, values)


@dataclass
class Small:
    """Many frames of one sample each: at [n] in ms, values [n, signals]; `bearing` say more than their sample."""

    machines: NDArray[np.bytes_]
    at: Ints
    values: NDArray[np.float64]
    bearing: list[Decoded]

    def times(self) -> Iterator[tuple[bytes, int, int]]:
        """Machine, first and last instant [ms] of each machine in the batch."""
        names, which = np.unique(self.machines, return_inverse=True)
        first = np.full(len(names), np.iinfo(np.int64).max)
        last = np.zeros(len(names), np.int64)
        np.minimum.at(first, which, self.at)
        np.maximum.at(last, which, self.at)
        yield from zip(names.tolist(), first.tolist(), last.tolist(), strict=True)


def singles(batch: list[bytes]) -> Small:
    """Frames of one sample, field by field through all of them: a cursor per frame."""
    whole = np.frombuffer(b"".join(batch), np.uint8)
    lengths = np.fromiter(map(len, batch), np.int64, len(batch))
    ends = np.cumsum(lengths)
    at = ends - lengths + HEADER
    machines, at = _column_of_bytes(whole, at)
    at = at + 1 + (whole[at] >> 1)  # the source
    for _ in range(3):  # epoch, sequence, sent
        _, at = _column_of_longs(whole, at)
    at = at + 1
    plain = ~whole[at[:, None] + np.arange(4)].any(axis=1)
    bearing = [frame_of(batch[k]) for k in np.flatnonzero(~plain)]
    instants, _ = _column_of_longs(whole, np.where(plain, at + 5, at))
    instants[~plain] = [frame.at[0] for frame in bearing]
    raw = whole[(ends - TAIL - 8 * SIGNALS)[:, None] + np.arange(8 * SIGNALS)]
    return Small(machines, instants, raw.view("<f8"), bearing)


def _column_of_longs(whole: NDArray[np.uint8], at: Ints) -> tuple[Ints, Ints]:
    byte = whole[at]
    value, at, shift = (byte & 127).astype(np.int64), at + 1, 7
    going_on = np.flatnonzero(byte > 127)
    while len(going_on):
        byte = whole[at[going_on]]
        value[going_on] |= (byte & 127).astype(np.int64) << shift
        at[going_on] += 1
        going_on, shift = going_on[byte > 127], shift + 7
    return (value >> 1) ^ -(value & 1), at


def _column_of_bytes(whole: NDArray[np.uint8], at: Ints) -> tuple[NDArray[np.bytes_], Ints]:
    """Texts of less than 64 bytes."""
    lengths = (whole[at] >> 1).astype(np.int64)
    longest = int(lengths.max())
    places = np.arange(longest)
    found = whole[at[:, None] + 1 + places]
    found[places >= lengths[:, None]] = 0
    return found.view(f"S{longest}").ravel(), at + 1 + lengths


def _long(data: bytes, p: int) -> tuple[int, int]:
    byte = data[p]
    value, shift = byte & 127, 7
    while byte > 127:
        p += 1
        byte = data[p]
        value |= (byte & 127) << shift
        shift += 7
    return (value >> 1) ^ -(value & 1), p + 1


def _bytes(data: bytes, p: int) -> tuple[bytes, int]:
    length, p = _long(data, p)
    return data[p : p + length], p + length


def _changes(data: bytes, p: int) -> tuple[list[Change], int]:
    found: list[Change] = []
    count, p = _long(data, p)
    while count:
        for _ in range(count):
            at, p = _long(data, p)
            state, p = _bytes(data, p)
            found.append((at, state.decode()))
            p += 1  # no reason in this job
        count, p = _long(data, p)
    return found, p


def _readings(data: bytes, p: int) -> tuple[list[Reading], int]:
    found: list[Reading] = []
    count, p = _long(data, p)
    while count:
        for _ in range(count):
            at, p = _long(data, p)
            total, p = _long(data, p + 2)
            found.append((at, total))
            p += 3  # neither good, reject nor rework in this job
        count, p = _long(data, p)
    return found, p


def _varints(data: bytes, p: int, count: int) -> tuple[Ints, int]:
    window = np.frombuffer(data, np.uint8, min(5 * count, len(data) - p), p)
    ends = np.flatnonzero(window < 128)[:count]
    starts = np.concatenate(([0], ends[:-1] + 1))
    value = (window[starts] & 127).astype(np.int64)
    lengths = ends - starts
    for k in range(1, int(lengths.max()) + 1):
        longer = lengths >= k
        value[longer] |= (window[starts[longer] + k] & 127).astype(np.int64) << (7 * k)
    return (value >> 1) ^ -(value & 1), p + int(ends[-1]) + 1
