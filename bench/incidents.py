"""What a person hears of: python -m bench.incidents [--shifts 4] [--demo 1 2 3] [--healthy-week]

The simulated plant of 12 machines through the engine, from a cold start; planted anomalies against incidents.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator

from bench.anomalies import HOUR, MINUTE, START
from pipeline import replay
from pipeline.core.engine import EngineSettings
from pipeline.core.incidents import Incidents
from pipeline.core.model import Anomaly, Control, Frame, Incident
from pipeline.core.plant import Plant
from pipeline.core.plant_layout import Habits, awake_zone
from pipeline.planted import Planted, Span, pairs
from pipeline.settings import TABLE, Settings

DEMO = 1_795_801_620_000  # 2026-11-27 17:47 UTC


def plant(
    seed: int, hours: int, habits: Habits | None = None, start: int = START
) -> tuple[Plant, list[Incident], list[Anomaly]]:
    """A plant, its incidents and flags as known at the end of so many hours."""
    made = Plant("bench", seed, start, habits=habits or Habits())
    end = start + hours * HOUR

    def messages() -> Iterator[Frame | Control]:
        for name, config in made.machines.items():
            yield Control(name, f"config-{name}", start, "bench", config)
        yield from made.frames(end)
        yield from made.ends(end, end)

    settings: EngineSettings = Settings({row.name: row.default for row in TABLE}).engine()
    emitted = replay.run(messages(), settings)
    return made, replay.current(emitted.incidents), replay.current(emitted.anomalies)


def demo_ends(seed: int) -> tuple[int, ...]:
    """Three moments (ms) on other days at other hours at which `openoee demo --seed` might have been started."""
    return DEMO, DEMO - 29 * seed * HOUR - 7 * seed * MINUTE, DEMO - 83 * seed * HOUR + seed * MINUTE


def shifts(runs: Iterable[tuple[int, Habits, int]]) -> None:
    """Recall and precision by incident over shifts of 8 h, each another plant: (seed, habits, start)."""
    put_in = found = incidents = true = flags = pages = 0
    number = 0
    for number, (seed, habits, start) in enumerate(runs, 1):
        made, rows, flagged = plant(seed, 8, habits, start)
        planted = [Planted(one.machine, one.signal, one.kind, one.first, one.last, one.size) for one in made.planted]
        spans = [Span(row.machine, frozenset(row.signals), row.first, row.last) for row in rows]
        near = pairs(planted, spans)
        about = {number for numbers in near for number in numbers}
        hit = [bool(numbers) for numbers in near]
        real = [number in about for number in range(len(rows))]
        put_in, found = put_in + len(planted), found + sum(hit)
        incidents, true = incidents + len(rows), true + sum(real)
        flags, pages = flags + len(flagged), pages + sum(row.page for row in rows)
        missed = [f"{one.machine} {one.signal} {one.kind}" for one, got in zip(planted, hit, strict=True) if not got]
        wrong = [row.message for row, was in zip(rows, real, strict=True) if not was]
        told = f"planted {len(planted)}, found {sum(hit)}; missed: {missed}; nothing planted: {wrong}"
        print(f"seed {seed} from {start}: {told}", flush=True)
    print(
        f"{number} shifts: recall {found}/{put_in} = {found / put_in:.3f}, precision {true}/{incidents} ="
        f" {true / incidents:.3f}; {flags} flags, {incidents} incidents, {pages} worth a message"
    )


def healthy_week() -> None:
    """Incidents of 12 machines in a week in which nothing is wrong."""
    _, rows, flags = plant(1, 7 * 24, Habits(anomaly_mean_ms=10**13))
    pages = sum(row.page for row in rows)
    print(f"healthy week, 12 machines: {len(flags)} flags, {len(rows)} incidents, {pages} worth a message")
    for row in rows:
        print("  ", row.machine, row.severity, row.message)


def cost(steps: int = 20_000) -> None:
    """Microseconds that a step takes: without a flag, as nearly all are, and with one."""
    incidents, flag = Incidents(), _flag(START)
    began = time.perf_counter()
    for k in range(steps):
        incidents.fold("m", [], START + k * 10_000, START + k * 10_000)
    bare = time.perf_counter() - began
    began = time.perf_counter()
    for k in range(steps):
        flag.first = flag.last = START + k * 60_000
        incidents.fold("m", [flag], flag.first + 60_000, flag.first)
    busy = time.perf_counter() - began
    print(f"a step of a machine: {1e6 * bare / steps:.2f} us without a flag, {1e6 * busy / steps:.1f} us with one")


def _flag(at: int) -> Anomaly:
    return Anomaly("m", "", "", "load", "spike", "default", 1, at, at, 0.7, 1.0, 0.0, 0.0, 0.0, "warning", "", "", "")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shifts", type=int, default=4)
    parser.add_argument(
        "--demo", type=int, nargs="+", default=[], metavar="SEED", help="the demo's plant, three days each"
    )
    parser.add_argument("--healthy-week", action="store_true")
    asked = parser.parse_args()
    cost()
    if asked.healthy_week:
        healthy_week()
    elif asked.demo:
        ends = [(seed, end) for seed in asked.demo for end in demo_ends(seed)]
        shifts((seed, Habits(awake_zone(end)), end - 8 * HOUR) for seed, end in ends)
    else:
        shifts((seed, Habits(), START) for seed in range(asked.shifts))
