"""Plain frames read and folded together: as if they had been read and folded one by one, whatever is between them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_frames import NEWEST, PATIENT, frames, row, written
from test_partition import Row

from pipeline import burst_kernels
from pipeline.burst_reader import BurstReader
from pipeline.codec import Codec
from pipeline.core import admission
from pipeline.core.burst import Burst
from pipeline.core.engine import Engine, EngineSettings
from pipeline.core.model import (
    Context,
    Control,
    Correction,
    CountReading,
    Emitted,
    EndOfSource,
    Frame,
    MachineConfig,
    Record,
    SignalBlock,
    StateChange,
    Tick,
)
from pipeline.errors import ParkError
from pipeline.rows import Rows

T0 = 1_772_434_800_000  # 2026-03-02T07:00:00Z
CODEC = Codec()
KINDS = ("facts", "intervals", "anomalies", "incidents", "dead_letters")
SETTINGS = EngineSettings(retention_ms=1_200_000)


class Sender:
    """One source of one machine: a frame a second, mostly plain; states, counts, silences, late and repeated frames."""

    def __init__(self, chance: random.Random, machine: str, source: str) -> None:
        self.chance, self.machine, self.source = chance, machine, source
        self.at, self.sequence, self.epoch, self.total = T0 + chance.randint(0, 999), 0, T0, 0
        self.names = ["a", "b"][: chance.randint(1, 2)]

    def frame(self) -> Frame:
        chance = self.chance
        if chance.random() < 0.01:
            self.at += chance.choice((100_000, 400_000))
        if chance.random() < 0.01:
            self.epoch, self.sequence = self.epoch + 1, 0
        samples = chance.choice((1, 1, 1, 2, 3))
        at = self.at + np.sort(np.array([chance.randint(0, 999) for _ in range(samples)], np.int64))
        frame = Frame(self.machine, self.source, self.epoch, self.sequence, int(at[-1]) + 5)
        frame.signals = [SignalBlock(at, self.names, np.round(np.sin(at / 1e4 + np.ones((len(self.names), 1))), 2))]
        self._say_more(frame, int(at[0]))
        self.at, self.sequence = self.at + 1000, self.sequence + 1
        return frame

    def _say_more(self, frame: Frame, at: int) -> None:
        chance = self.chance
        if chance.random() < 0.1:
            self.total += chance.randint(0, 5)
            reading = (True, self.total) if chance.random() < 0.9 else (False, 2, None, chance.choice((None, 1)))
            frame.counts.append(CountReading(at + chance.randint(-300, 900), *reading))
        if chance.random() < 0.03:
            frame.states.append(StateChange(at, chance.choice(("running", "running", "stopped", "fault", "idle"))))
        if chance.random() < 0.01:
            frame.contexts.append(Context(at, chance.choice("AB"), None))
        if chance.random() < 0.01:
            frame.signals[0].at[-1] += chance.choice((10**9, 0, 3_000))
        if chance.random() < 0.005:
            frame.counts = [CountReading(at, True, 10**13), CountReading(at, True, -1)][: chance.randint(1, 2)]


def log(chance: random.Random, steps: int) -> list[Row]:
    """What some senders say, in the order in which it arrives, live or as a backlog."""
    senders = [Sender(chance, "m1", "plc"), Sender(chance, "m2", "plc")]
    if chance.random() < 0.5:
        senders.append(Sender(chance, "m1", "gateway"))
    config = MachineConfig(
        always=True, stale_after_ms=chance.choice((None, 60_000)), count_split=chance.choice(("", "", "proportional")),
        micro_stop_ms=chance.choice((5_000, 120_000)), ideal_cycle_us={"*": 2_000_000},
    )  # fmt: skip
    sent: list[tuple[int, Frame | Control]] = [(T0, Control("m1", "config", T0, "t", config))]
    for _ in range(steps):
        frame = chance.choice(senders).frame()
        late = chance.choice((5_000, 20_000, 300_000)) if chance.random() < 0.03 else 0
        sent.append((frame.sent + late, frame))
        if chance.random() < 0.02:
            sent.append((frame.sent + chance.choice((0, 10_000)), frame))
        if chance.random() < 0.01:
            sent.append((frame.sent, _said(chance, frame.sent)))
    sent.sort(key=lambda one: one[0])
    pace = chance.choice((None, 3))
    return [
        Row(offset, at if pace is None else T0 + 10**8 + offset * pace, message.machine.encode(), CODEC.encode(message))
        for offset, (at, message) in enumerate(sent)
    ]


def _said(chance: random.Random, at: int) -> Control:
    body = chance.choice((
        Tick(at + chance.randint(0, 90_000)),
        EndOfSource("plc", at + 1000),
        Correction(at - 100_000, at - 20_000, "setup", reason="mended", id=str(at)),
    ))  # fmt: skip
    return Control("m1", f"said-{at}", at, "t", body)


def one_by_one(rows: list[Row]) -> tuple[Engine, Emitted]:
    engine, emitted = Engine(SETTINGS), Emitted()
    for one in rows:
        message = CODEC.decode(one.value)
        assert isinstance(message, Frame | Control)
        _gather(emitted, engine.fold([Record(one.timestamp, message, 0, one.offset)]))
    return engine, emitted


def together(rows: list[Row], chance: random.Random) -> tuple[Engine, Emitted, int]:
    """In batches; also how many frames went in as part of a burst."""
    reader, engine, emitted, plain, place = BurstReader(CODEC.frame_headers), Engine(SETTINGS), Emitted(), 0, 0
    while place < len(rows):
        size = chance.choice((1, 3, 40, 200))
        records = list(read(reader, rows[place : place + size]))
        plain += sum(len(record) for record in records if isinstance(record, Burst))
        _gather(emitted, engine.fold(records))
        place += size
    return engine, emitted, plain


def read(reader: BurstReader, rows: list[Row]) -> Iterator[Burst | Record]:
    for one in reader.split(rows, 0):
        if isinstance(one, Burst):
            yield one
            continue
        message = CODEC.decode(one.value)
        assert isinstance(message, Frame | Control)
        if isinstance(message, Frame):
            reader.learn(one, message)
        yield Record(one.timestamp, message, 0, one.offset)


def _gather(emitted: Emitted, made: Emitted) -> None:
    for kind in KINDS:
        getattr(emitted, kind).extend(getattr(made, kind))


def by_machine(emitted: Emitted) -> dict[tuple[str, str | None], list[Any]]:
    found: dict[tuple[str, str | None], list[Any]] = {}
    for kind in KINDS:
        for one in getattr(emitted, kind):
            found.setdefault((kind, one.machine), []).append(one)
    return found


def state(engine: Engine) -> dict[str, Any]:
    """Snapshots of all machines; samples that wait for the detectors one by one, however they were cut."""
    found = {}
    for machine in engine.machines:
        packed = engine.snapshot(machine)
        until, waiting, *rest = packed["scorer"]
        samples = []
        for source, epoch, _, names, units, at, values in waiting:
            times = np.frombuffer(at, np.int64).tolist()
            matrix = np.frombuffer(values).reshape(len(names), -1).T.tolist()
            samples += [(source, epoch, time, *names, *units, *row) for time, row in zip(times, matrix, strict=True)]
        found[machine] = {**packed, "scorer": [until, sorted(samples), *rest]}
    return found


@pytest.mark.parametrize("seed", range(60))
def test_folded_together_as_one_by_one(seed: int) -> None:
    chance = random.Random(seed)
    rows = log(chance, 900)
    alone, expected = one_by_one(rows)
    engine, emitted, plain = together(rows, chance)
    assert by_machine(emitted) == by_machine(expected)
    assert state(engine) == state(alone)
    assert plain > 0.3 * len(rows)


def said_of(row_of: Row) -> Any:
    """What a record says when it is read alone: a frame, another record, or why there is none."""
    try:
        message = CODEC.decode(row_of.value)
    except ParkError as error:
        return str(error)
    return row(message) if isinstance(message, Frame) else message


def said_together(reader: BurstReader, rows: list[Row]) -> dict[int, Any]:
    """The same by offset, of records that are read together."""
    found: dict[int, Any] = {}
    for one in reader.split(rows, 0):
        if isinstance(one, Burst):
            for record in map(one.record, range(len(one))):
                assert isinstance(record.message, Frame)
                assert record.arrived == record.offset
                found[record.offset] = row(record.message)
            continue
        found[one.offset] = said_of(one)
        if isinstance(found[one.offset], dict):
            reader.learn(one, CODEC.decode(one.value))  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("seed", range(12))
def test_the_store_gets_the_same_rows_in_the_same_order(seed: int) -> None:
    """An insert that is done again after a crash must be the same, whatever the new sink has seen before."""
    chance = random.Random(seed)
    rows = log(chance, 600)
    known = BurstReader(CODEC.frame_headers)
    for _ in read(known, rows[: chance.randrange(300)]):
        continue
    made = []
    for reader in (BurstReader(CODEC.frame_headers), known, None):
        said = [(one.offset, Record(one.timestamp, CODEC.decode(one.value), 0, one.offset)) for one in rows]
        if reader is not None:
            said = [(one.offsets[0] if isinstance(one, Burst) else one.offset, one) for one in read(reader, rows)]
        table_rows = Rows(SETTINGS.max_future_ms)
        for _, one in sorted(said, key=lambda one: one[0]):
            table_rows.add(*((0, one) if isinstance(one, Burst) else (one.arrived, one.message)))
        made.append(dict(table_rows.tables()))
    assert made[0].keys() == made[1].keys() == made[2].keys()
    assert all(made[0][name].equals(made[2][name]) and made[1][name].equals(made[2][name]) for name in made[0])


@settings(max_examples=300, **PATIENT)
@given(st.lists(frames, min_size=1, max_size=3), st.data())
def test_what_is_read_together_is_what_is_read_alone(said: list[Frame], data: st.DataObject) -> None:
    """Frames of three machines with a block and a count each, repeated with other numbers, damaged here and there."""
    rows = []
    for one in said:
        one.opening, one.states, one.contexts, one.events = False, [], [], []
        one.signals, one.counts = one.signals[:1], one.counts[:1]
        for _ in range(3):
            one.sequence += 1
            value = bytearray(written(one, NEWEST))
            if data.draw(st.booleans()):
                at = data.draw(st.integers(0, len(value) - 1))
                value[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
            rows.append(Row(len(rows), len(rows), one.machine.encode(), bytes(value)))
    reader = BurstReader(CODEC.frame_headers)
    for _ in range(2):  # what is learned in the first turn is known in the second
        assert said_together(reader, rows) == {one.offset: said_of(one) for one in rows}


def test_what_is_remembered_is_bounded() -> None:
    reader = BurstReader(CODEC.frame_headers)
    for number in range(30_000):
        frame = Frame(f"m{number % 25_000}", f"s{number % 7}", 0, number, T0)
        frame.signals = [SignalBlock(np.array([T0]), ["a"], np.ones((1, 1)))]
        reader.learn(Row(number, T0, frame.machine.encode(), CODEC.encode(frame)), frame)
    assert 0 < len(reader._templates) <= 20_000
    for number in range(0, 50_000, 1000):  # keys that say nothing plain
        rows = [Row(k, T0, b"%d" % (number + k), b"rubbish") for k in range(1000)]
        assert list(reader.split(rows, 0)) == rows
    assert len(reader._by_key) <= 20_000


def test_the_kernels_know_what_a_count_is() -> None:
    assert (burst_kernels.MOST_READ, burst_kernels.MOST_MADE) == (admission.MOST_READ, admission.MOST_MADE)
