"""What the andon board shows of a plant: every machine's state, shift figures and open incident, line by line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.queries import sql
from pipeline.store.client import Store

BACK = timedelta(hours=26)  # no interval is longer than a local day or a shift
OPENED = timedelta(days=31)  # an incident that has been open for longer is nothing new
STALE_S = 120.0
MOST_MACHINES = 5000
Row = dict[str, Any]

MACHINES = """
SELECT site, line, position, machine, timezone, oee_target
FROM (SELECT * FROM factory WHERE effective <= {now:DateTime64(3, 'UTC')} ORDER BY effective DESC LIMIT 1 BY machine)
WHERE ({site:String} = '' OR site = {site:String})
ORDER BY site, line, position, machine LIMIT {most:UInt32}"""
STATES = """
SELECT t.machine AS machine, t.state AS state, t.element AS element, t.start AS since, t.until AS until,
       t.product AS product, if(r.name = '', CAST(t.reason, 'String'), r.name) AS reason
FROM
(
    SELECT * FROM timeline
    WHERE start >= {back:DateTime64(3, 'UTC')} AND ({site:String} = '' OR site = {site:String})
    ORDER BY start DESC LIMIT 1 BY machine
) AS t LEFT JOIN reason_tree AS r ON r.site = t.site AND r.code = t.reason"""
SHIFTS = """
SELECT machine, shift, oee, a, p, q, coverage, oee_null, good, reject, pbt_ms, total, ideal_total_us
FROM oee_by(level = 'machine', grain = 'shift', profile = '', start = {back:DateTime64(3, 'UTC')} - INTERVAL 26 HOUR,
            end = {now:DateTime64(3, 'UTC')})
WHERE shift != '' AND last > {back:DateTime64(3, 'UTC')} AND ({site:String} = '' OR site = {site:String})
ORDER BY last DESC LIMIT 1 BY machine"""
INCIDENTS = """
SELECT machine, id, first, last, severity, flags, signals, muted, acknowledged, acknowledged_by, note, message
FROM incident_list
WHERE status = 'open' AND opened >= {opened:DateTime64(3, 'UTC')} AND ({site:String} = '' OR site = {site:String})
ORDER BY opened DESC LIMIT 1 BY machine"""


def board(store: Store, site: str, now: datetime) -> list[Row]:
    """A row per machine of the factory file, in the order of the lines; empty `site`: all sites.

    Times are UTC milliseconds, ratios 0 to 1; `stale`: nothing is known of the last 120 s, the figures are old.
    `plan`: parts at target OEE in the planned time of the shift so far, at the mean ideal cycle of its parts.
    Raises StoreUnavailable, StoreRefused.
    """
    now = now.astimezone(UTC)
    values = {"site": site, "now": now, "back": now - BACK, "opened": now - OPENED, "most": MOST_MACHINES}
    states, shifts, incidents = (_by_machine(store, text, values) for text in (STATES, SHIFTS, INCIDENTS))
    return [
        _tile(row, states.get(row["machine"]), shifts.get(row["machine"]), incidents.get(row["machine"]), now)
        for row in ask(store, MACHINES, values)
    ]


def ask(store: Store, text: str, values: Row) -> list[Row]:
    """Rows with times as UTC milliseconds, of those `values` that the text names."""
    named = {key: value for key, value in values.items() if "{" + key + ":" in text}
    return [{key: _plain(cell) for key, cell in row.items()} for row in sql(store, text, named).dicts()]


def _by_machine(store: Store, text: str, values: Row) -> dict[str, Row]:
    return {row.pop("machine"): row for row in ask(store, text, values)}


def _tile(row: Row, state: Row | None, shift: Row | None, incident: Row | None, now: datetime) -> Row:
    if shift is not None:
        shift["plan"] = planned_parts(shift, row["oee_target"])
    return {
        **row,
        "state": state,
        "shift": shift,
        "incident": incident,
        "stale": stale(state["until"] if state else None, now),
    }


def stale(until: int | None, now: datetime) -> bool:
    """Whether nothing is known of the 120 s before `now`; `until` [ms]: the end of what is known."""
    return until is None or now.timestamp() * 1000 - until > STALE_S * 1000


def planned_parts(shift: Row, target: float | None) -> int | None:
    """Parts at `target` OEE in the planned time, at the mean ideal cycle; None where one of them is not known."""
    if target is None or not shift["total"] or not shift["ideal_total_us"]:
        return None
    ideal_us: float = shift["ideal_total_us"] / shift["total"]
    planned_ms: int = shift["pbt_ms"]
    return round(target * planned_ms * 1000 / ideal_us)


def _plain(cell: Any) -> Any:
    if not isinstance(cell, datetime):
        return cell
    return round((cell if cell.tzinfo else cell.replace(tzinfo=UTC)).timestamp() * 1000)
