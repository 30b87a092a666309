"""Whether the figures can be trusted: how new the data are, what is missing, late, refused or changed afterwards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pipeline.store.client import Store
from pipeline.web.board import BACK, MACHINES, MOST_MACHINES, Row, ask, stale

DAY = timedelta(hours=24)
MOST_LETTERS, MOST_RESTATED = 100, 200

NEWEST = """
SELECT machine, max(until) AS until, max(known_at) AS known FROM timeline
WHERE start >= {back:DateTime64(3, 'UTC')} AND ({site:String} = '' OR site = {site:String}) GROUP BY machine"""
TRUST = """
SELECT machine, coverage, unknown_ms, pbt_ms, provisional, restated, flags
FROM oee_by(level = 'machine', grain = 'total', profile = '', start = {start:DateTime64(3, 'UTC')},
            end = {now:DateTime64(3, 'UTC')})
WHERE ({site:String} = '' OR site = {site:String})"""
RESTATED = """
SELECT machine, reason, count() AS windows, max(known_at) AS newest, min(window_start) AS first, max(window_end) AS last
FROM facts
WHERE revision > 1 AND window_start >= {start:DateTime64(3, 'UTC')} AND window_start < {now:DateTime64(3, 'UTC')}
  AND ({site:String} = '' OR site = {site:String})
GROUP BY machine, reason ORDER BY windows DESC, machine, reason LIMIT {most:UInt32}"""
LETTERS = """
SELECT machine, topic, reason, count() AS records, sum(entries) AS entries, max(arrived) AS newest,
       argMax(detail, arrived) AS detail, sum(count()) OVER () AS all_records,
       sumIf(count(), reason = 'too_late') OVER () AS all_late
FROM parked
WHERE arrived >= {start:DateTime64(3, 'UTC')}
  AND ({site:String} = '' OR machine = '' OR machine IN (SELECT machine FROM machines WHERE site = {site:String}))
GROUP BY machine, topic, reason ORDER BY newest DESC, machine, topic, reason LIMIT {most:UInt32}"""


def health(site: str, store: Store, now: datetime) -> Row:
    """How far the data of the 24 h before `now` can be trusted; empty `site`: all sites.

    `machines`: those of the factory file, without news first, then by coverage; `until` the end of what is known,
    `known` when that became known (None: nothing in 26 h), `stale` as on the board; `coverage` 0 to 1 of planned time,
    `unknown_ms` [ms], windows that are `provisional` or were `restated`. `restated`: windows that were changed after
    they were final, by reason, at most 200. `letters`: dead letters by machine, topic and reason, at most 100, of
    `records` in all and `late` that came too late; those of no readable machine are of every site. Times are UTC
    milliseconds. Raises StoreUnavailable, StoreRefused.
    """
    now = now.astimezone(UTC)
    values: Row = {"site": site, "now": now, "back": now - BACK, "start": now - DAY}
    newest = {row.pop("machine"): row for row in ask(store, NEWEST, values)}
    trust = {row.pop("machine"): row for row in ask(store, TRUST, values)}
    letters = ask(store, LETTERS, {**values, "most": MOST_LETTERS})
    places = ask(store, MACHINES, {**values, "most": MOST_MACHINES})
    zones = {row["machine"]: row["timezone"] for row in places}
    machines = [_machine(row, newest.get(row["machine"]), trust.get(row["machine"]), now) for row in places]
    return {
        "machines": sorted(machines, key=_worst),
        "records": letters[0]["all_records"] if letters else 0,
        "late": letters[0]["all_late"] if letters else 0,
        "letters": [
            {key: cell for key, cell in row.items() if key not in ("all_records", "all_late")}
            | {"timezone": zones.get(row["machine"])}
            for row in letters
        ],
        "restated": [
            {**row, "timezone": zones.get(row["machine"])}
            for row in ask(store, RESTATED, {**values, "most": MOST_RESTATED})
        ],
    }  # fmt: skip


NOTHING: Row = {"coverage": None, "unknown_ms": 0, "pbt_ms": 0, "provisional": 0, "restated": 0, "flags": []}


def _machine(place: Row, newest: Row | None, trust: Row | None, now: datetime) -> Row:
    until, known = (newest["until"], newest["known"]) if newest else (None, None)
    named = {key: place[key] for key in ("site", "line", "machine", "timezone")}
    return {**named, "until": until, "known": known, "stale": stale(until, now), **(trust or NOTHING)}


def _worst(row: Row) -> tuple[bool, float, str, str]:
    return (not row["stale"], 2.0 if row["coverage"] is None else row["coverage"], row["site"], row["machine"])
