"""What is flagged depends on the log alone: not on when it was read, nor on how signals were put into frames."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from pipeline import replay
from pipeline.core.engine import EngineSettings
from pipeline.core.model import (
    Anomaly,
    Context,
    Control,
    Correction,
    CountReading,
    EndOfSource,
    Frame,
    MachineConfig,
    Record,
    SignalBlock,
    SignalConfig,
    StateChange,
    Tick,
)

T0 = 1_772_434_800_000  # 2026-03-02T07:00:00Z
SECONDS = 3000
NAMES = ["a", "b", "c"]


def signal(chance: np.random.Generator) -> np.ndarray:
    """A value a second for each of NAMES: noise around levels, with spikes, a stuck and a shifted stretch."""
    values = np.round(chance.normal(20.0, 1.0, (3, SECONDS)), 2)
    values[0, chance.integers(600, SECONDS, 6)] += 25.0
    values[1, 1500:1900] = 21.0
    values[2, 2000:] += 9.0
    return values


def said(seed: int) -> list[Frame | Control]:
    """Ever other sets of signals, states and products, late frames, silences, corrections, another configuration."""
    chance, values = random.Random(seed), signal(np.random.default_rng(seed))
    found: list[tuple[int, Frame | Control]] = [(0, _configured(0, 60.0))]
    k = 0
    while k < SECONDS:
        n = chance.choice((1, 1, 2, 5))
        names = sorted(chance.sample(range(3), chance.randint(1, 3)))
        at = T0 + 1000 * np.arange(k, min(k + n, SECONDS), dtype=np.int64)
        frame = Frame("m", "plc", T0, len(found), int(at[-1]))
        frame.signals = [SignalBlock(at, [NAMES[j] for j in names], values[names, k : k + len(at)])]
        if not k or chance.random() < 0.01:
            state = chance.choice(("running", "idle", "fault", "running")) if k else "running"
            frame.states = [StateChange(int(at[0]), state)]
            frame.contexts = [Context(int(at[0]), chance.choice("AAAAB"), None)]
        found.append((k + (chance.choice((10, 45, 80, 200)) if chance.random() < 0.05 else 0), frame))
        if chance.random() < 0.005:
            found.append((k, _told(chance, T0 + 1000 * k)))
        k += n + (chance.choice((30, 100, 400)) if chance.random() < 0.005 else 0)
    found.append((SECONDS + 1000, Control("m", "end", T0, "t", EndOfSource("plc", T0 + 1000 * SECONDS))))
    return [message for _, message in sorted(found, key=lambda one: one[0])]


def _configured(at: int, high: float) -> Control:
    body = MachineConfig(
        effective=at, always=True, stale_after_ms=60_000, signals=[SignalConfig("a", low=0.0, high=high)]
    )
    return Control("m", f"config-{at}", T0, "t", body)


def _told(chance: random.Random, at: int) -> Control:
    if chance.random() < 0.4:
        return _configured(at - chance.choice((0, 10_000, 35_000)) - at % 10_000, chance.choice((40.0, 60.0)))
    body = Correction(at - 90_000, at - 20_000, "setup", id=str(at)) if chance.random() < 0.5 else Tick(at + 5_000)
    return Control("m", f"said-{at}", at, "t", body)


HOURS = 14
SHARED = {"a": 1.0, "b": 2.0, "c": -1.0}  # what a common load does to each


def worked(seed: int) -> list[Frame | Control]:
    """Hours of parts every minute, of three signals that follow one load, with late frames and short stops; in the end
    each signal and counter goes wrong in its own way."""
    chance, noise = random.Random(seed), np.random.default_rng(seed)
    charted = SignalConfig("d", spc="nelson", spc_points=30)
    single = SignalConfig("e", spc="western_electric", spc_every_ms=0, spc_points=40)
    body = MachineConfig(always=True, stale_after_ms=300_000, micro_stop_ms=60_000, signals=(charted, single))
    found: list[tuple[float, Frame | Control]] = [(0, Control("m", "config", T0, "t", body))]
    load, minutes, parts, state, slow = 0.0, 60 * HOURS, 0, "idle", 0.0
    for minute in range(minutes):
        load = 0.95 * load + noise.normal(0.0, 1.0)
        at = T0 + 60_000 * minute + 10_000 * np.arange(6, dtype=np.int64)
        wrong = minute > 9 * 60
        values = np.array([20.0 + by * load + noise.normal(0.0, 0.3, 6) for by in SHARED.values()])
        values[1] += 4.0 * (wrong and minute < 11 * 60)
        more = np.array([noise.normal(5.0 + 1.5 * wrong, 0.5, 6), noise.normal(1.0 + 0.2 * wrong, 0.1, 6)])
        frame = Frame("m", "plc", T0, minute, int(at[-1]))
        frame.signals = [SignalBlock(at, [*SHARED, "d"], np.vstack((values, more[:1])))]
        if not 11 * 60 < minute < 11 * 60 + 40:
            frame.signals.append(SignalBlock(at[2:3], ["e"], more[1:, :1]))
        said = "running" if minute < 12 * 60 + 30 and chance.random() > 0.03 else "stopped"
        if said != state:
            state = said
            frame.states = [StateChange(int(at[1]), state)]
        slow += 1.0 if minute < 10 * 60 else 0.7
        silent = 12 * 60 < minute < 12 * 60 + 20
        if slow >= 1.0 and not silent and (state == "running" or minute > 13 * 60):
            slow -= 1.0
            parts += 1
            frame.counts = [CountReading(int(at[4]), True, total=parts)]
        if minute == 4 * 60:
            frame.contexts = [Context(int(at[3]), "B", None)]
        late = chance.choice((0.2, 0.7, 1.5, 8.0)) if chance.random() < 0.05 else 0.0
        found.append((minute + late, frame))
    found.append((minutes + 60, Control("m", "end", T0, "t", EndOfSource("plc", T0 + 60_000 * minutes))))
    return [message for _, message in sorted(found, key=lambda one: one[0])]


def flags(messages: list[Frame | Control], arrive_in_ms: int, seconds: int = SECONDS) -> list[Anomaly]:
    """What stands in the end when the whole log, of so many seconds, arrives in so long."""
    start, step = T0 + 1000 * seconds, arrive_in_ms / len(messages)
    records = [Record(start + int(place * step), message) for place, message in enumerate(messages)]
    found = replay.run(records, EngineSettings(retention_ms=1_200_000))
    return [replace(flag, known_at=0) for flag in replay.current(found.anomalies)]


@pytest.mark.parametrize("seed", range(12))
def test_a_backlog_is_judged_like_a_live_log(seed: int) -> None:
    messages = said(seed)
    live = flags(messages, 1000 * SECONDS)
    assert flags(messages, 0) == live
    assert flags(messages, 30_000) == live
    assert live


@pytest.mark.parametrize("seed", range(4))
def test_a_backlog_of_hours_is_judged_like_a_live_log(seed: int) -> None:
    messages = worked(seed)
    live = flags(messages, 3_600_000 * HOURS, 3600 * HOURS)
    assert flags(messages, 0, 3600 * HOURS) == live
    assert flags(messages, 300_000, 3600 * HOURS) == live
    assert {flag.detector for flag in live} >= {"spc", "cycle", "relation", "silence"}
    assert {flag.signal for flag in live if flag.kind == "spc"} == {"d", "e"}


def test_these_logs_raise_flags_of_many_kinds() -> None:
    kinds = {flag.kind for seed in range(12) for flag in flags(said(seed), 0)}
    assert kinds >= {"gap", "limit", "flatline", "spike"}


def test_a_signal_is_judged_alike_whatever_set_it_is_sent_in() -> None:
    values, at = signal(np.random.default_rng(3)), T0 + 1000 * np.arange(SECONDS, dtype=np.int64)
    whole, mixed = [], []
    for k in range(SECONDS):
        block = SignalBlock(at[k : k + 1], NAMES, values[:, k : k + 1])
        whole.append(Frame("m", "plc", T0, k, int(at[k]), signals=[block]))
        split = [[0, 1, 2], [0, 2], [1], [0], [1, 2]]
        sets = split[:1] if k % 3 == 0 else split[1:3] if k % 3 == 1 else split[3:]
        blocks = [SignalBlock(block.at, [NAMES[j] for j in names], block.values[names]) for names in sets]
        mixed.append(Frame("m", "plc", T0, k, int(at[k]), signals=blocks))
    found = flags(whole, 0)
    assert len(found) >= 5
    assert flags(mixed, 0) == found
