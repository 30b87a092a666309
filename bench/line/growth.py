"""The worker as work grows: from ten machines to three thousand, and two workers against one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from bench.line.place import Place, Progress, cpu_s, resident_mib, running
from bench.speed.job import SIGNALS, Job
from pipeline import topics

MACHINES = (10, 100, 1000, 3000)
SAMPLES = 10
SECONDS = 300  # of event time, at least: what a start costs must not be what is measured
WITHIN_S = 900.0


def measure(
    place: Place, machines: int, values: int, detect: bool, report: Callable[[str], None], workers: int = 1
) -> dict[str, Any]:
    """Let workers fold a job of so many machines; CPU seconds and memory, less those of a start with nothing to do."""
    seconds = max(SECONDS, round(values / (machines * len(SIGNALS)) / 60) * 60)
    job = Job(seconds, machines)
    line = place.line(f"growth_{machines}_{int(detect)}_{workers}", detect=int(detect))
    idle = _run(place, line, workers)
    frames = place.fill(line, job, SAMPLES)
    report(f"growth: {machines:,} machines, {job.values:,} values in {frames:,} frames, {workers} workers")
    spent = _run(place, line, workers)
    cpu = spent["cpu_s"] - idle["cpu_s"]
    return {
        "machines": machines, "workers": workers, "detect": detect, "values": job.values, "frames": frames,
        "cpu_s": cpu, "wall_s": spent["wall_s"] - idle["wall_s"], "us_per_value": 1e6 * cpu / job.values,
        "us_per_frame": 1e6 * cpu / frames, "mib": spent["mib"],
    }  # fmt: skip


def _run(place: Place, line: Any, workers: int) -> dict[str, float]:
    progress = Progress(line, topics.WORKER_GROUP, ["telemetry"])
    began = time.monotonic()
    with running(line, "worker", place.log, pinned=workers == 1, count=workers) as processes:
        if progress.behind():
            progress.through(processes, WITHIN_S)
        else:
            time.sleep(4.0)  # joined, and nothing to do
        found = {"cpu_s": cpu_s(processes), "wall_s": time.monotonic() - began, "mib": resident_mib(processes)}
    progress.close()
    return found
