"""The body of a Frame in Avro, read by hand: the one record that comes by the hundred thousand a second.

Columns go through numpy; what repeats from frame to frame (machine, source, epoch; names and units of a block) is
recognised by its bytes: Avro reads from left to right, so equal bytes at the same place mean the same. Everything that
is not exactly as it should be is refused; the memory taken is bounded by the bytes at hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.core.model import Context, CountReading, Frame, MachineEvent, SignalBlock, StateChange
from pipeline.errors import UndecodableRecord
from pipeline.limits import (
    KEPT_BYTES,
    LIMIT,
    MOST_BLOCKS,
    check_entries,
    check_layout,
    check_name,
    check_number,
    check_offsets,
    check_text,
    invalid,
)

FINGERPRINT: Final = "dbf7fe923ce0ffd1bbae9b9c9298695ac52cb082ce17990b147dc4627a6d3f2c"  # the Frame that this speaks
KEPT: Final = 20_000  # machines whose heads are remembered
DOUBLE = np.dtype("<f8")
T = TypeVar("T")
Layout = tuple[bytes, list[str], list[str]]


# Reading: each function takes the bytes and a position, and returns what stands there and the position after it.


def read_long(data: bytes, p: int) -> tuple[int, int]:
    """A zigzag varint of at most 64 bits."""
    byte = data[p]
    p += 1
    if byte < 128:
        return (byte >> 1) ^ -(byte & 1), p
    value, shift = byte & 127, 7
    while True:
        byte = data[p]
        p += 1
        value |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
        if shift > 63:
            raise UndecodableRecord("a number is longer than 10 bytes")
    if value >> 64:
        raise UndecodableRecord("a number has more than 64 bits")
    return (value >> 1) ^ -(value & 1), p


def read_text(data: bytes, p: int) -> tuple[str, int]:
    length, p = read_long(data, p)
    end = p + length
    if length < 0 or end > len(data):
        raise UndecodableRecord(f"a text of {length} bytes where {len(data) - p} are left")
    return data[p:end].decode(), end


def read_label(data: bytes, p: int) -> tuple[str, int]:
    """A text that is carried along in rows and in state."""
    text, p = read_text(data, p)
    return check_text(text), p


def read_flag(data: bytes, p: int) -> tuple[bool, int]:
    if data[p] > 1:
        raise UndecodableRecord(f"a boolean is {data[p]}")
    return data[p] == 1, p + 1


def _maybe(read: Callable[[bytes, int], tuple[T, int]], data: bytes, p: int) -> tuple[T | None, int]:
    branch, p = read_long(data, p)
    if branch == 0:
        return None, p
    if branch != 1:
        raise UndecodableRecord(f"branch {branch} of an optional field")
    return read(data, p)


def read_instant(data: bytes, p: int) -> tuple[int, int]:
    at, p = read_long(data, p)
    return check_number("time", at), p


def _state(data: bytes, p: int) -> tuple[StateChange, int]:
    at, p = read_instant(data, p)
    state, p = read_text(data, p)
    reason, p = _maybe(read_label, data, p)
    return StateChange(at, state, reason), p


def _count(data: bytes, p: int) -> tuple[CountReading, int]:
    at, p = read_instant(data, p)
    cumulative, p = read_flag(data, p)
    numbers: list[int | None] = []
    for _ in range(4):
        if data[p] == 0:  # most counters are not said; the rest of what an optional field may be is for `_maybe`
            numbers.append(None)
            p += 1
            continue
        number, p = _maybe(read_long, data, p)
        numbers.append(None if number is None else check_number("count", number))
    return CountReading(at, cumulative, *numbers), p


def _context(data: bytes, p: int) -> tuple[Context, int]:
    at, p = read_instant(data, p)
    product, p = _maybe(read_label, data, p)
    order, p = _maybe(read_label, data, p)
    program, p = _maybe(read_label, data, p)
    planned, p = _maybe(read_long, data, p)
    return Context(at, product, order, program, None if planned is None else check_number("count", planned)), p


def _event(data: bytes, p: int) -> tuple[MachineEvent, int]:
    at, p = read_instant(data, p)
    kind, p = read_label(data, p)
    severity, p = read_label(data, p)
    code, p = read_label(data, p)
    text, p = read_label(data, p)
    return MachineEvent(at, kind, severity, code, text), p


def read_block_head(data: bytes, p: int) -> tuple[int, int, int]:
    """Items of the next block of an array, where it must end (-1: not said), position."""
    count, p = read_long(data, p)
    end = -1
    if count < 0:
        size, p = read_long(data, p)
        count, end = -count, p + size
    if count > len(data) - p:
        raise UndecodableRecord(f"an array of {count} items where {len(data) - p} bytes are left")
    return count, end, p


def _check_end(p: int, end: int) -> None:
    if end not in (-1, p):
        raise UndecodableRecord("a block of an array has another size than it says")


def read_array(read: Callable[[bytes, int], tuple[T, int]], data: bytes, p: int) -> tuple[list[T], int]:
    items: list[T] = []
    while True:
        count, end, p = read_block_head(data, p)
        if not count:
            return items, p
        check_entries(len(items) + count)
        for _ in range(count):
            item, p = read(data, p)
            items.append(item)
        _check_end(p, end)


def _varints(data: bytes, p: int, count: int) -> tuple[NDArray[np.int64], int]:
    """`count` ints at once; their lengths show in the high bits."""
    window = np.frombuffer(data, np.uint8, min(5 * count, len(data) - p), p)
    ends = np.flatnonzero(window < 128)[:count]
    if len(ends) < count:
        raise UndecodableRecord("numbers that are too long, or end early")
    starts = np.empty(count, np.int64)
    starts[0] = 0
    starts[1:] = ends[:-1] + 1
    value = (window[starts] & 127).astype(np.int64)
    lengths = ends - starts
    longest = int(lengths.max())
    if longest > 4:  # an int has at most 5 bytes; more would overflow the shifts below
        raise UndecodableRecord("numbers that are too long, or end early")
    for i in range(1, longest + 1):
        at = lengths >= i
        value[at] |= (window[starts[at] + i] & 127).astype(np.int64) << (7 * i)
    return (value >> 1) ^ -(value & 1), p + int(ends[-1]) + 1


def read_offsets(data: bytes, p: int) -> tuple[NDArray[np.int64], int]:
    parts: list[NDArray[np.int64]] = []
    while True:
        count, end, p = read_block_head(data, p)
        if not count:
            break
        part, p = _varints(data, p, count)
        _check_end(p, end)
        parts.append(part)
    offsets = parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else np.empty(0, np.int64)
    check_offsets(offsets)
    return offsets, p


def _doubles(data: bytes, p: int, rows: int, columns: int) -> tuple[NDArray[np.float64], int]:
    expected = rows * columns
    count, end, p = read_block_head(data, p)
    stop = p + 8 * count
    if count == expected and stop < len(data) and data[stop] == 0 and count:  # one block: what everybody writes
        _check_end(stop, end)
        return np.ndarray((rows, columns), DOUBLE, data, p).copy(), stop + 1
    parts = []
    total = 0
    while count:
        stop = p + 8 * count
        if stop > len(data):
            raise UndecodableRecord(f"{count} values where {len(data) - p} bytes are left")
        _check_end(stop, end)
        parts.append(np.frombuffer(data, DOUBLE, count, p))
        total += count
        count, end, p = read_block_head(data, stop)
    if total != expected:
        raise invalid(f"{total} values for {rows} signals at {columns} instants")
    values: NDArray[np.float64] = np.concatenate([np.empty(0), *parts]).reshape(rows, columns)
    return values, p


class _Head:
    """What a machine's frames begin with, and the layouts of its blocks."""

    __slots__ = ("epoch", "layouts", "machine", "raw", "source")

    def __init__(self, raw: bytes, machine: str, source: str, epoch: int) -> None:
        self.raw, self.machine, self.source, self.epoch = raw, machine, source, epoch
        self.layouts: list[Layout] = []


class FrameReader:
    """Reads frames' bodies; remembers what repeats, bounded."""

    def __init__(self) -> None:
        self._heads: dict[bytes, list[_Head]] = {}
        self._kept = 0  # bytes of layouts

    def read(self, data: bytes, p: int) -> Frame:
        """The frame whose body is data[p:]. Raises UndecodableRecord."""
        try:
            frame, p = self._frame(data, p)
        except IndexError:
            raise UndecodableRecord("the Frame ends early") from None
        except UnicodeDecodeError as error:
            raise UndecodableRecord(f"a text of the Frame is no UTF-8: {error}") from None
        if p != len(data):
            raise UndecodableRecord(f"{len(data) - p} bytes after the Frame")
        return frame

    def _frame(self, data: bytes, p: int) -> tuple[Frame, int]:
        head = self._head(data, p)
        p += len(head.raw)
        sequence, p = read_long(data, p)
        if not 0 <= sequence < LIMIT:
            raise invalid(f"sequence {sequence} is out of range")
        sent, p = read_instant(data, p)
        opening, p = read_flag(data, p)
        states: list[StateChange] = []
        counts: list[CountReading] = []
        contexts: list[Context] = []
        events: list[MachineEvent] = []
        if data.startswith(b"\0\0\0\0", p):
            p += 4
        else:
            states, p = read_array(_state, data, p)
            counts, p = read_array(_count, data, p)
            contexts, p = read_array(_context, data, p)
            events, p = read_array(_event, data, p)
        blocks: list[SignalBlock] = []
        while True:
            count, end, p = read_block_head(data, p)
            if not count:
                break
            check_entries(len(blocks) + count, MOST_BLOCKS)
            for _ in range(count):
                block, p = self._block(head, data, p)
                blocks.append(block)
            _check_end(p, end)
        frame = Frame(
            head.machine, head.source, head.epoch, sequence, sent, opening, states, counts, contexts, events, blocks
        )
        return frame, p

    def _head(self, data: bytes, p: int) -> _Head:
        length, after = read_long(data, p)
        key = data[p : max(after + length, after)]
        heads = self._heads.get(key)
        if heads is not None:
            for head in heads:
                if data.startswith(head.raw, p):
                    return head
        machine, after = read_text(data, p)
        source, after = read_text(data, after)
        epoch, after = read_instant(data, after)
        check_name("machine name", machine)
        check_name("source name", source)
        head = _Head(data[p:after], machine, source, epoch)
        if heads is None:
            if len(self._heads) >= KEPT:
                self._heads.clear()
            heads = self._heads[key] = []
        heads.insert(0, head)
        del heads[4:]
        return head

    def _block(self, head: _Head, data: bytes, p: int) -> tuple[SignalBlock, int]:
        start, p = read_instant(data, p)
        if data.startswith(b"\2\0\0", p):
            p += 3
            at = np.array((start,), np.int64)
        else:
            at, p = read_offsets(data, p)
            at += start
        (raw, names, units) = self._layout(head, data, p)
        p += len(raw)
        values, p = _doubles(data, p, len(names), len(at))
        return SignalBlock(at, names.copy(), values, units.copy()), p

    def _layout(self, head: _Head, data: bytes, p: int) -> Layout:
        """Names and units at p, with their bytes."""
        for layout in head.layouts:
            if data.startswith(layout[0], p):
                return layout
        names, after = read_array(read_text, data, p)
        units, after = read_array(read_text, data, after)
        check_layout(names, units)
        self._kept += after - p
        if self._kept > KEPT_BYTES:
            self._heads.clear()
            self._kept = 0
        head.layouts.insert(0, (data[p:after], names, units))
        del head.layouts[8:]
        return head.layouts[0]
