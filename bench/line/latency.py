"""From the producer's hand to an answer in SQL: how long a sample takes while 50,000 of them come every second.

The clock of a sample starts when its frame is handed to the producer and stops when a question to the store has shown
it. That of a final minute starts with the frame that makes the minute final. Everything has both cores.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from bench.line.place import Place, cpu_s, running
from bench.line.plant import MACHINES, NAMES, SAMPLES, SIGNALS, Plant, closing, name
from bench.speed.job import Job
from pipeline.settings import Settings
from pipeline.store.client import Store

WATCHED = 25  # machines whose newest sample is asked for; final minutes are of all
LOOK_EVERY_S, FACTS_EVERY_S = 0.02, 0.25
SETTLE_S = 10.0  # of the start are not counted
DRAIN_S = 20.0  # what is not there so long after the end counts as lost
PACE_SHARE = 0.99  # of the pace that was asked for; less is a failed run
WINDOW_MS = 60_000
WATCHED_BACK_MS = 60_000
NEWEST = """
SELECT machine, toUnixTimestamp64Milli(max(ts)) FROM telemetry
WHERE machine IN {machines:Array(String)} AND signal = {signal:String}
    AND ts >= fromUnixTimestamp64Milli({since:Int64})
GROUP BY machine
"""
FINAL = """
SELECT machine, toUnixTimestamp64Milli(max(window_start)) FROM oee_facts
WHERE status = 'final' AND window_start >= fromUnixTimestamp64Milli({since:Int64}) GROUP BY machine
"""
Handed = dict[str, list[tuple[int, float]]]  # by machine: instant in ms, clock when it was handed over
Looks = dict[str, list[tuple[float, int]]]  # by machine: clock of a look, newest instant then


def measure(place: Place, seconds: float, report: Callable[[str], None]) -> dict[str, Any]:
    """Run plant, worker and sink for so long on all cores; latency in s of every frame of the watched machines."""
    line = place.line("latency")
    place.broker.configure(line.topic("telemetry"), Job(60, MACHINES))
    plant, goal = Plant(line), MACHINES * SIGNALS * SAMPLES
    report(f"latency: {goal:,} values/s for {seconds:.0f} s")
    with ExitStack() as stack:
        processes = [
            stack.enter_context(running(line, what, place.log, pinned=False))[0] for what in ("worker", "sink")
        ]
        stack.callback(plant.end)
        plant.start()
        first, last = time.monotonic() + SETTLE_S, time.monotonic() + SETTLE_S + seconds
        watcher = Watcher(line)
        watcher.look_until(lambda: time.monotonic() >= first)
        used = cpu_s(processes), cpu_s([place.store_process()])
        watcher.look_until(lambda: time.monotonic() >= last)
        used = cpu_s(processes) - used[0], cpu_s([place.store_process()]) - used[1]
        samples, minutes = _counted(plant, line, first, last)
        watcher.look_until(
            lambda: (
                time.monotonic() > last + DRAIN_S
                or (watcher.has_seen(watcher.samples, samples) and watcher.has_seen(watcher.minutes, minutes))
            )
        )
        watcher.close()
    found = latencies_of(samples, watcher.samples)
    facts = latencies_of(minutes, watcher.minutes)
    lost = sum(map(len, samples.values())) + sum(map(len, minutes.values())) - len(found) - len(facts)
    pace = plant.pace(first, last)
    return {
        "values_per_s": pace, "goal_values_per_s": goal, "seconds": seconds, "behind_s": plant.behind_s,
        **percentiles(found), "frames": len(found), "lost": lost, "right": lost == 0 and pace >= PACE_SHARE * goal,
        "line_cores": used[0] / seconds, "store_cores": used[1] / seconds, "looks": len(watcher.took),
        "look_s": float(np.median(watcher.took)), "all": [round(late, 4) for late in found],
        "facts": {**percentiles(facts), "minutes": len(facts), "all": [round(late, 4) for late in facts]},
    }  # fmt: skip


class Watcher:
    """Asks the store over and over what is newest, and keeps what it saw when."""

    def __init__(self, line: Settings) -> None:
        self.samples: Looks = {}
        self.minutes: Looks = {}
        self.took: list[float] = []
        self._store, self._began_ms, self._facts_at = Store(line), int(time.time() * 1000), 0.0
        self._watched = [name(k) for k in range(WATCHED)]

    def look_until(self, over: Callable[[], bool]) -> None:
        while not over():
            asked = time.monotonic()
            since = max(self._began_ms, int(time.time() * 1000) - WATCHED_BACK_MS)
            self._look(NEWEST, self.samples, machines=self._watched, signal=NAMES[-1], since=since)
            self.took.append(time.monotonic() - asked)
            if asked >= self._facts_at:
                self._look(FINAL, self.minutes, since=self._began_ms - WINDOW_MS)
                self._facts_at = asked + FACTS_EVERY_S
            time.sleep(LOOK_EVERY_S)

    def has_seen(self, looks: Looks, handed: Handed) -> bool:
        """Whether the last of each machine's instants has been seen."""
        return all(not own or looks.get(who, [(0.0, 0)])[-1][1] >= own[-1][0] for who, own in handed.items())

    def close(self) -> None:
        self._store.close()

    def _look(self, sql: str, looks: Looks, **asked: Any) -> None:
        rows = self._store.query(sql, asked).result_rows
        now = time.monotonic()
        for machine, newest in rows:
            looks.setdefault(machine, []).append((now, newest))


def _counted(plant: Plant, line: Settings, first: float, last: float) -> tuple[Handed, Handed]:
    """What counts: instants of the watched machines handed over in the time, and minutes made final in it."""
    lateness = line.engine().lateness_ms
    handed = {who: list(own) for who, own in plant.handed.items()}
    samples = {who: [one for one in handed[who] if first <= one[1] < last] for who in map(name, range(WATCHED))}
    minutes = {
        who: [one for one in closing(own, WINDOW_MS, lateness) if first <= one[1] < last] for who, own in handed.items()
    }
    return samples, minutes


def latencies_of(handed: Handed, looks: Looks) -> list[float]:
    return [late for who, own in handed.items() for late in latencies(own, looks.get(who, []))]


def latencies(handed: Sequence[tuple[int, float]], seen: Sequence[tuple[float, int]]) -> list[float]:
    """Seconds from when each instant was handed over (instant in ms, clock) to the first look that saw it.

    `seen` are looks in order: clock, newest instant then. What no look saw is left out: the caller counts it.

    >>> latencies([(1000, 5.0), (2000, 6.0), (3000, 7.0)], [(5.1, 0), (5.5, 1000), (7.0, 2000)])
    [0.5, 1.0]
    """
    newest = [instant for _, instant in seen]
    found = []
    for instant, clock in handed:
        place = bisect_right(newest, instant - 1)
        if place < len(seen):
            found.append(seen[place][0] - clock)
    return found


def percentiles(found: Sequence[float]) -> dict[str, float | None]:
    """The median and the slow ones, in s; None: there was nothing.

    >>> percentiles([k / 100 for k in range(101)])
    {'p50_s': 0.5, 'p95_s': 0.95, 'p99_s': 0.99, 'most_s': 1.0}
    """
    if not found:
        return {"p50_s": None, "p95_s": None, "p99_s": None, "most_s": None}
    at = {f"p{part}_s": float(np.percentile(found, part)) for part in (50, 95, 99)}
    return {**at, "most_s": float(max(found))}
