"""The rich detector: any cut, restart, scale and dirt; healthy noise is quiet, a new course of values is not."""

from __future__ import annotations

import msgpack
import numpy as np
import pytest

from pipeline.core.detectors import MachineDetectors
from pipeline.core.model import Anomaly, SignalBlock, SignalConfig

START = 1_700_000_000_000
RICH = {"s": SignalConfig("s", detector="rich")}


def wave(n: int = 6000) -> np.ndarray:
    return 20.0 + 5.0 * np.sin(np.arange(n) / 20.0) + np.random.default_rng(3).normal(0.0, 0.2, n)


def fold(values: np.ndarray, cuts: list[int], restart: bool = False) -> tuple[np.ndarray, list[Anomaly], bytes]:
    machine, flags, scores = MachineDetectors(), [], []
    at = START + 60_000 * np.arange(len(values), dtype=np.int64)
    for first, last in zip([0, *cuts], [*cuts, len(values)], strict=True):
        if restart:
            machine = MachineDetectors.unpack(msgpack.unpackb(msgpack.packb(machine.pack())))
        block = SignalBlock(at[first:last], ["s"], values[None, first:last])
        judged, found = machine.score(block, "running", "A", RICH)
        scores.append(judged[0])
        flags += found
    return np.concatenate(scores), [flag for flag in flags if flag.detector == "rich"], msgpack.packb(machine.pack())


@pytest.mark.parametrize("restart", [False, True])
def test_cuts_and_restarts_change_nothing(restart: bool) -> None:
    values = wave()
    values[3000:3005] += 30.0
    values[[50, 700, 701]] = np.nan, np.inf, 1e300
    whole, cut = fold(values, []), fold(values, [1, 7, 100, 2999, 3003, 4500], restart)
    assert whole[0].tobytes() == cut[0].tobytes()
    assert whole[1:] == cut[1:]


def test_a_course_never_seen_is_flagged_and_a_healthy_one_is_not() -> None:
    values = wave()
    assert fold(values, [])[1] == []
    values[4000:4100] = 60.0
    flags = fold(values, [])[1]
    assert {flag.kind for flag in flags} == {"pattern"}
    assert flags[0].first in range(START + 60_000 * 3999, START + 60_000 * 4003)


def test_noise_is_quiet() -> None:
    assert fold(np.random.default_rng(1).normal(5.0, 1.0, 20_000), [])[1] == []


def test_scale_and_offset_change_no_alarm() -> None:
    values = wave()
    values[3000:3005] += 30.0
    alarms = fold(values, [])[0] >= 0.5
    assert alarms[3000:3005].any()
    assert ((fold(10.0 * values, [])[0] >= 0.5) == alarms).all()
    assert ((fold(values + 1000.0, [])[0] >= 0.5) == alarms).all()


def test_warm_up_is_told_and_memory_is_bounded() -> None:
    machine = MachineDetectors()
    assert machine.warming("s")
    at = START + 60_000 * np.arange(20, dtype=np.int64)
    scores, _ = machine.score(SignalBlock(at, ["s"], wave(20)[None]), "running", "", RICH)
    assert np.isnan(scores).all()
    assert machine.warming("s")
    assert len(fold(wave(20_000), [])[2]) < 100_000
