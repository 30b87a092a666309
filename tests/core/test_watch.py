"""What is watched beside levels: snapshots go on bit for bit, borders of batches change nothing, memory is bounded."""

from __future__ import annotations

import random
from dataclasses import asdict

import msgpack
import numpy as np
import pytest
from test_scoring import HOURS, T0, worked

from pipeline.core.engine import Engine, EngineSettings
from pipeline.core.history import History
from pipeline.core.minutes import Sums, minute_of
from pipeline.core.model import (
    Anomaly,
    Context,
    CountReading,
    Frame,
    MachineConfig,
    Record,
    SignalBlock,
    SignalConfig,
    StateChange,
)
from pipeline.core.scoring import Scorer
from pipeline.core.stretches import MINUTE_MS, Key, Stretch, Stretches
from pipeline.core.watch import Watch

SETTINGS = EngineSettings(retention_ms=1_200_000)
WATCHERS = {"spc", "cycle", "relation", "silence"}


def records(seed: int) -> list[Record]:
    return [Record(T0 + 3_600_000 * HOURS, message) for message in worked(seed)]


def rows(found: list[Anomaly]) -> list[dict[str, object]]:
    return [asdict(one) for one in found if one.detector in WATCHERS]


def whole(seed: int) -> tuple[list[dict[str, object]], bytes]:
    engine = Engine(SETTINGS)
    found = engine.fold(records(seed)).anomalies
    return rows(found), msgpack.packb(engine.snapshot("m"))


@pytest.mark.parametrize("seed", range(3))
def test_batches_and_restarts_change_nothing(seed: int) -> None:
    chance, engine, found, todo = random.Random(seed), Engine(SETTINGS), [], records(seed)
    while todo:
        size = chance.choice((1, 7, 60, 300))
        found += engine.fold(todo[:size]).anomalies
        todo = todo[size:]
        packed = msgpack.packb(engine.snapshot("m"))
        engine = Engine(SETTINGS)
        engine.restore("m", msgpack.unpackb(packed, strict_map_key=False))
        assert msgpack.packb(engine.snapshot("m")) == packed
    assert (rows(found), msgpack.packb(engine.snapshot("m"))) == whole(seed)
    assert {row["detector"] for row in rows(found)} == WATCHERS


def test_a_snapshot_from_before_is_read_and_begins_to_learn() -> None:
    packed = Scorer().pack()
    assert len(packed) == 6
    assert Scorer.unpack(packed[:4]).pack() == packed
    other = Watch().pack()
    assert Watch.unpack([0, *other[1:]]).pack() == other


def test_a_frame_at_a_time_of_samples_says_the_same_as_many() -> None:
    rng = np.random.default_rng(1)
    at = T0 + 1000 * np.arange(600, dtype=np.int64)
    values = rng.normal(size=(3, 600))
    values[1, rng.integers(0, 600, 50)] = np.nan
    one, many = Sums(), Sums()
    one.add(SignalBlock(at, ["a", "b", "c"], values), None)
    for k in range(0, 600, 7):
        many.add(SignalBlock(at[k : k + 7], ["a", "b", "c"], values[:, k : k + 7]), None)
    for minute in range(10):
        summed = one.take()
        assert summed == many.take()
        part = values[1, 60 * minute : 60 * minute + 60]
        assert summed["b"] == (pytest.approx(np.nansum(part)), np.isfinite(part).sum())


def test_signals_of_a_machine_that_comes_first_are_kept_from_its_first_minute() -> None:
    late, early = T0 + 5 * MINUTE_MS, T0 + MINUTE_MS
    sums = Sums()
    for at, name in ((late, "a"), (early, "b")):
        sums.add(SignalBlock(np.array([at], dtype=np.int64), [name], np.ones((1, 1))), None)
    assert sums.minute == early
    assert [sorted(sums.take()) for _ in range(5)] == [["b"], [], [], [], ["a"]]


def test_what_a_machine_holds_is_bounded() -> None:
    """Ever new signals and products, charts and flags on all of them: the state stops growing."""
    history, watch, rng = History("m"), Watch(), np.random.default_rng(2)
    charts = tuple(SignalConfig(f"c{k:04}", spc="nelson", spc_points=20) for k in range(300))
    history.configure(MachineConfig(signals=charts))
    configs = {signal.name: signal for signal in charts}
    history.insert(Frame("m", "plc", 0, 0, 0, states=[StateChange(T0, "running")]))
    sizes = []
    for minute in range(400):
        start = T0 + minute * MINUTE_MS
        frame = Frame("m", "plc", 0, minute, 0, contexts=[Context(start, f"P{minute // 4}")])
        frame.counts = [CountReading(start, False, good=1)]
        history.insert(frame)
        history.heard.add(start, start + 50_000, MINUTE_MS)
        names = [*configs, *(f"s{minute // 20}-{k}" for k in range(200))]
        block = SignalBlock(np.array([start + 1000]), names, rng.normal(size=(len(names), 1)))
        watch.observe(block, "running", f"P{minute // 4}", configs)
        watch.look(start, start + MINUTE_MS, history)
        history.forget(start)
        sizes.append(len(msgpack.packb(watch.pack())))
    assert max(sizes[200:]) < 1.1 * max(sizes[100:200])
    assert sizes[-1] < 200_000


def test_a_minute_is_cut_where_anything_changes() -> None:
    history = History("m")
    history.configure(MachineConfig(stale_after_ms=60_000, units_per_cycle={"A": 2}))
    frame = Frame("m", "plc", 0, 0, 0, contexts=[Context(T0, "A"), Context(T0 + 40_000, "B")])
    frame.counts = [CountReading(T0 + 20_000, False, good=3)]
    frame.states = [StateChange(T0, "running"), StateChange(T0 + 30_000, "stopped")]
    history.insert(frame)
    history.heard.add(T0, T0 + 40_000, MINUTE_MS)
    minute = minute_of(history, T0)
    found = [(p.start - T0, p.end - T0, p.state, p.product, p.parts) for p in minute.pieces]
    assert found == [
        (0, 20_000, "running", "A", 0),
        (20_000, 30_000, "running", "A", 6),
        (30_000, 40_000, "stopped", "A", 0),
        (40_000, 60_000, "stopped", "B", 0),
    ]
    assert (minute.ran_ms, minute.steady, minute.heard) == (30_000, False, True)
    silent = minute_of(history, T0 + MINUTE_MS)
    assert [(p.start - T0, p.state) for p in silent.pieces] == [(60_000, "stopped"), (100_000, "unknown")]
    assert not silent.heard


def stretch(first: int, last: int, score: float = 0.6) -> Stretch:
    return Stretch(first, last, 10 * MINUTE_MS, score)


def test_a_flag_is_said_when_it_opens_when_its_age_has_doubled_and_when_it_ended() -> None:
    open_, key, told = Stretches(), Key("a", "spc", "P"), []
    for minute in range(1, 65):
        told += open_.see(key, stretch(0, minute * MINUTE_MS))
    assert [said.stretch.last // MINUTE_MS for said in told] == [1, 2, 4, 8, 16, 32, 64]
    assert open_.close(73 * MINUTE_MS) == []
    assert [said.stretch.last // MINUTE_MS for said in open_.close(74 * MINUTE_MS)] == [64]
    assert len(open_) == 0


def test_when_a_flag_ends_does_not_depend_on_when_it_is_asked() -> None:
    said = []
    for asked in (True, False):
        open_, key = Stretches(), Key("a", "spc", "P")
        found = open_.see(key, stretch(0, MINUTE_MS)) + (open_.close(12 * MINUTE_MS) if asked else [])
        found += open_.see(key, stretch(12 * MINUTE_MS, 13 * MINUTE_MS, 0.9))
        said.append([(one.stretch.first, one.stretch.last, one.stretch.score) for one in found])
    assert said[0] == said[1]


def test_two_flags_of_one_kind_never_share_their_identity() -> None:
    open_ = Stretches()
    firsts = [open_.see(Key("", "cycle", what), stretch(5, 9))[0].stretch.first for what in ("slow", "run")]
    assert len(set(firsts)) == 2
