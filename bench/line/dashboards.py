"""What a dashboard asks of telemetry, over many values: the times of the answers."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.line.place import Place
from pipeline.store.client import Store

MACHINES, SIGNALS, STEP_S = 50, 20, 1  # a value a second of each signal
FIRST = "2026-03-02 00:00:00"
RUNS = 15
FILL = """
INSERT INTO telemetry SELECT
    concat('m', leftPad(toString(intDiv(number, {seconds:UInt64} * 20)), 3, '0')) AS machine,
    concat('signal_', leftPad(toString(intDiv(number, {seconds:UInt64}) % 20), 2, '0')) AS signal,
    toDateTime64({first:String}, 3, 'UTC') + number % {seconds:UInt64} AS ts,
    round(40 + 10 * sin(number / 600) + (cityHash64(number) % 1000 - 500) / 250, 2) AS value
FROM numbers_mt({rows:UInt64})
SETTINGS max_insert_threads = 2, min_insert_block_size_rows = 4000000, min_insert_block_size_bytes = 1000000000
"""
HERE = "machine = {machine:String} AND ts >= {start:DateTime64(3, 'UTC')} AND ts < {end:DateTime64(3, 'UTC')}"
ONE = f"{HERE} AND signal = {{signal:String}}"
BY = "SELECT toStartOfInterval(ts, INTERVAL {step}) AS t, avg(value), min(value), max(value) FROM telemetry WHERE "
PANELS: dict[str, tuple[str, int]] = {  # name: question, hours that it spans
    "one signal, an hour, every value": (f"SELECT ts, value FROM telemetry WHERE {ONE} ORDER BY ts", 1),
    "one signal, a shift by minute": (BY.format(step="1 MINUTE") + ONE + " GROUP BY t ORDER BY t", 8),
    "one signal, a day by 5 minutes": (BY.format(step="5 MINUTE") + ONE + " GROUP BY t ORDER BY t", 24),
    "20 signals of a machine, an hour by minute": (
        BY.format(step="1 MINUTE") + HERE + " GROUP BY signal, t ORDER BY signal, t",
        1,
    ),
    "newest value of 20 signals of a machine": (
        f"SELECT signal, argMax(value, ts), max(ts) FROM telemetry WHERE {HERE} GROUP BY signal", 1,
    ),
    "spread of one signal over a day": (
        f"SELECT quantiles(0.05, 0.5, 0.95)(value), count() FROM telemetry WHERE {ONE}", 24,
    ),
}  # fmt: skip


def measure(place: Place, rows: int, report: Callable[[str], None]) -> dict[str, Any]:
    """Make so many values by SQL, then ask each question of random machines, signals and times."""
    line = place.line("dashboards")
    store, seconds = Store(line, answer_s=900), max(86_400, rows // (MACHINES * SIGNALS))
    rows = MACHINES * SIGNALS * seconds
    report(f"dashboards: {rows:,} values")
    store.command(FILL, {"seconds": seconds, "first": FIRST, "rows": rows})
    store.command("OPTIMIZE TABLE telemetry FINAL")
    ((found,),) = store.query("SELECT count() FROM telemetry").result_rows
    chance, first = random.Random(1), np.datetime64(FIRST.replace(" ", "T"))
    panels = {}
    for panel, (sql, hours) in PANELS.items():
        times = []
        for _ in range(RUNS):
            start = first + np.timedelta64(chance.randrange(0, max(1, seconds - hours * 3600)), "s")
            asked = {
                "machine": f"m{chance.randrange(MACHINES):03d}", "signal": f"signal_{chance.randrange(SIGNALS):02d}",
                "start": str(start), "end": str(start + np.timedelta64(hours, "h")),
            }  # fmt: skip
            began = time.perf_counter()
            answer = store.query(sql, asked).result_rows
            times.append(time.perf_counter() - began)
            if not answer:
                raise RuntimeError(f"{panel}: no answer for {asked}")
        panels[panel] = {
            "p50_ms": 1e3 * float(np.percentile(times, 50)),
            "p95_ms": 1e3 * float(np.percentile(times, 95)),
        }
    store.close()
    return {"rows": int(found), "right": int(found) == rows, "panels": panels}
