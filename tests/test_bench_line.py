"""The benchmark of the whole line: its arithmetic, its truth, its tables, and that it leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # bench is no part of the package

from bench.ending import home_prefix, sweep
from bench.line.dashboards import PANELS, machines_for
from bench.line.growth import LOADS, SECONDS, Load
from bench.line.latency import latencies, percentiles
from bench.line.plant import MACHINES, SAMPLES, SIGNALS, closing, due_s
from bench.line.report import kb_of_detectors, kb_per_machine, tables, two_against_one, wrong
from bench.line.truth import held_by
from bench.speed.broker import Source
from bench.speed.job import T0, Job
from pipeline.codec import Codec
from pipeline.core.model import Frame
from pipeline.local.processes import Supervisor

ROOT = Path(__file__).parents[1]
WITHIN_S = 20.0


def values_in(job: Job, samples: int) -> dict[tuple[str, int, str], float]:
    """What a store that drops repeats holds of a topic: the last value by machine, instant and signal."""
    decode, found = Codec().decode, {}
    for record in job.sent(samples):
        frame = decode(record.value)
        assert isinstance(frame, Frame)
        for block in frame.signals:
            for name, row in zip(block.names, block.values, strict=True):
                found.update(
                    {(frame.machine, at, name): value for at, value in zip(block.at.tolist(), row, strict=True)}
                )
    return found


@pytest.mark.parametrize(("samples", "rate"), [(1, 1), (50, 1), (10, 10)])
def test_the_truth_of_the_sink_is_what_the_topic_holds_without_repeats(samples: int, rate: int) -> None:
    job = Job(seconds=120, machines=3, seed=5, rate=rate)
    found, truth = values_in(job, samples), held_by(job)
    assert len(found) == truth.values == 120 * rate * 3 * 20
    assert sum(round(value * 100) for value in found.values()) == truth.hundredths


def test_ten_times_the_rate_is_the_same_time_with_ten_times_the_samples() -> None:
    slow, fast = Job(seconds=300, machines=2), Job(seconds=300, machines=2, rate=10)
    assert (fast.values, fast.end) == (10 * slow.values, slow.end)
    assert fast.truth() == slow.truth()
    times = np.unique(np.concatenate([block.at for _, frame in fast.frames(10) for block in frame.signals]))
    assert times.tolist() == list(range(T0, fast.end, 100))
    assert fast.checked_until(10) == fast.end - 30_000 - 1000


def test_a_load_has_whole_minutes_and_no_fewer_than_its_least() -> None:
    assert Load(10).job(4_000_000).seconds == 19_980
    assert Load(3000).job(4_000_000).seconds == SECONDS
    assert Load(100, rate=10).job(12_000_000).seconds == 600
    assert len({load.name for load in LOADS}) == len(LOADS)
    one, two = (next(load for load in LOADS if load.machines == 1000 and load.workers == n) for n in (1, 2))
    assert one.job(4_000_000) == two.job(4_000_000)
    assert all(Source("growth", load.job(4_000_000), SAMPLES).job.values for load in LOADS)


def test_the_plant_keeps_a_pace_of_50_000_values_a_second() -> None:
    in_a_second = [number for number in range(2 * MACHINES) if due_s(number) < 1.0]
    assert len(in_a_second) * SIGNALS * SAMPLES == 50_000
    gaps = np.diff([due_s(number) for number in range(2 * MACHINES)])
    assert gaps == pytest.approx(1 / MACHINES)


def test_a_latency_ends_with_the_first_look_that_sees_the_instant() -> None:
    #  clock   5.0   5.1   5.5    6.0    7.0        8.0
    #          hand  look  look   hand   look       hand
    #          1000  0     1000   2000   2500       3000
    seen = [(5.1, 0), (5.5, 1000), (7.0, 2500)]
    assert latencies([(1000, 5.0), (2000, 6.0), (3000, 8.0)], seen) == [0.5, 1.0]
    assert latencies([(1000, 5.0)], []) == []


def test_a_minute_is_closed_by_the_first_frame_beyond_its_lateness() -> None:
    #  window 0: [0, 60 s), closed at 90 s; window 1: closed at 150 s, which no frame reaches
    handed = [(at, at / 1000) for at in (30_000, 60_000, 89_999, 90_000, 90_001, 149_999)]
    assert closing(handed, 60_000, 30_000) == [(0, 90.0)]
    assert closing([], 60_000, 30_000) == []


def test_percentiles_of_nothing_are_nothing() -> None:
    assert set(percentiles([]).values()) == {None}
    assert percentiles([2.0]) == {"p50_s": 2.0, "p95_s": 2.0, "p99_s": 2.0, "most_s": 2.0}


def test_dashboards_have_at_least_the_values_that_were_asked_for() -> None:
    for values in (1, 20_000_000, 100_000_000):
        assert values <= machines_for(values) * 20 * 86_400 < values + 20 * 86_400
    assert all(panel.minutes % 5 == 0 and panel.rows for panel in PANELS.values())


def growth_row(**more: Any) -> dict[str, Any]:
    plain = {
        "machines": 1000, "rate": 1, "workers": 1, "detect": False, "values": 6_000_000, "us_per_value": 1.0,
        "us_per_frame": 200.0, "mib": 250.0, "idle_mib": 150.0, "least_share": 1.0, "verdict": "all 4,000",
        "right": True,
    }  # fmt: skip
    return {**plain, **more}


def sink_row(**more: Any) -> dict[str, Any]:
    plain = {
        "samples": 50, "values": 8_000_000, "values_per_s": 600_000.0, "wall_s": 13.3, "sink_cpu_s": 3.0,
        "store_cpu_s": 9.0, "bytes_per_value": 0.9, "stored": 8_000_000, "right": True,
    }  # fmt: skip
    return {**plain, **more}


def latency_row(**more: Any) -> dict[str, Any]:
    times = percentiles([0.4, 0.45, 0.5])
    plain = {
        "values_per_s": 50_000.0, "goal_values_per_s": 50_000, **times, "frames": 3, "lost": 0, "right": True,
        "line_cores": 0.5, "store_cores": 0.4, "look_s": 0.02, "facts": {**percentiles([]), "minutes": 0},
    }  # fmt: skip
    return {**plain, **more}


def test_growth_compares_like_with_like() -> None:
    rows = [
        growth_row(machines=10, mib=100.0), growth_row(mib=150.0), growth_row(machines=100, rate=10, mib=900.0),
        growth_row(workers=2, us_per_value=1.2, mib=500.0), growth_row(detect=True, us_per_value=3.0, mib=190.0),
    ]  # fmt: skip
    assert kb_per_machine(rows) == pytest.approx(50 * 1024 / 990)
    assert kb_of_detectors(rows) == pytest.approx(40 * 1024 / 20_000)
    assert two_against_one(rows) == pytest.approx(1.2)
    assert two_against_one(rows[:3]) is kb_per_machine(rows[:1]) is kb_of_detectors(rows[:3]) is None


def test_a_goal_that_is_missed_is_shown_as_missed() -> None:
    assert "500 k/s met, 1 B met" in tables({"sink": [sink_row()]})
    assert "500 k/s **missed**, 1 B met" in tables({"sink": [sink_row(values_per_s=499_999.0)]})
    assert "1 B **missed**" in tables({"sink": [sink_row(bytes_per_value=1.01)]})
    assert "| met |" in tables({"latency": latency_row()})
    assert "| met |" not in tables({"latency": latency_row(p99_s=2.01)})
    assert "| met |" not in tables({"latency": latency_row(lost=1, right=False)})
    assert "(goal 1.15: **missed**)" in tables({"growth": [growth_row(), growth_row(workers=2, us_per_value=1.16)]})
    slow = {"rows": 1, "bytes_per_value": 1.0, "right": True, "panels": {"one": {**percentiles([0.11]), "right": True}}}
    assert "**missed**" in tables({"dashboards": slow})


def test_tables_are_square() -> None:
    found = {"sink": [sink_row()], "latency": latency_row(), "growth": [growth_row(), growth_row(machines=10)]}
    for table in tables(found).split("\n\n"):
        widths = {line.count("|") for line in table.splitlines() if line.startswith("|")}
        assert len(widths) <= 1


def test_what_is_wrong_or_failed_is_named() -> None:
    assert wrong({"sink": [sink_row()], "latency": latency_row()}) == []
    assert wrong({"sink": [sink_row(), sink_row(right=False)], "growth": {"error": "RuntimeError: no"}}) == [
        "sink",
        "growth",
    ]
    assert "**failed**: RuntimeError: no" in tables({"growth": {"error": "RuntimeError: no"}})


def test_what_a_killed_bench_has_left_is_ended_and_what_a_living_one_has_is_not(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left, living = tmp_path / f"broker-{gone.pid}-abc", tmp_path / f"{home_prefix()}abc"
    strange = tmp_path / "broker-12345678"
    strange.mkdir()
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    processes = [Supervisor(home).spawn("store", sleep).pid for home in (left / "line", living)]
    try:
        assert sweep(tmp_path) == [left.name]
        assert [psutil.pid_exists(pid) for pid in processes] == [False, True]
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([living.name, strange.name])
    finally:
        Supervisor(living).stop_all()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP])
def test_a_part_ends_with_the_whole(number: signal.Signals, tmp_path: Path) -> None:
    """The part cleans up, whether the whole is told to end or killed."""
    said = tmp_path / "said"
    part = (
        "import json, os, time; from pathlib import Path; from bench.ending import end_as_exception\n"
        "end_as_exception(); said = Path('SAID')\n"
        "said.with_suffix('.new').write_text(json.dumps(os.getpid())); said.with_suffix('.new').rename(said)\n"
        "try: time.sleep(600)\n"
        "finally: Path('SAID.clean').touch()\n"
    ).replace("SAID", str(said))
    whole = "import sys; from bench.__main__ import run; from bench.ending import end_as_exception\n"
    whole += f"end_as_exception(); run([sys.executable, '-c', {part!r}])"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", whole], env=environment, cwd=ROOT)
    try:
        wait_for(said.exists)
        pid = json.loads(said.read_text())
        process.send_signal(number)
        process.wait(WITHIN_S)
        wait_for(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
        assert Path(f"{said}.clean").exists()
    finally:
        process.kill()
        process.wait()


def wait_for(over: Any) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not over():
        assert time.monotonic() < deadline
        time.sleep(0.02)
