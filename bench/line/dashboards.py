"""What a dashboard asks of telemetry, over many values made by SQL: the times of the answers, and bytes on disk."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from bench.line.latency import percentiles
from bench.line.place import Place
from bench.line.sink import SIZE
from pipeline.store.client import Store

SIGNALS, SECONDS = 20, 86_400  # a day of each machine, a value a second of each signal
FIRST = "2026-03-02 00:00:00"
RUNS = 40
GRID_S = 300  # questions begin on it, so that the number of rows in an answer is known
ANSWER_S = 900
FILL = """
INSERT INTO telemetry (machine, signal, ts, value) SELECT
    concat('m', leftPad(toString(intDiv(number, {seconds:UInt64} * {signals:UInt64})), 3, '0')) AS machine,
    concat('signal_', leftPad(toString(intDiv(number, {seconds:UInt64}) % {signals:UInt64}), 2, '0')) AS signal,
    toDateTime64({first:String}, 3, 'UTC') + number % {seconds:UInt64} AS ts,
    round(40 + 10 * sin(number / 600) + (cityHash64(number) % 1000 - 500) / 250, 2) AS value
FROM numbers_mt({rows:UInt64})
SETTINGS max_insert_threads = 2, min_insert_block_size_rows = 4000000, min_insert_block_size_bytes = 1000000000
"""
TIME = "ts >= {start:DateTime64(3, 'UTC')} AND ts < {end:DateTime64(3, 'UTC')}"
HERE = f"machine = {{machine:String}} AND {TIME}"
ONE = f"machine = {{machine:String}} AND signal = {{signal:String}} AND {TIME}"
BY = "SELECT toStartOfInterval(ts, INTERVAL {step}) AS t, avg(value), min(value), max(value) FROM telemetry WHERE "
EVERYWHERE = f"SELECT machine, signal, argMax(value, ts), max(ts) FROM telemetry WHERE {TIME} GROUP BY machine, signal"


class Panel(NamedTuple):
    """A question, the time that it spans, and how many rows of answer there must be (times machines if `fleet`)."""

    sql: str
    minutes: int
    rows: int
    fleet: bool = False


PANELS = {
    "one signal, an hour, every value": Panel(f"SELECT ts, value FROM telemetry WHERE {ONE} ORDER BY ts", 60, 3600),
    "one signal, an hour by minute: mean, least, most": Panel(
        BY.format(step="1 MINUTE") + ONE + " GROUP BY t ORDER BY t", 60, 60
    ),
    "one signal, a shift by minute": Panel(BY.format(step="1 MINUTE") + ONE + " GROUP BY t ORDER BY t", 480, 480),
    "one signal, a day by 5 minutes": Panel(BY.format(step="5 MINUTE") + ONE + " GROUP BY t ORDER BY t", 1440, 288),
    "20 signals of a machine, an hour by minute": Panel(
        BY.format(step="1 MINUTE") + HERE + " GROUP BY signal, t ORDER BY signal, t", 60, 1200
    ),
    "newest value of 20 signals of a machine": Panel(
        f"SELECT signal, argMax(value, ts), max(ts) FROM telemetry WHERE {HERE} GROUP BY signal", 60, SIGNALS
    ),
    "newest value of one signal of every machine": Panel(
        f"SELECT machine, argMax(value, ts), max(ts) FROM telemetry WHERE signal = {{signal:String}} AND {TIME}"
        " GROUP BY machine", 5, 1, fleet=True,
    ),
    "newest value of every signal of every machine": Panel(EVERYWHERE, 5, SIGNALS, fleet=True),
    "spread of one signal over a day": Panel(
        f"SELECT quantiles(0.05, 0.5, 0.95)(value), count() FROM telemetry WHERE {ONE}", 1440, 1
    ),
}  # fmt: skip


def machines_for(values: int) -> int:
    """So many machines have at least so many values in a day.

    >>> machines_for(20_000_000), machines_for(100_000_000)
    (12, 58)
    """
    return -(-values // (SIGNALS * SECONDS))


def measure(place: Place, values: int, report: Callable[[str], None]) -> dict[str, Any]:
    """Make so many values by SQL, then ask each question of random machines, signals and times."""
    line, machines = place.line("dashboards"), machines_for(values)
    rows = machines * SIGNALS * SECONDS
    report(f"dashboards: {rows:,} values of {machines} machines")
    store = Store(line, answer_s=ANSWER_S)
    store.command(FILL, {"seconds": SECONDS, "signals": SIGNALS, "first": FIRST, "rows": rows})
    store.command("OPTIMIZE TABLE telemetry FINAL")
    ((found,),) = store.query("SELECT count() FROM telemetry").result_rows
    ((per_value,),) = store.query(SIZE, {"database": line["database"]}).result_rows
    panels = {name: _ask(store, panel, machines) for name, panel in PANELS.items()}
    store.close()
    return {
        "rows": int(found), "bytes_per_value": float(per_value), "panels": panels,
        "right": int(found) == rows and all(one["right"] for one in panels.values()),
    }  # fmt: skip


def _ask(store: Store, panel: Panel, machines: int) -> dict[str, Any]:
    """Times of one question, each time of another machine, signal and time; the first answers are no part of them."""
    chance, first = random.Random(1), np.datetime64(FIRST.replace(" ", "T"))
    times, right = list[float](), True
    for run in range(RUNS + 2):
        offset = chance.randrange(0, max(1, SECONDS - panel.minutes * 60), GRID_S)
        start = first + np.timedelta64(offset, "s")
        asked = {
            "machine": f"m{chance.randrange(machines):03d}", "signal": f"signal_{chance.randrange(SIGNALS):02d}",
            "start": str(start), "end": str(start + np.timedelta64(panel.minutes, "m")),
        }  # fmt: skip
        began = time.perf_counter()
        answer = store.query(panel.sql, asked).result_rows
        took = time.perf_counter() - began
        right = right and len(answer) == panel.rows * (machines if panel.fleet else 1)
        if run >= 2:
            times.append(took)
    return {**percentiles(times), "runs": RUNS, "right": right}
