"""What must hold for any log: identities, any order of arrival, any repeats, any batch borders, any restart."""

from __future__ import annotations

import random
from dataclasses import replace

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.engine import Engine, EngineSettings
from pipeline.core.model import (
    FACTS,
    STATES,
    Context,
    Control,
    Correction,
    CountReading,
    Emitted,
    EndOfSource,
    Frame,
    Interval,
    MachineConfig,
    OeeFact,
    Record,
    Shift,
    SignalBlock,
    StateChange,
    Tick,
)
from pipeline.replay import current, run

START = 1_772_442_000_000  # 2026-03-02T09:00:00Z
MINUTE = 60_000
SPAN = 40 * MINUTE
CONFIG = MachineConfig(
    always=False,
    timezone="Europe/Berlin",
    shifts=(Shift("early", "06:00", "10:20"), Shift("late", "10:20", "18:00")),
    breaks=(Shift("pause", "10:10", "10:15"),),
    ideal_cycle_us={"A": 2_000_000, "B": 3_500_000},
    micro_stop_ms=120_000,
    stale_after_ms=300_000,
    counter_modulus=1000,
)
SETTINGS = EngineSettings(lateness_ms=30_000, provisional_ms=5_000, max_future_ms=10 * SPAN)
PATIENT = replace(SETTINGS, lateness_ms=2 * SPAN)


@st.composite
def frames(draw: st.DrawFn) -> list[Frame]:
    """What a machine says within 40 minutes, in order of event time, one frame per instant."""
    times = sorted(draw(st.sets(st.integers(0, SPAN - 1), min_size=1, max_size=25)))
    found = []
    for sequence, offset in enumerate(times):
        at = START + offset
        frame = Frame("m", "plc", 0, sequence, at)
        kind = draw(st.sampled_from(("state", "state", "total", "made", "product", "sign of life")))
        if kind == "state":
            frame.states.append(StateChange(at, draw(st.sampled_from(STATES)), draw(st.sampled_from((None, "R1")))))
        elif kind == "total":
            total = draw(st.integers(0, 999))
            frame.counts.append(CountReading(at, True, total=total, reject=draw(st.integers(0, total))))
        elif kind == "made":
            frame.counts.append(CountReading(at, False, total=draw(st.integers(0, 9))))
        elif kind == "product":
            frame.contexts.append(Context(at, draw(st.sampled_from("ABZ")), draw(st.sampled_from((None, "O1")))))
        found.append(frame)
    return found


def log(told: list[Frame], *controls: Control) -> list[Record]:
    """The frames as a log, with configuration before and the end behind; one arrives every 2 s."""
    end = Control("m", "end", 0, "t", EndOfSource("plc", START + SPAN))
    messages = [Control("m", "config", 0, "t", CONFIG), *told, *controls, end]
    return [Record(START + SPAN + 2_000 * place, message, 0, place) for place, message in enumerate(messages)]


def content(rows: list[OeeFact]) -> list[OeeFact]:
    """Current rows without what may differ from one order of arrival to another."""
    return [
        replace(row, known_at=0, revision=0, status="", reason="", flags=sorted(row.flags)) for row in current(rows)
    ]


def stretches(rows: list[Interval]) -> list[Interval]:
    return [replace(row, known_at=0) for row in current(rows)]


def in_parts(records: list[Record], sizes: random.Random, restart: bool) -> Emitted:
    """The log in batches of any size; with `restart`, each batch meets an engine restored from a snapshot."""
    engine, emitted, place = Engine(SETTINGS), Emitted(), 0
    while place < len(records):
        size = sizes.randint(1, 4)
        made = engine.fold(records[place : place + size])
        for name in ("facts", "intervals", "anomalies", "incidents", "dead_letters"):
            getattr(emitted, name).extend(getattr(made, name))
        place += size
        if restart:
            restored = Engine(SETTINGS)
            for machine in engine.machines:
                restored.restore(
                    machine, msgpack.unpackb(msgpack.packb(engine.snapshot(machine)), strict_map_key=False)
                )
            engine = restored
    return emitted


@given(frames())
def test_every_instant_is_in_exactly_one_element(told: list[Frame]) -> None:
    emitted = run(log(told), SETTINGS)
    for row in emitted.facts:
        assert row.t_ms == row.segment_end - row.segment_start
        assert row.t_ms == row.nonwork_ms + row.pdot_ms + row.pbt_ms
        assert row.pbt_ms == row.apt_ms + row.aust_ms + row.adet_ms + row.adot_ms + row.unknown_ms
        assert row.micro_stop_ms + row.external_ms <= row.adet_ms
        assert row.overtime_ms <= row.apt_ms
        assert row.total == row.good + row.reject
    final = content(emitted.facts)
    edges = [edge for row in final for edge in (row.segment_start, row.segment_end)]
    assert edges[1:-1:2] == edges[2::2]  # rows follow each other without holes
    assert edges[-1] == START + SPAN


@given(frames())
def test_intervals_are_the_facts_by_another_cut(told: list[Frame]) -> None:
    emitted = run(log(told), SETTINGS)
    for element in ("apt", "aust", "adet", "adot", "unknown", "pdot", "nonwork"):
        lasted = sum(
            (row.end or START + SPAN) - row.start for row in current(emitted.intervals) if row.element == element
        )
        assert lasted == sum(getattr(row, element + "_ms") for row in content(emitted.facts))


@given(frames(), st.randoms(use_true_random=False))
def test_order_of_arrival_within_the_lateness_changes_nothing(told: list[Frame], chance: random.Random) -> None:
    shuffled = chance.sample(told, len(told))
    ordered, mixed = run(log(told), PATIENT), run(log(shuffled), PATIENT)
    assert content(mixed.facts) == content(ordered.facts)
    assert stretches(mixed.intervals) == stretches(ordered.intervals)
    assert {row.status for row in current(mixed.facts)} == {"final"}


@given(frames(), st.randoms(use_true_random=False))
def test_what_comes_too_late_restates_to_the_same_facts(told: list[Frame], chance: random.Random) -> None:
    shuffled = chance.sample(told, len(told))
    ordered, mixed = run(log(told), SETTINGS), run(log(shuffled), SETTINGS)
    assert content(mixed.facts) == content(ordered.facts)
    assert stretches(mixed.intervals) == stretches(ordered.intervals)


@given(frames(), st.randoms(use_true_random=False))
def test_repeats_change_nothing(told: list[Frame], chance: random.Random) -> None:
    repeated = told + chance.sample(told, chance.randint(0, len(told)))
    assert content(run(log(repeated), SETTINGS).facts) == content(run(log(told), SETTINGS).facts)


@given(frames(), st.randoms(use_true_random=False), st.booleans())
def test_batch_borders_and_restarts_change_no_row_at_all(
    told: list[Frame], chance: random.Random, restart: bool
) -> None:
    records = log(chance.sample(told, len(told)))
    assert in_parts(records, chance, restart) == run(records, SETTINGS, chunk=len(records))


@given(frames(), st.integers(0, SPAN), st.integers(1, SPAN), st.sampled_from(STATES))
def test_a_correction_afterwards_is_as_if_known_before(told: list[Frame], at: int, length: int, state: str) -> None:
    body = Correction(START + at, START + at + length, state, None, "mended")
    said = Control("m", "correction", 0, "t", body)
    afterwards = run(log(told, said), SETTINGS)
    before = run([Record(0, said), *log(told)], SETTINGS)
    assert content(afterwards.facts) == content(before.facts)
    assert stretches(afterwards.intervals) == stretches(before.intervals)


@given(frames())
def test_the_same_version_of_a_row_is_always_the_same(told: list[Frame]) -> None:
    versions = [
        (row.machine, row.window_start, row.segment_start, row.known_at) for row in run(log(told), SETTINGS).facts
    ]
    assert len(versions) == len(set(versions))


@settings(max_examples=25)
@given(frames(), frames())
def test_one_machine_never_depends_on_another(one: list[Frame], other: list[Frame]) -> None:
    others = [replace(frame, machine="n") for frame in other]
    together = sorted([*log(one), *(Record(START + SPAN, frame) for frame in others)], key=lambda r: r.arrived)
    alone = run(log(one), SETTINGS)
    assert [row for row in run(together, SETTINGS).facts if row.machine == "m"] == alone.facts


def test_provisional_rows_come_with_the_data_and_final_ones_with_the_watermark() -> None:
    #  09:00 running ............. 09:00:50 | 09:01:20 watermark 09:00:50 | 09:01:40 watermark 09:01:10
    said = [Frame("m", "plc", 0, 0, START, states=[StateChange(START, "running")])]
    said += [Frame("m", "plc", 0, n, START + at) for n, at in enumerate((50_000, 80_000, 100_000), 1)]
    records = [Record(frame.sent, frame) for frame in said]
    emitted = run(records, EngineSettings(provisional_ms=1_000))
    first_window = [(row.status, row.segment_end - START) for row in emitted.facts if row.window_start == START]
    assert first_window == [("provisional", 50_000), ("provisional", 60_000), ("final", 60_000)]


def test_an_open_stop_that_may_be_micro_holds_its_window_back() -> None:
    config = MachineConfig(micro_stop_ms=120_000)
    states = [(0, "running"), (50_000, "stopped")]
    frames_ = [
        Frame("m", "plc", 0, n, START + at, states=[StateChange(START + at, s)]) for n, (at, s) in enumerate(states)
    ]
    frames_ += [Frame("m", "plc", 0, 2, START + 140_000)]
    frames_ += [Frame("m", "plc", 0, 3, START + 160_000, states=[StateChange(START + 160_000, "running")])]
    frames_ += [Frame("m", "plc", 0, 4, START + 260_000)]
    records = [Record(START, Control("m", "c", 0, "t", config)), *(Record(frame.sent, frame) for frame in frames_)]
    held = run(records[:-1], EngineSettings(provisional_ms=1 << 60))
    assert held.facts == []
    decided = run(records, EngineSettings(provisional_ms=1 << 60))
    assert [row.micro_stop_ms for row in decided.facts] == [10_000, 60_000, 40_000]
    assert [row.micro_stops for row in decided.facts] == [1, 0, 0]


def test_impossible_times_are_quarantined_and_the_watermark_stays() -> None:
    good = Frame("m", "plc", 0, 0, START, states=[StateChange(START, "running")])
    ahead = Frame("m", "plc", 0, 1, START, states=[StateChange(START + 400_000, "idle"), StateChange(5, "idle")])
    after = Frame("m", "plc", 0, 2, START + 60_000, states=[StateChange(START + 60_000, "setup")])
    records = [Record(START, good), Record(START, ahead, 3, 7), Record(START + 60_000, after)]
    emitted = run(records, EngineSettings(provisional_ms=1 << 60))
    letters = [(letter.reason, letter.entries, letter.partition, letter.offset) for letter in emitted.dead_letters]
    assert letters == [("before_2000", 1, 3, 7), ("future", 1, 3, 7)]
    assert emitted.facts == []  # the newest event is at 09:01, so the watermark has not passed the first window


@pytest.mark.parametrize("blocks", [[], [SignalBlock(np.array([], np.int64), ["load"], np.empty((1, 0)))]])
@pytest.mark.parametrize(("sent", "reason"), [(-(2**45), "before_2000"), (2**59, "future")])
def test_a_sign_of_life_at_an_impossible_time_is_quarantined(sent: int, reason: str, blocks: list[SignalBlock]) -> None:
    """An empty frame speaks when it was sent: it must neither open windows of years nor move the watermark."""
    frames = [Frame("m", "s", 0, k, at, signals=blocks) for k, at in enumerate((sent, START))]
    out = run([Record(START, frame) for frame in frames], SETTINGS)
    assert [letter.reason for letter in out.dead_letters] == [reason]
    assert {fact.window_start for fact in out.facts} <= {START}


def test_what_is_older_than_the_history_is_a_dead_letter() -> None:
    said = [
        Frame("m", "plc", 0, n, START, states=[StateChange(START + at, "running")]) for n, at in enumerate((0, SPAN))
    ]
    old = Frame("m", "plc", 0, 2, START, states=[StateChange(START + SPAN - 20 * MINUTE, "fault")])
    brief = EngineSettings(retention_ms=10 * MINUTE, max_future_ms=SPAN)
    emitted = run([Record(START + SPAN, frame) for frame in (*said, old)], brief)
    assert [letter.reason for letter in emitted.dead_letters] == ["too_late"]
    assert all(row.apt_ms == row.t_ms for row in current(emitted.facts))


def test_a_silence_of_years_is_not_filled_in() -> None:
    years = 9 * 365 * 86_400_000
    said = [
        Frame("m", "plc", 0, n, START, states=[StateChange(START + at, "running")]) for n, at in enumerate((-years, 0))
    ]
    emitted = run([Record(START, frame) for frame in said], SETTINGS)
    assert {row.window_start for row in current(emitted.facts) if row.status == "final"} == {START - years}


def test_a_silence_of_months_within_one_frame_is_not_filled_in() -> None:
    """A control's clock that began in the year 2000 and was set right meanwhile would be 14 million windows."""
    ago = 60 * 86_400_000
    said = Frame("m", "plc", 0, 0, START, states=[StateChange(START - ago, "running"), StateChange(START, "running")])
    assert len(run([Record(START, said)], SETTINGS).facts) < 10


def test_ticks_close_the_windows_of_a_silent_machine() -> None:
    engine = Engine(EngineSettings(provisional_ms=1 << 60))
    said = Frame("m", "plc", 0, 0, START, states=[StateChange(START, "running")])
    engine.fold([Record(START + 700, said)])
    assert engine.ticks(START + 10_000, 10_000) == []
    (tick,) = engine.ticks(START + 100_700, 10_000)
    emitted = engine.fold([Record(START + 100_800, tick)])
    assert [(row.window_start, row.apt_ms) for row in emitted.facts] == [(START, MINUTE)]


ANY_TIME = st.one_of(st.integers(START - SPAN, START + 2 * SPAN), st.integers(-(2**60), 2**60))
ANY_COUNT = st.one_of(st.none(), st.integers(-10, 2000), st.integers(-(2**60), 2**60))
ANY_TEXT = st.one_of(st.sampled_from(STATES), st.text(max_size=8))
ANY_BLOCK = st.builds(
    lambda at, values: SignalBlock(np.array(sorted(at), dtype=np.int64), ["load"], np.array([values[: len(at)]])),
    st.lists(ANY_TIME, min_size=3, max_size=3),
    st.lists(st.floats(), min_size=3, max_size=3),
)
ANY_FRAME = st.builds(
    Frame,
    machine=st.just("m"),
    source=st.text(max_size=3),
    epoch=st.integers(0, 3),
    sequence=st.integers(-3, 2**40),
    sent=ANY_TIME,
    opening=st.booleans(),
    states=st.lists(st.builds(StateChange, ANY_TIME, ANY_TEXT, st.none() | ANY_TEXT), max_size=3),
    counts=st.lists(
        st.builds(CountReading, ANY_TIME, st.booleans(), ANY_COUNT, ANY_COUNT, ANY_COUNT, ANY_COUNT), max_size=3
    ),
    contexts=st.lists(st.builds(Context, ANY_TIME, st.none() | ANY_TEXT, st.none() | ANY_TEXT), max_size=3),
    signals=st.lists(ANY_BLOCK, max_size=2),
)
ANY_CONFIG = st.builds(
    MachineConfig,
    effective=ANY_TIME,
    timezone=st.sampled_from(("UTC", "Europe/Berlin", "Mars/Phobos", "")),
    always=st.booleans(),
    shifts=st.lists(st.builds(Shift, ANY_TEXT, st.sampled_from(("06:00", "25:00", "")), st.just("14:00"))).map(tuple),
    closed=st.lists(st.sampled_from(("2026-03-02", "never"))).map(tuple),
    ideal_cycle_us=st.dictionaries(ANY_TEXT, st.integers(-1, 2**60), max_size=2),
    micro_stop_ms=st.integers(0, 10**6),
    stale_after_ms=st.none() | st.integers(0, 10**6),
    counter_modulus=ANY_COUNT,
)
ANY_CONTROL = st.builds(
    Control,
    st.just("m"),
    st.text(max_size=3),
    ANY_TIME,
    st.just("t"),
    st.one_of(
        ANY_CONFIG,
        st.builds(Tick, ANY_TIME),
        st.builds(EndOfSource, st.text(max_size=3), ANY_TIME),
        st.builds(Correction, ANY_TIME, ANY_TIME, st.none() | ANY_TEXT, st.none() | ANY_TEXT),
    ),
)


@settings(max_examples=300)
@given(st.lists(st.one_of(ANY_FRAME, ANY_CONTROL), max_size=12))
def test_no_record_stops_the_engine_nor_leaves_what_the_store_cannot_hold(told: list[Frame | Control]) -> None:
    records = [Record(START + SPAN + place, message) for place, message in enumerate(told)]
    for row in run(records, SETTINGS).facts:
        assert all(abs(getattr(row, name)) < 2**63 for name in FACTS)
        assert row.t_ms == row.nonwork_ms + row.pdot_ms + row.pbt_ms
