"""Stops and their reasons, and the corrections that were made: sent, in the store, done or refused."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from pipeline.store.client import Store
from pipeline.web.board import MACHINES, MOST_MACHINES, Row, ask

BACK = timedelta(days=3)
MOST_STOPS, MOST_CORRECTIONS, MOST_REASONS = 200, 100, 2000

STOPS = """
SELECT machine, site, line, start, until, ms, without_ms, state, reasons, micro, external, going_on,
       count() OVER () AS stops, sum(ms) OVER () AS all_ms
FROM
(
    SELECT machine, any(t.site) AS site, any(t.line) AS line, min(t.start) AS start, max(t.until) AS until,
           sum(t.duration_ms) AS ms, sumIf(t.duration_ms, t.reason = '') AS without_ms,
           argMax(CAST(t.state, 'String'), t.start) AS state,
           groupUniqArrayIf(CAST(t.reason, 'String'), t.reason != '') AS reasons,
           max(t.micro) AS micro, max(t.external) AS external, max(t.going_on) AS going_on
    FROM timeline AS t
    WHERE t.start >= {back:DateTime64(3, 'UTC')} AND t.start < {now:DateTime64(3, 'UTC')} AND t.element = 'adet'
      AND ({site:String} = '' OR t.site = {site:String}) AND ({machine:String} = '' OR t.machine = {machine:String})
    GROUP BY machine, coalesce(t.stop, t.start)
)
WHERE {every:Bool} OR (without_ms > 0 AND NOT micro AND NOT external)
ORDER BY ms DESC, start DESC, machine LIMIT {most:UInt32}"""
REASONS = """
SELECT site, code, name, path, loss FROM reason_tree
WHERE ({site:String} = '' OR site = {site:String}) ORDER BY site, path LIMIT {most:UInt32}
UNION ALL
SELECT DISTINCT CAST(t.site, 'String'), CAST(t.reason, 'String'), CAST(t.reason, 'String'), CAST([], 'Array(String)'),
       ''
FROM timeline AS t
WHERE t.start >= {back:DateTime64(3, 'UTC')} AND t.element = 'adet' AND t.reason != ''
  AND ({site:String} = '' OR t.site = {site:String}) AND (t.site, t.reason) NOT IN (SELECT site, code FROM reason_tree)
ORDER BY 1, 2 LIMIT {most:UInt32}"""
CORRECTIONS = """
SELECT machine, id, revision, start, end, state, calendar, reason, product, order, good, reject, rework, ideal_cycle_us,
       issued, issued_by, note
FROM corrections_in_force
WHERE issued >= {back:DateTime64(3, 'UTC')} AND ({machine:String} = '' OR machine = {machine:String})
  AND ({site:String} = '' OR machine IN (SELECT machine FROM machines WHERE site = {site:String}))
ORDER BY issued DESC, machine, id LIMIT {most:UInt32}"""
ARRIVED = "SELECT id, max(revision) AS revision FROM corrections WHERE id IN {ids:Array(String)} GROUP BY id"
# Rows that became known after a correction was issued, within its stretch of time.
RESTATED = """
SELECT c.id AS id, count() AS rows
FROM (SELECT arrayJoin(arrayZip({ids:Array(String)}, {of:Array(String)}, {starts:Array(Int64)}, {ends:Array(Int64)},
                                {issued:Array(Int64)})) AS c1, c1.1 AS id, c1.2 AS machine, c1.3 AS start, c1.4 AS end,
             c1.5 AS issued) AS c
INNER JOIN
(
    SELECT machine, toUnixTimestamp64Milli(start) AS low, toUnixTimestamp64Milli(until) AS high,
           toUnixTimestamp64Milli(known_at) AS known
    FROM timeline
    WHERE machine IN {of:Array(String)} AND start >= {low:DateTime64(3, 'UTC')} - INTERVAL 26 HOUR
      AND start < {high:DateTime64(3, 'UTC')}
    UNION ALL
    SELECT machine, toUnixTimestamp64Milli(segment_start), toUnixTimestamp64Milli(segment_end),
           toUnixTimestamp64Milli(known_at)
    FROM facts
    WHERE machine IN {of:Array(String)} AND window_start >= {low:DateTime64(3, 'UTC')} - INTERVAL 15 MINUTE
      AND window_start < {high:DateTime64(3, 'UTC')} AND reason = 'correction'
) AS t ON t.machine = c.machine
WHERE t.low < c.end AND t.high > c.start AND t.known >= c.issued
GROUP BY id"""
REFUSED = """
SELECT machine, detail FROM parked
WHERE machine IN {of:Array(String)} AND arrived >= {back:DateTime64(3, 'UTC')} AND detail LIKE '%correction %'
ORDER BY arrived DESC LIMIT {most:UInt32}"""


def corrections(sent: Iterable[Row], site: str, machine: str, every: bool, store: Store, now: datetime) -> Row:
    """Stops of the 3 days before `now`, the longest first, and the corrections issued in that time, the newest first.

    `stops`: at most 200, without `every` those that have time without a reason and are neither micro-stops nor
    starved or blocked; `found` and `found_ms` [ms] count them all. `reasons`: the trees of the factory files, and the
    codes in use that are in none (their `path` is empty).
    `corrections`: at most 100; `status` is `sent` (of `sent`, what this server sent and the store does not know yet),
    `stored`, `done` (`rows` of its stretch are restated) or `refused` (`why`). Times are UTC milliseconds.
    Raises StoreUnavailable, StoreRefused.
    """
    now = now.astimezone(UTC)
    values: Row = {"site": site, "machine": machine, "every": every, "now": now, "back": now - BACK}
    places = {row["machine"]: row for row in ask(store, MACHINES, {**values, "most": MOST_MACHINES})}

    def placed(row: Row) -> Row:
        here = places.get(row["machine"], {})
        return {"site": here.get("site", ""), **row, "timezone": here.get("timezone")}

    stops = ask(store, STOPS, {**values, "most": MOST_STOPS})
    return {
        "found": stops[0]["stops"] if stops else 0,
        "found_ms": stops[0]["all_ms"] if stops else 0,
        "stops": [placed(_without(row, "stops", "all_ms")) for row in stops],
        "reasons": ask(store, REASONS, {**values, "most": MOST_REASONS}),
        "corrections": [placed(row) for row in made(store, list(sent), values)],
    }


def made(store: Store, sent: list[Row], values: Row) -> list[Row]:
    """The corrections issued since `back`, each with what came of it."""
    known = ask(store, CORRECTIONS, {**values, "most": MOST_CORRECTIONS})
    if known:
        _settle(store, known, values)
    waiting = [{**row, "status": "sent", "rows": 0, "why": ""} for row in _waiting(store, sent, values)]
    replaced = {row["id"] for row in waiting}
    return waiting + [row for row in known if row["id"] not in replaced]


def _waiting(store: Store, sent: list[Row], values: Row) -> list[Row]:
    """What this server sent, of the machines that are asked about, and the store does not know yet."""
    here = [row for row in sent if values["machine"] in ("", row["machine"]) and values["site"] in ("", row["site"])]
    if not here:
        return []
    arrived = {row["id"]: row["revision"] for row in ask(store, ARRIVED, {"ids": [row["id"] for row in here]})}
    return [row for row in here if arrived.get(row["id"], 0) < row["revision"]]


def _settle(store: Store, known: list[Row], values: Row) -> None:
    low, high = min(row["start"] for row in known), max(row["end"] for row in known)
    at = {
        "ids": [row["id"] for row in known], "of": [row["machine"] for row in known],
        "starts": [row["start"] for row in known], "ends": [row["end"] for row in known],
        "issued": [row["issued"] for row in known], "back": values["back"], "most": 10 * MOST_CORRECTIONS,
        "low": datetime.fromtimestamp(low / 1000, UTC), "high": datetime.fromtimestamp(high / 1000, UTC),
    }  # fmt: skip
    restated = {row["id"]: row["rows"] for row in ask(store, RESTATED, at)}
    refused = ask(store, REFUSED, at)
    for row in known:
        why = next((one["detail"] for one in refused if f"correction {row['id']} " in one["detail"]), "")
        row["rows"], row["why"] = restated.get(row["id"], 0), why
        row["status"] = "refused" if why else "done" if row["rows"] else "stored"


def _without(row: Row, *names: str) -> Row:
    return {key: cell for key, cell in row.items() if key not in names}
