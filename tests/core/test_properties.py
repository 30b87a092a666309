"""What must hold on any day of any plant: sums, order of arrival, repeats, restarts, second thoughts, profiles."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import msgpack
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle_compare import content
from oracle_compare import settings as suited
from oracle_days import Day, day

from pipeline.core.engine import Engine, EngineSettings
from pipeline.core.model import (
    FACTS,
    STATES,
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
    StateChange,
)
from pipeline.core.oee import ratios, summed
from pipeline.replay import as_records, current, run

START = 1_772_442_000_000  # 2026-03-02T09:00:00Z
MINUTE = 60_000
QUARTER = 15 * MINUTE
DICE = st.randoms(use_true_random=False)
DAYS = st.builds(day, DICE, most=st.just(25), longest_ms=st.just(180 * MINUTE))
BUSY = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def facts(messages: Iterable[Frame | Control], chosen: EngineSettings) -> list[OeeFact]:
    return content(current(run(messages, chosen).facts))


def stretches(rows: Iterable[Interval]) -> list[Interval]:
    return [replace(row, known_at=0) for row in current(rows)]


def configured(messages: Sequence[Frame | Control], **figures: object) -> list[Frame | Control]:
    """The log with these figures in every configuration."""
    return [
        replace(said, body=replace(said.body, **figures))  # type: ignore[arg-type]
        if isinstance(said, Control) and isinstance(said.body, MachineConfig)
        else said
        for said in messages
    ]


# Sums


@BUSY
@given(DAYS)
def test_identities_hold_on_every_row_ever_emitted(one: Day) -> None:
    emitted = run(one.messages, replace(suited(one), lateness_ms=30_000, provisional_ms=2_000)).facts
    assert {row.status for row in emitted} >= {"final"}
    for row in emitted:
        pot = row.t_ms - row.nonwork_ms
        assert row.t_ms == row.segment_end - row.segment_start == row.nonwork_ms + pot
        assert pot == row.pdot_ms + row.pbt_ms
        assert row.pbt_ms == row.apt_ms + row.aust_ms + row.adet_ms + row.adot_ms + row.unknown_ms
        assert row.micro_stop_ms + row.external_ms + row.repair_ms <= row.adet_ms
        assert row.overtime_ms <= row.apt_ms
        assert row.micro_stops <= row.stops
        assert 0 <= row.line_pbt_ms <= (row.t_ms if row.line else 0)
        assert all(getattr(row, name) >= 0 for name in FACTS[:16])
        assert row.total == row.good + row.reject


@BUSY
@given(DAYS, st.integers(0, 12), st.integers(1, 12))
def test_any_partition_of_a_stretch_sums_to_it(one: Day, skipped: int, length: int) -> None:
    """By windows of one, five and fifteen minutes, as a whole and by shift, day, product and order."""
    told = []
    by_minutes, *others = (
        facts(one.messages, replace(suited(one), window_ms=window)) for window in (MINUTE, 5 * MINUTE, QUARTER)
    )
    first = -(-by_minutes[0].window_start // QUARTER) * QUARTER + skipped * QUARTER  # longer windows begin before it
    last = min(first + length * QUARTER, one.end // QUARTER * QUARTER)
    for rows in (by_minutes, *others):
        sums: dict[tuple[object, ...], Counter[str]] = {}
        for row in rows:
            if first <= row.window_start < last:
                name = (row.shift, row.shift_date, row.local_date, row.product, row.order, row.profile)
                sums.setdefault(name, Counter()).update({fact: getattr(row, fact) for fact in FACTS})
        told.append(sums)
    assert told[0] == told[1] == told[2]


# Order, repeats, batches, restarts


def otherwise(messages: Sequence[Frame | Control], dice: random.Random) -> list[Frame | Control]:
    """The same log in another order of arrival, frames repeated; configurations and corrections in their own order."""
    frames = [said for said in messages if isinstance(said, Frame)]
    frames += dice.sample(frames, dice.randint(0, min(5, len(frames))))
    dice.shuffle(frames)
    end = [said for said in messages if isinstance(said, Control) and isinstance(said.body, EndOfSource)]
    told, place = [*frames, *end], 0
    for said in messages:
        if isinstance(said, Control) and said not in end:
            place = dice.randint(place, len(told))
            told.insert(place, said)
            place += 1
    return told


def in_parts(records: Sequence[Record], chosen: EngineSettings, dice: random.Random) -> Emitted:
    """The log in batches of any size; now and then the engine crashes and another goes on from its snapshot."""
    engine, emitted, place = Engine(chosen), Emitted(), 0
    while place < len(records):
        size = dice.choice((1, 2, 7))
        made = engine.fold(records[place : place + size])
        for name in ("facts", "intervals", "anomalies", "incidents", "dead_letters"):
            getattr(emitted, name).extend(getattr(made, name))
        place += size
        if dice.random() < 0.3:
            restored = Engine(chosen)
            for machine in engine.machines:
                packed = msgpack.packb(engine.snapshot(machine))
                restored.restore(machine, msgpack.unpackb(packed, strict_map_key=False))
            engine = restored
    return emitted


@BUSY
@given(DAYS, DICE)
def test_order_repeats_batches_and_restarts_leave_the_final_rows_alone(one: Day, dice: random.Random) -> None:
    chosen = suited(one)
    plain = run(one.messages, chosen)
    other = in_parts(list(as_records(otherwise(one.messages, dice))), chosen, dice)
    assert content(current(other.facts)) == content(current(plain.facts))
    assert stretches(other.intervals) == stretches(plain.intervals)


@BUSY
@given(DAYS, DICE)
def test_batches_and_restarts_change_no_row_ever_emitted(one: Day, dice: random.Random) -> None:
    chosen = replace(suited(one), lateness_ms=dice.choice((30_000, 60 * MINUTE)), provisional_ms=2_000)
    records = list(as_records(otherwise(one.messages, dice)))
    records = [record._replace(arrived=record.arrived + 3_000 * (place // 3)) for place, record in enumerate(records)]
    assert in_parts(records, chosen, dice) == run(records, chosen, chunk=len(records))


# Second thoughts


def correction(dice: random.Random, one: Day) -> Correction:
    """About anything: at least one word of it says something."""
    start = dice.randint(one.start - 30 * MINUTE, one.end)
    return Correction(
        start, start + dice.choice((1, 90_000, dice.randint(1, 120 * MINUTE))), id="thought", revision=4, good=2,
        state=dice.choice((None, *STATES)), calendar=dice.choice((None, "planned", "unplanned", "closed")),
        product=dice.choice((None, "A", "Q")), order=dice.choice((None, "O7")), reject=dice.choice((None, 3, -1)),
        rework=dice.choice((None, 1)), ideal_cycle_us=dice.choice((None, 777)), reason=dice.choice((None, "R9")),
    )  # fmt: skip


@BUSY
@given(DAYS, DICE)
def test_a_correction_that_is_withdrawn_was_never_there(one: Day, dice: random.Random) -> None:
    said = correction(dice, one)
    told = list(one.messages)
    words = [
        Control("m", "said", 0, "t", said),
        Control("m", "unsaid", 0, "t", replace(said, revision=5, withdrawn=True)),
    ]
    if dice.random() < 0.3:
        words.reverse()
    place = 0
    for word in words:
        place = dice.randint(place, len(told))
        told.insert(place, word)
    plain, other = run(one.messages, suited(one)), run(told, suited(one))
    assert content(current(other.facts)) == content(current(plain.facts))
    assert stretches(other.intervals) == stretches(plain.intervals)


@BUSY
@given(DAYS, DICE)
def test_a_correction_that_is_replaced_is_as_if_only_the_last_were_said(one: Day, dice: random.Random) -> None:
    first, last = correction(dice, one), replace(correction(dice, one), revision=5)
    only = Control("m", "last", 0, "t", last)
    both = [Control("m", "first", 0, "t", first), only]
    if dice.random() < 0.3:
        both.reverse()
    assert facts([*one.messages, *both], suited(one)) == facts([*one.messages, only], suited(one))


# Profiles


@BUSY
@given(DAYS, st.sampled_from(("loss", "exclude")))
def test_profiles_change_ratios_never_facts(one: Day, unknown_as: str) -> None:
    told = {}
    for profile in ("iso22400", "vorne", "smrp"):
        rows = facts(configured(one.messages, profile=profile, unknown_as=unknown_as), suited(one))
        told[profile] = [replace(row, profile="", unknown_as="") for row in rows]
    assert told["iso22400"] == told["vorne"] == told["smrp"]
    for rows in (told["iso22400"], *([row] for row in told["iso22400"])):
        sums = summed(rows)
        iso, vorne, smrp = (ratios(sums, profile, unknown_as) for profile in told)
        assert iso["oee"] == vorne["oee"]
        assert {name for name in iso if iso[name] != vorne[name]} <= {"a", "p", "p_capped"}
        assert {name for name in iso if iso[name] != smrp[name]} <= {"a", "oee", "nee"}
        busy = sums["pbt_ms"] + sums["pdot_ms"] - (sums["unknown_ms"] if unknown_as == "exclude" else 0)
        if smrp["a"] is not None:
            assert smrp["a"] == sums["apt_ms"] / busy
        if smrp["oee"] is not None:
            assert smrp["oee"] == sums["ideal_good_us"] / 1000 / busy


# Counts that are spread


@BUSY
@given(DAYS)
def test_spreading_counts_moves_parts_and_makes_none(one: Day) -> None:
    """Over the whole range: unless an opening counted before the first window, where a share has no row."""
    said = [said for said in one.messages if not (isinstance(said, Frame) and said.opening)]
    spread, whole = (facts(configured(said, count_split=split), suited(one)) for split in ("proportional", ""))
    late = sum(count.at >= whole[-1].window_end for frame in said if isinstance(frame, Frame) for count in frame.counts)
    assert late == 0
    for name in ("total", "good", "reject", "rework"):
        assert sum(getattr(row, name) for row in spread) == sum(getattr(row, name) for row in whole)


@given(
    st.dictionaries(st.integers(0, 90 * MINUTE - 1), st.sampled_from(STATES), max_size=12),
    st.dictionaries(st.integers(0, 90 * MINUTE - 1), st.tuples(*[st.integers(0, 60)] * 3), min_size=1, max_size=8),
)
def test_shares_of_a_count_are_parts_where_the_machine_ran(
    states: dict[int, str], made: dict[int, tuple[int, int, int]]
) -> None:
    frames = [
        Frame("m", "plc", 0, number, START + at, states=[StateChange(START + at, state)])
        for number, (at, state) in enumerate(states.items())
    ]
    for at, (good, reject, rework) in made.items():
        count = CountReading(START + at, False, good + reject, good, reject, rework)
        frames.append(Frame("m", "gateway", 0, at, START + at, counts=[count]))
    config = Control("m", "config", 0, "t", MachineConfig(site="s", count_split="proportional"))
    end = Control("m", "end", 0, "t", EndOfSource("plc", START + 90 * MINUTE))
    rows = facts([config, *frames, end], EngineSettings(lateness_ms=10 * 60 * MINUTE, max_future_ms=600 * MINUTE))
    for name, place in (("good", 0), ("reject", 1), ("rework", 2)):
        assert all(getattr(row, name) >= 0 for row in rows)
        assert sum(getattr(row, name) for row in rows) == sum(parts[place] for parts in made.values())
    assert all(row.total == row.good + row.reject for row in rows)
    windows = {START + at - at % MINUTE for at in made}
    ran_in_all = all(_ran(rows, before, at) for before, at in zip(sorted(made), sorted(made)[1:], strict=False))
    for row in rows:
        if ran_in_all and row.apt_ms == 0 and row.window_start not in windows:
            assert row.total == 0


def _ran(rows: Sequence[OeeFact], before: int, at: int) -> bool:
    """Whether a whole window between two instants was running, so that the stretch is sure to have run."""
    return any(row.apt_ms == MINUTE and START + before <= row.window_start <= START + at - MINUTE for row in rows)
