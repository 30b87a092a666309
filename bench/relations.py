"""How good and fast the flags are that look at more than a level: python -m bench.relations [--week] [--machines N]

The simulated plant, healthy and with faults put into what its machines say.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pipeline import replay
from pipeline.core.engine import EngineSettings
from pipeline.core.model import (
    Anomaly,
    Control,
    CountReading,
    EndOfSource,
    Frame,
    SignalBlock,
    StateChange,
)
from pipeline.core.plant import Plant
from pipeline.core.plant_layout import Habits
from pipeline.settings import TABLE, Settings

START = 1_763_960_400_000  # 2025-11-24 05:00 UTC, a Monday
MINUTE, HOUR = 60_000, 3_600_000
KINDS = ("cycle", "relation", "spc")
COUNTERS = ("total", "good", "reject", "rework")
NEAR = 30 * MINUTE


@dataclass
class Fault:
    """Something put into what a machine says of [start, end)."""

    machine: str
    kind: str
    start: int
    end: int
    column: int = 0


@dataclass
class Teller:
    """Passes a machine's frames on, with its fault in them and, when asked, a load that all its signals follow."""

    fault: Fault | None
    load: NDArray[np.float64] | None
    state: str = "unknown"
    read: dict[str, int] = field(default_factory=dict)
    taken: dict[str, float] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)
    level: NDArray[np.float64] | None = None
    held: bool = False

    def tell(self, frame: Frame) -> Frame:
        before = self.state
        if frame.states:
            self.state = frame.states[-1].state
        blocks = [self._signals(block, before, frame.states) for block in frame.signals]
        counts = [self._count(reading) for reading in frame.counts]
        states = self._states(frame.states, before, frame)
        return replace(frame, signals=blocks, counts=[one for one in counts if one is not None], states=states)

    def _within(self, at: int, *kinds: str) -> bool:
        fault = self.fault
        return fault is not None and fault.kind in kinds and fault.start <= at < fault.end

    def _signals(self, block: SignalBlock, before: str, states: list[StateChange]) -> SignalBlock:
        starts = [0, *(change.at for change in states)]
        said = np.array([before == "running", *(change.state == "running" for change in states)])
        runs = said[np.searchsorted(starts, block.at, side="right") - 1]
        values = block.values.copy()
        if self.level is None and runs.any():
            self.level = np.nanmedian(values[:, runs], axis=1)
        if self.load is not None:
            values *= np.where(runs, 1.0 + self.load[(block.at - START) // MINUTE], 1.0)
        fault = self.fault
        if fault is not None and fault.kind in ("gain", "offset"):
            assert self.level is not None
            level, row = self.level[fault.column], values[fault.column]
            at = runs & (block.at >= fault.start) & (block.at < fault.end)
            row[at] = level + 0.5 * (row[at] - level) if fault.kind == "gain" else row[at] + 0.15 * level
        return replace(block, values=values)

    def _count(self, reading: CountReading) -> CountReading | None:
        """Parts as the fault leaves them: a quarter fewer, or none."""
        share = 0.25 if self._within(reading.at, "slow") else 1.0 if self._within(reading.at, "no parts") else 0.0
        told: dict[str, int | None] = {}
        for name in COUNTERS:
            value = getattr(reading, name)
            if value is None:
                continue
            made = value - self.read.get(name, value) if reading.cumulative else value
            self.read[name] = value
            self.taken[name] = self.taken.get(name, 0.0) + share * max(made, 0)
            gone = int(self.taken[name])
            self.taken[name] -= gone
            self.missing[name] = self.missing.get(name, 0) + gone
            told[name] = value - self.missing[name] if reading.cumulative else value - gone
        if not reading.cumulative and share and not any(told.values()):
            return None
        return CountReading(reading.at, reading.cumulative, **told)

    def _states(self, states: list[StateChange], before: str, frame: Frame) -> list[StateChange]:
        """`idle` all the time while parts go on to be counted, and the truth again afterwards."""
        if self.fault is None or self.fault.kind != "no run":
            return states
        kept = [one for one in states if not self._within(one.at, "no run")]
        if self._within(frame.sent, "no run") and not self.held:
            self.held = True
            return [*kept, StateChange(frame.sent - 1, "idle")]
        if self.held and frame.sent >= self.fault.end:
            self.held = False
            return [StateChange(frame.sent - MINUTE, before), *kept]
        return kept


def load(seed: int, minutes: int) -> NDArray[np.float64]:
    """How much more or less the machine is loaded, minute by minute: scale 0.1, remembers 0.98 of its last value."""
    rng = np.random.default_rng(seed)
    steps, level, found = rng.normal(0.0, 0.1 * (1 - 0.98**2) ** 0.5, minutes + 2), 0.0, []
    for step in steps.tolist():
        level = 0.98 * level + step
        found.append(level)
    return np.array(found)


def run(
    seed: int, machines: int, hours: int, loaded: bool = False,
    faulty: Callable[[str, int], Fault] | None = None, charts: str = "",
) -> tuple[list[Anomaly], float]:  # fmt: skip
    """Flags of a plant, and seconds that it took."""
    plant = Plant("bench", seed, START, machines, habits=Habits(anomaly_mean_ms=10**13), truth=False)
    end = START + hours * HOUR
    tellers = {
        name: Teller(faulty(name, k) if faulty else None, load(1000 * seed + k, hours * 60) if loaded else None)
        for k, name in enumerate(plant.machines)
    }

    def messages() -> Iterator[Frame | Control]:
        for name, config in plant.machines.items():
            signals = tuple(replace(signal, spc=charts) for signal in config.signals)
            yield Control(name, f"config-{name}", START, "bench", replace(config, signals=signals))
        for frame in plant.frames(end):
            yield tellers[frame.machine].tell(frame)
        yield from (Control(name, f"end-{name}", end, "bench", EndOfSource("plant", end - 1)) for name in tellers)

    begun = time.perf_counter()
    rows = replay.run(messages(), engine()).anomalies
    flags = [flag for flag in replay.current(rows) if flag.kind in KINDS]
    return flags, time.perf_counter() - begun


def engine() -> EngineSettings:
    return Settings({setting.name: setting.default for setting in TABLE}).engine()


def healthy(machines: int, hours: int, show: bool) -> None:
    for loaded in (False, True):
        flags, seconds = run(31, machines, hours, loaded)
        kinds = Counter(flag.kind for flag in flags)
        name = "a plant whose load varies" if loaded else "the simulated plant"
        print(f"{name}, healthy, {machines} machines x {hours} h: {kinds.total()} flags {dict(kinds)}; {seconds:.0f} s")
        for flag in flags if show else ():
            print(f"  {flag.score:.2f} {flag.machine} {flag.kind}: {flag.message}")


LENGTHS = {"slow": 3 * HOUR, "no parts": HOUR, "no run": HOUR, "gain": 2 * HOUR, "offset": 2 * HOUR}
KIND_OF = {"slow": "cycle", "no parts": "cycle", "no run": "cycle", "gain": "relation", "offset": "relation"}


def planted(machines: int, hours: int, show: bool) -> None:
    """One fault on each machine, in the second half of the time and within its early shift."""
    for kind, length in LENGTHS.items():
        faults: list[Fault] = []

        def faulty(name: str, k: int, kind: str = kind, length: int = length) -> Fault:
            start = START + (hours - 20) * HOUR + (k * 7 % 20) * 3 * MINUTE + 2 * HOUR
            faults.append(Fault(name, kind, start, start + length, k % 4))  # noqa: B023
            return faults[-1]  # noqa: B023

        flags, _ = run(40, machines, hours, kind in ("gain", "offset"), faulty)
        near = [
            flag for flag in flags for one in faults
            if flag.machine == one.machine and flag.first < one.end + NEAR and flag.last > one.start - NEAR
        ]  # fmt: skip
        found = {flag.machine for flag in near if flag.kind == KIND_OF[kind]}
        print(f"{kind}, {length // MINUTE} min: found on {len(found)} of {len(faults)} machines;", end=" ")
        print(f"{len(flags) - len(near)} flags elsewhere", flush=True)
        for flag in flags if show else ():
            where = "near" if flag in near else "elsewhere"
            print(f"  {where} {flag.score:.2f} {flag.machine} {flag.kind}: {flag.message}")


def speed() -> None:
    """Values per second of CPU through the scorer's watch alone, and with blocks of one sample."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--week", action="store_true", help="a healthy week instead of two days")
    parser.add_argument("--machines", type=int, default=12)
    parser.add_argument("--show", action="store_true", help="the sentence of every flag")
    parser.add_argument("--only", choices=("healthy", "planted", "speed"), help="only this part")
    given = parser.parse_args()
    if given.only in (None, "healthy"):
        healthy(given.machines, 168 if given.week else 48, given.show)
    if given.only in (None, "planted"):
        planted(given.machines, 72, given.show)
    if given.only in (None, "speed"):
        speed()


if __name__ == "__main__":
    main()
