"""Telemetry into the store: values per second of `openoee sink`, and whether every value is there once."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.line.place import Place, Progress, cpu_s, running
from bench.speed.job import Job
from pipeline import topics
from pipeline.settings import Settings
from pipeline.store.client import Store

VALUES = {1: 2_000_000, 50: 8_000_000, 200: 12_000_000}  # by samples per frame
WITHIN_S = 600.0


def measure(place: Place, samples: int, values: int, report: Callable[[str], None]) -> dict[str, Any]:
    """Fill a line's telemetry, then let a sink write it; figures of the time between its first record and its last."""
    job = Job.of_values(max(values, 20 * 200 * (samples + 60)))
    line = place.line(f"sink_{samples}")
    frames = place.fill(line, job, samples)
    report(f"sink: {frames:,} frames of {samples}, {job.values:,} values")
    log = Path(f"{place.log}.sink-{samples}")
    log.unlink(missing_ok=True)
    store, progress = place.store_process(), Progress(line, topics.SINK_GROUP, ["telemetry"])
    with running(line, "sink", log) as processes:
        while "dealt out" not in log.read_text():
            time.sleep(0.02)
        began, sink_cpu, store_cpu = time.monotonic(), cpu_s(processes), cpu_s([store])
        progress.through(processes, WITHIN_S)
        wall, sink_cpu, store_cpu = time.monotonic() - began, cpu_s(processes) - sink_cpu, cpu_s([store]) - store_cpu
        peak = processes[0].memory_info().rss / 2**20
    progress.close()
    found, per_value = _stored(line)
    return {
        "samples": samples, "values": job.values, "frames": frames, "wall_s": wall, "values_per_s": job.values / wall,
        "sink_cpu_s": sink_cpu, "store_cpu_s": store_cpu, "sink_mib": peak, "stored": found,
        "right": found == job.values, "bytes_per_value": per_value,
    }  # fmt: skip


def _stored(line: Settings) -> tuple[int, float]:
    """Values in the store, repeats left out, and bytes per value on disk once they are merged."""
    store = Store(line, answer_s=WITHIN_S)
    store.command("OPTIMIZE TABLE telemetry FINAL")
    ((found,),) = store.query("SELECT count() FROM telemetry").result_rows
    size = (
        "SELECT sum(data_compressed_bytes) / sum(rows) FROM system.parts"
        " WHERE active AND table = 'telemetry' AND database = {database:String}"
    )
    ((per_value,),) = store.query(size, {"database": line["database"]}).result_rows
    store.close()
    return int(found), float(per_value)
