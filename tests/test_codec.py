"""The codec: every record survives the way to bytes and back; bytes that are no record are refused, cheaply."""

from __future__ import annotations

import io
import time
import tracemalloc
from typing import Any

import numpy as np
import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import schemas
from pipeline.codec import Codec, FactoryFile, Message, StateRecord
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
        "contexts": [Context(T0, "A", None, "O1000.NC"), Context(T0)],
        "events": [MachineEvent(T0, "alarm", "fault", "1007", "too \u202ehot"), MachineEvent(T0, "message", "info")],
        "signals": [block, SignalBlock(np.array([T0]), ["load"], np.array([[7.0]]), ["%"])],
    }
    return Frame(**(values | changes))  # type: ignore[arg-type]


CONFIG = MachineConfig(
    effective=T0, site="Ulm", area="hall 2", line="L1", position=3, timezone="Europe/Berlin", always=False,
    shifts=(Shift("early", "06:00", "14:00", (1, 2, 3)),), planned_down=((T0, T0 + 60_000),),
    breaks=(Shift("lunch", "12:00", "12:30"),), closed=("2026-12-25",), ideal_cycle_us={"A": 1_500_000, "*": 2_000_000},
    micro_stop_ms=120_000, stale_after_ms=300_000, counter_modulus=65536, oee_target=0.85,
    signals=(SignalConfig("load", "%", 0.0, 120.0, 600_000, False), SignalConfig("speed")),
)  # fmt: skip
FACT = OeeFact(
    "mill-1", "Ulm", "", "L1", T0, T0 + 60_000, T0, T0 + 60_000, "early", 19675, 19676, "A", "", t_ms=60_000,
    flags=["counter_reset"], known_at=T0 + 90_000,
)  # fmt: skip
ANOMALY = Anomaly(
    "mill-1", "Ulm", "L1", "load", "spike", "ewma", 1, T0, T0 + 5, 0.93, 7.0, 1.0, None, None, "warning", "running",
    "A", "load is 7 %, expected 1 %", T0 + 9,
)  # fmt: skip
RECORDS: list[Message] = [
    Control("mill-1", "c-1", T0, "ann", CONFIG),
    Control("mill-1", "c-2", T0, "ann", MachineConfig()),
    Control("mill-1", "c-3", T0, "bob", Correction(T0, T0 + 5, "fault", None, "tool broken", 2)),
    Control("mill-1", "c-4", T0, "worker", Tick(T0)),
    Control("mill-1", "c-5", T0, "produce", EndOfSource("file", T0)),
    FACT,
    Interval("mill-1", "Ulm", "L1", T0, None, "fault", "adet", T0, False, False, False, "E", "", 19675, "A", "", T0),
    Interval("mill-1", "Ulm", "L1", T0, T0, "running", "apt", None, True, True, True, "", "", -1, "", "7", T0),
    ANOMALY,
    DeadLetter("telemetry", 3, 10**10, T0, None, "undecodable", "no", 0, b"\xff\x00", None),
    DeadLetter("telemetry", 3, 10**10, T0, "mill-1", "future", "no", 2, None, b"\x00\x01"),
    StateRecord(1, 2, 4, 10**11, 1, {"mill-1": b"\x00\xff" * 500, "mill-2": b""}),
    FactoryFile("Ulm", T0, T0 + 1, "ann", "site: Ulm\n"),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_every_record_survives(codec: Codec, record: Message) -> None:
    assert codec.decode(codec.encode(record)) == record


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
        (b"\x00\x00\x00\x00\x01", "Frame"),
        (b"\x00\x00\x00\x00\x01" + b"\xff" * 100, "longer than 10 bytes"),
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
    varint = bytes([length]) if length < 128 else bytes([length & 127 | 128, length >> 7]) if length < 16384 else bytes(
        [length & 127 | 128, length >> 7 & 127 | 128, length >> 14]
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


# The hand-written reader and writer against fastavro

SCHEMA = parse_schema(schemas.without_logical_types(schemas.read(schemas.home(), "frame.avsc")))
CODEC = Codec()
names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
times = st.one_of(st.integers(0, 2**42), st.integers(1 - 2**60, 2**60 - 1), st.sampled_from([0, 63, 64, -1, -64, 8191]))
numbers = st.none() | times


@st.composite
def blocks(draw: st.DrawFn) -> SignalBlock:
    layout = draw(st.lists(names, max_size=5, unique=True))
    units = draw(st.sampled_from([[], ["%"] * len(layout)]))
    steps = draw(st.lists(st.sampled_from([0, 1, 5, 63, 64, 100, 8192, 3_000_000, 40_000_000]), max_size=40))
    at = np.cumsum([draw(times), *steps]).astype(np.int64) if draw(st.booleans()) or steps else np.empty(0, np.int64)
    values = draw(st.lists(st.floats(), min_size=len(layout) * len(at), max_size=len(layout) * len(at)))
    return SignalBlock(at, layout, np.array(values, np.float64).reshape(len(layout), len(at)), units)


frames = st.builds(
    Frame, names, names, times, st.integers(0, 2**60 - 1), times, st.booleans(),
    st.lists(st.builds(StateChange, times, texts, st.none() | texts), max_size=3),
    st.lists(st.builds(CountReading, times, st.booleans(), numbers, numbers, numbers, numbers), max_size=3),
    st.lists(st.builds(Context, times, *[st.none() | texts] * 3), max_size=3),
    st.lists(st.builds(MachineEvent, times, texts, texts, texts, texts), max_size=3),
    st.lists(blocks(), max_size=3),
)  # fmt: skip


def row(frame: Frame) -> dict[str, Any]:
    """The frame as fastavro speaks of it; values as bytes, so that NaN equals NaN."""
    entries = {
        name: [entry._asdict() for entry in getattr(frame, name)] for name in ("states", "counts", "contexts", "events")
    }
    heads = {name: getattr(frame, name) for name in ("machine", "source", "epoch", "sequence", "sent", "opening")}
    signals = []
    for block in frame.signals:
        start = int(block.at[0]) if len(block.at) else 0
        layout = {"start": start, "names": block.names, "units": block.units}
        signals.append(layout | {"offsets": (block.at - start).tolist(), "values": block.values.tobytes()})
    return heads | entries | {"signals": signals}


def by_fastavro(value: bytes) -> dict[str, Any]:
    """What fastavro reads, with each block's start moved to its first instant."""
    body = io.BytesIO(value)
    body.seek(5)
    got: Any = schemaless_reader(body, SCHEMA, None)
    assert body.tell() == len(value)
    for block in got["signals"]:
        block["values"] = np.array(block["values"], np.float64).tobytes()
        first = block["offsets"][0] if block["offsets"] else -block["start"]
        block["start"] += first
        block["offsets"] = [offset - first for offset in block["offsets"]]
    return dict(got)


@given(frames)
def test_fastavro_reads_what_we_write_and_we_read_what_it_writes(frame: Frame) -> None:
    value = CODEC.encode(frame)
    assert by_fastavro(value) == row(frame)
    theirs = row(frame)
    for block, mine in zip(theirs["signals"], frame.signals, strict=True):
        block["values"] = mine.values.ravel().tolist()
    out = io.BytesIO()
    out.write(value[:5])
    schemaless_writer(out, SCHEMA, theirs)
    assert row_of(out.getvalue()) == row(frame)


def row_of(value: bytes) -> dict[str, Any]:
    got = CODEC.decode(value)
    assert isinstance(got, Frame)
    return row(got)


NASTY = [b"\xff" * 9 + b"\1", b"\x80" * 4 + b"\0", b"\1", b"\2", b"\xff"]


@settings(max_examples=500)
@given(frames, st.data())
def test_on_damaged_bytes_we_agree_with_fastavro_or_refuse(frame: Frame, data: st.DataObject) -> None:
    value = bytearray(CODEC.encode(frame))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(5, len(value) - 1))
        end = data.draw(st.sampled_from([at, at + 1, at + 1, at + 1, at + 4]))
        value[at:end] = data.draw(st.binary(max_size=4) | st.sampled_from(NASTY))
        if len(value) < 6:
            return
    damaged = bytes(value)
    try:
        got = row_of(damaged)
    except UndecodableRecord:
        return
    assert got == by_fastavro(damaged)


def varint(number: int) -> bytes:
    rest, out = number << 1 if number >= 0 else ~(number << 1), bytearray()
    while rest > 127:
        out.append(rest & 127 | 128)
        rest >>= 7
    return bytes([*out, rest])


HEAD = b"\0\0\0\0\1" + varint(1) + b"m" + varint(1) + b"s" + b"\0\0\0\0"


@pytest.mark.parametrize("count", [2**62, -(2**62), 2**31, 10**6, -(2**63)])
@pytest.mark.parametrize(
    "before",
    [
        b"", b"\0", b"\0\0", b"\0\0\0", b"\0\0\0\0",  # states, counts, contexts, events, signals
        b"\0\0\0\0" + varint(1) + b"\0",  # offsets
        b"\0\0\0\0" + varint(1) + b"\0\2\0\0",  # names
        b"\0\0\0\0" + varint(1) + b"\0\2\0\0" + varint(1) + b"\2a\0",  # units
        b"\0\0\0\0" + varint(1) + b"\0\2\0\0" + varint(1) + b"\2a\0\0",  # values
    ],
)  # fmt: skip
def test_an_absurd_array_is_refused_at_once(count: int, before: bytes) -> None:
    value = HEAD + before + varint(count) + (varint(8) if count < 0 else b"") + b"\0" * 200
    tracemalloc.start()
    began = time.process_time()
    with pytest.raises(UndecodableRecord):
        CODEC.decode(value)
    assert time.process_time() - began < 0.1
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("index", [7, 3, 2])
def test_absurd_lengths_in_the_other_records(index: int) -> None:
    for lie in (2**62, -1, -(2**62), 2**31):
        value = b"\0\0\0\0" + bytes([index]) + b"\2\2\2\2\2" + varint(lie) + b"\0" * 50
        with pytest.raises(UndecodableRecord):
            CODEC.decode(value)


def test_a_frame_in_blocks_as_other_writers_may_send_it() -> None:
    doubles = np.arange(4.0).tobytes()
    body = (
        varint(100) + varint(1) + b"\0" + varint(-1) + varint(1) + varint(7) + b"\0"  # offsets 0 | 7
        + varint(1) + b"\2a" + varint(1) + b"\2b" + b"\0"  # names a | b
        + b"\0" + varint(1) + doubles[:8] + varint(-3) + varint(24) + doubles[8:] + b"\0"
    )  # fmt: skip
    value = HEAD + b"\0\0\0\0" + varint(-1) + varint(len(body)) + body + b"\0"
    got = CODEC.decode(value)
    assert isinstance(got, Frame)
    (block,) = got.signals
    assert block.names == ["a", "b"]
    assert block.at.tolist() == [100, 107]
    assert block.values.tolist() == [[0.0, 1.0], [2.0, 3.0]]
    with pytest.raises(UndecodableRecord, match="another size"):
        CODEC.decode(HEAD + b"\0\0\0\0" + varint(-1) + varint(len(body) - 1) + body + b"\0")


@pytest.mark.parametrize(
    ("offsets", "values", "text"),
    [
        (varint(2) + varint(5) + varint(4) + b"\0", 2, "ascending"),
        (varint(1) + varint(-1) + b"\0", 1, "ascending"),
        (varint(2) + varint(0) + varint(4) + b"\0", 1, "1 values for 1 signals at 2 instants"),
        (varint(1) + varint(0) + b"\0", 2, "2 values for 1 signals at 1 instants"),
        (varint(1) + varint(0) + b"\0", 0, "0 values for 1 signals at 1 instants"),
    ],
)
def test_a_block_that_contradicts_itself(offsets: bytes, values: int, text: str) -> None:
    numbers = varint(values) + b"\0" * 8 * values if values else b""
    value = HEAD + b"\0\0\0\0" + varint(1) + b"\0" + offsets + varint(1) + b"\2a\0" + b"\0" + numbers + b"\0" + b"\0"
    with pytest.raises(UndecodableRecord, match=text) as caught:
        CODEC.decode(value)
    assert caught.value.reason == "invalid"


def test_what_is_remembered_never_leaks_from_one_frame_into_another() -> None:
    """Machine, source, epoch and layouts are recognised by their bytes; what a caller does to a frame stays there."""
    rng, codec = np.random.default_rng(1), Codec()
    sent = []
    for number in range(300):
        layout = [f"s{i}" for i in range(rng.integers(0, 12))]
        units = ["%"] * (number % 2) * len(layout)
        signals = [SignalBlock(np.array([number]), layout, rng.random((len(layout), 1)), units)]
        machine, source = f"m{rng.integers(6)}" * rng.integers(1, 3), f"s{rng.integers(6)}"
        sent.append(Frame(machine, source, int(rng.integers(5)), number, 0, signals=signals))
    for _ in range(2):
        for frame in sent:
            got = codec.decode(codec.encode(frame))
            assert_same_frame(got, frame)
            assert isinstance(got, Frame)
            got.signals[0].names.append("x")
            got.signals[0].units.append("y")
            got.signals[0].values[:] = 7
