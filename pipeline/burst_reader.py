"""Runs of plain frames out of a batch of records, read all at once by compiled code.

A frame is plain when it holds one block of samples, at most one count and nothing else, written as everybody writes it.
What it begins with (schema, machine, source, epoch) and its layout (names and units) are known from a frame that
`FrameReader` has read before, and are compared as bytes; so plain frames are just what that reader would have made of
them. Whatever is not plain is left to it, the refusals too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.burst_kernels import (
    COUNT_AT,
    CUMULATIVE,
    END,
    INSTANTS,
    SAID,
    SENT,
    SEQUENCE,
    START,
    TEMPLATE,
    TOTAL,
    gather,
    scan,
)
from pipeline.core.burst import Burst
from pipeline.core.model import CountReading, Frame
from pipeline.frame_reader import (
    read_array,
    read_block_head,
    read_flag,
    read_instant,
    read_long,
    read_offsets,
    read_text,
)
from pipeline.limits import KEPT_BYTES

HEADER = 5  # bytes before the body: magic and schema
TEMPLATES = 20_000  # kept; more, and all are learned anew
FRESH = 4  # records of an unknown machine from which its shape may be learned, batch by batch
PER_KEY = 4  # templates of one machine: sources and sets of signals that take turns

Ints = NDArray[np.int64]
Reading = Callable[[bytes, int], tuple[Any, ...]]


class Raw(Protocol):
    """A record as the consumer gives it; `timestamp` is its arrival in ms."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


R = TypeVar("R", bound=Raw)


class Template(NamedTuple):
    """What frames of one source of a machine have in common."""

    head: bytes
    layout: bytes
    machine: str
    source: str
    epoch: int
    names: list[str]
    units: list[str]


class BurstReader:
    """Remembers what the frames of each machine begin with and which signals they hold; bounded."""

    def __init__(self, headers: frozenset[bytes]) -> None:
        """`headers`: the first bytes of records that are frames as this reader speaks them."""
        self._headers = headers
        self._kept = 0  # bytes of heads and layouts
        self._clear()

    def split(self, rows: Sequence[R], partition: int) -> Iterator[Burst | R]:
        """Bursts, and the records that belong to none; those of each key in their order.

        Records from which there is something to learn come first: the caller reads them, and calls `learn`, before it
        asks for the next.
        """
        if self._full:
            self._clear()
        fresh: list[R] = []
        rest: list[R] = []
        seen: dict[bytes | None, int] = {}
        for row in rows:
            if row.key in self._by_key:
                rest.append(row)
                continue
            seen[row.key] = seen.get(row.key, 0) + 1
            (fresh if seen[row.key] <= FRESH else rest).append(row)
        yield from fresh
        yield from (row for row in rest if row.key not in self._by_key)
        known = [row for row in rest if row.key in self._by_key]
        if known:
            yield from self._split(known, partition)

    def _split(self, rows: Sequence[R], partition: int) -> Iterator[Burst | R]:
        """Rows whose keys have templates."""
        if self._stale:
            self._tabulate()
        values = [row.value or b"" for row in rows]
        edges = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(value) for value in values], out=edges[1:])
        ids = np.array([self._ids[row.key] for row in rows], np.int64)
        order = np.argsort(ids, kind="stable")
        data = np.frombuffer(b"".join(values), np.uint8)
        found = scan(data, edges, self._first[ids], *self._tables)[order]
        yield from self._runs(rows, order, found, data, partition)

    def learn(self, row: Raw, frame: Frame) -> None:
        """Remember the shape of a frame that was read by other means, if it is plain."""
        value = row.value or b""
        says_more = frame.states or frame.counts or frame.contexts or frame.events or frame.opening
        if (
            says_more
            or len(frame.signals) != 1
            or not frame.signals[0].values.size
            or value[:HEADER] not in self._headers
        ):
            return
        known = self._by_key.get(row.key, [])
        if any(value.startswith(one.head) and one.layout in value for one in map(self._templates.__getitem__, known)):
            return
        head, layout = value[: _head_end(value, HEADER)], _layout(value, HEADER)
        template = Template(
            head, layout, frame.machine, frame.source, frame.epoch,
            frame.signals[0].names, frame.signals[0].units,
        )  # fmt: skip
        self._kept += len(head) + len(layout)
        if len(self._templates) >= TEMPLATES or len(known) >= PER_KEY or self._kept > KEPT_BYTES:
            self._full = True
            return
        self._by_key.setdefault(row.key, []).append(len(self._templates))
        self._templates.append(template)
        self._stale = True

    def _runs(
        self, rows: Sequence[R], order: Ints, found: Ints, data: NDArray[np.uint8], partition: int
    ) -> Iterator[Burst | R]:
        plain = found[:, TEMPLATE] >= 0
        goes_on = np.zeros(len(rows), bool)
        goes_on[1:] = (
            plain[1:]
            & (found[1:, TEMPLATE] == found[:-1, TEMPLATE])
            & (found[1:, SEQUENCE] == found[:-1, SEQUENCE] + 1)
            & (found[1:, START] >= found[:-1, END])
        )
        rows = [rows[place] for place in order.tolist()]
        firsts = np.flatnonzero(~goes_on)
        bursts = self._bursts(rows, found, np.append(firsts[plain[firsts]], len(rows)), plain, data, partition)
        for first in firsts.tolist():
            yield next(bursts) if plain[first] else rows[first]

    def _bursts(
        self, rows: Sequence[Raw], found: Ints, firsts: Ints, plain: NDArray[np.bool_], data: NDArray[np.uint8],
        partition: int,
    ) -> Iterator[Burst]:  # fmt: skip
        """Burst b consists of the plain ones of the frames from firsts[b] on."""
        rows = [row for row, is_plain in zip(rows, plain.tolist(), strict=True) if is_plain]
        firsts = np.concatenate(([0], np.cumsum(plain)))[firsts]
        found = found[plain]
        edges = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(found[:, INSTANTS], out=edges[1:])
        templates = [self._templates[k] for k in found[firsts[:-1], TEMPLATE].tolist()]
        signals = np.array([len(template.names) for template in templates], np.int64)
        at = np.empty(edges[-1], np.int64)
        values = np.empty(int((np.diff(edges[firsts]) * signals).sum()))
        begins = gather(data, found, firsts, edges, signals, at, values.view(np.uint8)) // 8
        arrived, offsets = [row.timestamp for row in rows], [row.offset for row in rows]
        sequence, sent, start, end = (found[:, column].tolist() for column in (SEQUENCE, SENT, START, END))
        counted = np.flatnonzero(found[:, COUNT_AT])
        counts = [(k, _reading(found[k].tolist())) for k in counted.tolist()]
        places = firsts.tolist()
        low_counts = counted.searchsorted(firsts).tolist()
        samples = edges[firsts].tolist()
        for b, template in enumerate(templates):
            low, high = places[b], places[b + 1]
            own = values[begins[b] : begins[b + 1]].reshape(len(template.names), -1)
            yield Burst(
                template.machine, template.source, template.epoch, sequence[low], template.names, template.units,
                sent[low:high], arrived[low:high], start[low:high], end[low:high],
                (edges[low : high + 1] - samples[b]).tolist(), at[samples[b] : samples[b + 1]].copy(), own.copy(),
                [(k - low, reading) for k, reading in counts[low_counts[b] : low_counts[b + 1]]],
                partition, offsets[low:high],
            )  # fmt: skip

    def _tabulate(self) -> None:
        """Bring the templates into the arrays that compiled code reads; each key gets a small number."""
        heads, layouts = [one.head for one in self._templates], [one.layout for one in self._templates]
        following = np.full(len(self._templates), -1, np.int64)
        self._ids = {key: number for number, key in enumerate(self._by_key)}
        self._first = np.array([known[0] for known in self._by_key.values()], np.int64)
        for known in self._by_key.values():
            following[known[:-1]] = known[1:]
        signals = np.array([len(one.names) for one in self._templates], np.int64)
        self._tables = (*_joined(heads), *_joined(layouts), signals, following)
        self._stale = False

    def _clear(self) -> None:
        self._templates: list[Template] = []
        self._by_key: dict[bytes | None, list[int]] = {}
        self._stale, self._full = True, False
        self._kept = 0


def _reading(row: list[int]) -> CountReading:
    """The count in a row of `scan`."""
    numbers = [row[TOTAL + k] if row[SAID] >> k & 1 else None for k in range(4)]
    return CountReading(row[COUNT_AT], bool(row[CUMULATIVE]), *numbers)


def _joined(parts: list[bytes]) -> tuple[NDArray[np.uint8], Ints]:
    edges = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=edges[1:])
    return np.frombuffer(b"".join(parts), np.uint8), edges


def _head_end(data: bytes, p: int) -> int:
    """The place after machine, source and epoch of the frame at p."""
    readings: tuple[Reading, ...] = (read_text, read_text, read_instant)
    for read in readings:
        p = read(data, p)[-1]
    return p


def _layout(data: bytes, p: int) -> bytes:
    """The bytes of names and units in the first block of a good frame at p that says nothing else."""
    p = _head_end(data, p)
    readings: tuple[Reading, ...] = (
        read_long,
        read_instant,
        read_flag,
        *4 * (read_long,),
        read_block_head,
        read_instant,
        read_offsets,
    )
    for read in readings:
        p = read(data, p)[-1]
    _, end = read_array(read_text, data, p)
    _, end = read_array(read_text, data, end)
    return data[p:end]
