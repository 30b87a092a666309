"""Frames by hand against fastavro: the same from good bytes, the same or a refusal from damaged ones, in no time."""

from __future__ import annotations

import gc
import io
import time
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import schemas
from pipeline.codec import Codec
from pipeline.core.model import Context, CountReading, Frame, MachineEvent, SignalBlock, StateChange
from pipeline.errors import ParkError, UndecodableRecord

SCHEMAS = {
    version.id: parse_schema(schemas.without_logical_types(version.schema()))
    for version in schemas.bundle()
    if version.name == "Frame"
}
NEWEST = schemas.current()["Frame"].id
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
    st.lists(st.builds(Context, times, *[st.none() | texts] * 3, numbers), max_size=3),
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
    got: Any = schemaless_reader(body, SCHEMAS[int.from_bytes(value[1:5])], SCHEMAS[NEWEST])
    assert body.tell() == len(value)
    for block in got["signals"]:
        block["values"] = np.array(block["values"], np.float64).tobytes()
        first = block["offsets"][0] if block["offsets"] else -block["start"]
        block["start"] += first
        block["offsets"] = [offset - first for offset in block["offsets"]]
    return dict(got)


PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}  # a busy machine is no failure


@settings(**PATIENT)
@given(frames)
def test_fastavro_reads_what_we_write_and_we_read_what_it_writes(frame: Frame) -> None:
    assert by_fastavro(CODEC.encode(frame)) == row(frame)
    assert row_of(written(frame, NEWEST)) == row(frame)


def written(frame: Frame, ident: int) -> bytes:
    """The frame as fastavro writes it by the schema of this id; fields that it does not have are left out."""
    theirs = row(frame)
    for block, mine in zip(theirs["signals"], frame.signals, strict=True):
        block["values"] = mine.values.ravel().tolist()
    out = io.BytesIO()
    out.write(b"\0" + ident.to_bytes(4))
    schemaless_writer(out, SCHEMAS[ident], theirs)
    return out.getvalue()


@settings(max_examples=50, **PATIENT)
@given(frames)
def test_frames_of_every_version_are_read(frame: Frame) -> None:
    old = replace(frame, contexts=[context._replace(planned=None) for context in frame.contexts])
    for ident in SCHEMAS:
        assert row_of(written(frame, ident)) == row(frame if ident == NEWEST else old)


def row_of(value: bytes) -> dict[str, Any]:
    got = CODEC.decode(value)
    assert isinstance(got, Frame)
    return row(got)


NASTY = [b"\xff" * 9 + b"\1", b"\x80" * 4 + b"\0", b"\1", b"\2", b"\xff"]


@pytest.mark.parametrize("ident", SCHEMAS)
@settings(max_examples=300, **PATIENT)
@given(frame=frames, data=st.data())
def test_on_damaged_bytes_we_agree_with_fastavro_or_refuse(ident: int, frame: Frame, data: st.DataObject) -> None:
    value = bytearray(written(frame, ident))
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


HEAD = b"\0" + NEWEST.to_bytes(4) + varint(1) + b"m" + varint(1) + b"s" + b"\0\0\0\0"


@pytest.mark.parametrize("ident", SCHEMAS)
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
def test_an_absurd_array_is_refused_at_once(ident: int, count: int, before: bytes) -> None:
    head = b"\0" + ident.to_bytes(4) + HEAD[5:]
    value = head + before + varint(count) + (varint(8) if count < 0 else b"") + b"\0" * 200
    gc.collect()  # of what other tests left, not within the time that is measured
    tracemalloc.start()
    began = time.process_time()
    try:
        with pytest.raises(UndecodableRecord):
            CODEC.decode(value)
        took, taken = time.process_time() - began, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert took < 0.1
    assert taken < 1_000_000


@pytest.mark.parametrize("index", [1, 2, 3, 4, 7, 10, 11, 12])
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
        (varint(1) + varint(2**31) + b"\0", 1, "ascending"),
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


@pytest.mark.parametrize("lie", [varint(-(2**63)), varint(2**35), b"\x80" * 5 + b"\0"])
def test_an_offset_of_more_bytes_than_an_int_has(lie: bytes) -> None:
    """Ten bytes of ones are -2^63: shifted as int64 they would come out as a plain 0."""
    offsets = varint(3) + varint(0) + varint(0) + lie + b"\0"
    value = HEAD + b"\0\0\0\0" + varint(1) + b"\0" + offsets + varint(1) + b"\2a\0" + b"\0"
    with pytest.raises(UndecodableRecord, match="too long"):
        CODEC.decode(value + varint(3) + b"\0" * 24 + b"\0" + b"\0")


@pytest.mark.parametrize("number", [2**60, -(2**60), 2**63 - 1, -(2**63)])
def test_numbers_that_nobody_can_reckon_with(number: int) -> None:
    """Neither read, whatever the version, nor written: counts and planned parts alike."""
    for entries in ({"counts": [CountReading(0, True, number)]}, {"contexts": [Context(0, planned=number)]}):
        frame = Frame("m", "s", 0, 0, 0, **entries)  # type: ignore[arg-type]
        for ident in SCHEMAS if frame.counts else [NEWEST]:
            with pytest.raises(UndecodableRecord, match="out of range") as caught:
                CODEC.decode(written(frame, ident))
            assert caught.value.reason == "invalid"
        with pytest.raises(ParkError, match="out of range"):
            CODEC.encode(frame)


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
            assert isinstance(got, Frame)
            assert row(got) == row(frame)
            got.signals[0].names.append("x")
            got.signals[0].units.append("y")
            got.signals[0].values[:] = 7
