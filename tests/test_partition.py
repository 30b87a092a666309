"""A partition in a worker: the same log gives the same rows whatever the batches, crashes and half-saved buckets."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from pipeline.codec import Codec, StateRecord
from pipeline.core.engine import ENGINE_VERSION
from pipeline.core.model import Control, CountReading, DeadLetter, EndOfSource, Frame, StateChange
from pipeline.errors import TooManyDeadLetters
from pipeline.partition import Counts, Partition, Share
from pipeline.results import Outgoing
from pipeline.settings import Settings, load
from pipeline.state import Snapshots

T0 = 1_700_000_000_000
CODEC = Codec()
SETTINGS: Settings = load({"provisional_s": 1, "window_s": 60}, {})


@dataclass
class Row:
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


def log(machines: int = 5, steps: int = 60) -> list[Row]:
    seed, rows = random.Random(3), []
    messages: list[Frame | Control] = []
    for step in range(steps):
        for m in range(machines):
            at = T0 + step * 10_000
            frame = Frame(f"m{m}", "plc", 1, step, at, counts=[CountReading(at, True, step, step)])
            if step == 0 or seed.random() < 0.3:
                frame.states.append(StateChange(at, seed.choice(["running", "stopped", "idle"])))
            messages.append(frame)
    end = EndOfSource("plc", T0 + steps * 10_000)
    messages += [Control(f"m{m}", f"end-{m}", T0, "t", end) for m in range(machines)]
    for offset, message in enumerate(messages):
        rows.append(Row(offset, T0 + offset * 2_000, message.machine.encode(), CODEC.encode(message)))
    return rows


def opened(found: list[StateRecord]) -> Partition:
    snapshots = Snapshots(0, 4, ENGINE_VERSION, found)
    return Partition(0, SETTINGS, CODEC, snapshots, Share(0.5), Counts())


def applied(part: Partition, rows: list[Row]) -> list[Outgoing]:
    return part.fold(rows, *part.decode(rows))


def saved(part: Partition, whole: bool = False) -> list[StateRecord]:
    records = [CODEC.decode(record.value) for record in part.snapshot(whole)]
    assert all(isinstance(record, StateRecord) for record in records)
    return records  # type: ignore[return-value]


WHOLE = applied(opened([]), log())


def test_the_log_says_something():
    assert {record.topic for record in WHOLE} == {"oee", "intervals"}
    assert len(WHOLE) > 50


@pytest.mark.parametrize("seed", range(20))
def test_crashes_and_batch_borders_change_nothing(seed):
    """Every row ever sent is one of the rows of the whole log, and none of these is missing."""
    chance, rows, state, sent = random.Random(seed), log(), [], []
    part, at = opened([]), 0
    while at < len(rows):
        step = chance.randint(1, 40)
        sent += applied(part, rows[at : at + step])
        at = part.next
        if chance.random() < 0.4:
            records = saved(part, chance.random() < 0.2)
            state += records[: chance.randint(0, len(records))] if chance.random() < 0.3 else records
        if chance.random() < 0.3:  # killed: the next worker has nothing but the topic `state`
            chance.shuffle(state)
            part = opened(state)
            at = part.next
    assert set(sent) == set(WHOLE)


def test_a_zombie_that_saves_late_only_makes_more_work():
    rows = log()
    zombie, heir = opened([]), opened([])
    applied(zombie, rows[:50])
    applied(heir, rows[:200])
    state = [*saved(heir), *saved(zombie)]  # the zombie's records are the newest of their keys
    assert opened(state).next == 200
    survived = opened(state[-4:])  # and compaction has left no others
    assert survived.next == 50
    assert set(applied(survived, rows[50:])) == set(WHOLE) - set(applied(opened([]), rows[:50]))


def test_unusable_records_are_dead_letters_with_their_address():
    good = log(1, 1)[0]
    found = [(b"m0", b"junk"), (b"m0", None), (None, good.value), (b"x", good.value)]
    strays = [Row(offset, T0, key, value) for offset, (key, value) in enumerate(found, 1)]
    records, letters = opened([]).decode([good, *strays])
    assert [record.offset for record in records] == [0]
    assert [(letter.offset, letter.reason) for letter in letters] == [
        (1, "undecodable"), (2, "undecodable"), (3, "no_key"), (4, "invalid"),
    ]  # fmt: skip
    assert [(letter.key, letter.value) for letter in letters] == [(row.key, row.value) for row in strays]


def test_entries_that_the_engine_parks_carry_the_raw_record():
    frame = Frame("m0", "plc", 1, 0, T0, states=[StateChange(T0 + 9_000_000_000, "running")])
    row = Row(7, T0, b"m0", CODEC.encode(frame))
    letters = [CODEC.decode(out.value) for out in applied(opened([]), [row]) if out.topic == "dead-letters"]
    assert [(letter.offset, letter.key, letter.value) for letter in letters] == [(7, b"m0", row.value)]


def test_a_large_share_of_unusable_records_stops():
    letter = DeadLetter("telemetry", 3, 77, T0, None, "undecodable", "no valid Frame")
    share = Share(0.5)
    for n in range(3000):
        share.count(n % 2 == 0, letter if n % 2 == 0 else None)
    share.count(True, letter)  # instead of a bad one: still half
    with pytest.raises(TooManyDeadLetters, match="partition 3, offset 77"):
        share.count(True, letter)


def test_silent_machines_get_ticks_for_their_own_partition():
    part = opened([])
    rows = log(2, 5)[:-2]
    applied(part, rows)
    ticks = part.ticks(rows[-1].timestamp + 60_000, 30_000)
    assert {tick.key for tick in ticks} == {b"m0", b"m1"}
    assert {tick.topic for tick in ticks} == {"telemetry"}
    assert part.ticks(rows[-1].timestamp + 1_000, 30_000) == []
