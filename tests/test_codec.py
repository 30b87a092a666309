"""The codec: every record survives the way to bytes and back; bytes that are no record are refused, cheaply."""

from __future__ import annotations

import io
from dataclasses import MISSING, asdict, fields, replace
from typing import Any

import numpy as np
import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer

from pipeline import schemas
from pipeline.codec import Codec, FactoryFile, Message, Notice, StateRecord
from pipeline.core.model import (
    Acknowledge,
    Anomaly,
    CalendarException,
    CalendarLevel,
    Context,
    Control,
    Correction,
    CountReading,
    DeadLetter,
    EndOfSource,
    Frame,
    Incident,
    Interval,
    MachineConfig,
    MachineEvent,
    Mute,
    OeeFact,
    Shift,
    SignalBlock,
    SignalConfig,
    StateChange,
    Tick,
)
from pipeline.errors import ParkError, UndecodableRecord, UnknownSchema
from pipeline.limits import MAX_NAME

T0 = 1_700_000_000_000


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec()


def frame(**changes: object) -> Frame:
    block = SignalBlock(
        np.array([T0, T0 + 5, T0 + 5000]), ["spindle_load", "温度"], np.array([[1.0, 2.5, np.nan], [-0.0, 3.0, np.inf]])
    )
    values: dict[str, object] = {
        "machine": "mill-1",
        "source": "gateway-7",
        "epoch": T0 - 1000,
        "sequence": 42,
        "sent": T0 + 6000,
        "opening": True,
        "states": [StateChange(T0, "running"), StateChange(T0 + 10, "fault", "E-17")],
        "counts": [CountReading(T0, True, 10, None, 0, None), CountReading(T0 + 1, False, -3)],
        "contexts": [Context(T0, "A", None, "O1000.NC"), Context(T0), Context(T0, order="7", planned=500)],
        "events": [MachineEvent(T0, "alarm", "fault", "1007", "too \u202ehot"), MachineEvent(T0, "message", "info")],
        "signals": [block, SignalBlock(np.array([T0]), ["load"], np.array([[7.0]]), ["%"])],
    }
    return Frame(**(values | changes))  # type: ignore[arg-type]


CONFIG = MachineConfig(
    effective=T0, site="Ulm", area="hall 2", line="L1", position=3, timezone="Europe/Berlin", always=False,
    shifts=(Shift("early", "06:00", "14:00", (1, 2, 3)),), planned_down=((T0, T0 + 60_000),),
    breaks=(Shift("lunch", "12:00", "12:30"),), closed=("2026-12-25",), ideal_cycle_us={"A": 1_500_000, "*": 2_000_000},
    micro_stop_ms=120_000, stale_after_ms=300_000, counter_modulus=65536, oee_target=0.85,
    profile="vorne", unknown_as="exclude",
    signals=(SignalConfig("load", "%", 0.0, 120.0, 600_000, False), SignalConfig("speed")),
)  # fmt: skip
XMAS = CalendarException(
    "2026-12-24", "2026-12-31", (Shift("short", "06:00", "12:00", (1, 4)),), (Shift("tea", "09:00", "09:15"),)
)
LEVELLED = replace(
    CONFIG, enterprise="Rhine Works", calendar_level="line",
    exceptions=(XMAS, CalendarException("2027-01-06", "2027-01-06")),
    above=(
        CalendarLevel(
            "area", False, (Shift("day", "08:00", "16:00"),), (Shift("noon", "12:00", "12:30", (5,)),), ((T0, T0 + 5),),
            ("2026-05-01",), (XMAS,),
        ),
        CalendarLevel("enterprise", True),
    ),
    units_per_cycle={"A": 4, "*": 2}, count_split="proportional", watch_cycle=False, watch_relations=False,
)  # fmt: skip
CORRECTION = Correction(
    T0, T0 + 5, "fault", "closed", "tool broken", 2, "B", "8", -3, 4, 1, 750_000, "corr-1", True
)  # fmt: skip
FACT = OeeFact(
    "mill-1", "Ulm", "", "L1", T0, T0 + 60_000, T0, T0 + 60_000, "early", 19675, 19676, "A", "", t_ms=60_000,
    line_pbt_ms=45_000, flags=["counter_reset"], known_at=T0 + 90_000,
)  # fmt: skip
ANOMALY = Anomaly(
    "mill-1", "Ulm", "L1", "load", "spike", "ewma", 1, T0, T0 + 5, 0.93, 7.0, 1.0, None, None, "warning", "running",
    "A", "load is 7 %, expected 1 %", T0 + 9,
)  # fmt: skip
RECORDS: list[Message] = [
    Control("mill-1", "c-1", T0, "ann", CONFIG),
    Control("mill-1", "c-2", T0, "ann", MachineConfig()),
    Control("mill-1", "c-3", T0, "bob", Correction(T0, T0 + 5, "fault", None, "tool broken", 2)),
    Control("mill-1", "c-6", T0, "ann", LEVELLED),
    Control("mill-1", "c-7", T0, "bob", CORRECTION, "lent to L2"),
    Control("mill-1", "c-8", T0, "bob", Correction(T0, T0 + 5, good=0, reason="")),
    Control("mill-1", "c-4", T0, "worker", Tick(T0)),
    Control("mill-1", "c-5", T0, "produce", EndOfSource("file", T0)),
    Control("mill-1", "c-9", T0, "ann", Acknowledge("mill-1/5", "belt is worn")),
    Control("mill-1", "c-10", T0, "ann", Mute("mill-1/7", T0 + 5, "load", "spike", "new sensor", True)),
    Notice("mill-1/5", "mill-1", "opened", "sent", 204, 2, T0),
    Incident(
        "mill-1",
        "Ulm",
        "L1",
        "mill-1/5",
        T0,
        T0,
        T0 + 5,
        None,
        "critical",
        True,
        False,
        2,
        ["load", "power"],
        ["shift"],
        "load",
        "shift",
        0.9,
        "running",
        "A",
        "load left its level",
        T0 + 7,
        "ann",
        "seen",
        T0 + 9,
    ),
    FACT,
    Interval(
        "mill-1", "Ulm", "north", "L1", T0, None, "fault", "adet", T0, False, False, False, "E", "", 19675, "A", "", T0
    ),
    Interval("mill-1", "Ulm", "north", "L1", T0, T0, "running", "apt", None, True, True, True, "", "", -1, "", "7", T0),
    ANOMALY,
    DeadLetter("telemetry", 3, 10**10, T0, None, "undecodable", "no", 0, b"\xff\x00", None),
    DeadLetter("telemetry", 3, 10**10, T0, "mill-1", "future", "no", 2, None, b"\x00\x01"),
    StateRecord(1, 2, 4, 10**11, 1, {"mill-1": b"\x00\xff" * 500, "mill-2": b""}),
    FactoryFile("Ulm", T0, T0 + 1, "ann", "site: Ulm\n"),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_every_record_survives(codec: Codec, record: Message) -> None:
    assert codec.decode(codec.encode(record)) == record


@pytest.mark.parametrize("word", ["id", "signal", "kind"])
def test_a_mute_is_remembered_by_names_not_by_texts(codec: Codec, word: str) -> None:
    mute = replace(Mute("mill-1/7", T0), **{word: "x" * (MAX_NAME + 1)})
    with pytest.raises(UndecodableRecord, match="allowed are 256"):
        codec.decode(codec.encode(Control("mill-1", "c-1", T0, "ann", mute)))


@pytest.mark.parametrize("full", [LEVELLED, LEVELLED.above[0], XMAS, CORRECTION], ids=lambda full: type(full).__name__)
def test_the_records_above_say_something_in_every_field(full: Any) -> None:
    for field in fields(full):
        usual = field.default_factory() if field.default_factory is not MISSING else field.default
        assert getattr(full, field.name) != usual or field.name == "always", field.name


def by_version(record: Message, version: schemas.Version) -> bytes:
    """The record as fastavro writes it by an older schema; what that does not know is left out."""
    if isinstance(record, Control):
        body: dict[str, Any] = asdict(record.body)
        if isinstance(record.body, MachineConfig):
            body["planned_down"] = [{"start": start, "end": end} for start, end in record.body.planned_down]
        row = {"machine": record.machine, "id": record.id, "issued": record.issued, "by": record.by}
        row["body"] = (f"org.openoee.{type(record.body).__name__}", body)
    elif isinstance(record, Frame):
        row = asdict(record) | {"signals": []}
        for name in ("states", "counts", "contexts", "events"):
            row[name] = [entry._asdict() for entry in getattr(record, name)]
    else:
        row = asdict(record)
    out = io.BytesIO()
    out.write(b"\0" + version.id.to_bytes(4))
    schemaless_writer(out, parse_schema(schemas.without_logical_types(version.schema())), row)
    return out.getvalue()


OLD_FRAME = frame(signals=[])
OLD: list[tuple[Message, Message]] = [  # (what a writer of version 1 knew of it, what is made of that today)
    (OLD_FRAME, replace(OLD_FRAME, contexts=[context._replace(planned=None) for context in OLD_FRAME.contexts])),
    (Control("mill-1", "c-1", T0, "ann", LEVELLED), Control("mill-1", "c-1", T0, "ann", CONFIG)),
    (
        Control("mill-1", "c-3", T0, "bob", CORRECTION),
        Control("mill-1", "c-3", T0, "bob", Correction(T0, T0 + 5, "fault", "closed", "tool broken", 2)),
    ),
    (Control("mill-1", "c-4", T0, "worker", Tick(T0)), Control("mill-1", "c-4", T0, "worker", Tick(T0))),
    (FACT, replace(FACT, line_pbt_ms=0)),
    *((record, replace(record, area="")) for record in RECORDS if isinstance(record, Interval)),
]


@pytest.mark.parametrize(("record", "today"), OLD, ids=[type(record).__name__ for record, _ in OLD])
def test_bytes_of_version_1_are_read_with_defaults_and_ours_by_a_reader_of_version_1(
    codec: Codec, record: Message, today: Message
) -> None:
    first = next(version for version in schemas.bundle() if version.name == type(record).__name__)
    old = by_version(record, first)
    assert first.version == 1
    assert codec.decode(old) == today
    with pytest.raises(UndecodableRecord):
        codec.decode(old[:-1])
    with pytest.raises(UndecodableRecord):
        codec.decode(old + b"\0")
    v1, v2 = (
        parse_schema(schemas.without_logical_types(version.schema()))
        for version in (first, schemas.current()[first.name])
    )
    seen = schemaless_reader(io.BytesIO(codec.encode(record)[5:]), v2, v1)
    assert seen == schemaless_reader(io.BytesIO(old[5:]), v1, None)


def assert_same_frame(got: Message, sent: Frame) -> None:
    assert isinstance(got, Frame)
    for name in ("machine", "source", "epoch", "sequence", "sent", "opening", "states", "counts", "contexts", "events"):
        assert getattr(got, name) == getattr(sent, name), name
    assert len(got.signals) == len(sent.signals)
    for mine, theirs in zip(got.signals, sent.signals, strict=True):
        assert mine.names == theirs.names
        assert mine.units == theirs.units
        assert mine.at.dtype == np.int64
        assert mine.at.tolist() == np.asarray(theirs.at).tolist()
        assert mine.values.dtype == np.float64
        assert mine.values.shape == (len(mine.names), len(mine.at))
        assert mine.values.tobytes() == np.ascontiguousarray(theirs.values, np.float64).tobytes()


def test_a_frame_survives_bit_by_bit(codec: Codec) -> None:
    assert_same_frame(codec.decode(codec.encode(frame())), frame())
    empty = Frame("m", "s", 0, 0, 0)
    assert_same_frame(codec.decode(codec.encode(empty)), empty)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "empty value"),
        (b"", "empty value"),
        (b"\x00\x00\x00", "too few"),
        (b"\x01\x00\x00\x00\x01abc", "first byte is 1"),
        (b'{"machine": "mill-1"}', "first byte is 123"),
        (b"\x00\x00\x00\x00\x09", "Frame"),
        (b"\x00\x00\x00\x00\x09" + b"\xff" * 100, "longer than 10 bytes"),
    ],
)
def test_bytes_that_are_no_record(codec: Codec, value: bytes | None, text: str) -> None:
    with pytest.raises(UndecodableRecord, match=text) as caught:
        codec.decode(value)
    assert caught.value.reason == "undecodable"


def test_an_unknown_id(codec: Codec) -> None:
    with pytest.raises(UnknownSchema, match="4711") as caught:
        codec.decode(b"\x00" + (4711).to_bytes(4, "big") + b"abc")
    assert caught.value.reason == "unknown_schema"


@pytest.mark.parametrize("record", [frame(), *RECORDS], ids=lambda record: type(record).__name__)
def test_a_record_cut_or_followed_by_bytes_is_refused(codec: Codec, record: Message) -> None:
    value = codec.encode(record)
    with pytest.raises(UndecodableRecord):
        codec.decode(value + b"\x00")
    for cut in range(5, len(value)):
        with pytest.raises(UndecodableRecord):
            codec.decode(value[:cut])


@pytest.mark.parametrize("machine", ["", "m" * 257, "m" * 10_000, "mill\x001"])
def test_names_that_cannot_be_keys(codec: Codec, machine: str) -> None:
    good = codec.encode(Frame("m", "s", 0, 0, 0))
    text = machine.encode()
    length = len(text) << 1
    varint = (
        bytes([length])
        if length < 128
        else bytes([length & 127 | 128, length >> 7])
        if length < 16384
        else bytes([length & 127 | 128, length >> 7 & 127 | 128, length >> 14])
    )
    with pytest.raises(UndecodableRecord) as caught:
        codec.decode(good[:5] + varint + text + good[7:])
    assert caught.value.reason == "invalid"
    with pytest.raises(ParkError):
        codec.encode(Frame(machine, "s", 0, 0, 0))
    with pytest.raises(ParkError):
        codec.encode(Frame("m", "s", 0, 0, 0, signals=[SignalBlock(np.array([1]), [machine], np.ones((1, 1)))]))


def test_a_frame_that_contradicts_itself_is_not_written(codec: Codec) -> None:
    def block(at: list[int], names: list[str], values: np.ndarray) -> Frame:
        return Frame("m", "s", 0, 0, 0, signals=[SignalBlock(np.array(at), names, values)])

    for wrong in (
        block([1, 2], ["a"], np.ones((1, 3))),
        block([2, 1], ["a"], np.ones((1, 2))),
        block([1], ["a", "a"], np.ones((2, 1))),
        block([0, 2**31], ["a"], np.ones((1, 2))),
        Frame("m", "s", 0, -1, 0),
        Frame("m", "s", 2**63, 0, 0),
    ):
        with pytest.raises(ParkError):
            codec.encode(wrong)
