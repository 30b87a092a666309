"""The body of a Frame in Avro, written by hand: the counterpart of frame_reader, with the same checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.model import Context, CountReading, Frame, MachineEvent, SignalBlock, StateChange
from pipeline.frame_reader import DOUBLE, KEPT
from pipeline.limits import (
    KEPT_BYTES,
    LIMIT,
    check_amount,
    check_layout,
    check_name,
    check_number,
    check_offsets,
    invalid,
)


def write_long(value: int) -> bytes:
    """A zigzag varint. Raises UndecodableRecord (`invalid`) beyond 64 bits."""
    rest = value << 1 if value >= 0 else ~(value << 1)
    if rest < 128:
        return _SMALL[rest]
    if rest >> 64:
        raise invalid(f"{value} needs more than 64 bits")
    out = bytearray()
    while rest > 127:
        out.append(rest & 127 | 128)
        rest >>= 7
    out.append(rest)
    return bytes(out)


_SMALL = tuple(bytes((value,)) for value in range(128))


def write_text(text: str) -> bytes:
    """A length and UTF-8."""
    raw = text.encode()
    return write_long(len(raw)) + raw


def _write_maybe(write: Callable[[Any], bytes], value: Any) -> bytes:
    return b"\0" if value is None else b"\2" + write(value)


def _write_number(value: int) -> bytes:
    return write_long(check_number("number", value))


def _write_state(entry: StateChange) -> bytes:
    return _write_number(entry.at) + write_text(entry.state) + _write_maybe(write_text, entry.reason)


def _write_count(entry: CountReading) -> bytes:
    flag = b"\1" if entry.cumulative else b"\0"
    return _write_number(entry.at) + flag + b"".join(_write_maybe(_write_number, number) for number in entry[2:])


def _write_context(entry: Context) -> bytes:
    texts = (_write_maybe(write_text, text) for text in entry[1:4])
    return _write_number(entry.at) + b"".join(texts) + _write_maybe(_write_number, entry.planned)


def _write_event(entry: MachineEvent) -> bytes:
    return _write_number(entry.at) + b"".join(write_text(text) for text in entry[1:])


def _write_array(items: list[bytes]) -> bytes:
    return b"".join((write_long(len(items)), *items, b"\0")) if items else b"\0"


def _write_offsets(offsets: NDArray[np.int64]) -> bytes:
    check_offsets(offsets)
    value = offsets << 1
    place = np.arange(5)
    rest = value[:, None] >> (7 * place)  # [n, 5]: what is left from each 7-bit digit on
    digits = (rest & 127 | np.where(rest > 127, 128, 0)).astype(np.uint8)
    used: NDArray[np.uint8] = digits[(rest > 0) | (place == 0)]
    return write_long(len(offsets)) + used.tobytes() + b"\0"


class FrameWriter:
    """Writes frames' bodies; remembers what repeats, bounded."""

    def __init__(self) -> None:
        self._heads: dict[tuple[str, str, int], bytes] = {}
        self._layouts: dict[tuple[str, ...], bytes] = {}
        self._kept = 0  # bytes of layouts

    def write(self, frame: Frame) -> bytes:
        """The body. Raises UndecodableRecord (`invalid`) for a frame that no reader would take."""
        check_amount(frame)
        if not 0 <= frame.sequence < LIMIT:
            raise invalid(f"sequence {frame.sequence} is out of range")
        out = [
            self._head(frame.machine, frame.source, frame.epoch),
            write_long(frame.sequence),
            _write_number(frame.sent),
            b"\1" if frame.opening else b"\0",
        ]
        if frame.states or frame.counts or frame.contexts or frame.events:
            out.append(_write_array([_write_state(entry) for entry in frame.states]))
            out.append(_write_array([_write_count(entry) for entry in frame.counts]))
            out.append(_write_array([_write_context(entry) for entry in frame.contexts]))
            out.append(_write_array([_write_event(entry) for entry in frame.events]))
        else:
            out.append(b"\0\0\0\0")
        if frame.signals:
            out.append(write_long(len(frame.signals)))
            for block in frame.signals:
                self._block(block, out)
        out.append(b"\0")
        return b"".join(out)

    def _head(self, machine: str, source: str, epoch: int) -> bytes:
        raw = self._heads.get((machine, source, epoch))
        if raw is None:
            check_name("machine name", machine)
            check_name("source name", source)
            raw = write_text(machine) + write_text(source) + _write_number(epoch)
            if len(self._heads) >= KEPT:
                self._heads.clear()
            self._heads[machine, source, epoch] = raw
        return raw

    def _block(self, block: SignalBlock, out: list[bytes]) -> None:
        count, names, values = len(block.at), block.names, block.values
        if values.shape != (len(names), count):
            raise invalid(f"values have shape {values.shape}, expected {(len(names), count)} (names, instants)")
        start = int(block.at[0]) if count else 0
        out.append(_write_number(start))
        if count == 1:
            out.append(b"\2\0\0")
        else:
            out.append(_write_offsets(np.asarray(block.at, np.int64) - start) if count else b"\0")
        key = (*names, "\0", *block.units) if block.units else tuple(names)
        raw = self._layouts.get(key)
        if raw is None:
            check_layout(names, block.units)
            raw = _write_array([write_text(name) for name in names])
            raw += _write_array([write_text(unit) for unit in block.units])
            self._kept += len(raw)
            if self._kept > KEPT_BYTES:
                self._layouts.clear()
                self._kept = 0
            self._layouts[key] = raw
        out.append(raw)
        size = values.size
        if size:
            out.append(write_long(size))
            out.append(np.ascontiguousarray(values, DOUBLE).tobytes())
        out.append(b"\0")
