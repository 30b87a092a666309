"""Records of the line to rows of the store's tables, as Arrow columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields
from operator import attrgetter, itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import reasons
from pipeline.codec import Codec, FactoryFile, Message
from pipeline.core.burst import Burst
from pipeline.core.model import (
    Anomaly,
    Control,
    Correction,
    DeadLetter,
    EndOfSource,
    Frame,
    Incident,
    Interval,
    MachineConfig,
    Mute,
    OeeFact,
)
from pipeline.errors import UndecodableRecord

_Samples = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]  # instants, values, arrivals
_SAID = itemgetter(0, 1, 8, 9, 10, 11)  # machine, ts, source, epoch, sequence, entry
YEAR_2000 = 946_684_800_000
LAST_MS = 10_413_791_999_999  # end of 2299: the last instant of the store's times

TIME = pa.timestamp("ms", tz="UTC")
NAME = pa.dictionary(pa.int32(), pa.string())
_COMMON: dict[str, pa.DataType] = {
    "str": pa.string(), "int": pa.int64(), "bool": pa.bool_(), "float": pa.float64(),
    "list[str]": pa.list_(pa.string()), "float | None": pa.float64(), "bytes | None": pa.binary(),
    "str | None": pa.string(), "int | None": pa.int64(),
}  # fmt: skip
_TIMES = {
    "window_start", "window_end", "segment_start", "segment_end", "known_at", "start", "end", "stop", "first", "last",
    "arrived", "opened", "closed", "acknowledged",
}  # fmt: skip
_DATES = {"shift_date", "local_date"}
_SMALL = {"revision", "detector_version", "partition", "entries"}


def _column(name: str, kind: str) -> pa.Field:
    special = TIME if name in _TIMES else pa.date32() if name in _DATES else pa.int32() if name in _SMALL else None
    return pa.field(name, special or _COMMON[kind])


def _schema(kind: type) -> pa.Schema:
    return pa.schema([_column(field.name, str(field.type)) for field in fields(kind)])


_SPOKEN = [("machine", pa.string()), ("ts", TIME)]
_ORIGIN = [
    ("source", pa.string()), ("epoch", pa.int64()), ("sequence", pa.int64()), ("entry", pa.uint32()), ("arrived", TIME),
]  # fmt: skip
_TEXTS = pa.map_(pa.string(), pa.string())
SCHEMAS: dict[str, pa.Schema] = {
    "telemetry": pa.schema([
        ("machine", NAME), ("signal", NAME), ("ts", TIME), ("value", pa.float64()), ("arrived", TIME),
    ]),
    "events": pa.schema([
        *_SPOKEN, ("kind", pa.string()), ("severity", pa.string()), ("code", pa.string()), ("text", pa.string()),
        ("opening", pa.bool_()), *_ORIGIN,
    ]),
    "counts": pa.schema([
        *_SPOKEN, ("cumulative", pa.bool_()), ("total", pa.int64()), ("good", pa.int64()), ("reject", pa.int64()),
        ("rework", pa.int64()), ("opening", pa.bool_()), *_ORIGIN,
    ]),
    "machines": pa.schema([
        ("machine", pa.string()), ("effective", TIME), ("site", pa.string()), ("area", pa.string()),
        ("line", pa.string()), ("position", pa.int32()), ("timezone", pa.string()),
        ("ideal_cycle_us", pa.map_(pa.string(), pa.int64())), ("micro_stop_ms", pa.int64()),
        ("stale_after_ms", pa.int64()), ("counter_modulus", pa.int64()), ("profile", pa.string()),
        ("unknown_as", pa.string()), ("oee_target", pa.float64()), ("units", _TEXTS),
        ("shifts", pa.list_(pa.string())), ("issued", TIME), ("issued_by", pa.string()), ("id", pa.string()),
        ("enterprise", pa.string()), ("units_per_cycle", pa.map_(pa.string(), pa.int64())),
        ("count_split", pa.string()),
    ]),
    "corrections": pa.schema([
        ("machine", pa.string()), ("id", pa.string()), ("revision", pa.int32()), ("start", TIME), ("end", TIME),
        *((name, pa.string()) for name in ("state", "calendar", "reason", "product", "order")),
        *((name, pa.int64()) for name in ("good", "reject", "rework", "ideal_cycle_us")),
        ("withdrawn", pa.bool_()), ("issued", TIME), ("issued_by", pa.string()), ("note", pa.string()),
    ]),
    "mutes": pa.schema([
        ("machine", pa.string()), ("id", pa.string()), ("until", TIME), ("signal", pa.string()), ("kind", pa.string()),
        ("why", pa.string()), ("lifted", pa.bool_()), ("issued", TIME), ("issued_by", pa.string()),
    ]),
    "orders": pa.schema([
        ("machine", pa.string()), ("order", pa.string()), ("ts", TIME), ("product", pa.string()),
        ("planned", pa.int64()),
    ]),
    "factory_files": pa.schema([
        ("site", pa.string()), ("applied", TIME), ("effective", TIME), ("applied_by", pa.string()),
        ("text", pa.string()),
    ]),
    "reasons": pa.schema([
        ("site", pa.string()), ("applied", TIME), ("code", pa.string()), ("name", pa.string()),
        ("path", pa.list_(pa.string())), ("loss", pa.string()),
    ]),
    "oee_revisions": _schema(OeeFact),
    "oee_facts": _schema(OeeFact),
    "intervals": _schema(Interval),
    "anomaly_revisions": _schema(Anomaly),
    "anomalies": _schema(Anomaly),
    "incidents": _schema(Incident),
    "dead_letters": _schema(DeadLetter),
}  # fmt: skip
RESULTS: dict[type, tuple[str, ...]] = {
    OeeFact: ("oee_revisions", "oee_facts"), Interval: ("intervals",),
    Anomaly: ("anomaly_revisions", "anomalies"), Incident: ("incidents",), DeadLetter: ("dead_letters",),
}  # fmt: skip
_values: dict[type, Callable[[Any], tuple[Any, ...]]] = {
    kind: attrgetter(*(field.name for field in fields(kind))) for kind in RESULTS
}


def read(codec: Codec, result: bool, key: bytes | None, value: bytes | None) -> Message:
    """The record, when it is one of telemetry, or of results (or a factory file), as its topic says.

    Raises UndecodableRecord, UnknownSchema, RegistryUnavailable. The worker refuses the same telemetry.
    """
    message = codec.decode(value)
    if result:
        if type(message) not in RESULTS and not isinstance(message, FactoryFile):
            raise UndecodableRecord(f"a {type(message).__name__} is no result", "invalid")
        return message
    if not isinstance(message, Frame | Control):
        raise UndecodableRecord(f"a {type(message).__name__} is no telemetry", "invalid")
    if key is None:
        raise UndecodableRecord(f"no key, expected {message.machine!r}", "no_key")
    if key != message.machine.encode():
        raise UndecodableRecord(f"key {key[:80]!r} is not the machine {message.machine!r}", "invalid")
    return message


def weight(result: bool, size: int) -> int:
    """About how many rows a record of so many bytes gives."""
    return 2 if result else 1 + size // 8  # a sample is a double


class Names:
    """Names as codes of a dictionary column."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}

    def code(self, name: str) -> int:
        return self._codes.setdefault(name, len(self._codes))

    def column(self, codes: NDArray[np.int32]) -> pa.DictionaryArray:
        return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(list(self._codes), pa.string()))


class Rows:
    """Rows of one batch, gathered record by record; `count` is how many there are so far.

    Entries from before 2000, or from later than `max_future_ms` after their record's arrival, are left out, as are
    samples that are no number: the worker parks them as dead letters.
    """

    def __init__(self, max_future_ms: int) -> None:
        self.count = 0
        self._max_future_ms = max_future_ms
        self._plain: dict[str, list[tuple[Any, ...]]] = {name: [] for name in SCHEMAS if name != "telemetry"}
        self._machines, self._signals = Names(), Names()
        # by machine, in the order of its records, those of the same signals together: of two values the later one wins
        self._samples: dict[str, list[tuple[list[str], list[_Samples]]]] = {}

    def add(self, arrived: int, message: Message | Burst) -> None:
        """Rows of one record that arrived at `arrived` (ms), or of a burst, which knows when its frames did.

        Records of a machine come in their order; how they are cut into bursts changes no row and no order of rows.
        """
        if isinstance(message, Frame):
            self._frame(arrived, message)
        elif isinstance(message, Burst):
            self._burst(message)
        elif isinstance(message, Control):
            self._control(arrived, message)
        elif isinstance(message, FactoryFile):
            self._factory_file(message)
        else:
            row = _values[type(message)](message)
            for table in RESULTS[type(message)]:
                self._plain[table].append(row)
                self.count += 1

    def tables(self) -> Iterable[tuple[str, pa.Table]]:
        """The tables that have rows, in the order in which they are to be inserted."""
        if self._samples:
            telemetry = self._telemetry()
            if telemetry.num_rows:
                yield "telemetry", telemetry
        self._plain["counts"].sort(key=_SAID)  # bursts brought them in an order of their own
        for name, rows in self._plain.items():
            if rows:
                schema = SCHEMAS[name]
                columns = zip(*rows, strict=True)
                arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
                yield name, pa.Table.from_arrays(arrays, schema=schema)

    def _frame(self, arrived: int, frame: Frame) -> None:
        for block in frame.signals:
            if block.values.size:
                self._block(frame.machine, block.names, block.at, block.values, np.full(len(block.at), arrived))
        if frame.states or frame.contexts or frame.events or frame.counts:
            self._entries(frame, arrived)

    def _burst(self, burst: Burst) -> None:
        arrived = np.repeat(np.array(burst.arrived), np.diff(burst.edges))
        self._block(burst.machine, burst.names, burst.at, burst.values, arrived)
        for k, (at, *readings) in burst.counts:
            came = burst.arrived[k]
            if YEAR_2000 <= at <= self._latest(came):
                origin = (burst.source, burst.epoch, burst.sequence + k)
                self._plain["counts"].append((burst.machine, at, *readings, False, *origin, 0, came))
                self.count += 1

    def _block(
        self, machine: str, names: list[str], at: NDArray[np.int64], values: NDArray[np.float64],
        arrived: NDArray[np.int64],
    ) -> None:  # fmt: skip
        runs = self._samples.setdefault(machine, [])
        if not runs or runs[-1][0] != names:
            runs.append((names, []))
        runs[-1][1].append((at, values, arrived))
        self.count += values.size

    def _latest(self, arrived: int) -> int:
        return min(arrived + self._max_future_ms, LAST_MS)

    def _entries(self, frame: Frame, arrived: int) -> None:
        name, origin, latest = frame.machine, (frame.source, frame.epoch, frame.sequence), self._latest(arrived)
        for context in frame.contexts:
            if context.order and YEAR_2000 <= context.at <= latest:
                self._plain["orders"].append((name, context.order, context.at, context.product or "", context.planned))
                self.count += 1
        said: list[tuple[int, str, str, str, str]] = [
            (at, "state", "", state, reason or "") for at, state, reason in frame.states
        ]
        for context in frame.contexts:
            said += [(context.at, "context", "", str(word), kind) for kind, word in context._asdict().items()
                     if kind != "at" and word is not None]  # fmt: skip
        said += [(event.at, event.kind, event.severity, event.code, event.text) for event in frame.events]
        for entry, (at, kind, severity, code, text) in enumerate(said):
            if YEAR_2000 <= at <= latest:
                row = (name, at, kind, severity, code, text, frame.opening, *origin, entry, arrived)
                self._plain["events"].append(row)
                self.count += 1
        for entry, (at, *readings) in enumerate(frame.counts):
            if YEAR_2000 <= at <= latest:
                self._plain["counts"].append((name, at, *readings, frame.opening, *origin, entry, arrived))
                self.count += 1

    def _control(self, arrived: int, control: Control) -> None:
        body, events = control.body, self._plain["events"]
        if isinstance(body, MachineConfig):
            self._plain["machines"].append(_machine(control, body))
        elif isinstance(body, Correction):
            self._plain["corrections"].append(_correction(control, body))
        elif isinstance(body, Mute):
            until, issued = (min(max(at, 0), LAST_MS) for at in (body.until, control.issued))
            self._plain["mutes"].append((
                control.machine, body.id, until, body.signal, body.kind, body.why, body.lifted, issued, control.by,
            ))  # fmt: skip
        elif isinstance(body, EndOfSource):
            at = min(max(body.at, YEAR_2000), LAST_MS)
            origin = (control.id, 0, 0, 0, arrived)
            events.append((control.machine, at, "end_of_source", "", body.source, "", False, *origin))
        else:
            return
        self.count += 1

    def _factory_file(self, file: FactoryFile) -> None:
        applied, effective = (min(max(at, 0), LAST_MS) for at in (file.applied, file.effective))
        self._plain["factory_files"].append((file.site, applied, effective, file.by, file.text))
        tree = [(file.site, applied, one.code, one.name, list(one.path), one.loss) for one in reasons.rows(file.text)]
        self._plain["reasons"] += tree
        self.count += 1 + len(tree)

    def _telemetry(self) -> pa.Table:
        """All samples: machine by machine in the order of their records, signal by signal while these are the same."""
        ts, value, signal, machine, arrived = [], [], [], [], []
        for name, names, parts in ((one, *run) for one in sorted(self._samples) for run in self._samples[one]):
            at, values, came = (np.concatenate([part[k] for part in parts], axis=-1) for k in range(3))
            keep = np.isfinite(values) & (at >= YEAR_2000) & (at <= np.minimum(came + self._max_future_ms, LAST_MS))
            codes = np.array([self._signals.code(one) for one in names], np.int32)
            ts.append(np.broadcast_to(at, values.shape)[keep])
            value.append(values[keep])
            arrived.append(np.broadcast_to(came, values.shape)[keep])
            signal.append(np.broadcast_to(codes[:, None], values.shape)[keep])
            machine.append(np.full(len(value[-1]), self._machines.code(name), np.int32))
        names_of = [self._machines.column(np.concatenate(machine)), self._signals.column(np.concatenate(signal))]
        at, came = (pa.array(np.concatenate(instants)).cast(TIME) for instants in (ts, arrived))
        columns = [*names_of, at, pa.array(np.concatenate(value)), came]
        return pa.Table.from_arrays(columns, schema=SCHEMAS["telemetry"])


def _machine(control: Control, config: MachineConfig) -> tuple[Any, ...]:
    units = [(signal.name, signal.unit) for signal in config.signals]
    shifts = [f"{shift.name} {shift.start}-{shift.end}" for shift in config.shifts]
    return (
        control.machine, min(max(config.effective, 0), LAST_MS), config.site, config.area, config.line, config.position,
        config.timezone, list(config.ideal_cycle_us.items()), config.micro_stop_ms, config.stale_after_ms,
        config.counter_modulus, config.profile, config.unknown_as, config.oee_target, units, shifts,
        min(max(control.issued, 0), LAST_MS), control.by, control.id, config.enterprise,
        list(config.units_per_cycle.items()), config.count_split,
    )  # fmt: skip


def _correction(control: Control, body: Correction) -> tuple[Any, ...]:
    start, end, issued = (min(max(at, 0), LAST_MS) for at in (body.start, body.end, control.issued))
    return (
        control.machine, body.id or control.id, body.revision, start, end, body.state, body.calendar, body.reason,
        body.product, body.order, body.good, body.reject, body.rework, body.ideal_cycle_us, body.withdrawn, issued,
        control.by, control.note,
    )  # fmt: skip
