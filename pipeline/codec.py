"""Avro bytes to the records of the line and back: Confluent wire format, strict on reading.

byte 0      0
bytes 1-4   id of the writer's schema, big-endian (avro/bundle.json, else the registry)
bytes 5-    the Avro body, nothing after it
"""

from __future__ import annotations

import io
import logging
import struct
from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
from fastavro import parse_schema, schemaless_reader, schemaless_writer

from pipeline import schemas
from pipeline.control_rows import Row, control, control_row, flat
from pipeline.core.model import (
    Anomaly,
    Context,
    Control,
    CountReading,
    DeadLetter,
    Frame,
    Incident,
    Interval,
    MachineEvent,
    OeeFact,
    SignalBlock,
    StateChange,
)
from pipeline.errors import ParkError, RegistryUnavailable, UndecodableRecord, UnknownSchema
from pipeline.frame_reader import FINGERPRINT, FrameReader
from pipeline.frame_writer import FrameWriter
from pipeline.limits import (
    LIMIT,
    check_amount,
    check_layout,
    check_name,
    check_number,
    check_offsets,
    invalid,
)
from pipeline.registry import Lookup, compare
from pipeline.row_writer import RowWriter
from pipeline.settings import Access

log = logging.getLogger("openoee.codec")
_HEADER = struct.Struct(">BI")


@dataclass(slots=True)
class StateRecord:
    """Snapshots of a bucket of machines and the next offset to apply to them (avro/state.avsc)."""

    partition: int
    bucket: int
    buckets: int
    cover: int
    engine: int
    machines: dict[str, bytes]


@dataclass(slots=True)
class FactoryFile:
    """A factory file as it was applied (avro/factory_file.avsc). Times in ms."""

    site: str
    effective: int
    applied: int
    by: str
    text: str


@dataclass(slots=True)
class Notice:
    """What became of a message about an incident (avro/notice.avsc). Times in ms."""

    incident: str
    machine: str
    what: str
    outcome: str
    status: int
    attempts: int
    at: int


Message = Frame | Control | OeeFact | Interval | Anomaly | Incident | DeadLetter | StateRecord | FactoryFile | Notice


# From and to the rows that fastavro speaks


def _block(row: Row) -> SignalBlock:
    names, offsets = row["names"], np.array(row["offsets"], np.int64)
    if len(row["values"]) != len(names) * len(offsets):
        raise invalid(f"{len(row['values'])} values for {len(names)} signals at {len(offsets)} instants")
    check_layout(names, row["units"])
    check_offsets(offsets)
    values = np.array(row["values"], np.float64).reshape(len(names), len(offsets))
    return SignalBlock(check_number("time", row["start"]) + offsets, names, values, row["units"])


_ENTRIES: tuple[tuple[str, Any], ...] = (
    ("states", StateChange), ("counts", CountReading), ("contexts", Context), ("events", MachineEvent),
)  # fmt: skip
_FRAME_HEAD = ("machine", "source", "epoch", "sequence", "sent", "opening")


def _frame(row: Row) -> Frame:
    frame = Frame(*(row[name] for name in _FRAME_HEAD))
    for name, kind in _ENTRIES:
        pick = itemgetter(*kind._fields)
        setattr(frame, name, [kind._make(pick(entry)) for entry in row[name]])
    frame.signals = [_block(block) for block in row["signals"]]
    _check_frame(frame)
    return frame


def _check_frame(frame: Frame) -> None:
    check_name("machine name", frame.machine)
    check_name("source name", frame.source)
    if not 0 <= frame.sequence < LIMIT:
        raise invalid(f"sequence {frame.sequence} is out of range")
    check_amount(frame)
    times = [frame.epoch, frame.sent]
    for entries in (frame.states, frame.counts, frame.contexts, frame.events):
        times += [entry.at for entry in entries]
    for at in times:
        check_number("time", at)
    for number in (*(n for count in frame.counts for n in count[2:]), *(context.planned for context in frame.contexts)):
        if number is not None:
            check_number("count", number)


_RECORDS: dict[str, tuple[type, Callable[[Any], Row], Callable[[Row], Any]]] = {
    "Control": (Control, control_row, control),
    "OeeFact": (OeeFact, *flat(OeeFact)),
    "Interval": (Interval, *flat(Interval)),
    "Anomaly": (Anomaly, *flat(Anomaly)),
    "DeadLetter": (DeadLetter, *flat(DeadLetter)),
    "State": (StateRecord, *flat(StateRecord)),
    "FactoryFile": (FactoryFile, *flat(FactoryFile)),
    "Incident": (Incident, *flat(Incident)),
    "Notice": (Notice, *flat(Notice)),
}


class Codec:
    """Encodes with the newest version of each record; decodes every version of the bundle, and what a registry knows.

    No `registry`: the bundle alone. The registry is asked only about ids that the bundle does not know.
    """

    def __init__(self, registry: Access | str = "") -> None:
        self._own: dict[str, Any] = {}
        self._writers: dict[type, tuple[bytes, Any, Callable[[Any], Row]]] = {}
        self._readers: dict[int, tuple[str, Any]] = {}
        self._registry = Lookup(registry) if registry else None
        newest = schemas.current()
        for version in schemas.bundle():
            parsed = parse_schema(schemas.without_logical_types(version.schema()))
            self._readers[version.id] = (version.name, parsed)
            if version is newest[version.name]:
                self._own[version.name] = parsed
        for name, (kind, to_row, _) in _RECORDS.items():
            self._writers[kind] = (_HEADER.pack(0, newest[name].id), self._own[name], to_row)
        self._rows: dict[type, RowWriter] = {
            kind: RowWriter(self._writers[kind][1]) for kind in (OeeFact, Interval, Anomaly, Incident)
        }
        self._frame_header = _HEADER.pack(0, newest["Frame"].id)
        self.frame_headers = frozenset(_HEADER.pack(0, v.id) for v in schemas.bundle() if v.fingerprint == FINGERPRINT)
        self._frame_reader, self._frame_writer = FrameReader(), FrameWriter()

    @classmethod
    def agreed(cls, registry: Access | str) -> Codec:
        """A codec for a process that starts: the registry, if there is one, must hold the bundle under its ids.

        Raises SchemaMismatch. A registry that is away is no reason to wait: the bundle knows what we write.
        """
        if registry:
            try:
                compare(registry, schemas.bundle())
            except RegistryUnavailable as error:
                log.warning("%s; going on with the committed schemas, which were not compared", error)
        return cls(registry)

    def encode(self, message: Message) -> bytes:
        """Bytes of a record. Raises ParkError when its values cannot be a record (names, shapes, ranges, types)."""
        try:
            if type(message) is Frame:
                return self._frame_header + self._frame_writer.write(message)
            header, schema, to_row = self._writers[type(message)]
            if type(message) in self._rows:
                return header + self._rows[type(message)].write(message)
            out = io.BytesIO(header)
            out.seek(len(header))
            schemaless_writer(out, schema, to_row(message))
            return out.getvalue()
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError, struct.error) as error:
            raise ParkError(f"this {type(message).__name__} is no valid record: {error}") from None

    def decode(self, value: bytes | None) -> Message:
        """The record in these bytes.

        Raises UndecodableRecord (no valid record); UnknownSchema (an id that neither the bundle nor the registry
        knows); RegistryUnavailable (an id that only the registry could know, which is away: try again; after
        `Lookup.patience_s` it becomes UnknownSchema).
        """
        if not value:
            raise UndecodableRecord("empty value")
        if value[:5] in self.frame_headers:
            return self._frame_reader.read(value, 5)
        name, writer = self._reader(value)
        own = self._own[name]
        row = _read(name, value, writer, None)
        if writer is not own:  # again, as ours; fields that we skip were proved to be whole by the first reading
            row = _read(name, value, writer, own)
        message: Message = _frame(row) if name == "Frame" else _RECORDS[name][2](row)
        return message

    def _reader(self, value: bytes) -> tuple[str, Any]:
        if len(value) < 5:
            raise UndecodableRecord(f"{len(value)} bytes are too few for a header")
        magic, ident = _HEADER.unpack_from(value)
        if magic != 0:
            raise UndecodableRecord(f"first byte is {magic}, not 0: not in Confluent's wire format")
        known = self._readers.get(ident)
        if known is None:
            known = self._readers[ident] = self._ask(ident, value[:5])
        return known

    def _ask(self, ident: int, header: bytes) -> tuple[str, Any]:
        if self._registry is None:
            raise UnknownSchema(f"schema id {ident} is not in the bundle, and no registry is set (OPENOEE_REGISTRY)")
        schema = self._registry.schema(ident)
        name = schemas.record_name(schema)
        if name is None or not schemas.is_bounded(schema):
            raise UnknownSchema(f"schema id {ident} is {schemas.full_name(schema)!r}: no record of this line")
        return name, parse_schema(schemas.without_logical_types(schema))


def _read(name: str, value: bytes, writer: Any, reader: Any) -> Row:
    body = io.BytesIO(value)
    body.seek(5)
    try:
        row: Row = schemaless_reader(body, writer, reader, return_record_name=True)
    except Exception as error:  # whatever fastavro stumbles over
        raise UndecodableRecord(f"no valid {name}: {type(error).__name__} {error}") from None
    if body.tell() != len(value):
        raise UndecodableRecord(f"{len(value) - body.tell()} bytes after the {name}")
    return row
