"""Avro bytes to the records of the line and back: Confluent wire format, strict on reading.

    byte 0      0
    bytes 1-4   id of the writer's schema, big-endian (avro/bundle.json, else the registry)
    bytes 5-    the Avro body, nothing after it
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from operator import attrgetter, itemgetter
from typing import Any

import numpy as np
from fastavro import parse_schema, schemaless_reader, schemaless_writer

from pipeline import schemas
from pipeline.core.model import (
    Anomaly,
    Context,
    Control,
    Correction,
    CountReading,
    DeadLetter,
    EndOfSource,
    Frame,
    Interval,
    MachineConfig,
    MachineEvent,
    OeeFact,
    Shift,
    SignalBlock,
    SignalConfig,
    StateChange,
    Tick,
)
from pipeline.errors import ParkError, UndecodableRecord, UnknownSchema

MAX_NAME = 256  # characters of a machine's, source's or signal's name
_HEADER = struct.Struct(">bI")


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


Message = Frame | Control | OeeFact | Interval | Anomaly | DeadLetter | StateRecord | FactoryFile
Row = dict[str, Any]


def invalid(detail: str) -> UndecodableRecord:
    """The error for bytes that are good Avro and no sense."""
    return UndecodableRecord(detail, "invalid")


def check_name(what: str, name: str) -> None:
    """Raise UndecodableRecord (`invalid`) unless the name can be a key: 1 to 256 characters, no NUL."""
    if not name or len(name) > MAX_NAME or "\0" in name:
        reason = "is empty" if not name else "holds NUL" if "\0" in name else f"has {len(name)} characters"
        raise invalid(f"{what} {reason}; allowed are 1 to {MAX_NAME} characters without NUL")


# From and to the rows that fastavro speaks


def _block_row(block: SignalBlock) -> Row:
    at = np.asarray(block.at, np.int64)
    values = np.ascontiguousarray(block.values, "<f8")
    if values.shape != (len(block.names), len(at)):
        raise ParkError(f"values have shape {values.shape}, expected {(len(block.names), len(at))} (names, instants)")
    start = int(at[0]) if len(at) else 0
    offsets = at - start
    _check_block(block.names, block.units, offsets)
    return {
        "start": start,
        "offsets": offsets.tolist(),
        "names": block.names,
        "units": block.units,
        "values": values.ravel().tolist(),
    }


def _check_block(names: list[str], units: list[str], offsets: Any) -> None:
    for name in names:
        check_name("signal name", name)
    if len(set(names)) != len(names):
        raise invalid("a signal is named twice in one block")
    if units and len(units) != len(names):
        raise invalid(f"{len(units)} units for {len(names)} signals")
    if len(offsets) and (offsets[0] < 0 or offsets[-1] > 2**31 - 1 or bool((np.diff(offsets) < 0).any())):
        raise invalid("offsets are not ascending from 0")


def _block(row: Row) -> SignalBlock:
    names, offsets = row["names"], np.array(row["offsets"], np.int64)
    if len(row["values"]) != len(names) * len(offsets):
        raise invalid(f"{len(row['values'])} values for {len(names)} signals at {len(offsets)} instants")
    _check_block(names, row["units"], offsets)
    values = np.array(row["values"], np.float64).reshape(len(names), len(offsets))
    return SignalBlock(_instant(row["start"]) + offsets, names, values, row["units"])


def _instant(at: int) -> int:
    if not -(2**60) < at < 2**60:
        raise invalid(f"time {at} is out of range")
    return at


_ENTRIES: tuple[tuple[str, Any], ...] = (
    ("states", StateChange), ("counts", CountReading), ("contexts", Context), ("events", MachineEvent),
)  # fmt: skip


def _frame_row(frame: Frame) -> Row:
    check_frame(frame)
    row: Row = {name: getattr(frame, name) for name in _FRAME_HEAD}
    for name, _ in _ENTRIES:
        row[name] = [entry._asdict() for entry in getattr(frame, name)]
    row["signals"] = [_block_row(block) for block in frame.signals]
    return row


_FRAME_HEAD = ("machine", "source", "epoch", "sequence", "sent", "opening")


def _frame(row: Row) -> Frame:
    frame = Frame(*(row[name] for name in _FRAME_HEAD))
    for name, kind in _ENTRIES:
        pick = itemgetter(*kind._fields)
        setattr(frame, name, [kind._make(pick(entry)) for entry in row[name]])
    frame.signals = [_block(block) for block in row["signals"]]
    check_frame(frame)
    return frame


def check_frame(frame: Frame) -> None:
    """Raise UndecodableRecord (`invalid`) for names that cannot be keys and numbers that nothing can count with."""
    check_name("machine name", frame.machine)
    check_name("source name", frame.source)
    if not 0 <= frame.sequence < 2**60:
        raise invalid(f"sequence {frame.sequence} is out of range")
    for at in (frame.epoch, frame.sent):
        _instant(at)
    for entries in (frame.states, frame.counts, frame.contexts, frame.events):
        for entry in entries:
            _instant(entry.at)
    for count in frame.counts:
        for number in count[2:]:
            if number is not None and not -(2**60) < number < 2**60:
                raise invalid(f"count {number} is out of range")


def _flat(kind: type) -> tuple[Callable[[Any], Row], Callable[[Row], Any]]:
    """Converters of a dataclass whose fields are the record's."""
    names = [field.name for field in fields(kind)]
    if len(names) == 1:
        only = names[0]
        return lambda value: {only: getattr(value, only)}, lambda row: kind(row[only])
    read, pick = attrgetter(*names), itemgetter(*names)
    return lambda value: dict(zip(names, read(value), strict=True)), lambda row: kind(*pick(row))


_correction_row, _correction = _flat(Correction)
_shift_row, _shift = _flat(Shift)
_signal_row, _signal = _flat(SignalConfig)
_config_row, _config_plain = _flat(MachineConfig)


def _machine_config_row(config: MachineConfig) -> Row:
    row = _config_row(config)
    row["shifts"] = [_shift_row(shift) for shift in config.shifts]
    row["breaks"] = [_shift_row(shift) for shift in config.breaks]
    row["signals"] = [_signal_row(signal) for signal in config.signals]
    row["planned_down"] = [{"start": start, "end": end} for start, end in config.planned_down]
    row["closed"] = list(config.closed)
    row["ideal_cycle_us"] = dict(config.ideal_cycle_us)
    return row


def _machine_config(row: Row) -> MachineConfig:
    def shifts(rows: list[Row]) -> tuple[Shift, ...]:
        return tuple(Shift(part["name"], part["start"], part["end"], tuple(part["days"])) for part in rows)

    parts = {
        "shifts": shifts(row["shifts"]),
        "breaks": shifts(row["breaks"]),
        "signals": tuple(_signal(signal) for signal in row["signals"]),
        "planned_down": tuple((span["start"], span["end"]) for span in row["planned_down"]),
        "closed": tuple(row["closed"]),
    }
    config: MachineConfig = _config_plain({**row, **parts})
    return config


_BODIES: dict[str, tuple[type, Callable[[Any], Row], Callable[[Row], Any]]] = {
    "org.openoee.MachineConfig": (MachineConfig, _machine_config_row, _machine_config),
    "org.openoee.Correction": (Correction, _correction_row, _correction),
    "org.openoee.Tick": (Tick, *_flat(Tick)),
    "org.openoee.EndOfSource": (EndOfSource, *_flat(EndOfSource)),
}
_BODY_NAMES = {kind: name for name, (kind, _, _) in _BODIES.items()}


def _control_row(control: Control) -> Row:
    check_name("machine name", control.machine)
    name = _BODY_NAMES[type(control.body)]
    body = (name, _BODIES[name][1](control.body))
    return {"machine": control.machine, "id": control.id, "issued": control.issued, "by": control.by, "body": body}


def _control(row: Row) -> Control:
    check_name("machine name", row["machine"])
    name, body = row["body"]
    _instant(row["issued"])
    for field in ("effective", "start", "end", "at"):
        _instant(body.get(field, 0))
    return Control(row["machine"], row["id"], row["issued"], row["by"], _BODIES[name][2](body))


RECORDS: dict[str, tuple[type, Callable[[Any], Row], Callable[[Row], Any]]] = {
    "Frame": (Frame, _frame_row, _frame),
    "Control": (Control, _control_row, _control),
    "OeeFact": (OeeFact, *_flat(OeeFact)),
    "Interval": (Interval, *_flat(Interval)),
    "Anomaly": (Anomaly, *_flat(Anomaly)),
    "DeadLetter": (DeadLetter, *_flat(DeadLetter)),
    "State": (StateRecord, *_flat(StateRecord)),
    "FactoryFile": (FactoryFile, *_flat(FactoryFile)),
}


class Codec:
    """Encodes with the newest version of each record; decodes every version of the bundle, and what a registry knows.

    `registry_url` empty: the bundle alone.
    """

    def __init__(self, registry_url: str = "") -> None:
        self._own: dict[str, Any] = {}
        self._writers: dict[type, tuple[bytes, Any, Callable[[Any], Row]]] = {}
        self._readers: dict[int, tuple[str, Any]] = {}
        for name, version in schemas.current().items():
            own = parse_schema(schemas.without_logical_types(version.schema()))
            kind, to_row, _ = RECORDS[name]
            self._own[name] = own
            self._writers[kind] = (_HEADER.pack(0, version.id), own, to_row)
        for version in schemas.bundle():
            writer = parse_schema(schemas.without_logical_types(version.schema()))
            self._readers[version.id] = (version.name, writer)

    def encode(self, message: Message) -> bytes:
        """Bytes of a record. Raises ParkError when its values cannot be a record (names, shapes, ranges)."""
        header, schema, to_row = self._writers[type(message)]
        out = io.BytesIO()
        out.write(header)
        try:
            schemaless_writer(out, schema, to_row(message))
        except (TypeError, ValueError, OverflowError, struct.error) as error:
            raise ParkError(f"this {type(message).__name__} is no valid record: {error}") from None
        return out.getvalue()

    def decode(self, value: bytes | None) -> Message:
        """The record in these bytes.

        Raises UndecodableRecord (no valid record), UnknownSchema, RegistryUnavailable (an id that only a registry
        could know, and it does not answer).
        """
        name, writer = self._reader(value)
        assert value is not None
        body = io.BytesIO(value)
        body.seek(5)
        own = self._own[name]
        try:
            row: Any = schemaless_reader(body, writer, None if writer is own else own, return_record_name=True)
        except Exception as error:
            raise UndecodableRecord(f"no valid {name}: {type(error).__name__} {error}") from None
        if body.tell() != len(value):
            raise UndecodableRecord(f"{len(value) - body.tell()} bytes after the {name}")
        message: Message = RECORDS[name][2](row)
        return message

    def _reader(self, value: bytes | None) -> tuple[str, Any]:
        if not value:
            raise UndecodableRecord("empty value")
        if len(value) < 5:
            raise UndecodableRecord(f"{len(value)} bytes are too few for a header")
        magic, ident = _HEADER.unpack_from(value)
        if magic != 0:
            raise UndecodableRecord(f"first byte is {magic & 255}, not 0: not in Confluent's wire format")
        known = self._readers.get(ident)
        if known is None:
            raise UnknownSchema(f"schema id {ident} is not in the bundle")
        return known


def header_id(value: bytes) -> int:
    """Schema id that a record names."""
    ident: int = _HEADER.unpack_from(value)[1]
    return ident


def writer_ids() -> Mapping[str, int]:
    """Id with which each record is written."""
    return {name: version.id for name, version in schemas.current().items()}
