"""What is known of lines: OEE of the shift, what holds it back, what was lost, shift by shift and window by window."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline import queries
from pipeline.store.client import Store
from pipeline.web.board import BACK, MACHINES, MOST_MACHINES, Row, ask, board, stale

WEEK = timedelta(days=7)
MOST_LINES, MOST_SHIFTS, MOST_WINDOWS, MOST_CAUSES, MOST_LOSSES = 1000, 20_000, 2000, 12, 3
FIGURES = "oee, coverage, oee_null, good, total, pbt_ms, busy_ms, ideal_good_us, external_ms, first, last"
_RANGE = "profile = '', start = {start:DateTime64(3, 'UTC')}, end = {end:DateTime64(3, 'UTC')}"
_HERE = "({site:String} = '' OR site = {site:String}) AND ({line:String} = '' OR line = {line:String})"
SERIAL = f"""
SELECT site, line, shift, period, true AS serial, constraint_machine, constraint_a AS a, constraint_p AS p,
       constraint_q AS q, {FIGURES}
FROM line_oee_by(grain = {{grain:String}}, {_RANGE})
WHERE {_HERE} AND (shift != '' OR {{grain:String}} = 'window')
ORDER BY first DESC LIMIT {{most:UInt32}}"""
SUMMED = f"""
SELECT site, line, shift, period, false AS serial, '' AS constraint_machine, a, p, q, {FIGURES}
FROM oee_by(level = 'line', grain = {{grain:String}}, {_RANGE})
WHERE {_HERE} AND line != '' AND (shift != '' OR {{grain:String}} = 'window')
ORDER BY first DESC LIMIT {{most:UInt32}}"""
NEWEST = f"""
SELECT site, line, max(until) AS until FROM timeline
WHERE start >= {{start:DateTime64(3, 'UTC')}} AND {_HERE} GROUP BY site, line"""
WATERFALL = f"""
SELECT site, line, period, shift, step, loss, is_total, us, share_of_planned
FROM waterfall(level = 'line', grain = 'shift', {_RANGE})
WHERE {_HERE} AND line != '' AND shift != '' ORDER BY number"""


def plant(site: str, store: Store, now: datetime) -> Row:
    """Every line of the factory file: OEE of its newest shift within 26 h, of the shifts of 7 days; empty `site`: all.

    `shift` None: none in 26 h. `a`, `p`, `q` are those of `constraint_machine`, the station that holds a serial line
    back; a line without stations (not `serial`) is the sum of its machines. `losses`: the 3 longest of the shift, all
    machines summed, in microseconds. `oee_target`: that of its machines where they have one and the same. `trend`: its
    shifts, oldest first. Ratios 0 to 1, times UTC milliseconds. Raises StoreUnavailable, StoreRefused.
    """
    now = now.astimezone(UTC)
    lines = _lines(store, site, "", now)
    shifts = _by_line(_shifts(store, site, "", lines, now))
    losses = _by_line(ask(store, WATERFALL, {"site": site, "line": "", "start": now - 2 * BACK, "end": now}))
    newest = _newest(store, site, "", now)
    for row in lines:
        key = (row["site"], row["line"])
        row["until"] = newest.get(key)
        row["stale"] = stale(row["until"], now)
        row["trend"] = shifts.get(key, [])
        row["shift"] = _now(row["trend"], now)
        row["losses"] = _longest(_of(losses.get(key, []), row["shift"]))
    return {"lines": lines}


def line(site: str, name: str, store: Store, now: datetime) -> Row:
    """One line: its newest shift within 26 h by window and loss, its machines as on the board, the shifts of 7 days.

    `line` None: no factory file names it; `sites`: several do, and none was asked for. `windows`, `waterfall` and
    `downtime` are empty without a shift. Raises StoreUnavailable, StoreRefused.
    """
    now = now.astimezone(UTC)
    found = _lines(store, site, name, now)
    if len(found) != 1:
        return {"line": None, "sites": [row["site"] for row in found]}
    row, here = found[0], found[0]["site"]
    trend = _shifts(store, here, name, found, now)
    shift = _now(trend, now)
    until = _newest(store, here, name, now).get((here, name))
    told: Row = {
        **row, "until": until, "stale": stale(until, now), "shift": shift, "trend": trend,
        "machines": [one for one in board(store, here, now) if one["line"] == name],
        "windows": [], "waterfall": [], "downtime": [],
    }  # fmt: skip
    if shift is None:
        return told
    start, end = (datetime.fromtimestamp(shift[key] / 1000, UTC) for key in ("first", "last"))
    within: Row = {"site": here, "line": name, "start": start - timedelta(hours=1), "end": end}
    windows = _figures(store, {**within, "grain": "window", "most": MOST_WINDOWS}, found)
    told["windows"] = [
        {**one, "start": one["first"], "until": one["last"]} for one in windows if one["last"] > shift["first"]
    ]
    told["waterfall"] = _of(ask(store, WATERFALL, {**within, "start": now - 2 * BACK, "end": now}), shift)
    wanted = {"site": here, "line": name, "start": start.isoformat(), "end": end.isoformat()}
    told["downtime"] = queries.ask(store, "downtime", {**wanted, "limit": str(MOST_CAUSES)}).dicts()
    return told


def _lines(store: Store, site: str, name: str, now: datetime) -> list[Row]:
    found: dict[tuple[str, str], list[Row]] = {}
    for row in ask(store, MACHINES, {"site": site, "now": now, "most": MOST_MACHINES}):
        if row["line"] and name in ("", row["line"]):
            found.setdefault((row["site"], row["line"]), []).append(row)
    return [_line(rows) for rows in found.values()][:MOST_LINES]


def _line(rows: list[Row]) -> Row:
    """What the machines of a line have in common."""
    targets = {row["oee_target"] for row in rows}
    first = {name: rows[0][name] for name in ("site", "line", "timezone")}
    first |= {"stations": len(rows), "serial": any(row["position"] > 0 for row in rows)}
    return {**first, "oee_target": targets.pop() if len(targets) == 1 else None}


def _shifts(store: Store, site: str, name: str, lines: list[Row], now: datetime) -> list[Row]:
    """The whole shifts that began in the last 7 days, and the one that goes on; oldest first."""
    values = {"site": site, "line": name, "start": now - WEEK - BACK, "end": now, "grain": "shift", "most": MOST_SHIFTS}
    since = (now - WEEK).timestamp() * 1000
    return [row for row in _figures(store, values, lines) if row["first"] >= since]


def _figures(store: Store, values: Row, lines: list[Row]) -> list[Row]:
    """Serial lines as line_oee_by has them; lines without stations are the sum of their machines. Oldest first."""
    rows: list[Row] = []
    serial = {(row["site"], row["line"]) for row in lines if row["serial"]}
    if serial:
        rows += [row for row in ask(store, SERIAL, values) if (row["site"], row["line"]) in serial]
    summed = {(row["site"], row["line"]) for row in lines if not row["serial"]}
    if summed:
        rows += [row for row in ask(store, SUMMED, values) if (row["site"], row["line"]) in summed]
    return sorted(rows, key=lambda row: (row["first"], row["site"], row["line"]))


def _newest(store: Store, site: str, name: str, now: datetime) -> dict[tuple[str, str], int]:
    rows = ask(store, NEWEST, {"site": site, "line": name, "start": now - BACK})
    return {(row["site"], row["line"]): row["until"] for row in rows}


def _by_line(rows: list[Row]) -> dict[tuple[str, str], list[Row]]:
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row["site"], row["line"]), []).append(row)
    return found


def _now(shifts: list[Row], now: datetime) -> Row | None:
    """The newest shift, if any of it was in the last 26 h."""
    recent = shifts and shifts[-1]["last"] > (now - BACK).timestamp() * 1000
    return shifts[-1] if recent else None


def _of(steps: list[Row], shift: Row | None) -> list[Row]:
    """Those steps of a waterfall that are of this shift."""
    return [step for step in steps if shift and (step["period"], step["shift"]) == (shift["period"], shift["shift"])]


def _longest(steps: list[Row]) -> list[dict[str, Any]]:
    lost = [step for step in steps if not step["is_total"] and step["step"] not in ("not scheduled", "planned stops")]
    return sorted((step for step in lost if step["us"] < 0), key=lambda step: (step["us"], step["step"]))[:MOST_LOSSES]
