"""How long the store takes to answer: every ready question and view over 3,000 machines and 90 days of minutes.

    python -m bench.questions --home /tmp/questions --make     # makes the rows by SQL (some 40 minutes), then measures
    python -m bench.questions --home /tmp/questions            # measures again

Rows: one fact per machine and minute (388.8 million), one interval per 10 minutes, and their sums per hour, made by the
same statements that the sink uses. Every answer is read whole; a machine, line or site is drawn anew for each run.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from pipeline import queries
from pipeline.local.store import Store as LocalStore
from pipeline.settings import Settings, load
from pipeline.store.client import Store
from pipeline.store.migrate import migrate

FIRST, DAYS = "2026-03-01 00:00:00", 90
MONTHS = (("2026-03-01 00:00:00", 31), ("2026-04-01 00:00:00", 30), ("2026-05-01 00:00:00", 29))
QUARTER = {"start": "2026-03-01", "end": "2026-05-30"}
WEEK = {"start": "2026-05-18", "end": "2026-05-25"}
SHIFT = {"start": "2026-05-20T06:00", "end": "2026-05-20T14:00"}
ODD = {"start": "2026-05-20T06:17", "end": "2026-05-20T13:43"}  # cuts hours at both ends
ONE_MS, FLEET_MS = 200, 1000

FACTS = """
INSERT INTO oee_facts SELECT
    concat('m', leftPad(toString(m), 4, '0')) AS machine, concat('s', toString(intDiv(m, 300))) AS site,
    concat('a', toString(intDiv(m, 60))) AS area, concat('l', toString(intDiv(m, 6))) AS line,
    at AS window_start, at + 60 AS window_end, at AS segment_start, at + 60 AS segment_end,
    multiIf(h >= 6 AND h < 14, 'early', h >= 14 AND h < 22, 'late', 'night') AS shift,
    toDate(at) - (h < 6) AS shift_date, toDate(at) AS local_date,
    concat('P', toString(cityHash64(m, block) % 5)) AS product,
    concat('O', toString(block * 10 + m % 6)) AS order,
    60000 AS t_ms, 0 AS nonwork_ms, if(h IN (10, 18) AND mi < 15, 60000, 0) AS pdot_ms, 60000 - pdot_ms AS pbt_ms,
    if(pdot_ms > 0, 0, multiIf(kind < 70, 60000, kind < 80, 60000 - r % 30000, 0)) AS apt_ms,
    if(pdot_ms > 0 OR kind < 80 OR kind >= 85, 0, 60000) AS aust_ms,
    pbt_ms - apt_ms - aust_ms - adot_ms AS adet_ms, if(pdot_ms > 0 OR kind < 97, 0, 60000) AS adot_ms, 0 AS unknown_ms,
    if(kind >= 70 AND kind < 80, adet_ms, 0) AS micro_stop_ms, if(kind >= 85 AND kind < 90, adet_ms, 0) AS external_ms,
    0 AS overtime_ms, toInt64(kind >= 90 AND kind < 97 AND r % 10 = 0) AS failures,
    if(kind >= 90 AND kind < 97, adet_ms, 0) AS repair_ms, toInt64(kind >= 90 AND r % 10 = 0) AS stops,
    toInt64(kind >= 70 AND kind < 80) AS micro_stops, intDiv(apt_ms, 12000) AS total,
    total - toInt64(r % 50 = 0 AND total > 0) AS good, total - good AS reject, 0 AS rework,
    total * 11000000 AS ideal_total_us, good * 11000000 AS ideal_good_us, 0 AS no_ideal_total, pbt_ms AS line_pbt_ms,
    [] AS flags, 'iso22400' AS profile, 'loss' AS unknown_as, 'final' AS status, 1 AS revision, '' AS reason,
    at + 95 AS known_at
FROM
(
    SELECT intDiv(number, {minutes:UInt64}) + {first:UInt64} AS m,
        toDateTime64({day:String}, 3, 'UTC') + (number % {minutes:UInt64}) * 60 AS at,
        toHour(at) AS h, toMinute(at) AS mi, intDiv(toUnixTimestamp(at), 14400) AS block,
        cityHash64(m, intDiv(toUnixTimestamp(at), 300)) % 100 AS kind,
        cityHash64(number, m) AS r
    FROM numbers_mt({minutes:UInt64} * {count:UInt64})
)
SETTINGS max_insert_threads = 2, min_insert_block_size_rows = 4000000, min_insert_block_size_bytes = 2000000000
"""
INTERVALS = """
INSERT INTO intervals (machine, site, area, line, start, end, state, element, stop, micro, external, overtime, reason,
                       shift, shift_date, product, order, known_at)
SELECT
    concat('m', leftPad(toString(m), 4, '0')), concat('s', toString(intDiv(m, 300))),
    concat('a', toString(intDiv(m, 60))), concat('l', toString(intDiv(m, 6))), at, at + 600,
    multiIf(k < 60, 'running', k < 75, 'stopped', k < 85, 'fault', k < 92, 'starved', k < 97, 'setup', 'idle') AS state,
    multiIf(k < 60, 'apt', k < 92, 'adet', k < 97, 'aust', 'adot'), if(state IN ('stopped', 'fault'), at, NULL),
    k >= 60 AND k < 65, state = 'starved', false,
    if(state IN ('stopped', 'fault'), concat('r', toString(cityHash64(number) % 20)), ''),
    multiIf(h >= 6 AND h < 14, 'early', h >= 14 AND h < 22, 'late', 'night'), toDate(at) - (h < 6),
    concat('P', toString(cityHash64(m, intDiv(toUnixTimestamp(at), 14400)) % 5)), '', at + 700
FROM
(
    SELECT intDiv(number, {slots:UInt64}) AS m,
        toDateTime64({day:String}, 3, 'UTC') + (number % {slots:UInt64}) * 600 AS at,
        toHour(at) AS h, cityHash64(number, 7) % 100 AS k, number
    FROM numbers_mt({machines:UInt64} * {slots:UInt64})
)
SETTINGS max_insert_threads = 2, min_insert_block_size_rows = 2000000
"""
MACHINES = """
INSERT INTO machines (machine, effective, site, area, line, position, timezone, ideal_cycle_us, profile, unknown_as, id)
SELECT concat('m', leftPad(toString(number), 4, '0')), toDateTime64(0, 3, 'UTC'),
    concat('s', toString(intDiv(number, 300))), concat('a', toString(intDiv(number, 60))),
    concat('l', toString(intDiv(number, 6))),
    number % 6 + 1, 'UTC',
    map('*', 11000000), 'iso22400', 'loss', 'made'
FROM numbers({machines:UInt64})
"""
PROGRESS = """
INSERT INTO open_hours
SELECT concat('m', leftPad(toString(number), 4, '0')), toDateTime64('2026-05-29 23:00:00', 3, 'UTC'),
    toDateTime64('2026-05-29 23:00:00', 3, 'UTC'), toDateTime64('2026-05-30 00:00:00', 3, 'UTC'), 1
FROM numbers({machines:UInt64})
"""


class Asked(NamedTuple):
    """A question over a scope (machine, line, site or fleet) and a stretch of time."""

    name: str
    scope: str
    stretch: str
    sql: Callable[[Store, dict[str, str]], None]
    limit_ms: float


def make(store: Store, machines: int) -> None:
    """All rows by SQL; the sums per hour from the sink's own statements, for whole months at once."""
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"  {time.monotonic() - began:6.0f} s  {what}", flush=True)

    for day, days in MONTHS:
        for first in range(0, machines, 300):
            count = min(300, machines - first)
            store.command(FACTS, {"minutes": days * 1440, "first": first, "count": count, "day": day})
            say(f"facts of {day[:7]}, machines from {first}")
    store.command(INTERVALS, {"slots": DAYS * 144, "day": FIRST, "machines": machines})
    store.command(MACHINES, {"machines": machines})
    say("intervals, machines")
    for day, _ in MONTHS:
        for first in range(0, machines, 300):
            for table, column in (("oee_hours", "window_start"), ("loss_hours", "start")):
                store.command(
                    whole_month(table, column), {"day": day[:10], "low": f"m{first:04}", "high": f"m{first + 299:04}"}
                )
            say(f"hours of {day[:7]}, machines from {first}")
    store.command(PROGRESS, {"machines": machines})


def whole_month(table: str, column: str) -> str:
    """The sink's statement for touched hours, for all hours of some machines in a month that has none yet."""
    sql = (files("pipeline.store") / "sums" / f"{table}.sql").read_text(encoding="utf-8").partition("UNION ALL")[0]
    sql = re.sub(r"WITH versions AS\s*\(.*?\n\)\n", "", sql, flags=re.S)
    sql = sql.replace("ifNull(o.version, 0) + 2", "2")
    sql = sql.replace("LEFT JOIN versions AS o ON o.machine = n.machine AND o.hour = n.hour", "")
    span = f"toStartOfMonth({column}) = toDate({{day:String}}) AND machine BETWEEN {{low:String}} AND {{high:String}}"
    begin = sql.index("(machine, toStartOfHour(")
    end = opened = sql.index("(", sql.index(" IN", begin))
    while sql.count("(", opened, end + 1) != sql.count(")", opened, end + 1):
        end += 1
    sql = sql[:begin] + span + sql[end + 1 :]
    return re.sub(r"WHERE \(machine, hour\) IN \([^)]*\)\n", "", re.sub(r"--.*\n", "\n", sql))


def questions() -> Iterator[Asked]:
    """What is asked, from one machine's shift to the fleet's quarter."""

    def ready(name: str) -> Callable[[Store, dict[str, str]], None]:
        return lambda store, values: drop(queries.ask(store, name, known(name, values)))

    stretches = {"quarter": QUARTER, "week": WEEK, "shift": SHIFT, "odd shift": ODD}
    names = (
        "machines",
        "lines",
        "sites",
        "shifts",
        "hours",
        "products",
        "weeks",
        "downtime",
        "losses",
        "waterfall",
        "why",
    )
    for name in names:
        for scope in ("machine", "line", "fleet"):
            if name in ("lines", "sites") and scope == "machine":
                continue
            for stretch in stretches:
                if name in ("hours", "shifts") and scope == "fleet" and stretch == "quarter":
                    continue  # hundreds of thousands of rows: an export, not a question
                limit = FLEET_MS if scope == "fleet" else ONE_MS
                yield Asked(name, scope, stretch, ready(name), limit)
    for scope, stretch in (("machine", "shift"), ("line", "shift"), ("machine", "week")):
        yield Asked("timeline", scope, stretch, ready("timeline"), ONE_MS)


def known(name: str, values: dict[str, str]) -> dict[str, str]:
    asked = queries.question(name).parameters
    return {key: value for key, value in values.items() if key in asked}


def drop(answer: queries.Answer) -> None:
    """Answers are read whole and not kept."""
    del answer


def values_of(scope: str, stretch: str, dice: random.Random, machines: int) -> dict[str, str]:
    number = dice.randrange(machines)
    level = {"machine": "machine", "line": "line", "fleet": "site"}[scope]
    place = {"machine": {"machine": f"m{number:04}"}, "line": {"line": f"l{number // 6}"}, "fleet": {}}[scope]
    times = {"quarter": QUARTER, "week": WEEK, "shift": SHIFT, "odd shift": ODD}[stretch]
    return {**place, **times, "level": level, "limit": "100000"}


def measure(store: Store, machines: int, runs: int, only: str) -> list[dict[str, object]]:
    dice, rows = random.Random(1), []
    print(f"{'question':<10} {'scope':<8} {'stretch':<10} {'p50 ms':>8} {'p95 ms':>8} {'goal':>6}")
    for asked in questions():
        if only and only not in f"{asked.name} {asked.scope} {asked.stretch}":
            continue
        taken = []
        for _ in range(runs):
            values = values_of(asked.scope, asked.stretch, dice, machines)
            began = time.perf_counter()
            asked.sql(store, values)
            taken.append((time.perf_counter() - began) * 1000)
        p50, p95 = statistics.median(taken), sorted(taken)[max(0, -(-len(taken) * 95 // 100) - 1)]
        missed = "" if p95 <= asked.limit_ms else "  missed"
        head = f"{asked.name:<10} {asked.scope:<8} {asked.stretch:<10}"
        print(f"{head} {p50:>8.0f} {p95:>8.0f} {asked.limit_ms:>6.0f}{missed}", flush=True)
        rows.append({"question": asked.name, "scope": asked.scope, "stretch": asked.stretch, "p50_ms": round(p50, 1),
                     "p95_ms": round(p95, 1), "goal_ms": asked.limit_ms, "runs": runs})  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True, help="folder of the store (some 5 GB)")
    parser.add_argument("--port", type=int, default=18123)
    parser.add_argument("--machines", type=int, default=3000, help="a multiple of 6")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--only", default="", help="only questions whose name, scope and stretch contain this")
    parser.add_argument("--make", action="store_true", help="make the rows first, in an empty store")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    given = parser.parse_args()
    settings: Settings = load({"home": str(given.home), "store": f"http://127.0.0.1:{given.port}"}, {})
    local = LocalStore(given.home.resolve(), given.port, settings["store_user"])
    local.start()
    try:
        migrate(settings)
        with closing(Store(settings, answer_s=3600)) as store:
            if given.make:
                make(store, given.machines)
            rows = measure(store, given.machines, given.runs, given.only)
        if given.json:
            given.json.write_text(json.dumps(rows, indent=1))
    finally:
        local.stop()


if __name__ == "__main__":
    main()
