"""What an export asks of the store, machine by machine. Instants are integers (ms) on both sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.model import FACTS
from pipeline.export.plan import HOUR_MS, Plan, Windows
from pipeline.store.client import Store

SIGNALS_AT_ONCE = 8  # a day of each, sorted, is in the store's memory at once
LONGEST_INTERVAL_MS = 26 * HOUR_MS  # intervals end with a shift or a local day
OLDEST_STATE_MS = 7 * 24 * HOUR_MS
Columns = dict[str, NDArray[Any]]


def _at(name: str) -> str:
    """A parameter that is an instant in ms, as the store's type: conditions on it use the tables' order."""
    return f"fromUnixTimestamp64Milli({{{name}:Int64}}, 'UTC')"


def _ms(column: str) -> str:
    return f"toUnixTimestamp64Milli({column})"


def _range(column: str) -> str:
    return f"machine = {{machine:String}} AND {column} >= {_at('start')} AND {column} < {_at('end')}"


_OF_WINDOWS = _range("window_start")
MACHINES = f"""
SELECT DISTINCT CAST(machine, 'String') AS machine FROM
(
    SELECT machine, site FROM oee_revisions WHERE window_start >= {_at("start")} AND window_start < {_at("end")}
    UNION ALL
    SELECT machine, site FROM oee_facts WHERE window_start >= {_at("start")} AND window_start < {_at("end")}
)
WHERE ({{site:String}} = '' OR site = {{site:String}}) AND ({{machine:String}} = '' OR machine = {{machine:String}})
ORDER BY machine
"""
SIGNALS = f"""
SELECT DISTINCT CAST(signal, 'String') AS signal FROM telemetry
WHERE machine IN {{machines:Array(String)}} AND ts >= {_at("start")} AND ts < {_at("end")}
  AND ({{backfilled:Bool}} OR {_ms("arrived")} <= {{cut:Int64}})
ORDER BY signal
"""
UNITS = """
SELECT signal, argMin(unit, (machine, effective)) FROM
(
    SELECT machine, effective, arrayJoin(units).1 AS signal, arrayJoin(units).2 AS unit
    FROM (SELECT machine, effective, CAST(units, 'Array(Tuple(String, String))') AS units FROM factory)
    WHERE machine IN {machines:Array(String)}
)
WHERE unit != '' GROUP BY signal
"""
VERSIONS = f"""
SELECT {_ms("window_start")} AS at, {_ms("segment_start")} AS since, {_ms("segment_end")} AS until,
    {_ms("known_at")} AS known,
    CAST(status, 'String') AS status, CAST(site, 'String') AS site, CAST(line, 'String') AS line,
    CAST(product, 'String') AS product, CAST(shift, 'String') AS shift, {", ".join(FACTS)}
FROM oee_revisions FINAL
WHERE {_OF_WINDOWS} AND if({{backfilled:Bool}}, revision = 1, {_ms("known_at")} <= {{cut:Int64}})
ORDER BY at, since, known
"""
WITHOUT_HISTORY = f"""
SELECT DISTINCT {_ms("window_start")} AS at FROM oee_facts WHERE {_OF_WINDOWS} AND window_start NOT IN
    (SELECT window_start FROM oee_revisions WHERE {_OF_WINDOWS} AND revision <= 1)
"""
SAMPLES = f"""
SELECT signal, window, unsure, length(said) AS count, arrayAvg(said) AS mean,
    sqrt(arrayAvg(value -> (value - mean) * (value - mean), said)) AS std,
    arrayMin(said) AS min, arrayMax(said) AS max, said[-1] AS last
FROM
(
    SELECT CAST(signal, 'String') AS signal, intDiv({_ms("ts")}, {{window:Int64}}) AS window,
        (window + 1) * {{window:Int64}} + {{allowance:Int64}} AS cut,
        arrayMap(one -> one.2, arraySort(groupArrayIf((ts, value), {{backfilled:Bool}} OR {_ms("arrived")} <= cut)))
            AS said,
        countIf({_ms("arrived")} = 0 OR {_ms("arrived")} > cut) AS unsure
    FROM telemetry FINAL
    WHERE {_range("ts")} AND signal IN {{signals:Array(String)}}
    GROUP BY signal, window
)
ORDER BY signal, window
"""
_EVENT = f"{_ms('ts')} AS at, {_ms('arrived')} AS came, CAST(kind, 'String') AS kind,"
_EVENT += " CAST(severity, 'String') AS severity, code, text"
_EVENT_ORDER = "events.ts, source, epoch, sequence, entry"
EVENTS = f"""
SELECT {_EVENT} FROM events FINAL
WHERE {_range("ts")} AND kind IN ('state', 'alarm', 'condition')
ORDER BY {_EVENT_ORDER}
"""
LAST_STATE = f"""
SELECT {_EVENT} FROM events FINAL
WHERE {_range("ts")} AND kind = 'state' AND ({{backfilled:Bool}} OR {_ms("arrived")} <= {{cut:Int64}})
ORDER BY {_EVENT_ORDER.replace(",", " DESC,")} DESC LIMIT 1
"""
LATE_STATES = f"""
SELECT {_EVENT} FROM events FINAL
WHERE {_range("ts")} AND kind = 'state' AND {_ms("arrived")} > {{cut:Int64}}
ORDER BY {_EVENT_ORDER}
"""
REPORTS = f"SELECT {_ms('ts')} AS at, {_ms('arrived')} AS came FROM counts FINAL WHERE {_range('ts')}"
FLAG_VERSIONS = f"""
SELECT CAST(signal, 'String') AS signal, CAST(kind, 'String') AS kind, {_ms("first")} AS since,
    if({{backfilled:Bool}}, {_ms("last")}, {_ms("known_at")}) AS known, score
FROM anomaly_revisions FINAL
WHERE machine = {{machine:String}} AND known > {{start:Int64}} AND known <= {{end:Int64}}
ORDER BY signal, kind, since, known
"""
FLAGS_WITHOUT_HISTORY = f"""
SELECT {_ms("first")} AS since, {_ms("last")} AS until FROM anomalies FINAL
WHERE machine = {{machine:String}} AND last > {_at("start")} AND first <= {_at("end")} AND (signal, kind, first) NOT IN
    (SELECT signal, kind, first FROM anomaly_revisions WHERE machine = {{machine:String}})
"""
FINAL_UNTIL = f"""
SELECT max({_ms("window_end")}) AS until FROM oee_facts FINAL
WHERE machine = {{machine:String}} AND window_start >= {_at("start")}
  AND status != 'provisional' AND segment_end > segment_start
"""
INTERVALS = f"""
SELECT {_ms("start")} AS since, if(end IS NULL, {{never:Int64}}, {_ms("assumeNotNull(end)")}) AS until,
    CAST(state, 'String') AS state, CAST(reason, 'String') AS reason, ifNull(stop = start, false) AS begins,
    micro, external
FROM intervals FINAL
WHERE {_range("start")} AND element = 'adet' AND (end IS NULL OR end > start)
ORDER BY since
"""
PARTS = f"""
SELECT {_ms("window_start")} AS at, sum(total) AS total, sum(good) AS good, sum(reject) AS reject,
    max(reason = 'correction') AS corrected
FROM oee_facts FINAL
WHERE {_OF_WINDOWS} AND status != 'provisional' AND segment_end > segment_start
GROUP BY window_start ORDER BY at
"""
FLAGS = f"""
SELECT {_ms("first")} AS since, CAST(kind, 'String') AS kind FROM anomalies FINAL
WHERE {_range("first")} ORDER BY since, kind, signal
"""


def machines(store: Store, plan: Plan) -> list[str]:
    """The machines that have facts in that time, by name."""
    asked = {"start": plan.start, "end": plan.end, "site": plan.site, "machine": plan.machine}
    return [str(row[0]) for row in store.query(MACHINES, asked).result_rows]


def signals(store: Store, plan: Plan, names: Sequence[str]) -> list[tuple[str, str]]:
    """Signals of these machines that had arrived by the last cut-off, by name, with the unit that the factory gives."""
    asked = {
        "start": plan.start, "end": plan.end, "machines": list(names), "cut": plan.last_cut_off,
        "backfilled": plan.backfilled,
    }  # fmt: skip
    units = dict(store.query(UNITS, {"machines": list(names)}).result_rows)
    return [(str(row[0]), str(units.get(row[0], ""))) for row in store.query(SIGNALS, asked).result_rows]


class Reader:
    """Questions about one machine."""

    def __init__(self, store: Store, plan: Plan, machine: str) -> None:
        self.store, self.plan, self.machine = store, plan, machine

    def ask(self, sql: str, start: int, end: int, more: Mapping[str, Any] | None = None) -> Columns:
        """Columns of the answer, by name."""
        asked = {"machine": self.machine, "start": start, "end": end, "backfilled": self.plan.backfilled}
        table = self.store.arrow(sql, {**asked, **(more or {})})
        return {name: table[name].to_numpy() for name in table.column_names}

    def samples(self, windows: Windows, names: Sequence[str]) -> Columns:
        """Statistics of some signals, by signal and window."""
        plan = self.plan
        asked = {"window": plan.window_ms, "allowance": plan.allowance_ms, "signals": list(names)}
        return self.ask(SAMPLES, windows.first, windows.end, asked)

    def states_before(self, windows: Windows, cut: int) -> list[Columns]:
        """The last state before these windows that was known by `cut`, and newer ones that came after it."""
        oldest = windows.first - OLDEST_STATE_MS
        last = self.ask(LAST_STATE, oldest, windows.first, {"cut": cut})
        since = int(last["at"][0]) if len(last["at"]) else oldest
        if self.plan.backfilled:
            return [last]
        return [last, self.ask(LATE_STATES, since, windows.first, {"cut": cut})]


def joined(parts: Sequence[Columns]) -> Columns:
    """Answers to questions with the same columns, one after the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
