"""How good and fast the flags are that look at more than a level: python -m bench.relations [--week] [--machines N]

The simulated plant, healthy and with faults put into what its machines say.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from pipeline import replay
from pipeline.core.engine import EngineSettings
from pipeline.core.machine import Machine
from pipeline.core.model import (
    Anomaly,
    Control,
    CountReading,
    Emitted,
    EndOfSource,
    Frame,
    MachineConfig,
    Record,
    SignalBlock,
    SignalConfig,
    StateChange,
)
from pipeline.core.plant import Plant
from pipeline.core.plant_layout import Habits
from pipeline.core.watch import Watch
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
    """CPU time of a frame of 20 signals through the engine, and the share of it that is spent here; bytes."""
    rng = np.random.default_rng(1)
    names = [f"s{k}" for k in range(20)]
    for samples, frames in ((200, 300), (1, 20_000)):
        config = MachineConfig(signals=tuple(SignalConfig(name, spc="nelson") for name in names[:2]))
        taken, watched, machine = 0.0, 0.0, Machine("m", engine())
        observe, look = Watch.observe, Watch.look

        def timed(call: Callable[..., Any], *given: Any) -> Any:
            nonlocal watched
            begun = time.perf_counter()
            result = call(*given)
            watched += time.perf_counter() - begun
            return result

        Watch.observe = lambda *given, call=observe: timed(call, *given)  # type: ignore[method-assign, assignment]
        Watch.look = lambda *given, call=look: timed(call, *given)  # type: ignore[method-assign, assignment]
        machine.fold(Record(START, Control("m", "config", START, "bench", config)), Emitted())
        for k in range(frames + 10):
            at = START + 1000 * (k * samples + np.arange(samples, dtype=np.int64))
            frame = Frame("m", "plc", 0, k, int(at[-1]))
            frame.signals = [SignalBlock(at, names, np.round(rng.normal(50.0, 1.0, (20, samples)), 2))]
            frame.states = [StateChange(START, "running")] if not k else []
            frame.counts = [CountReading(int(at[0]), True, total=k)] if samples > 1 or k % 60 == 0 else []
            record, begun = Record(int(at[-1]), frame), time.perf_counter()
            machine.fold(record, Emitted())
            taken += time.perf_counter() - begun
            if k == 9:  # compiled
                taken = watched = 0.0
        Watch.observe, Watch.look = observe, look  # type: ignore[method-assign]
        size = len(msgpack.packb(machine.scorer.watch.pack()))
        print(f"frames of {samples} x 20: {taken / frames * 1e6:.0f} us a frame,", end=" ")
        rate = 20 * samples * frames / taken / 1e6
        print(f"{watched / frames * 1e6:.1f} of them here; {rate:.2f} M values/s; state {size} bytes", flush=True)


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
