"""Anomaly detectors: what they find, and what they leave alone."""

from __future__ import annotations

import msgpack
import numpy as np
import pytest

from pipeline.core import detector_layout as lay
from pipeline.core.detectors import CONTEXTS, SIGNALS, MachineDetectors
from pipeline.core.model import Anomaly, MachineConfig, SignalBlock, SignalConfig

START = 1_700_000_000_000
SECOND, MINUTE, HOUR = 1000, 60_000, 3_600_000


def healthy(seed: int, hours: float, level: float = 50.0, scale: float = 1.0, memory: float = 0.9) -> np.ndarray:
    """One sample a second around a level, each remembering `memory` of the last; rounded like a sensor."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0.0, scale * np.sqrt(1.0 - memory**2), int(hours * 3600))
    for i in range(1, len(noise)):
        noise[i] += memory * noise[i - 1]
    return np.round(level + noise, 3)


def block(values: np.ndarray, start: int = START, step: int = SECOND, name: str = "power") -> SignalBlock:
    values = np.atleast_2d(values)
    names = [name] if len(values) == 1 else [f"{name}{k}" for k in range(len(values))]
    return SignalBlock(start + step * np.arange(values.shape[1], dtype=np.int64), names, values)


def watch(
    values: np.ndarray, config: SignalConfig | None = None, machine: MachineDetectors | None = None, step: int = SECOND
) -> list[Anomaly]:
    machine = machine or MachineDetectors()
    configs = {config.name: config} if config else {}
    data = block(values, step=step)
    rows = machine.observe(data, "running", "A", configs)
    return rows + machine.advance(int(data.at[-1]) + 24 * HOUR, int(data.at[-1]), MachineConfig())


def current(rows: list[Anomaly]) -> list[Anomaly]:
    """The last row of each flag."""
    return list({(row.signal, row.kind, row.first): row for row in rows}.values())


def test_a_healthy_signal_raises_nothing() -> None:
    assert [row for seed in range(6) for row in watch(healthy(seed, 4))] == []


def test_a_spike_is_one_flag_with_the_usual_band() -> None:
    values = healthy(1, 2)
    values[5000] += 9.0
    (flag,) = current(watch(values, SignalConfig("power", unit="kW")))
    assert (flag.kind, flag.first, flag.last) == ("spike", START + 5000 * SECOND, START + 5000 * SECOND)
    assert flag.value == values[5000]
    assert flag.expected_low is not None
    assert flag.expected_high is not None
    assert flag.expected_low < 50.0 < flag.expected_high < flag.value
    assert 0.5 <= flag.score <= 1.0
    assert (flag.state, flag.product) == ("running", "A")
    assert flag.message.startswith("power jumped to 5")
    assert "kW at 2023-11-14 23:36:40 UTC while running on A; usual is" in flag.message


def test_a_shift_is_one_flag_from_its_beginning_to_its_end() -> None:
    values = healthy(2, 3)
    values[6000:6900] += 5.0
    rows = watch(values)
    (flag,) = current(rows)
    assert flag.kind == "shift"
    assert abs(flag.first - (START + 6000 * SECOND)) <= MINUTE
    assert abs(flag.last - (START + 6900 * SECOND)) <= 3 * MINUTE
    assert rows[0].last < flag.last
    assert len(rows) <= 8, "said at a coarse pace, not per sample"


def test_a_slow_rise_is_a_drift() -> None:
    values = healthy(3, 5)
    values[7200:12600] += np.linspace(0.0, 5.0, 5400)
    values[12600:] += 5.0
    assert [flag.kind for flag in current(watch(values))] == ["drift"]


def test_what_lasts_becomes_the_new_normal_after_a_new_warm_up() -> None:
    machine = MachineDetectors()
    values = healthy(4, 10)
    values[7200:] += 6.0
    (flag,) = current(watch(values, machine=machine))
    assert flag.last - flag.first < 5 * HOUR
    assert not machine.warming("power")


def test_a_sensor_that_stops_is_a_flatline_and_one_that_always_repeats_is_not() -> None:
    values = healthy(5, 3)
    values[7000:8800] = values[7000]
    (flag,) = [row for row in current(watch(values)) if row.kind == "flatline"]
    assert (flag.first, flag.last) == (START + 7000 * SECOND, START + 8799 * SECOND)
    assert "has not moved from" in flag.message
    rng = np.random.default_rng(6)
    setpoint = np.repeat(rng.choice([1200.0, 1500.0, 1800.0], 60), rng.integers(60, 400, 60))
    assert [row for row in watch(setpoint) if row.kind == "flatline"] == []


def test_a_configured_flatline_needs_no_learning() -> None:
    values = np.concatenate((healthy(7, 0.01), np.full(400, 50.0)))
    (flag,) = current(watch(values, SignalConfig("power", flatline_ms=5 * MINUTE, learn=False)))
    assert (flag.kind, flag.first) == ("flatline", START + 36 * SECOND)


def test_limits_speak_at_once_and_do_not_chatter_on_the_edge() -> None:
    values = np.full(600, 80.0)
    values[100:300:2] = 100.1  # on the edge, every other second
    values[101:300:2] = 99.9
    rows = watch(values, SignalConfig("power", unit="°C", low=0.0, high=100.0, learn=False))
    assert (rows[0].first, rows[0].last) == (START + 100 * SECOND, START + 100 * SECOND)
    (flag,) = current(rows)
    assert (flag.kind, flag.first, flag.last) == ("limit", START + 100 * SECOND, START + 299 * SECOND)
    assert (flag.severity, flag.expected_low, flag.expected_high) == ("critical", 0.0, 100.0)
    assert "it has to stay above 0 °C and below 100 °C" in flag.message


def test_a_limit_with_one_side() -> None:
    values = np.array([1.0, 2.0, -0.5, 1.0])
    (flag,) = current(watch(values, SignalConfig("power", low=0.0, learn=False)))
    assert (flag.kind, flag.value) == ("limit", -0.5)
    assert "it has to stay above 0." in flag.message


def test_levels_belong_to_a_state() -> None:
    """running 50      idle 10      running 50 ...: no flag, but 50 while idle is one."""
    machine = MachineDetectors()
    rng = np.random.default_rng(8)
    rows: list[Anomaly] = []
    at = START
    for turn in range(40):
        running = turn % 2 == 0
        values = rng.normal(50.0 if running else 10.0, 1.0, 300)
        if turn == 39:
            values = rng.normal(50.0, 1.0, 300)
        rows += machine.observe(block(values, at), "running" if running else "idle", "A", {})
        at += 300 * SECOND
    assert {(row.kind, row.state) for row in rows} == {("shift", "idle")}
    assert min(row.first for row in rows) >= at - 300 * SECOND


def test_warm_up_is_not_health() -> None:
    machine = MachineDetectors()
    assert machine.warming("power")
    scores, rows = machine.score(block(healthy(9, 0.05)), "running", "A", {})
    assert machine.warming("power")
    assert np.isnan(scores).all()
    assert rows == []
    scores, _ = machine.score(block(healthy(9, 1), START + HOUR), "running", "A", {})
    assert not machine.warming("power")
    assert (scores[0, -100:] < 0.5).all()


def test_a_silent_machine_is_a_gap_that_ends() -> None:
    """heard at 0        stale after 5 min        now 12 min        heard again at 20 min"""
    machine = MachineDetectors()
    config = MachineConfig(stale_after_ms=5 * MINUTE)
    assert machine.advance(START, START, config) == []
    assert machine.advance(START + 4 * MINUTE, START, config) == []
    (opened,) = machine.advance(START + 5 * MINUTE, START, config)
    assert (opened.kind, opened.signal, opened.first, opened.last) == ("gap", "", START, START + 5 * MINUTE)
    assert machine.advance(START + 9 * MINUTE, START, config) == []
    (grown,) = machine.advance(START + 12 * MINUTE, START, config)
    assert (grown.first, grown.last) == (START, START + 10 * MINUTE)
    assert machine.advance(START + 20 * MINUTE, START, config)[-1].last == START + 20 * MINUTE
    (ended,) = machine.advance(START + 20 * MINUTE, START + 20 * MINUTE, config)
    assert (ended.first, ended.last) == (START, START + 20 * MINUTE)
    assert "was silent for 20 min, since 2023-11-14 22:13:20 UTC" in ended.message
    assert machine.advance(START + 20 * MINUTE, START + 20 * MINUTE, config) == []


def test_a_gap_in_a_backfill_is_found_without_ticks() -> None:
    machine = MachineDetectors()
    config = MachineConfig(stale_after_ms=5 * MINUTE)
    machine.advance(START, START, config)
    rows = [row for heard in (START, START + 3 * HOUR) for row in machine.advance(START + 3 * HOUR, heard, config)]
    assert [(row.first, row.last) for row in current(rows)] == [(START, START + 3 * HOUR)]


def test_scores_look_at_the_past_only() -> None:
    data = block(healthy(11, 1))
    whole, _ = MachineDetectors().score(data, "running", "A", {})
    half, _ = MachineDetectors().score(
        SignalBlock(data.at[:1800], data.names, data.values[:, :1800]), "running", "A", {}
    )
    np.testing.assert_array_equal(whole[:, :1800], half)


def test_numbers_that_are_none_do_not_poison_what_follows() -> None:
    machine = MachineDetectors()
    values = healthy(12, 2)
    values[1000:1100] = np.nan
    values[1100:1200] = np.inf
    values[1200] = 1.7e308
    values[1201] = -1.7e308
    values[6000] += 12.0
    assert [row.kind for row in current(watch(values, machine=machine))] == ["spike"]
    finite = np.frombuffer(machine.pack()["signals"])
    assert not np.isinf(finite).any()


def test_a_sensor_that_starts_with_nonsense_is_watched_all_the_same() -> None:
    values = healthy(15, 2)
    values[:3] = 65535.0
    values[6000] -= 12.0
    assert [row.kind for row in current(watch(values))] == ["spike"]


def test_every_parameter_stands_where_the_kernels_look_for_it() -> None:
    for place, name in enumerate(lay.PARAMETERS):
        constant = name.upper() if name != "spike" else "P_SPIKE"
        assert getattr(lay, constant) == place


def test_a_signal_that_is_not_sent_while_others_are_is_a_gap() -> None:
    values = np.vstack((healthy(16, 2), healthy(17, 2)))
    values[1, 5000:5900] = np.nan
    machine = MachineDetectors()
    rows = machine.observe(block(values), "running", "A", {})
    (flag,) = current(rows)
    assert (flag.kind, flag.signal) == ("gap", "power1")
    assert (flag.first, flag.last) == (START + 4999 * SECOND, START + 5899 * SECOND)
    assert "power1 sends nothing while running on A" in flag.message


def test_a_signal_sampled_now_and_then_has_no_gap() -> None:
    values = np.vstack((healthy(18, 2), np.full(7200, np.nan)))
    values[1, ::90] = healthy(19, 2)[::90]
    assert MachineDetectors().observe(block(values), "running", "A", {}) == []


def test_a_signal_that_lags_behind_the_state_is_understood() -> None:
    """A motor's temperature tends to 60 when it runs and to 30 when it idles, within 12 minutes: never settled, never
    flagged; but 2 degrees more than that are."""
    rng = np.random.default_rng(20)
    machine = MachineDetectors()
    value, at = 30.0, START
    rows: list[Anomaly] = []
    fault = START + 7 * HOUR
    while at < START + 8 * HOUR:
        state = "running" if rng.random() < 0.6 else "idle"
        n = int(rng.integers(120, 1200))
        target = 60.0 if state == "running" else 30.0
        wear = target + (value - target) * np.exp(-np.arange(n) / 720.0)
        value = float(wear[-1])
        times = at + SECOND * np.arange(n, dtype=np.int64)
        values = np.round(wear + rng.normal(0.0, 0.2, n) + np.where(times >= fault, 2.0, 0.0), 2)
        rows += machine.observe(SignalBlock(times, ["temperature"], values[None, :]), state, "A", {})
        at += n * SECOND
    assert rows
    assert min(row.first for row in rows) >= fault - MINUTE


def test_time_that_goes_back_is_left_out() -> None:
    machine = MachineDetectors()
    watch(healthy(13, 1), machine=machine)
    before = machine.pack()
    assert machine.observe(block(np.full(50, 99.0), START + MINUTE), "running", "A", {}) == []
    assert machine.pack() == before


def test_memory_is_bounded() -> None:
    machine = MachineDetectors()
    for k in range(5 * CONTEXTS):
        machine.observe(block(healthy(k, 0.01), START + k * MINUTE), "running", f"product {k}", {})
    per_signal = len(msgpack.packb(machine.pack())) + np.frombuffer(machine.pack()["signals"]).nbytes
    assert per_signal <= 8192
    crowd = SignalBlock(np.array([START + HOUR]), [f"s{k}" for k in range(2 * SIGNALS)], np.ones((2 * SIGNALS, 1)))
    assert machine.observe(crowd, "running", "A", {}) == []
    assert len(machine.pack()["names"]) == SIGNALS


def test_a_snapshot_of_another_version_starts_to_learn_anew() -> None:
    machine = MachineDetectors()
    watch(healthy(14, 1), machine=machine)
    assert MachineDetectors.unpack({**machine.pack(), "version": 0}).warming("power")


@pytest.mark.parametrize("level", [1e-12, 1e12, 0.0, -40.0])
def test_constants_of_any_size_are_healthy(level: float) -> None:
    assert watch(np.full(4000, level)) == []


def test_readings_of_zero_for_a_moment_are_told_once_and_left_out() -> None:
    values = healthy(18, 2)
    values[30::20] = 0.0
    values[6001] += 12.0
    flags = {flag.kind: flag for flag in current(watch(values))}
    assert sorted(flags) == ["gap", "spike"]
    assert flags["spike"].first == START + 6001 * SECOND
    assert flags["gap"].first == START + 30 * SECOND
    assert "reads 0 for a moment, again and again" in flags["gap"].message
