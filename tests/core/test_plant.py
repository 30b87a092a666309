"""The simulated plant: the same from its seed, chunk by chunk; and the engine finds its exact truth."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain, groupby, pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import replay
from pipeline.core.model import FACTS, Context, Control, EndOfSource, Frame, OeeFact, Record, SignalBlock, StateChange
from pipeline.core.plant import Plant
from pipeline.core.plant_calendar import midnights, to_instant
from pipeline.core.plant_dirt import BROKEN_CLOCK, Dirt, disturb
from pipeline.core.plant_layout import Habits, awake_zone
from pipeline.core.plant_reports import MachineLog, Made
from pipeline.core.settings import EngineSettings
from pipeline.core.truth import machine_facts, plant_facts

HOUR = 3_600_000
MONDAY = int(datetime(2026, 3, 2, 5, tzinfo=UTC).timestamp() * 1000)  # 06:00 in Berlin: the early shift starts
COLUMNS = (
    "window_end", "segment_end", "shift", "shift_date", "local_date", "product", "order", "site", "area", "line",
    *FACTS,
)  # fmt: skip
Agreed = tuple[list[OeeFact], list[OeeFact], list[Frame], set[str]]  # truth, rows, arrivals, reasons of dead letters
ALL = Dirt(repeat=0.05, shuffle_ms=20_000, late=0.02, gaps=3, resets=3, clock=0.05)
ZONES = ("Europe/Berlin", "Asia/Kolkata", "America/St_Johns", "Australia/Lord_Howe")


def make(seed: int = 3, machines: int = 12, dirt: Dirt | None = None, **habits: object) -> Plant:
    usual = {"signal_period_ms": 20_000, "anomaly_mean_ms": HOUR}
    return Plant("s", seed, MONDAY, machines, habits=Habits(**{**usual, **habits}), dirt=dirt)  # type: ignore[arg-type]


def plain(frame: Frame) -> tuple[object, ...]:
    """A frame as something that can be compared, NaN equal to itself."""

    def block(b: SignalBlock) -> tuple[object, ...]:
        return b.at.tolist(), b.names, b.units, b.values.tobytes()

    entries = (frame.states, frame.counts, frame.contexts, frame.events)
    return frame.machine, frame.epoch, frame.sequence, frame.sent, entries, [block(b) for b in frame.signals]


def assert_engine_agrees(plant: Plant, until: int, frame_ms: int = 60_000) -> Agreed:
    """Final rows of the engine equal the truth in every integer column; only what cannot be true is a dead letter."""
    known = [Control(name, f"c-{name}", MONDAY, "test", config) for name, config in plant.machines.items()]
    frames, now, records = disturb(plant.frames(until, frame_ms), plant.dirt, plant.seed), MONDAY, []
    for message in chain(known, frames, plant.ends(until, until)):  # arrives when the newest of all was sent
        now = max(now, message.sent if isinstance(message, Frame) else message.issued)
        records.append(Record(now, message))
    emitted = replay.run(records, EngineSettings())
    found = {replay.key(row): row for row in replay.current(emitted.facts)}
    truth = {replay.key(row): row for row in plant_facts(plant, until)}
    assert found.keys() == truth.keys()
    for place, row in found.items():
        assert row.status in ("final", "restated")
        assert {c: getattr(row, c) for c in COLUMNS} == {c: getattr(truth[place], c) for c in COLUMNS}, place
    arrived = [record.message for record in records if isinstance(record.message, Frame)]
    broken = {(f.machine, f.sequence): f for f in arrived if f.source == BROKEN_CLOCK}
    entries = {place: 2 + sum(len(block.at) for block in f.signals) for place, f in broken.items()}
    details = [(name, f"{n} entries of frame {number} of {BROKEN_CLOCK}") for (name, number), n in entries.items()]
    assert sorted((letter.machine, letter.detail) for letter in emitted.dead_letters) == sorted(details)
    return list(truth.values()), list(found.values()), arrived, {letter.reason for letter in emitted.dead_letters}


def test_the_same_seed_gives_the_same_frames_in_any_stretches() -> None:
    until = MONDAY + 3 * HOUR
    once = [plain(frame) for frame in make(dirt=Dirt(gaps=1, resets=1)).frames(until)]
    plant, pieces = make(dirt=Dirt(gaps=1, resets=1)), []
    for minutes in (1, 2, 59, 61, 7, 50):
        pieces += [plain(frame) for frame in plant.frames(plant.at + minutes * 60_000)]
    assert pieces == once
    assert [plain(frame) for frame in make(seed=4).frames(until)] != once


def test_frames_of_any_length_say_the_same() -> None:
    def said(frame_ms: int) -> dict[str, list[object]]:
        plant = make(machines=6)
        found: dict[str, list[object]] = {name: [] for name in plant.machines}
        for frame in plant.frames(MONDAY + HOUR, frame_ms):
            for block in frame.signals:
                found[frame.machine] += zip(block.at.tolist(), block.values.T.tolist(), strict=True)
            found[frame.machine] += frame.states + frame.contexts + frame.counts
        return {name: sorted(entries, key=repr) for name, entries in found.items()}

    assert repr(said(1000)) == repr(said(600_000))


def test_frames_are_numbered_without_holes_and_in_order_of_time() -> None:
    plant = make(dirt=Dirt(gaps=0.5))
    by_machine: dict[str, list[Frame]] = {name: [] for name in plant.machines}
    for frame in plant.frames(MONDAY + 4 * HOUR):
        by_machine[frame.machine].append(frame)
    for frames in by_machine.values():
        assert [frame.sequence for frame in frames] == list(range(len(frames)))
        for frame in frames:
            instants = [e.at for e in (*frame.states, *frame.counts, *frame.contexts, *frame.events)]
            instants += [int(at) for block in frame.signals for at in block.at]
            assert frame.sent - 60_000 <= min(instants) <= max(instants) < frame.sent
        assert all(a.sent < b.sent for a, b in pairwise(frames))


@pytest.mark.parametrize(
    ("dirt", "habits"),
    [
        (Dirt(), {}),
        (Dirt(repeat=0.1), {}),
        (Dirt(shuffle_ms=20_000), {}),
        (Dirt(late=0.02), {}),
        (Dirt(gaps=1.5), {"no_ideal": True, "pace": 2.0, "seed": 12}),
        (Dirt(resets=2), {"no_ideal": True, "pace": 2.0, "seed": 12}),
        (Dirt(clock=0.1), {}),
        (ALL, {}),
        (ALL, {"always": True}),
    ],
    ids=["clean", "repeat", "shuffle", "late", "gaps", "resets", "clock", "all", "all without a calendar"],
)
def test_the_engine_finds_the_truth(dirt: Dirt, habits: dict[str, object]) -> None:
    plant = make(**{"seed": 11, "machines": 6, "dirt": dirt, "signal_period_ms": 60_000, **habits})  # type: ignore[arg-type]
    frame_ms = 10_000 if dirt.shuffle_ms else 60_000
    truth, found, arrived, reasons = assert_engine_agrees(plant, MONDAY + 9 * HOUR, frame_ms)
    seen = {name for name in FACTS if any(getattr(row, name) for row in truth)}
    assert habits.get("always") or {"pdot_ms", "overtime_ms"} <= seen
    assert not habits.get("no_ideal") or "no_ideal_total" in seen
    left = {  # what each kind of dirt leaves behind
        "repeat": len(arrived) > len({(f.machine, f.source, f.sequence) for f in arrived}),
        "shuffle_ms": any(a.sent > b.sent for a, b in pairwise(arrived)),
        "late": any(row.status == "restated" for row in found),
        "gaps": any(log.silences for log in plant.logs.values()) and "unknown_ms" in seen,
        "resets": any("counter_reset" in row.flags for row in found),
        "clock": reasons == {"future", "before_2000"},
    }
    assert {kind for kind in left if getattr(dirt, kind)} <= {kind for kind, there in left.items() if there}
    assert dirt != Dirt() or not any(left.values())


def test_the_engine_finds_the_truth_of_both_lines_over_a_day() -> None:
    plant = make(seed=5, signal_period_ms=60_000)
    truth, *_ = assert_engine_agrees(plant, MONDAY + 24 * HOUR)
    assert {row.shift for row in truth} == {"early", "late", "night", "day", "evening", ""}
    assert sum(row.overtime_ms for row in truth) > 0
    for line in ("L1", "L2"):
        rows = [row for row in truth if row.line == line]
        share = sum(row.apt_ms for row in rows) / sum(row.pbt_ms for row in rows)
        assert 0.4 < share < 0.9


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    machines=st.integers(1, 3),
    start=st.integers(0, 400 * 24 * 60),
    hours=st.integers(1, 5),
    pace=st.sampled_from([1.0, 20.0]),
    gaps=st.sampled_from([0.0, 0.5]),
    stale_after_ms=st.sampled_from([None, 20_000, 600_000]),
    micro_stop_ms=st.sampled_from([0, 30_000, 100_000_000]),
)
def test_identities_hold_on_every_row(
    seed: int, machines: int, start: int, hours: int, pace: float, gaps: float, stale_after_ms: int | None,
    micro_stop_ms: int,
) -> None:  # fmt: skip
    begin = MONDAY + start * 60_000
    habits = Habits(
        signal_period_ms=7_000, pace=pace, stale_after_ms=stale_after_ms, micro_stop_ms=micro_stop_ms, no_ideal=True
    )
    plant = Plant("s", seed, begin, machines, habits=habits, dirt=Dirt(gaps=gaps, resets=gaps))
    until = begin + hours * HOUR
    readings = [r for frame in plant.frames(until) for r in frame.counts]
    rows = plant_facts(plant, until)
    for row in rows:
        assert row.t_ms == row.segment_end - row.segment_start == row.nonwork_ms + row.pdot_ms + row.pbt_ms
        assert row.pbt_ms == row.apt_ms + row.aust_ms + row.adet_ms + row.adot_ms + row.unknown_ms
        assert row.micro_stop_ms + row.repair_ms + row.external_ms <= row.adet_ms
        assert row.overtime_ms <= row.apt_ms
        assert row.total == row.good + row.reject
        assert row.micro_stops <= row.stops
    for _, own in groupby(rows, key=lambda row: row.machine):
        own_rows = list(own)
        assert all(a.segment_end == b.segment_start for a, b in pairwise(own_rows))
        assert own_rows[-1].segment_end == until
    assert len(readings) >= machines
    if stale_after_ms is None:
        assert sum(row.unknown_ms for row in rows) <= machines * 60_000


@settings(max_examples=12, deadline=None)
@given(data=st.data(), seed=st.integers(0, 10_000), start=st.integers(0, 400 * 24 * 60), hours=st.integers(1, 4))
def test_the_engine_finds_the_truth_of_any_plant(data: st.DataObject, seed: int, start: int, hours: int) -> None:
    habits = Habits(
        timezone=data.draw(
            st.sampled_from(["Europe/Berlin", "Asia/Kolkata", "America/St_Johns", "Australia/Lord_Howe"])
        ),
        always=data.draw(st.booleans()),
        no_ideal=data.draw(st.booleans()),
        pace=data.draw(st.sampled_from([1.0, 5.0, 30.0])),
        stale_after_ms=data.draw(st.sampled_from([None, 20_000, 300_000])),
        micro_stop_ms=data.draw(st.sampled_from([0, 30_000, 100_000_000])),
        signal_period_ms=data.draw(st.sampled_from([60_000, 700_000, 7_200_000])),
    )
    frame_ms = data.draw(st.sampled_from([5_000, 10_000]))
    dirt = Dirt(
        repeat=data.draw(st.sampled_from([0, 0.1])),
        shuffle_ms=data.draw(st.sampled_from([0, 30_000 - frame_ms])),
        late=data.draw(st.sampled_from([0, 0.02])),
        gaps=data.draw(st.sampled_from([0, 0.5])),
        resets=data.draw(st.sampled_from([0, 0.5])),
        clock=data.draw(st.sampled_from([0, 0.1])),
    )
    begin = MONDAY + start * 60_000
    plant = Plant("s", seed, begin, data.draw(st.integers(1, 2)), habits=habits, dirt=dirt)
    assert len(assert_engine_agrees(plant, begin + hours * HOUR, frame_ms)[0]) >= hours * 60


def test_the_truth_of_a_machine_drawn_by_hand() -> None:
    #  06:00        07:00          08:00  08:09   08:10  08:20                 14:00   14:05   (Berlin)
    #  | running    | stopped 60 s | fault .......| setup | running ............|.......| off
    #               micro-stop       failure                                   overtime
    plant = make(machines=1)
    config = replace(next(iter(plant.machines.values())), planned_down=(), breaks=())

    def at(hours: float) -> int:
        return MONDAY + round(hours * HOUR)

    states = [
        (0, "running"), (1, "stopped"), (1 + 1 / 60, "running"), (2, "stopped"), (2.15, "fault"), (2 + 1 / 6, "setup"),
        (2 + 1 / 3, "running"), (8 + 1 / 12, "off"),
    ]  # fmt: skip
    log = MachineLog([StateChange(at(h), state) for h, state in states], [Context(at(0), "A", "o1")])
    log.contexts.append(Context(at(2 + 1 / 6), "B", "o2"))
    log.made = [Made(at(1), 100, 90, 10, 1), Made(at(2 + 1 / 6), 5, 5, 0, 0), Made(at(8), 7, 7, 0, 0)]
    log.first_message, log.last_message = at(0), at(9)
    config = replace(config, ideal_cycle_us={"A": 30_000_000, "*": 20_000_000}, micro_stop_ms=60_000)
    rows = machine_facts("m", config, log, at(9), 60_000)
    sums = {name: sum(getattr(row, name) for row in rows) for name in FACTS}
    minute = 60_000
    assert sums == {
        "t_ms": 540 * minute, "nonwork_ms": 0, "pdot_ms": 0, "pbt_ms": 540 * minute,
        "apt_ms": (60 + 59 + 345) * minute, "aust_ms": 10 * minute, "adet_ms": 11 * minute, "adot_ms": 55 * minute,
        "unknown_ms": 0, "micro_stop_ms": minute, "external_ms": 0, "overtime_ms": 0, "failures": 1,
        "repair_ms": minute, "stops": 2, "micro_stops": 1, "total": 112, "good": 102, "reject": 10, "rework": 1,
        "ideal_total_us": (100 * 30 + 12 * 20) * 1_000_000, "ideal_good_us": (90 * 30 + 12 * 20) * 1_000_000,
        "no_ideal_total": 0, "line_pbt_ms": 540 * minute,
    }  # fmt: skip
    early = tuple(shift for shift in config.shifts if shift.name == "early")
    rows = machine_facts("m", replace(config, shifts=early), log, at(9), 60_000)
    assert sum(row.overtime_ms for row in rows) == 5 * minute
    assert sum(row.nonwork_ms for row in rows) == 55 * minute
    assert sum(row.pbt_ms for row in rows) == 485 * minute
    cut = [row for row in rows if row.window_start == at(2 + 1 / 6)]
    assert [(row.product, row.order, row.total) for row in cut] == [("B", "o2", 5)]


def test_local_times_around_the_changes_of_the_clock() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    spring, autumn = datetime(2026, 3, 29).date(), datetime(2026, 10, 25).date()
    skipped, twice = to_instant(spring, "02:30", berlin), to_instant(autumn, "02:30", berlin)
    assert datetime.fromtimestamp(skipped / 1000, UTC) == datetime(2026, 3, 29, 1, tzinfo=UTC)
    assert datetime.fromtimestamp(twice / 1000, UTC) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    starts = midnights(to_instant(spring, "00:00", berlin) - 1, to_instant(spring, "24:00", berlin) + 1, berlin)
    assert [b - a for a, b in pairwise(starts)] == [24 * HOUR, 23 * HOUR]


@pytest.mark.parametrize("hour", range(24))
def test_somewhere_an_early_shift_has_just_ended(hour: int) -> None:
    for minute in (0, 29, 59):
        moment = datetime(2026, 7, 22, hour, minute, tzinfo=UTC)
        local = moment.astimezone(ZoneInfo(awake_zone(int(moment.timestamp() * 1000))))
        assert 13 * 60 + 45 <= local.hour * 60 + local.minute <= 15 * 60 + 5


def test_planted_anomalies_stand_in_the_signals() -> None:
    until = MONDAY + 10 * HOUR
    dirty, clean = make(seed=8), make(seed=8, anomaly_mean_ms=1 << 50)
    gathered = []
    for plant in (dirty, clean):
        values: dict[tuple[str, str], list[tuple[int, float]]] = {}
        for frame in plant.frames(until):
            for block in frame.signals:
                for name, row in zip(block.names, block.values, strict=True):
                    pairs = zip(block.at.tolist(), row.tolist(), strict=True)
                    values.setdefault((frame.machine, name), []).extend(pairs)
        gathered.append({place: np.array(pairs) for place, pairs in values.items()})
    assert not clean.planted
    assert {planted.kind for planted in dirty.planted} == {"spike", "shift", "drift", "flatline", "gap"}
    touched = {place: np.zeros(len(rows), dtype=bool) for place, rows in gathered[0].items()}
    for planted in dirty.planted:
        place = (planted.machine, planted.signal)
        at, found = gathered[0][place].T
        inside = (at >= planted.first) & (at <= planted.last)
        touched[place] |= inside
        expected = gathered[1][place][:, 1][inside]
        assert inside.any()
        if planted.kind == "gap":
            assert np.isnan(found[inside]).all()
        elif planted.kind == "flatline":
            assert np.ptp(found[inside]) == 0
        elif planted.kind == "drift":
            ramp = (at[inside] - planted.first) / (planted.last - planted.first)
            assert np.allclose(found[inside] - expected, planted.size * ramp, atol=1e-4)
        else:
            assert np.allclose(found[inside] - expected, planted.size)
    for place, rows in gathered[0].items():
        assert np.array_equal(rows[~touched[place]], gathered[1][place][~touched[place]])


def test_disorder_stays_within_its_bound_and_repeats_are_equal() -> None:
    dirt = Dirt(repeat=0.2, shuffle_ms=20_000)
    sent = list(make(machines=3).frames(MONDAY + HOUR, 10_000))
    arrived = list(disturb(iter(sent), dirt, 1))
    assert 1.1 * len(sent) < len(arrived) < 1.3 * len(sent)
    newest, seen, disordered = 0, set(), 0
    for frame in arrived:
        if (frame.machine, frame.sequence) not in seen:
            assert frame.sent > newest - 20_000
            disordered += frame.sent < newest
        seen.add((frame.machine, frame.sequence))
        newest = max(newest, frame.sent)
    assert disordered > len(sent) / 20
    assert seen == {(frame.machine, frame.sequence) for frame in sent}


@pytest.mark.parametrize("years", [0, 1, 7])
def test_a_clock_that_is_ahead_is_ahead_of_the_arrival_too(years: int) -> None:
    now = MONDAY + years * 365 * 24 * HOUR
    arrived = disturb(make(machines=2).frames(MONDAY + HOUR), Dirt(clock=0.5), 1, now)
    ahead = [f.states[0].at > now + 23 * HOUR for f in arrived if f.source == BROKEN_CLOCK and f.states[0].at > 2e9]
    assert ahead
    assert all(ahead)


def test_a_plant_without_truth_keeps_nothing() -> None:
    plant = make(machines=2)
    first = [plain(frame) for frame in plant.frames(MONDAY + HOUR)]
    plant.forget()
    second = [plain(frame) for frame in plant.frames(MONDAY + 2 * HOUR)]
    assert plant.logs == {}
    assert plant.planted == []
    bare = Plant("s", 3, MONDAY, 2, habits=plant.habits, truth=False)
    assert [plain(frame) for frame in bare.frames(MONDAY + 2 * HOUR)] == first + second
    (end, _) = plant.ends(plant.at, 0)
    assert end.body == EndOfSource("plant", MONDAY + 2 * HOUR - 1)
