"""Every question that openoee asks of the store: ready ones by name, with parameters that the server binds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.errors import UsageError
from pipeline.store.client import Store

START, END = "1970-01-01 00:00:00.000", "2299-12-31 00:00:00.000"
_RANGE = "start = {start:DateTime64(3, 'UTC')}, end = {end:DateTime64(3, 'UTC')}"
_IN_RANGE = "{start:DateTime64(3, 'UTC')}"
_HERE = (
    "({site:String} = '' OR site = {site:String}) AND ({line:String} = '' OR line = {line:String})"
    " AND ({machine:String} = '' OR machine = {machine:String})"
)
_SITE = "({site:String} = '' OR site = {site:String})"
_LINE = _SITE + " AND ({line:String} = '' OR line = {line:String})"


@dataclass(frozen=True)
class Question:
    """A question with its SQL. Its parameters are those that the SQL names; each has a default in DEFAULTS."""

    name: str
    title: str
    sql: str

    @property
    def parameters(self) -> list[str]:
        return [name for name in DEFAULTS if "{" + name + ":" in self.sql]


@dataclass(frozen=True)
class Answer:
    """Columns and rows, as the store gave them."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]

    def dicts(self) -> list[dict[str, Any]]:
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


DEFAULTS: dict[str, str] = {
    "site": "", "line": "", "machine": "", "signal": "", "profile": "", "start": START, "end": END, "limit": "50",
}  # fmt: skip
MEANING: dict[str, str] = {
    "site": "only this site", "line": "only this line", "machine": "only this machine", "signal": "only this signal",
    "profile": "iso22400, vorne or smrp; empty: that of each machine", "start": "from this instant on (UTC)",
    "end": "up to this instant (UTC)", "limit": "at most so many rows",
}  # fmt: skip
_KPI = "oee, a, p, q, coverage"

QUESTIONS: tuple[Question, ...] = (
    Question("machines", "How good was each machine?", f"""
SELECT site, line, machine, {_KPI}, oee_null, total, good, first, last
FROM oee_by(level = 'machine', grain = 'total', profile = {{profile:String}}, {_RANGE})
WHERE {_HERE}
ORDER BY site, line, machine"""),
    Question("lines", "How good was each serial line, and which station holds it back?", f"""
SELECT site, line, oee, coverage, oee_null, constraint_machine, constraint_a, constraint_p, constraint_q,
       round(external_ms / 60000, 1) AS starved_blocked_min, total, good, first, last
FROM line_oee_by(grain = 'total', profile = {{profile:String}}, {_RANGE})
WHERE {_LINE}
ORDER BY site, line"""),
    Question("sites", "How good was each site, all its machines summed?", f"""
SELECT site, {_KPI}, oee_null, machines, total, good, first, last
FROM oee_by(level = 'site', grain = 'total', profile = {{profile:String}}, {_RANGE})
WHERE {_SITE}
ORDER BY site"""),
    Question("shifts", "How good was each shift?", f"""
SELECT machine, toDate(period) AS date, shift, {_KPI}, oee_null, total, good
FROM oee_by(level = 'machine', grain = 'shift', profile = {{profile:String}}, {_RANGE})
WHERE {_HERE} AND shift != ''
ORDER BY machine, date, first"""),
    Question("hours", "How did it go, hour by hour?", f"""
SELECT machine, period AS hour, {_KPI}, oee_null, total, good
FROM oee_by(level = 'machine', grain = 'hour', profile = {{profile:String}}, {_RANGE})
WHERE {_HERE}
ORDER BY machine, hour"""),
    Question("products", "Which product runs how well?", f"""
SELECT machine, product, {_KPI}, oee_null, total, good, scrap_ratio
FROM oee_by(level = 'machine', grain = 'product', profile = {{profile:String}}, {_RANGE})
WHERE {_HERE}
ORDER BY machine, product"""),
    Question("downtime", "Which stops cost the most time?", f"""
SELECT state, reason, micro, round(sum(lost_ms) / 60000, 1) AS minutes, sum(times) AS stops,
       round(max(longest_ms) / 60000, 1) AS longest_min, argMax(machine, lost_ms) AS worst_machine
FROM downtime({_RANGE})
WHERE {_HERE}
GROUP BY state, reason, micro
ORDER BY sum(lost_ms) DESC, state, reason
LIMIT {{limit:UInt32}}"""),
    Question("losses", "Which causes cost which machine how much?", f"""
SELECT machine, element, state, reason, micro, round(lost_ms / 60000, 1) AS minutes, times
FROM losses({_RANGE})
WHERE {_HERE}
ORDER BY lost_ms DESC, machine, state, reason
LIMIT {{limit:UInt32}}"""),
    Question("waterfall", "Where did the planned time go, from planned busy to fully productive?", f"""
SELECT site, loss.1 AS step, round(loss.2 / 60000, 1) AS minutes, round(100 * loss.2 / nullIf(pbt_ms, 0), 2) AS percent
FROM oee_by(level = 'site', grain = 'total', profile = 'iso22400', {_RANGE})
ARRAY JOIN [
    ('planned busy time', toFloat64(pbt_ms)), ('no data', -toFloat64(unknown_ms)), ('idle or off', -toFloat64(adot_ms)),
    ('setup', -toFloat64(aust_ms)), ('starved or blocked', -toFloat64(external_ms)),
    ('micro-stops', -toFloat64(micro_stop_ms)),
    ('other stops', toFloat64(external_ms + micro_stop_ms - adet_ms)), ('slow running', ideal_total_us / 1000 - apt_ms),
    ('scrap', (ideal_good_us - ideal_total_us) / 1000), ('fully productive', ideal_good_us / 1000)] AS loss
WHERE {_SITE}
ORDER BY site, indexOf(['planned busy time', 'no data', 'idle or off', 'setup', 'starved or blocked', 'micro-stops',
                        'other stops', 'slow running', 'scrap', 'fully productive'], step)"""),
    Question("timeline", "What did a machine do, and when?", f"""
SELECT machine, start, until, round(duration_ms / 1000, 1) AS seconds, state, element, reason, product, going_on
FROM timeline
WHERE {_HERE} AND start < {{end:DateTime64(3, 'UTC')}} AND until > {_IN_RANGE}
ORDER BY machine, start
LIMIT {{limit:UInt32}}"""),
    Question("anomalies", "What was unusual?", f"""
SELECT machine, signal, kind, severity, first, round(duration_ms / 1000, 1) AS seconds, round(score, 3) AS score,
       value, expected, state, message
FROM anomaly_flags
WHERE {_HERE} AND ({{signal:String}} = '' OR signal = {{signal:String}})
  AND first < {{end:DateTime64(3, 'UTC')}} AND last >= {_IN_RANGE}
ORDER BY first DESC
LIMIT {{limit:UInt32}}"""),
    Question("signals", "How did a signal run, minute by minute?", """
SELECT machine, signal, toStartOfMinute(ts) AS minute, round(avg(value), 3) AS mean, min(value) AS low,
       max(value) AS high, count() AS samples
FROM signals
WHERE ({machine:String} = '' OR machine = {machine:String}) AND ({signal:String} = '' OR signal = {signal:String})
  AND ts >= {start:DateTime64(3, 'UTC')} AND ts < {end:DateTime64(3, 'UTC')}
GROUP BY machine, signal, minute
ORDER BY machine, signal, minute DESC
LIMIT {limit:UInt32}"""),
    Question("restated", "Which closed windows were changed afterwards, and why?", f"""
SELECT machine, window_start, revision, reason, known_at
FROM facts
WHERE {_HERE} AND revision > 1
  AND window_start >= {_IN_RANGE} AND window_start < {{end:DateTime64(3, 'UTC')}}
ORDER BY known_at DESC
LIMIT {{limit:UInt32}}"""),
    Question("parked", "Which records could not be used, and why?", f"""
SELECT topic, partition, offset, arrived, machine, reason, detail, entries
FROM parked
WHERE ({{machine:String}} = '' OR machine = {{machine:String}})
  AND arrived >= {_IN_RANGE} AND arrived < {{end:DateTime64(3, 'UTC')}}
ORDER BY arrived DESC
LIMIT {{limit:UInt32}}"""),
    Question("rows", "How many rows does the store hold of a site?", """
WITH here AS (SELECT DISTINCT machine FROM facts WHERE ({site:String} = '' OR site = {site:String}))
SELECT 'telemetry' AS table, count() AS rows FROM signals WHERE machine IN here
UNION ALL SELECT 'events', count() FROM machine_events WHERE machine IN here
UNION ALL SELECT 'counts', count() FROM part_counts WHERE machine IN here
UNION ALL SELECT 'intervals', count() FROM timeline WHERE machine IN here
UNION ALL SELECT 'facts', count() FROM facts WHERE machine IN here
UNION ALL SELECT 'anomalies', count() FROM anomaly_flags WHERE machine IN here
UNION ALL SELECT 'dead letters', count() FROM parked WHERE machine IN here"""),
    Question("seen", "Which sites are there, and from when to when?", """
SELECT site, min(window_start) AS first, max(window_end) AS last, max(known_at) AS known, uniqExact(machine) AS machines
FROM facts
GROUP BY site
ORDER BY known DESC"""),
    Question("tables", "How much is in the store?", """
SELECT table, sum(rows) AS rows, sum(bytes_on_disk) AS bytes, round(bytes / nullIf(rows, 0), 2) AS bytes_per_row
FROM system.parts
WHERE active AND database = currentDatabase()
GROUP BY table
ORDER BY rows DESC"""),
)  # fmt: skip
BY_NAME = {question.name: question for question in QUESTIONS}


def question(name: str) -> Question:
    """The ready question of that name. Raises UsageError, naming the nearest one."""
    if name not in BY_NAME:
        from difflib import get_close_matches

        near = get_close_matches(name, BY_NAME, 1)
        hint = f"; do you mean {near[0]}?" if near else ":"
        raise UsageError(f"there is no question {name!r}{hint} `openoee query` lists them all")
    return BY_NAME[name]


def ask(store: Store, name: str, values: Mapping[str, str] | None = None) -> Answer:
    """The answer to a ready question. `values` by parameter; times as UTC text or ISO 8601.

    Raises UsageError for a parameter that the question has not, StoreUnavailable, StoreRefused.
    """
    asked = question(name)
    given = {key: value for key, value in (values or {}).items() if value is not None}
    for key in given.keys() - set(asked.parameters):
        raise UsageError(f"question {name} has no parameter {key}; it has {', '.join(asked.parameters) or 'none'}")
    bound = {key: given.get(key, DEFAULTS[key]) for key in asked.parameters}
    for key in ("start", "end"):
        if key in bound:
            bound[key] = instant(bound[key])
    return sql(store, asked.sql, bound)


def sql(store: Store, statement: str, values: Mapping[str, str] | None = None) -> Answer:
    """The answer to any SQL."""
    result = store.query(statement, values)
    return Answer(tuple(result.column_names), list(result.result_rows))


def instant(text: str) -> str:
    """An instant as the server reads it, in UTC, from ISO 8601 (no offset: UTC). Raises UsageError."""
    from datetime import UTC, datetime

    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(f"{text!r} is no time: write 2026-03-02, 2026-03-02T06:00 or 2026-03-02T06:00+01:00") from None
    found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    return found.strftime("%Y-%m-%d %H:%M:%S.") + f"{found.microsecond // 1000:03}"
