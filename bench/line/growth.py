"""The worker as work grows: from ten machines to three thousand, at ten times the rate, and two workers against one.

A worker starts with nothing to do; when it has its partitions and is calm it is held while all frames are written, then
let go. So what a start costs is no part of the figures, two workers share the partitions before the first frame comes,
and everybody reads a topic that is full.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from bench.line.place import Place, Progress, cpu_s, held, joined, resident_mib, running, settled
from bench.speed import ourselves
from bench.speed.broker import Source
from bench.speed.job import SIGNALS, Job, Sent
from bench.speed.measure import judge
from pipeline import topics

SAMPLES = 10  # per frame
SECONDS = 300  # of event time, at least
START_WITHIN_S, CALM_WITHIN_S, WITHIN_S = 60.0, 20.0, 900.0


@dataclass(frozen=True)
class Load:
    """So many machines, each signal sampled `rate` times a second, folded by so many workers; best of `rounds`."""

    machines: int
    rate: int = 1
    detect: bool = False
    workers: int = 1
    rounds: int = 1

    @property
    def name(self) -> str:
        return f"growth_{self.machines}_{self.rate}_{int(self.detect)}_{self.workers}"

    def job(self, values: int) -> Job:
        """About so many values, in whole minutes."""
        seconds = round(values / (self.machines * self.rate * len(SIGNALS)) / 60) * 60
        return Job(max(SECONDS, seconds), self.machines, rate=self.rate)


LOADS = (  # those of one job side by side: it is made once
    Load(10),
    Load(100),
    Load(100, rate=10),
    Load(1000, rounds=2),
    Load(1000, workers=2, rounds=2),
    Load(1000, detect=True),
    Load(3000),
)


@lru_cache(maxsize=1)
def made(job: Job) -> tuple[list[Sent], Source]:
    """All frames of a job, and its truth."""
    return list(job.sent(SAMPLES)), Source("growth", job, SAMPLES)


def measure(place: Place, load: Load, values: int, report: Callable[[str], None]) -> dict[str, Any]:
    """Let workers fold a job, in rounds; the round that took least CPU, or one with a wrong fact.

    Whatever else a shared machine does can only slow a round down.
    """
    job = load.job(values)
    report(f"growth: {load}, {job.values:,} values in {len(made(job)[0]):,} frames")
    rounds = [_round(place, load, job, number) for number in range(load.rounds)]
    return min(rounds, key=lambda row: (row["right"], row["cpu_s"]))


def _round(place: Place, load: Load, job: Job, number: int) -> dict[str, Any]:
    """CPU seconds from the first frame to the last, memory, and whether every fact is right."""
    line, (records, source) = place.line(f"{load.name}_{number}", detect=int(load.detect)), made(job)
    place.broker.configure(line.topic("telemetry"), job)
    progress = Progress(line, topics.WORKER_GROUP, ["telemetry"])
    with running(line, "worker", place.log, pinned=load.workers == 1, count=load.workers) as processes:
        joined(line, topics.WORKER_GROUP, load.workers, START_WITHIN_S)
        settled(processes, CALM_WITHIN_S)
        idle, before = resident_mib(processes), [cpu_s([one]) for one in processes]
        with held(processes):
            place.broker.write(records, [line.topic("telemetry")])
        began = time.monotonic()
        progress.through(processes, WITHIN_S)
        each = [cpu_s([one]) - used for one, used in zip(processes, before, strict=True)]
        wall, mib = time.monotonic() - began, resident_mib(processes)
    progress.close()
    verdict = judge(source, ourselves.facts(line))
    place.drop(line)
    cpu = sum(each)
    return {
        "machines": load.machines, "rate": load.rate, "workers": load.workers, "detect": load.detect,
        "values": job.values, "frames": len(records), "cpu_s": cpu, "least_share": min(each) / cpu, "wall_s": wall,
        "us_per_value": 1e6 * cpu / job.values, "us_per_frame": 1e6 * cpu / len(records), "mib": mib, "idle_mib": idle,
        "verdict": str(verdict), "right": verdict.wrong + verdict.missing == 0,
    }  # fmt: skip
