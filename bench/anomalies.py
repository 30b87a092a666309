"""How good, fast and big the default detector is: python -m bench.anomalies [--only PART] [--week]

NAB (both tiers) is bench/anomaly_nab.py, faults in real logs are bench/anomaly_nist.py; the rest is made up.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from bench import anomaly_faults, anomaly_nab, anomaly_nist
from pipeline import replay
from pipeline.core.detectors import MachineDetectors
from pipeline.core.engine import EngineSettings
from pipeline.core.model import Anomaly, Control, Frame, MachineConfig, SignalBlock
from pipeline.core.plant import Plant
from pipeline.core.plant_layout import Habits
from pipeline.settings import TABLE, Settings

START = 1_763_960_400_000  # 2025-11-24 05:00 UTC, a Monday
SECOND, MINUTE, HOUR = 1000, 60_000, 3_600_000
STATES = ("running", "idle", "fault")
NEAR = 2 * MINUTE
Floats = NDArray[np.float64]


def nab() -> None:
    """Both tiers on the development files (bench/anomaly_nab.py)."""
    for label, figure in anomaly_nab.table(full=False):
        print(f"{label}: {figure}", flush=True)


def noise(rng: np.random.Generator, signals: int, samples: int, memory: float) -> Floats:
    """Gaussian noise of scale 1 that remembers `memory` of its last value, [signals, samples]."""
    made = rng.normal(size=(signals, samples))
    for i in range(1, samples):
        made[:, i] = memory * made[:, i - 1] + np.sqrt(1.0 - memory**2) * made[:, i]
    return made


def inject(rng: np.random.Generator, sigmas: Floats, kind: str) -> tuple[int, int, int]:
    """Puts one anomaly into noise of scale 1; returns signal, first and last sample (stuck: to be held later)."""
    signal, first = int(rng.integers(len(sigmas))), int(rng.integers(int(0.35 * sigmas.shape[1]), 17_000))
    sign = rng.choice([-1.0, 1.0])
    if kind == "spike":
        sigmas[signal, first] += 8.0 * sign
        return signal, first, first
    if kind == "shift":
        sigmas[signal, first : first + 900] += 4.0 * sign
        return signal, first, first + 900
    if kind == "drift":
        length = int(rng.uniform(3600, 7200))
        sigmas[signal, first : first + length] += np.linspace(0.0, 4.0, length) * sign
        return signal, first, first + length
    return signal, first, first + 1800


def gaussian(seed: int, memory: float, kind: str = "") -> tuple[list[Anomaly], tuple[int, int, int] | None]:
    """Flags of a machine of 4 signals, 1 sample/s, 8 h, a change of state every 5 minutes, with an anomaly or none."""
    rng = np.random.default_rng(seed)
    samples = 8 * 3600
    sigmas = noise(rng, 4, samples, memory)
    put = inject(rng, sigmas, kind) if kind else None
    levels = {state: rng.uniform(10, 100, (4, 1)) for state in STATES}
    scales = rng.uniform(0.5, 3, (4, 1))
    values, stretches, at = np.empty_like(sigmas), [], 0
    while at < samples:
        end = min(samples, at + int(rng.exponential(300)) + 5)
        state = str(rng.choice(STATES, p=[0.6, 0.3, 0.1]))
        values[:, at:end] = levels[state] + scales * sigmas[:, at:end]
        stretches.append((at, end, state))
        at = end
    values = np.round(values, 2)
    if put and kind == "stuck":
        values[put[0], put[1] : put[2]] = values[put[0], put[1]]
    machine, rows = MachineDetectors(), []
    times = START + SECOND * np.arange(samples, dtype=np.int64)
    names = [f"s{k}" for k in range(4)]
    for first, end, state in stretches:
        rows += machine.observe(SignalBlock(times[first:end], names, values[:, first:end]), state, "A", {})
    rows += machine.advance(int(times[-1]) + HOUR, int(times[-1]), MachineConfig())
    return list({(row.signal, row.kind, row.first): row for row in rows}.values()), put


def gaussians(machines: int = 12) -> None:
    """False flags of healthy machines, and how many injected anomalies are found, per memory of the noise."""
    for memory in (0.0, 0.9, 0.97, 0.99):
        healthy = sum(len(gaussian(seed, memory)[0]) for seed in range(machines))
        line = f"gaussian, memory {memory}: {healthy} flags on {machines} healthy machines x 4 signals x 8 h; found"
        wrong = 0
        for kind in ("spike", "shift", "drift", "stuck"):
            found = 0
            for seed in range(machines):
                flags, put = gaussian(100 + seed, memory, kind)
                assert put is not None
                first, last = START + put[1] * SECOND - MINUTE, START + put[2] * SECOND + 10 * MINUTE
                near = [f for f in flags if f.signal == f"s{put[0]}" and f.first <= last and f.last >= first]
                found += bool(near)
                wrong += len(flags) - len(near)
            line += f" {kind} {found}/{machines}"
        print(line + f"; {wrong} other flags", flush=True)


def plant(seed: int, hours: int, healthy: bool) -> tuple[list[Anomaly], list[Any], float]:
    """Flags of the simulated plant of 12 machines through the engine, what was planted, seconds."""
    made = Plant("bench", seed, START, habits=Habits(anomaly_mean_ms=10**13) if healthy else Habits())
    end = START + hours * HOUR

    def messages() -> Iterator[Frame | Control]:
        for name, config in made.machines.items():
            yield Control(name, f"config-{name}", START, "bench", config)
        yield from made.frames(end)
        yield from made.ends(end, end)

    begun = time.perf_counter()
    rows = replay.run(messages(), _engine()).anomalies
    return list(replay.current(rows)), made.planted, time.perf_counter() - begun


def _engine() -> EngineSettings:
    return Settings({setting.name: setting.default for setting in TABLE}).engine()


def plants(week: bool) -> None:
    put_in, found, flagged, other = Counter[str](), Counter[str](), 0, 0
    for seed in range(20, 28):
        flags, planted, _ = plant(seed, 8, healthy=False)
        hit = set()
        for one in planted:
            near = [
                number for number, flag in enumerate(flags)
                if flag.machine == one.machine and flag.signal == one.signal
                and flag.first <= one.last + NEAR and flag.last >= one.first - NEAR
            ]  # fmt: skip
            hit.update(near)
            put_in[one.kind] += 1
            found[one.kind] += bool(near)
        flagged, other = flagged + len(flags), other + len(flags) - len(hit)
    kinds = ", ".join(f"{kind} {found[kind]}/{put_in[kind]}" for kind in sorted(put_in))
    print(f"simulated plant, 8 shifts of 8 h, 12 machines: found {found.total()}/{put_in.total()} ({kinds});", end=" ")
    print(f"{other} of {flagged} flags on nothing planted", flush=True)
    flags, _, seconds = plant(31, 168 if week else 24, healthy=True)
    span = "week" if week else "day"
    print(f"simulated plant, a healthy {span}: {len(flags)} flags; {seconds:.0f} s with simulation and OEE")


def speed() -> None:
    """Values per second of CPU, microseconds per block of one sample, bytes per signal."""
    rng = np.random.default_rng(1)
    names = [f"s{k}" for k in range(20)]

    def blocks(count: int, samples: int) -> list[SignalBlock]:
        return [
            SignalBlock(
                START + SECOND * (b * samples + np.arange(samples, dtype=np.int64)), names,
                np.round(rng.normal(50.0, 1.0, (20, samples)), 2),
            )
            for b in range(count)
        ]  # fmt: skip

    begun = time.process_time()
    MachineDetectors().observe(blocks(1, 1)[0], "running", "A", {})
    print(f"first block, compiled or read from the cache: {time.process_time() - begun:.1f} s")
    for count, samples in ((400, 200), (20_000, 1)):
        made, machine = blocks(count, samples), MachineDetectors()
        begun = time.process_time()
        for block in made:
            machine.observe(block, "running", "A", {})
        seconds = time.process_time() - begun
        rate = 20 * count * samples / seconds
        print(f"blocks of {samples} x 20: {rate / 1e6:.2f} M values/s, {seconds / count * 1e6:.1f} us a block")
    packed = len(msgpack.packb(machine.pack()))
    print(f"memory per signal: {packed / 20:.0f} bytes, and as many in the snapshot")


def nist() -> None:
    """Faults put into real signals, and what healthy days raise (bench/anomaly_nist.py)."""
    if not anomaly_nist.DATA.is_dir():
        print(f"NIST: not measured, {anomaly_nist.DATA} is not there")
        return
    made = anomaly_nist.healthy()
    for tier in ("default", "rich"):
        found = anomaly_nist.flags(made, made.calls, tier)
        groups = anomaly_nist.incidents(found)
        print(f"NIST {anomaly_nist.MACHINE}, {tier}, the log as it is: {len(found)} flags, {len(groups)} incidents")
        for kind in anomaly_faults.LENGTH:
            print(f"  {kind}: {anomaly_nist.measure(made, kind, tier)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("nab", "gaussian", "nist", "plant", "speed"), help="one part alone")
    parser.add_argument("--week", action="store_true", help="a healthy week instead of a day (a minute or two)")
    given = parser.parse_args()
    parts = {"speed": speed, "nab": nab, "gaussian": gaussians, "nist": nist, "plant": lambda: plants(given.week)}
    for name, part in parts.items():
        if given.only in (None, name):
            part()


if __name__ == "__main__":
    main()
