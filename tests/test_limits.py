"""What is too much is refused in words, by the writer and by both readers alike, before it takes time or memory."""

from __future__ import annotations

import io
import time
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fastavro import parse_schema, schemaless_writer

from pipeline import limits, schemas
from pipeline.burst_reader import BurstReader
from pipeline.codec import Codec, _frame
from pipeline.core.model import (
    Context,
    Control,
    CountReading,
    Frame,
    MachineConfig,
    MachineEvent,
    SignalBlock,
    StateChange,
    Tick,
)
from pipeline.errors import ParkError, UndecodableRecord
from pipeline.frame_reader import FrameReader
from pipeline.frame_writer import FrameWriter, write_long

VERSION = schemas.current()["Frame"]
SCHEMA = parse_schema(schemas.without_logical_types(VERSION.schema()))
HEADER = b"\0" + VERSION.id.to_bytes(4)
LONG = "x" * (limits.MAX_TEXT + 1)


def frame(**more: Any) -> Frame:
    made = Frame("m", "s", 1, 2, 3)
    for name, value in more.items():
        setattr(made, name, value)
    return made


def block(names: list[str], units: list[str] | None = None) -> SignalBlock:
    return SignalBlock(np.array([3]), names, np.zeros((len(names), 1)), units or [])


def by_fastavro(made: Frame) -> bytes:
    """The frame in Avro, whatever our own writer thinks of it."""
    row = {name: getattr(made, name) for name in ("machine", "source", "epoch", "sequence", "sent", "opening")}
    for name in ("states", "counts", "contexts", "events"):
        row[name] = [entry._asdict() for entry in getattr(made, name)]
    row["signals"] = [
        {"start": 3, "offsets": [0], "names": one.names, "units": one.units, "values": one.values.ravel().tolist()}
        for one in made.signals
    ]
    body = io.BytesIO(HEADER)
    body.seek(5)
    schemaless_writer(body, SCHEMA, row)
    return body.getvalue()


TOO_MUCH = {
    "reason": frame(states=[StateChange(3, "running", LONG)]),
    "product": frame(contexts=[Context(3, LONG, None, None, None)]),
    "order": frame(contexts=[Context(3, None, LONG, None, None)]),
    "program": frame(contexts=[Context(3, None, None, LONG, None)]),
    "event": frame(events=[MachineEvent(3, "alarm", "fault", "1", LONG)]),
    "machine": replace(frame(), machine="m" * 257),
    "unit": frame(signals=[block(["a"], ["u" * 257])]),
    "signals": frame(signals=[block([str(n) for n in range(limits.MOST_SIGNALS + 1)])]),
    "blocks": frame(signals=[block([])] * (limits.MOST_BLOCKS + 1)),
    "states": frame(states=[StateChange(3, "running", None)] * (limits.MOST_ENTRIES + 1)),
    "counts": frame(counts=[CountReading(3, True, 1, None, None, None)] * (limits.MOST_ENTRIES + 1)),
}


@pytest.mark.parametrize("what", TOO_MUCH)
def test_too_much_is_refused_by_writer_and_readers(what: str) -> None:
    made = TOO_MUCH[what]
    with pytest.raises(UndecodableRecord) as written:
        FrameWriter().write(made)
    value = by_fastavro(made)
    with pytest.raises(UndecodableRecord) as read:
        Codec().decode(value)
    assert read.value.reason == written.value.reason == "invalid"
    assert "allowed" in str(read.value) or "more than" in str(read.value)
    row: dict[str, Any] = {
        name: [entry._asdict() for entry in getattr(made, name)] for name in ("states", "counts", "contexts", "events")
    }
    row |= {name: getattr(made, name) for name in ("machine", "source", "epoch", "sequence", "sent", "opening")}
    row["signals"] = [
        {"start": 3, "offsets": [0], "names": one.names, "units": one.units, "values": one.values.ravel().tolist()}
        for one in made.signals
    ]
    with pytest.raises(UndecodableRecord) as other:  # what records of other versions of the schema go through
        _frame(row)
    assert other.value.reason == "invalid"


def test_what_is_just_allowed_passes() -> None:
    made = frame(
        states=[StateChange(3, "running", LONG[1:])],
        events=[MachineEvent(3, "alarm", "fault", "1", LONG[1:])],
        signals=[block([str(n) for n in range(limits.MOST_SIGNALS)])],
    )
    read = Codec().decode(by_fastavro(made))
    assert isinstance(read, Frame)
    assert read.states == made.states
    assert Codec().encode(read)


def test_a_control_is_bounded_too() -> None:
    config = MachineConfig(site="site", line="line")
    long_text = replace(config, site=LONG)
    long_list = replace(config, closed=("2026-01-01",) * (limits.MOST_ITEMS + 1))
    for body in (long_text, long_list):
        with pytest.raises(ParkError, match="allowed are"):
            Codec().encode(Control("m", "id", 1, "me", body))
    with pytest.raises(ParkError, match="allowed are"):
        Codec().encode(Control("m", LONG, 1, "me", Tick(1)))
    assert Codec().decode(Codec().encode(Control("m", "id", 1, "me", config)))


@pytest.mark.parametrize("claimed", [2**20, 2**31, 2**62])
def test_lengths_that_lie_take_neither_time_nor_memory(claimed: int) -> None:
    head = FrameWriter().write(frame())
    body = head[: head.index(b"\0\0\0\0")]
    tracemalloc.start()
    began = time.process_time()
    for value in (body + write_long(claimed), body + b"\0\0\0\0" + write_long(claimed), write_long(claimed)):
        with pytest.raises(UndecodableRecord):
            FrameReader().read(value, 0)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    assert time.process_time() - began < 1
    tracemalloc.stop()


def test_what_readers_remember_is_bounded_in_bytes() -> None:
    """Ever new sets of long names: what is kept of them stays below some times KEPT_BYTES."""
    reader, writer = FrameReader(), FrameWriter()
    bursts = BurstReader(frozenset([HEADER]))
    most = 0
    for number in range(400):
        names = [f"{number:06}-{place:04}" + "n" * 230 for place in range(1000)]
        body = writer.write(replace(frame(signals=[block(names)]), machine=f"m{number % 50}"))
        reader.read(body, 0)
        most = max(most, reader._kept, writer._kept)
    assert most <= limits.KEPT_BYTES
    assert sum(len(layout[0]) for heads in reader._heads.values() for head in heads for layout in head.layouts) <= (
        limits.KEPT_BYTES
    )
    assert bursts._kept == 0
