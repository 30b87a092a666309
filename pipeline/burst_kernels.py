"""Compiled reading of plain frames: strict, bounded by the bytes at hand, and silent about what it does not know."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.core.detector_layout import compiled, entry

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

# Columns of what `scan` finds of each record. TEMPLATE -1: not plain. SAID: which numbers of a count are said, as
# bits; COUNT_AT 0: no count.
COLUMNS = 16
(
    TEMPLATE, SEQUENCE, SENT, START, END, AT, INSTANTS, OFFSETS_FROM, VALUES_FROM, COUNT_AT, CUMULATIVE, SAID,
    TOTAL, GOOD, REJECT, REWORK,
) = range(COLUMNS)  # fmt: skip
LATEST_OFFSET = 2**31 - 1
MOST_BYTES = 8  # of a number: 56 bits; longer ones are left to the other reader
# As core.admission has them (a test sees to it): numba looks at this file alone to tell whether what it keeps is new.
MOST_READ, MOST_MADE = 10**12, 10**9


@compiled
def number(data: Bytes, p: int, end: int) -> tuple[int, int]:
    """The zigzag varint at p and the place after it; place -1: none that is so short."""
    value, shift = 0, 0
    while 0 <= p < end and shift < 7 * MOST_BYTES:
        byte = int(data[p])
        p += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return (value >> 1) ^ -(value & 1), p
        shift += 7
    return 0, -1


@compiled
def same(data: Bytes, p: int, end: int, known: Bytes, first: int, last: int) -> bool:
    """Whether data goes on at p as known[first:last]."""
    if p + last - first > end:
        return False
    for k in range(last - first):  # noqa: SIM110 - compiled
        if data[p + k] != known[first + k]:
            return False
    return True


@compiled
def one_count(data: Bytes, p: int, end: int, row: Ints) -> int:
    """Read an array of no counts or of one sensible count; the place after it, -1: neither."""
    row[COUNT_AT] = 0
    items, p = number(data, p, end)
    if p < 0 or items == 0:
        return p
    row[COUNT_AT], p = number(data, p, end)
    if items != 1 or p < 0 or row[COUNT_AT] <= 0 or p >= end or data[p] > 1:
        return -1
    row[CUMULATIVE], row[SAID] = data[p], 0
    p += 1
    least, most = (0, MOST_READ) if row[CUMULATIVE] else (-MOST_MADE, MOST_MADE)
    for k in range(4):
        if p >= end or data[p] > 2 or data[p] == 1:
            return -1
        p += 1
        if data[p - 1] == 2:
            row[TOTAL + k], p = number(data, p, end)
            if p < 0 or row[TOTAL + k] < least or row[TOTAL + k] > most:
                return -1
            row[SAID] |= 1 << k
    if p >= end or data[p] != 0:
        return -1
    return p + 1


@compiled
def instants(data: Bytes, p: int, end: int, row: Ints) -> int:
    """Read start and offsets; the place after them, -1: not plain."""
    start, p = number(data, p, end)
    count, p = number(data, p, end)
    if p < 0 or count <= 0 or count > end - p:
        return -1
    row[OFFSETS_FROM], row[INSTANTS] = p, count
    before = 0
    for k in range(count):
        offset, p = number(data, p, end)
        if p < 0 or offset < before or offset > LATEST_OFFSET:
            return -1
        if k == 0:
            row[AT] = start + offset
        before = offset
    row[START], row[END] = row[AT], start + before
    if row[COUNT_AT]:
        row[START], row[END] = min(row[START], row[COUNT_AT]), max(row[END], row[COUNT_AT])
    if p >= end or data[p] != 0:
        return -1
    return p + 1


@compiled
def plain(
    data: Bytes, p: int, end: int, t: int, heads: Bytes, head_edges: Ints, layouts: Bytes, layout_edges: Ints,
    signals: Ints, row: Ints,
) -> bool:  # fmt: skip
    """Whether data[p:end] is a plain frame of this template; fills the row."""
    if not same(data, p, end, heads, head_edges[t], head_edges[t + 1]):
        return False
    p += head_edges[t + 1] - head_edges[t]
    row[SEQUENCE], p = number(data, p, end)
    row[SENT], p = number(data, p, end)
    if p < 0 or row[SEQUENCE] < 0 or p + 2 > end or data[p] != 0 or data[p + 1] != 0:  # no opening, no states
        return False
    p = one_count(data, p + 2, end, row)
    if p < 0 or p + 3 > end or data[p] != 0 or data[p + 1] != 0 or data[p + 2] != 2:  # no contexts, no events; a block
        return False
    p = instants(data, p + 3, end, row)
    if p < 0 or not same(data, p, end, layouts, layout_edges[t], layout_edges[t + 1]):
        return False
    p += layout_edges[t + 1] - layout_edges[t]
    count, p = number(data, p, end)
    if p < 0 or count != signals[t] * row[INSTANTS] or p + 8 * count + 2 != end:
        return False
    row[VALUES_FROM] = p
    return bool(data[end - 2] == 0 and data[end - 1] == 0)


@entry
def scan(
    data: Bytes, edges: Ints, chosen: Ints, heads: Bytes, head_edges: Ints, layouts: Bytes, layout_edges: Ints,
    signals: Ints, following: Ints,
) -> Ints:  # fmt: skip
    """What each record data[edges[k]:edges[k + 1]] is; `chosen[k]` is the first template to try, -1: none."""
    found = np.zeros((len(chosen), COLUMNS), np.int64)
    for k in range(len(chosen)):
        t = chosen[k]
        row = found[k]
        while t >= 0 and not plain(
            data, edges[k], edges[k + 1], t, heads, head_edges, layouts, layout_edges, signals, row
        ):
            t = following[t]
        row[TEMPLATE] = t
    return found


@entry
def gather(data: Bytes, found: Ints, firsts: Ints, edges: Ints, signals: Ints, at: Ints, values: Bytes) -> Ints:
    """The instants and values of plain frames, burst by burst; returns where the values of each burst begin, in bytes.

    Burst b is found[firsts[b]:firsts[b + 1]], frame k has the instants at[edges[k]:edges[k + 1]]; its values lie as
    [signals[b], instants of the burst] doubles.
    """
    begins = np.zeros(len(firsts), np.int64)
    for b in range(len(firsts) - 1):
        width = 8 * (edges[firsts[b + 1]] - edges[firsts[b]])
        for k in range(firsts[b], firsts[b + 1]):
            first, count = edges[k], found[k, INSTANTS]
            base, p = number(data, found[k, OFFSETS_FROM], len(data))
            at[first] = found[k, AT]
            for i in range(1, count):
                offset, p = number(data, p, len(data))
                at[first + i] = found[k, AT] + offset - base
            p = found[k, VALUES_FROM]
            place = begins[b] + 8 * (first - edges[firsts[b]])
            for _ in range(signals[b]):
                for i in range(8 * count):
                    values[place + i] = data[p + i]
                p += 8 * count
                place += width
        begins[b + 1] = begins[b] + width * signals[b]
    return begins
