"""A partition in a worker: the same log gives the same rows whatever the batches, crashes and half-saved buckets."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from pipeline.codec import Codec, StateRecord
from pipeline.core.engine import ENGINE_VERSION, OLDEST_VERSION
from pipeline.core.model import (
    Context,
    Control,
    Correction,
    CountReading,
    DeadLetter,
    EndOfSource,
    Frame,
    MachineConfig,
    Shift,
    SignalConfig,
    StateChange,
)
from pipeline.errors import TooManyDeadLetters
from pipeline.partition import Counts, Partition, Share
from pipeline.results import Outgoing
from pipeline.settings import Settings, load
from pipeline.state import Snapshots, pack, unpack

T0 = 1_700_000_000_000
CODEC = Codec()
SETTINGS: Settings = load({"provisional_s": 1, "window_s": 60}, {})


@dataclass
class Row:
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


def as_rows(messages: list[Frame | Control], pace_ms: int) -> list[Row]:
    return [
        Row(offset, T0 + offset * pace_ms, message.machine.encode(), CODEC.encode(message))
        for offset, message in enumerate(messages)
    ]


def log(machines: int = 5, steps: int = 60) -> list[Row]:
    seed = random.Random(3)
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
    return as_rows(messages, 2_000)


def opened(found: list[StateRecord]) -> Partition:
    snapshots = Snapshots(0, 4, ENGINE_VERSION, found, OLDEST_VERSION)
    return Partition(0, SETTINGS, CODEC, snapshots, Share(0.5), Counts())


def applied(part: Partition, rows: list[Row]) -> list[Outgoing]:
    return part.fold(rows, *part.decode(rows))


def saved(part: Partition, whole: bool = False) -> list[StateRecord]:
    records = [CODEC.decode(record.value) for record in part.snapshot(whole)]
    assert all(isinstance(record, StateRecord) for record in records)
    return records  # type: ignore[return-value]


WHOLE = applied(opened([]), log())


def test_the_log_says_something():
    assert {record.topic for record in WHOLE} == {"oee", "intervals", "anomalies", "incidents"}
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


def told() -> list[Row]:
    """Two machines with calendars and corrections, of which a worker of version 1 knew: the rest came later."""
    seed = random.Random(4)
    messages: list[Frame | Control] = []
    for m, (area, shifts) in enumerate((("hall 2", (("late", "15:00", "23:35"),)), ("", ()))):
        config = MachineConfig(
            0, "Ulm", area, "L1", m + 1, "Europe/Berlin", not shifts, tuple(Shift(*shift) for shift in shifts),
            ((T0 + 400_000, T0 + 460_000),), (Shift("tea", "23:20", "23:25", (2, 3)),), ("2026-01-01",),
            {"A": 5_000_000, "*": 7_000_000}, 60_000, 30_000, 1000,
            signals=(SignalConfig("load", "%", 0.0, 100.0, 60_000, False),),
        )  # fmt: skip
        later = MachineConfig(T0 + 1_200_000, "Ulm", area, "L2", timezone="Europe/Berlin", micro_stop_ms=20_000)
        messages += [Control(f"m{m}", f"f-{m}", T0, "t", config), Control(f"m{m}", f"g-{m}", T0, "t", later)]
    for step in range(200):
        at = T0 + step * 10_000
        for m in range(2):
            frame = Frame(
                f"m{m}", "plc", 1, step, at, counts=[CountReading(at, True, 7 * step % 1000, 6 * step % 1000)]
            )
            if step % 50 == 0:
                frame.contexts.append(Context(at, "AB"[m], f"o{step}"))
            if step == 0 or seed.random() < 0.2:
                frame.states.append(StateChange(at, seed.choice(["running", "stopped", "idle", "fault"]), "E1"))
            messages.append(frame)
            if step in (70, 75):
                says = Correction(at - 200_000, at - 100_000, "setup" if step == 70 else None, None, "tool", 2)
                messages.append(Control(f"m{m}", f"c-{step}", at, "t", says))
            if step == 80:
                closed = Correction(at - 500_000, at - 450_000, None, "closed", None, 1)
                messages.append(Control(f"m{m}", f"d-{step}", at, "t", closed))
            if step == 180:  # reaches back to what the snapshot holds
                messages.append(Control(f"m{m}", f"e-{step}", at, "t", Correction(T0 + 350_000, T0 + 420_000, "fault")))
    messages += [Control(f"m{m}", f"end-{m}", T0, "t", EndOfSource("plc", T0 + 2_000_000)) for m in range(2)]
    return as_rows(messages, 5_000)


def as_version_1(record: StateRecord) -> StateRecord:
    """The record as a worker of version 1 would have saved it."""
    machines = {}
    for machine, packed in record.machines.items():
        snapshot = unpack(packed)
        history, going_on = snapshot["history"], snapshot["windows"]["going_on"]
        for config in history["configs"]:
            for name in ("enterprise", "calendar_level", "exceptions", "above", "units_per_cycle", "count_split"):
                del config[name]
            for name in ("shifts", "breaks"):
                config[name] = [[shift[part] for part in ("name", "start", "end", "days")] for shift in config[name]]
        history["corrections"] = [correction[:6] for correction in history["corrections"]]
        if going_on is not None:
            del going_on["area"]
        machines[machine] = pack(snapshot)
    return StateRecord(record.partition, record.bucket, record.buckets, record.cover, 1, machines)


@pytest.mark.parametrize("at", [5, 60, 144, 170, 250, 404])
def test_the_state_of_a_worker_of_version_1_is_taken_over(at):
    rows = told()
    before = opened([])
    sent = applied(before, rows[:at])
    old = [as_version_1(record) for record in saved(before)]
    undisturbed = sent + applied(before, rows[at:])
    after = opened(old)
    assert after.next == at
    assert sent + applied(after, rows[at:]) == undisturbed
    for machine in before.engine.machines:
        assert after.engine.snapshot(machine) == before.engine.snapshot(machine)


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
    for _ in range(1500):
        share.count_bad(letter)
        share.count(1)
    share.count_bad(letter)  # instead of a bad one: still half
    with pytest.raises(TooManyDeadLetters, match="partition 3, offset 77"):
        share.count_bad(letter)


def test_a_small_share_of_a_large_batch_does_not_stop():
    """The share is taken in the order of the log: 800 bad records among 8,000 are a tenth, not all of the last ones."""
    good = CODEC.encode(Frame("m0", "plc", 1, 0, T0, counts=[CountReading(T0, True, 1, 1)]))
    rows = [Row(n, T0 + n, b"m0", b"rubbish" if n % 10 == 0 else good) for n in range(8_000)]
    sent = applied(opened([]), rows)
    assert sum(record.topic == "dead-letters" for record in sent) == 800
    with pytest.raises(TooManyDeadLetters, match=r"501 of the last 1,000 .* offset 8890"):
        applied(opened([]), [*rows, *(Row(8_000 + 2 * n, T0, b"m0", b"rubbish") for n in range(1000))])


def test_silent_machines_get_ticks_for_their_own_partition():
    part = opened([])
    rows = log(2, 5)[:-2]
    applied(part, rows)
    ticks = part.ticks(rows[-1].timestamp + 60_000, 30_000)
    assert {tick.key for tick in ticks} == {b"m0", b"m1"}
    assert {tick.topic for tick in ticks} == {"telemetry"}
    assert part.ticks(rows[-1].timestamp + 1_000, 30_000) == []
