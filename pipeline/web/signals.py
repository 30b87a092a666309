"""The signals of one machine in the last hours of a shift, thinned out, with the band that its flags expected."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from fastapi import FastAPI, Query, Response
from fastapi import Path as PathParameter

from pipeline.store.client import Store
from pipeline.web.board import BACK, Row, ask
from pipeline.web.downloads import FORMAT, TABLE, given
from pipeline.web.machine import SHIFT, WITHOUT_SHIFT
from pipeline.web.pages import Watch

LENGTH = timedelta(hours=2)
MOST_SIGNALS, POINTS, MOST_FLAGS = 24, 120, 200
NAME = PathParameter(max_length=200)
BEFORE = Query(0, ge=0, le=2, description="so many shifts before the newest, within 26 h")

VALUES = """
SELECT signal, intDiv(toUnixTimestamp64Milli(ts) - {first:Int64}, {step:Int64}) * {step:Int64} + {first:Int64} AS at,
       avg(value) AS mean, min(value) AS low, max(value) AS high
FROM signals
WHERE machine = {machine:String} AND ts >= {start:DateTime64(3, 'UTC')} AND ts < {end:DateTime64(3, 'UTC')}
GROUP BY signal, at ORDER BY signal, at LIMIT {most:UInt32}"""
BANDS = """
SELECT signal, kind, severity, first, last, expected_low, expected_high, value, message FROM anomaly_flags
WHERE machine = {machine:String} AND first >= {back:DateTime64(3, 'UTC')} AND first < {end:DateTime64(3, 'UTC')}
  AND last >= {start:DateTime64(3, 'UTC')} AND signal != ''
ORDER BY first DESC LIMIT {most:UInt32}"""
UNITS = """
SELECT units FROM factory WHERE machine = {machine:String} AND effective <= {now:DateTime64(3, 'UTC')}
ORDER BY effective DESC LIMIT 1"""


def signals(name: str, before: int, store: Store, now: datetime) -> Row:
    """Up to 24 signals (the first by name) of the last 2 h of the machine's shift, in 120 stretches of equal length.

    `start`, `until`: the time that is shown. Per signal `points`: [UTC ms of the stretch's begin, mean, lowest,
    highest value] in `unit`, and `flags` that touch the time, with the band that they expected (None: open to that
    side). Without a shift it is the end of the last 8 h. Raises StoreUnavailable, StoreRefused.
    """
    now = now.astimezone(UTC)
    values: Row = {"machine": name, "now": now, "back": now - BACK, "before": before}
    shift = next(iter(ask(store, SHIFT, values)), None)
    first, last = (shift["first"], shift["last"]) if shift else (_ms(now - WITHOUT_SHIFT), _ms(now))
    first = max(first, last - _ms_of(LENGTH))
    values |= {"first": first, "step": max(1, -(-(last - first) // POINTS)), "start": _at(first), "end": _at(last)}
    units = ask(store, UNITS, values)
    found: dict[str, Row] = {}
    for row in ask(store, VALUES, {**values, "most": 1000 * POINTS}):
        if row["signal"] not in found and len(found) == MOST_SIGNALS:
            break
        unit = units[0]["units"].get(row["signal"], "") if units else ""
        one = found.setdefault(row["signal"], {"signal": row["signal"], "unit": unit, "points": [], "flags": []})
        one["points"].append([row["at"], row["mean"], row["low"], row["high"]])
    for flag in ask(store, BANDS, {**values, "most": MOST_FLAGS}):
        if flag["signal"] in found:
            found[flag["signal"]]["flags"].append(flag)
    return {"start": first, "until": last, "step": values["step"], "signals": list(found.values())}


def add(app: FastAPI, watch: Watch) -> None:
    """/api/signals/NAME."""

    @app.get(
        "/api/signals/{name:path}", summary="Signals of a machine in the last 2 h of its shift, with expected bands"
    )
    async def of_machine(name: str = NAME, before: int = BEFORE, kind: str = FORMAT, table: str = TABLE) -> Response:
        told = await watch(signals, name, before).now()
        return given(told if kind == "json" or "error" in told else _tidy(told), kind, table, ("values",))


def _tidy(told: Row) -> Row:
    """A row per signal and stretch of time."""
    names = ("at", "mean", "low", "high")
    rows = [
        {"signal": one["signal"], "unit": one["unit"], **dict(zip(names, point, strict=True))}
        for one in told["signals"]
        for point in one["points"]
    ]
    return {"values": rows}


def _at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _ms_of(length: timedelta) -> int:
    return round(length.total_seconds() * 1000)
