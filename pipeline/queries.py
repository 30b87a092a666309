"""Every question that openoee asks of the store: ready ones by name, with parameters that the server binds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
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
# The key of every table of results has the machine, not the line: a line's machines are looked up first.
_MACHINES = "({line:String} = '' OR machine IN (SELECT machine FROM machines WHERE line = {line:String}))"
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
        """Rows by column. Raises UsageError where two columns have one name."""
        twice = next((name for name in self.columns if self.columns.count(name) > 1), None)
        if twice is not None:
            raise UsageError(f"two columns are called {twice!r}: give one another name with AS")
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


DEFAULTS: dict[str, str] = {
    "site": "", "line": "", "machine": "", "signal": "", "profile": "", "level": "site", "start": START, "end": END,
    "before": "", "before_end": "", "at": END, "limit": "50",
}  # fmt: skip
MEANING: dict[str, str] = {
    "site": "only this site", "line": "only this line", "machine": "only this machine", "signal": "only this signal",
    "profile": "iso22400, vorne or smrp; empty: that of each machine",
    "level": "machine, line, area, site or enterprise", "before": "start of the period to compare with (UTC)",
    "before_end": "its end", "at": "as known at this instant (UTC)", "start": "from this instant on (UTC)",
    "end": "up to this instant (UTC)", "limit": "at most so many rows",
}  # fmt: skip
_KPI = "oee, a, p, q, coverage"

QUESTIONS: tuple[Question, ...] = (
    Question("machines", "How good was each machine?", f"""
SELECT site, line, machine, {_KPI}, oee_null, total, good, first, last
FROM oee_by(level = 'machine', grain = 'total', profile = {{profile:String}}, {_RANGE})
WHERE {_HERE} AND {_MACHINES}
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
WHERE {_HERE} AND {_MACHINES} AND shift != ''
ORDER BY machine, date, first"""),
    Question("hours", "How did it go, hour by hour?", f"""
SELECT machine, period AS hour, {_KPI}, oee_null, total, good
FROM oee_by(level = 'machine', grain = 'hour', profile = {{profile:String}}, {_RANGE})
WHERE {_HERE} AND {_MACHINES}
ORDER BY machine, hour"""),
    Question("products", "Which product runs how well?", f"""
SELECT machine, product, {_KPI}, oee_null, total, good, scrap_ratio
FROM oee_by(level = 'machine', grain = 'product', profile = {{profile:String}}, {_RANGE})
WHERE {_HERE} AND {_MACHINES}
ORDER BY machine, product"""),
    Question("downtime", "Which stops cost the most time, and which come most often?", f"""
SELECT row_number() OVER (ORDER BY lost_ms DESC, state, reason, micro) AS by_time, state, reason, reason_name, micro,
       loss, round(lost_ms / 60000, 1) AS minutes, times AS stops, round(longest_ms / 60000, 1) AS longest_min,
       longest_machine,
       round(lost_ms / sum(lost_ms) OVER (), 4) AS share,
       round(sum(lost_ms) OVER (ORDER BY lost_ms DESC, state, reason, micro) / sum(lost_ms) OVER (), 4)
           AS cumulative_share,
       row_number() OVER (ORDER BY times DESC, state, reason, micro) AS by_count
FROM
(
    SELECT k.state AS state, k.reason AS reason, k.micro AS micro,
           any(if(t.name = '', k.reason, t.name)) AS reason_name,
           any(multiIf(t.loss != '', CAST(t.loss, 'String'), k.micro OR k.external, 'idling', 'breakdown')) AS loss,
           sum(k.lost_ms) AS lost_ms, sum(k.times) AS times, max(k.longest_ms) AS longest_ms,
           argMax(k.longest_machine, k.longest_ms) AS longest_machine
    FROM
    (
        SELECT site, state, CAST(reason, 'String') AS reason, micro, max(d.external) AS external,
               sum(d.lost_ms) AS lost_ms, sum(d.times) AS times, max(d.longest_ms) AS longest_ms,
               argMax(d.machine, d.longest_ms) AS longest_machine
        FROM loss_pieces({_RANGE}) AS d
        WHERE element = 'adet' AND {_HERE} AND {_MACHINES}
        GROUP BY site, state, reason, micro
    ) AS k
    LEFT JOIN reason_tree AS t ON t.site = k.site AND t.code = k.reason
    GROUP BY state, reason, micro
)
ORDER BY by_time
LIMIT {{limit:UInt32}}"""),
    Question("losses", "Which causes cost which machine how much?", f"""
SELECT machine, element, state, reason, micro, round(lost_ms / 60000, 1) AS minutes, times
FROM losses({_RANGE})
WHERE {_HERE} AND {_MACHINES}
ORDER BY lost_ms DESC, machine, state, reason
LIMIT {{limit:UInt32}}"""),
    Question("waterfall", "Where did the time go, from all of it to fully productive?", f"""
SELECT {{level:String}} AS level, site, area, line, machine, step, loss, is_total, round(minutes, 1) AS minutes,
       round(100 * share_of_time, 2) AS percent_of_time, round(100 * share_of_planned, 2) AS percent_of_planned,
       round(100 * coverage, 2) AS coverage_percent
FROM waterfall(level = {{level:String}}, grain = 'total', profile = {{profile:String}}, {_RANGE})
WHERE {_HERE}
ORDER BY site, area, line, machine, number"""),
    Question("why", "Why is OEE not what it was in the period before?", f"""
SELECT site, area, line, machine, step, loss, round(100 * share_1, 2) AS lost_percent_before,
       round(100 * share_2, 2) AS lost_percent, round(100 * contribution, 2) AS oee_points,
       round(100 * oee_1, 2) AS oee_before, round(100 * oee_2, 2) AS oee
FROM oee_change(level = {{level:String}}, profile = {{profile:String}}, start_1 = {{before:DateTime64(3, 'UTC')}},
                end_1 = {{before_end:DateTime64(3, 'UTC')}}, start_2 = {{start:DateTime64(3, 'UTC')}},
                end_2 = {{end:DateTime64(3, 'UTC')}})
WHERE {_HERE}
ORDER BY site, area, line, machine, contribution"""),
    Question("as-known", "What did the figures look like at an earlier moment?", f"""
SELECT site, line, machine, {_KPI}, oee_null, total, good, first, last
FROM oee_known(level = {{level:String}}, grain = 'total', profile = {{profile:String}}, {_RANGE},
               at = {{at:DateTime64(3, 'UTC')}})
WHERE {_HERE}
ORDER BY site, line, machine"""),
    Question("orders", "How far are the orders, and how well did they run?", f"""
SELECT order, product, planned, good, reject, missing, round(100 * progress, 1) AS progress_percent, oee, coverage,
       first, last
FROM order_progress
WHERE {_SITE} AND last > {_IN_RANGE} AND first < {{end:DateTime64(3, 'UTC')}}
ORDER BY last DESC, order
LIMIT {{limit:UInt32}}"""),
    Question("weeks", "How did it go, week by week?", f"""
SELECT {{level:String}} AS level, site, area, line, machine, toDate(period) AS week, {_KPI}, oee_null, total, good
FROM oee_by(level = {{level:String}}, grain = 'week', profile = {{profile:String}}, {_RANGE})
WHERE {_HERE}
ORDER BY site, area, line, machine, week"""),
    Question("corrections", "Which corrections are in force?", """
SELECT c.machine AS machine, c.id AS id, c.revision AS revision, c.start AS start, c.end AS end, c.state AS state,
       c.calendar AS calendar, c.reason AS reason, c.product AS product, c.order AS order, c.good AS good,
       c.reject AS reject, c.rework AS rework, c.ideal_cycle_us AS ideal_cycle_us, c.issued AS issued,
       c.issued_by AS issued_by, c.note AS note
FROM corrections_in_force AS c
WHERE ({machine:String} = '' OR c.machine = {machine:String})
  AND ({site:String} = '' OR c.machine IN (SELECT machine FROM machines WHERE site = {site:String}))
ORDER BY issued DESC"""),
    Question("reasons", "Which reason codes are there, and to which of the six big losses do they count?", f"""
SELECT site, code, name, arrayStringConcat(path, ' > ') AS path, loss
FROM reason_tree
WHERE {_SITE}
ORDER BY site, path"""),
    Question("factory", "What does the factory file say of each machine now?", f"""
SELECT site, area, line, position, machine, timezone, ideal_cycle_us, shifts, profile, oee_target, effective
FROM (SELECT * FROM factory WHERE effective <= now64(3) ORDER BY effective DESC LIMIT 1 BY machine)
WHERE {_HERE}
ORDER BY site, area, line, position, machine"""),
    Question("timeline", "What did a machine do, and when?", f"""
SELECT machine, start, until, round(duration_ms / 1000, 1) AS seconds, state, element, reason, product, going_on
FROM timeline
WHERE {_HERE} AND {_MACHINES} AND start < {{end:DateTime64(3, 'UTC')}} AND until > {_IN_RANGE}
  AND start > {_IN_RANGE} - INTERVAL 26 HOUR  -- none is longer than a local day or a shift
ORDER BY machine, start
LIMIT {{limit:UInt32}}"""),
    Question("stops", "Which single stops were the longest, and when did they begin?", f"""
SELECT machine, start, until, round(duration_ms / 60000, 1) AS minutes, state, reason, product, going_on
FROM timeline
WHERE {_HERE} AND {_MACHINES} AND element = 'adet' AND start >= {_IN_RANGE} AND start < {{end:DateTime64(3, 'UTC')}}
ORDER BY duration_ms DESC, machine, start
LIMIT {{limit:UInt32}}"""),
    Question("anomalies", "What was unusual?", f"""
SELECT machine, signal, kind, severity, first, round(duration_ms / 1000, 1) AS seconds, round(score, 3) AS score,
       value, expected, state, message
FROM anomaly_flags
WHERE {_HERE} AND ({{signal:String}} = '' OR signal = {{signal:String}})
  AND first < {{end:DateTime64(3, 'UTC')}} AND last >= {_IN_RANGE}
ORDER BY first DESC
LIMIT {{limit:UInt32}}"""),
    Question("incidents", "Which flags belong together, worst first, and what was lost meanwhile?", f"""
SELECT id, status, severity, machine, line, signals, kinds, first, round(duration_ms / 60000, 1) AS minutes,
       lost_minutes, lost_parts, flags, page, muted, acknowledged, acknowledged_by, note, message
FROM incident_costs({_RANGE})
WHERE {_HERE} AND {_MACHINES}
ORDER BY indexOf(['critical', 'warning', 'info'], severity), lost_minutes DESC, first DESC
LIMIT {{limit:UInt32}}"""),
    Question("after-incidents", "Which stops follow within the hour, and how much more often than usual?", f"""
SELECT signal, kind, state, reason, incidents, times, round(share, 3) AS share, round(usual_share, 3) AS usual_share,
       round(ratio, 1) AS ratio
FROM after_incidents({_RANGE})
ORDER BY times DESC, ratio DESC, signal, kind, state, reason
LIMIT {{limit:UInt32}}"""),
    Question("mutes", "Of which flags does nobody want a message, until when and why?", """
SELECT machine, id, signal, kind, until, why, issued_by, issued
FROM mutes_in_force
WHERE ({machine:String} = '' OR machine = {machine:String}) AND until > now64(3)
ORDER BY until, machine, id"""),
    Question("signals", "How did a signal run, minute by minute?", """
SELECT machine, signal, toStartOfMinute(ts) AS minute, round(avg(value), 3) AS mean, min(value) AS low,
       max(value) AS high, count() AS samples
FROM signals
WHERE ({machine:String} = '' OR machine = {machine:String}) AND ({signal:String} = '' OR signal = {signal:String})
  AND ts >= {start:DateTime64(3, 'UTC')} AND ts < {end:DateTime64(3, 'UTC')}
GROUP BY machine, signal, minute
ORDER BY machine, signal, minute DESC
LIMIT {limit:UInt32}"""),
    Question("micro-stops", "Where do short stops add up?", f"""
SELECT machine, micro_stops, round(micro_stop_ms / 60000, 1) AS minutes,
       round(100 * micro_stop_ms / pbt_ms, 1) AS percent_of_planned
FROM oee_by(level = 'machine', grain = 'total', profile = {{profile:String}}, {_RANGE})
WHERE {_HERE} AND {_MACHINES} AND pbt_ms > 0
ORDER BY micro_stop_ms DESC, machine
LIMIT {{limit:UInt32}}"""),
    Question("trust", "Can the figures be trusted: how much is without data, what was changed afterwards?", f"""
SELECT machine, round(100 * coverage, 1) AS coverage_percent, round(unknown_ms / 60000, 1) AS unknown_min,
       provisional, restated, flags
FROM oee_by(level = 'machine', grain = 'total', profile = {{profile:String}}, {_RANGE})
WHERE {_HERE} AND {_MACHINES}
ORDER BY coverage, machine
LIMIT {{limit:UInt32}}"""),
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
UNION ALL SELECT 'incidents', count() FROM incident_list WHERE machine IN here
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
    for key in ("start", "end", "before", "before_end", "at"):
        if bound.get(key):
            bound[key] = instant(bound[key])
    if "before" in bound:
        bound |= _period_before(name, bound, given)
    return sql(store, asked.sql, bound)


def _period_before(name: str, bound: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """The period to compare with: as long as the one asked for, and, where nothing is said, right before it."""
    if "start" not in given or "end" not in given:
        raise UsageError(f"question {name} compares two periods: give the one asked about with --from and --to")
    start, end = (datetime.fromisoformat(bound[key]) for key in ("start", "end"))
    before = datetime.fromisoformat(bound["before"]) if bound["before"] else start - (end - start)
    after = datetime.fromisoformat(bound["before_end"]) if bound["before_end"] else before + (end - start)
    return {"before": instant(before.isoformat()), "before_end": instant(after.isoformat())}


def sql(store: Store, statement: str, values: Mapping[str, str] | None = None) -> Answer:
    """The answer to any SQL."""
    result = store.query(statement, values)
    return Answer(tuple(result.column_names), list(result.result_rows))


def instant(text: str) -> str:
    """An instant as the server reads it, in UTC, from ISO 8601 (no offset: UTC). Raises UsageError."""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(f"{text!r} is no time: write 2026-03-02, 2026-03-02T06:00 or 2026-03-02T06:00+01:00") from None
    found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    return found.strftime("%Y-%m-%d %H:%M:%S.") + f"{found.microsecond // 1000:03}"
