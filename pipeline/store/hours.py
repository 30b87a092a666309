"""Sums per hour: made again from the current facts and intervals for the machine-hours that an insert touched.

An hour is final for a machine once its newest final window lies in a later one; until then it is read from the facts
(views/2_oee.sql). A sum is only ever made again from all that is there: doing it twice, or after a crash, is harmless.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any

import pyarrow as pa

from pipeline.core.model import Control, Interval, MachineConfig, OeeFact
from pipeline.store.client import Store

HOUR = 3_600_000
LONGEST_INTERVAL_MS = 26 * HOUR  # intervals end with a shift or a local day
FILLED_AT_ONCE = 50_000  # machine-hours of one statement
MACHINES_AT_ONCE = 50
TIME = pa.timestamp("ms", tz="UTC")

PROGRESS = """
SELECT machine, toUnixTimestamp64Milli(since), toUnixTimestamp64Milli(newest), toUnixTimestamp64Milli(until), version
FROM open_hours FINAL WHERE machine IN {machines:Array(String)}
"""


ON_LINE = "SELECT DISTINCT machine FROM machines WHERE line != '' AND site = {site:String} AND line = {line:String}"


@dataclass(slots=True)
class _Machine:
    """What one batch says of one machine; instants in ms, hours as their start."""

    final_until: int = 0
    newest: int = 0
    until: int = 0
    hours: set[int] = field(default_factory=set)
    spans: list[tuple[int, int | None]] = field(default_factory=list)


class Touched:
    """The machine-hours that the rows of one batch change."""

    def __init__(self, machines: dict[str, _Machine] | None = None) -> None:
        self._machines = machines or {}
        self._lines: set[tuple[str, str, int]] = set()  # site, line, hour in which its ideal cycle times may change

    def add(self, row: Any) -> None:
        """Take note of a record; only facts, intervals and what the factory file says of machines on lines matter."""
        if isinstance(row, OeeFact):
            machine = self._machines.setdefault(row.machine, _Machine())
            hour = row.window_start - row.window_start % HOUR
            machine.hours.add(hour)
            machine.newest = max(machine.newest, hour)
            machine.until = max(machine.until, row.segment_end)
            if row.status != "provisional":
                machine.final_until = max(machine.final_until, row.window_end)
        elif isinstance(row, Interval):
            self._machines.setdefault(row.machine, _Machine()).spans.append((row.start, row.end))
        elif isinstance(row, Control) and isinstance(row.body, MachineConfig) and row.body.effective % HOUR:
            self._lines.add((row.body.site, row.body.line, row.body.effective - row.body.effective % HOUR))

    def settle(self, store: Store, batch: str) -> None:
        """Sum the touched hours again; the batch's rows are in the store. Raises StoreUnavailable, StoreRefused."""
        for site, line, hour in sorted(self._lines):
            for (name,) in store.query(ON_LINE, {"site": site, "line": line}).result_rows:
                self._machines.setdefault(name, _Machine()).spans.append((hour, hour + HOUR))
        if not self._machines:
            return
        known = {row[0]: row[1:] for row in store.query(PROGRESS, {"machines": sorted(self._machines)}).result_rows}
        progress: list[tuple[str, int, int, int, int]] = []
        touched: list[tuple[str, int]] = []
        for name, machine in self._machines.items():
            since, newest, until, version = known.get(name, (0, 0, 0, 0))
            first = min(machine.hours, default=0)
            closed = max(since or first, machine.final_until - machine.final_until % HOUR)
            row = (name, closed, max(newest, machine.newest), max(until, machine.until), version + 1)
            if row[2] and row[1:4] != (since, newest, until):
                progress.append(row)
            hours = machine.hours | set(range(since or first, closed, HOUR)) | _spanned(machine.spans, closed)
            touched += [(name, hour) for hour in sorted(hours) if hour < closed]
        for place in range(0, len(touched), FILLED_AT_ONCE):
            _sum(store, f"{batch}/{place}", touched[place : place + FILLED_AT_ONCE])
        if progress:  # last: before it, the hours are read from the facts
            name, *columns = zip(*progress, strict=True)
            since, newest, until, version = (pa.array(column, pa.int64()) for column in columns)
            times = {"since": since.cast(TIME), "newest": newest.cast(TIME), "until": until.cast(TIME)}
            store.insert("open_hours", pa.table({"machine": name, **times, "version": version}), None)


def _spanned(spans: Iterable[tuple[int, int | None]], closed: int) -> set[int]:
    """Hours before `closed` that the intervals reach into."""
    found: set[int] = set()
    for start, end in spans:
        last = min(closed, start + LONGEST_INTERVAL_MS) if end is None else min(closed, max(end, start + 1))
        found.update(range(start - start % HOUR, last, HOUR))
    return found


def _sum(store: Store, batch: str, touched: list[tuple[str, int]]) -> None:
    machines, hours = zip(*touched, strict=True)
    starts = pa.array(hours, pa.int64()).cast(TIME)
    store.insert(
        "touched_hours", pa.table({"batch": [batch] * len(touched), "machine": machines, "hour": starts}), None
    )
    for name in ("oee_hours", "loss_hours"):
        store.command(_sql(name), {"batch": batch})


@cache
def _sql(name: str) -> str:
    text = (files("pipeline.store") / "sums" / f"{name}.sql").read_text(encoding="utf-8")
    return re.sub(r"--.*\n", "\n", text)


UNFILLED = """
SELECT machine, toUnixTimestamp64Milli(maxIf(window_end, status != 'provisional')),
       toUnixTimestamp64Milli(toDateTime64(toStartOfHour(max(window_start)), 3, 'UTC')),
       toUnixTimestamp64Milli(max(segment_end)), groupUniqArray(toUInt32(toStartOfHour(window_start)))
FROM oee_facts FINAL
WHERE machine NOT IN (SELECT machine FROM open_hours)
GROUP BY machine
"""


def fill(store: Store) -> int:
    """Sum the hours of machines that have facts and no hours yet: facts of an older version, or restored ones."""
    rows = store.query(UNFILLED).result_rows
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    for place in range(0, len(rows), MACHINES_AT_ONCE):
        touched = Touched({
            machine: _Machine(final_until, newest, until, {hour * 1000 for hour in hours})
            for machine, final_until, newest, until, hours in rows[place : place + MACHINES_AT_ONCE]
        })  # fmt: skip
        touched.settle(store, f"fill/{now}/{place}")
    return len(rows)
