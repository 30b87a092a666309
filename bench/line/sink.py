"""Telemetry into the store: values per second of `openoee sink`, and whether every value is there once.

The sink has one core and the store the other; the broker has what they leave.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from bench.line.place import Place, Progress, cpu_s, kept_to, running
from bench.line.truth import Held, held_by
from bench.speed.broker import VALUES_PER_S
from bench.speed.job import Job
from bench.speed.measure import HARNESS_CORE
from pipeline import topics
from pipeline.settings import Settings
from pipeline.store.client import Store

VALUES = {1: 2_000_000, 50: 8_000_000, 200: 12_000_000}  # by samples per frame
WITHIN_S, START_WITHIN_S = 600.0, 60.0
READY = "dealt out"  # what the sink says when it has partitions
STORED = "SELECT count(), sum(toInt64(round(value * 100))) FROM telemetry"
SIZE = """
SELECT sum(data_compressed_bytes) / sum(rows) FROM system.parts
WHERE active AND table = 'telemetry' AND database = {database:String}
"""


def measure(place: Place, samples: int, values: int, report: Callable[[str], None]) -> dict[str, Any]:
    """Fill a line's telemetry, then let a sink write it; figures of the time between its first record and its last."""
    job = Job.of_values(max(values, VALUES_PER_S * (samples + 60)))
    line = place.line(f"sink_{samples}")
    frames = place.fill(line, job, samples)
    report(f"sink: {frames:,} frames of {samples}, {job.values:,} values")
    log = Path(f"{place.log}.sink-{samples}")
    log.unlink(missing_ok=True)
    store, progress = place.store_process(), Progress(line, topics.SINK_GROUP, ["telemetry"])
    with kept_to(store, HARNESS_CORE), running(line, "sink", log) as processes:
        _ready(processes[0], log)
        began, sink_cpu, store_cpu = time.monotonic(), cpu_s(processes), cpu_s([store])
        progress.through(processes, WITHIN_S)
        wall, sink_cpu, store_cpu = time.monotonic() - began, cpu_s(processes) - sink_cpu, cpu_s([store]) - store_cpu
        mib = processes[0].memory_info().rss / 2**20
    progress.close()
    place.drop(line)
    (found, per_value), truth = stored(line), held_by(job)
    return {
        "samples": samples, "values": job.values, "frames": frames, "wall_s": wall, "values_per_s": job.values / wall,
        "sink_cpu_s": sink_cpu, "store_cpu_s": store_cpu, "sink_mib": mib, "stored": found.values,
        "right": found == truth, "bytes_per_value": per_value,
    }  # fmt: skip


def stored(line: Settings) -> tuple[Held, float]:
    """What is in the store, repeats left out, and bytes per value on disk once they are merged."""
    store = Store(line, answer_s=WITHIN_S)
    store.command("OPTIMIZE TABLE telemetry FINAL")
    ((values, hundredths),) = store.query(STORED).result_rows
    ((per_value,),) = store.query(SIZE, {"database": line["database"]}).result_rows
    store.close()
    return Held(int(values), int(hundredths)), float(per_value)


def _ready(process: psutil.Process, log: Path) -> None:
    """Return when the sink has partitions. Raises RuntimeError when it ends, or when it takes too long."""
    deadline = time.monotonic() + START_WITHIN_S
    while READY not in log.read_text(encoding="utf-8"):
        if process.status() == psutil.STATUS_ZOMBIE or time.monotonic() > deadline:
            raise RuntimeError(f"the sink has not come to its work; see {log}")
        time.sleep(0.02)
