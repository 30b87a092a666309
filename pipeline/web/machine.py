"""What the page of one machine shows: its newest shift as a timeline, window by window, by loss; its flags."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pipeline import queries
from pipeline.store.client import Store
from pipeline.web.board import BACK, Row, ask, planned_parts, stale

WITHOUT_SHIFT = timedelta(hours=8)
WEEK = timedelta(days=7)
MOST_INTERVALS, MOST_WINDOWS, MOST_FLAGS, MOST_CAUSES, MOST_SHIFTS = 2000, 2000, 50, 12, 100

PLACE = """
SELECT site, area, line, position, machine, timezone, oee_target
FROM (SELECT * FROM factory WHERE machine = {machine:String} AND effective <= {now:DateTime64(3, 'UTC')}
      ORDER BY effective DESC LIMIT 1)"""
SHIFT = """
SELECT shift, period, first, last, oee, a, p, q, coverage, oee_null, good, reject, total, pbt_ms, apt_ms, ideal_total_us
FROM oee_by(level = 'machine', grain = 'shift', profile = '', start = {back:DateTime64(3, 'UTC')} - INTERVAL 26 HOUR,
            end = {now:DateTime64(3, 'UTC')})
WHERE shift != '' AND last > {back:DateTime64(3, 'UTC')} AND machine = {machine:String}
ORDER BY last DESC LIMIT 1 OFFSET {before:UInt8}"""
WATERFALL = """
SELECT step, loss, is_total, us, share_of_planned
FROM waterfall(level = 'machine', grain = 'shift', profile = '', start = {back:DateTime64(3, 'UTC')} - INTERVAL 26 HOUR,
               end = {now:DateTime64(3, 'UTC')})
WHERE machine = {machine:String} AND shift = {shift:String} AND period = {period:DateTime64(3, 'UTC')}
ORDER BY number"""
TIMELINE = """
SELECT greatest(t.start, {start:DateTime64(3, 'UTC')}) AS start, least(t.until, {end:DateTime64(3, 'UTC')}) AS until,
       t.state AS state, t.element AS element, t.stop AS stop, t.product AS product, t.order AS order,
       if(r.name = '', CAST(t.reason, 'String'), r.name) AS reason
FROM
(
    SELECT * FROM timeline
    WHERE machine = {machine:String} AND start >= {start:DateTime64(3, 'UTC')} - INTERVAL 26 HOUR
      AND start < {end:DateTime64(3, 'UTC')} AND until > {start:DateTime64(3, 'UTC')}
    ORDER BY start DESC LIMIT {most:UInt32}
) AS t LEFT JOIN reason_tree AS r ON r.site = t.site AND r.code = t.reason
ORDER BY start"""
WINDOWS = """
SELECT first AS start, last AS until, oee, good, reject, coverage, oee_null, busy_ms, ideal_good_us
FROM oee_by(level = 'machine', grain = 'window', profile = '', start = {start:DateTime64(3, 'UTC')} - INTERVAL 1 HOUR,
            end = {end:DateTime64(3, 'UTC')})
WHERE machine = {machine:String} AND last > {start:DateTime64(3, 'UTC')}
ORDER BY start DESC LIMIT {most:UInt32}"""
TREND = """
SELECT shift, period, first, last, oee, coverage, oee_null, good, pbt_ms
FROM oee_by(level = 'machine', grain = 'shift', profile = '', start = {week:DateTime64(3, 'UTC')} - INTERVAL 26 HOUR,
            end = {now:DateTime64(3, 'UTC')})
WHERE shift != '' AND machine = {machine:String} AND first >= {week:DateTime64(3, 'UTC')}
ORDER BY first DESC LIMIT {most:UInt32}"""
FLAGS = """
SELECT signal, kind, severity, first, last, score, value, expected, expected_low, expected_high, state, message
FROM anomaly_flags
WHERE machine = {machine:String} AND first >= {back:DateTime64(3, 'UTC')}
ORDER BY first DESC LIMIT {most:UInt32}"""
INCIDENTS = """
SELECT id, status, severity, first, last, flags, signals, muted, acknowledged, acknowledged_by, note, message
FROM incident_list
WHERE machine = {machine:String} AND opened >= {back:DateTime64(3, 'UTC')}
ORDER BY opened DESC LIMIT {most:UInt32}"""


def machine(store: Store, name: str, before: int, now: datetime) -> Row | None:
    """Figures of the newest shift of the last 26 h of one machine, or of the `before`-th before it; None: no factory
    file names the machine.

    Times are UTC milliseconds, ratios 0 to 1, `us` microseconds, `minutes` minutes. `start` and `until` are those of
    the shift as far as it is known, without one the last 8 h; then `shift` is None and `waterfall` empty. At most 2000
    intervals and windows (the newest), 50 flags and incidents of the last 26 h, 12 causes of stops, 100 shifts of
    the last 7 days (`trend`).
    Raises StoreUnavailable, StoreRefused.
    """
    now = now.astimezone(UTC)
    values: Row = {"machine": name, "now": now, "back": now - BACK, "before": before}
    places = ask(store, PLACE, values)
    if not places:
        return None
    place = places[0]
    shift = next(iter(ask(store, SHIFT, values)), None)
    start, end = (shift["first"], shift["last"]) if shift else (_ms(now - WITHOUT_SHIFT), _ms(now))
    within = {**values, "start": _at(start), "end": _at(end)}
    timeline = ask(store, TIMELINE, {**within, "most": MOST_INTERVALS})
    known = ask(store, TIMELINE, {**values, "start": now - BACK, "end": now, "most": 1})
    return {
        **place, "start": start, "until": end, "state": known[-1] if known else None,
        "stale": stale(known[-1]["until"] if known else None, now),
        "shift": shift and {**shift, "plan": planned_parts(shift, place["oee_target"])},
        "timeline": timeline,
        "windows": ask(store, WINDOWS, {**within, "most": MOST_WINDOWS})[::-1],
        "waterfall": _waterfall(store, values, shift),
        "downtime": _downtime(store, place, _at(start), _at(end)),
        "trend": ask(store, TREND, {**values, "week": now - WEEK, "most": MOST_SHIFTS})[::-1],
        "flags": ask(store, FLAGS, {**values, "most": MOST_FLAGS}),
        "incidents": ask(store, INCIDENTS, {**values, "most": MOST_FLAGS}),
    }  # fmt: skip


def _waterfall(store: Store, values: Row, shift: Row | None) -> list[Row]:
    if shift is None:
        return []
    return ask(store, WATERFALL, {**values, "shift": shift["shift"], "period": _at(shift["period"])})


def _downtime(store: Store, place: Row, start: datetime, end: datetime) -> list[Row]:
    """The Pareto of `openoee report`, of this machine alone."""
    wanted = {"site": place["site"], "machine": place["machine"], "start": start.isoformat(), "end": end.isoformat()}
    return queries.ask(store, "downtime", {**wanted, "limit": str(MOST_CAUSES)}).dicts()


def _at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
