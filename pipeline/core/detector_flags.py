"""Flags of one signal, opened, extended and closed; and the rules that need no model: limits, flatline, gap."""

from __future__ import annotations

import math

from pipeline.core import detector_layout as lay
from pipeline.core.detector_layout import Floats, compiled


@compiled
def raise_flag(
    f: Floats, o: int, kind: float, first: float, last: float, score: float, value: float, level: float, low: float,
    high: float,
) -> None:  # fmt: skip
    """Open the flag at offset `o`, or extend the one that is open; the worst sample describes it."""
    if f[o + lay.KIND] == lay.NONE:
        f[o + lay.KIND], f[o + lay.FIRST], f[o + lay.SCORE], f[o + lay.DUE], f[o + lay.SAID] = (
            kind,
            first,
            -1.0,
            -lay.BIG,
            -lay.BIG,
        )
        f[o + lay.LAST] = last
    f[o + lay.LAST] = max(f[o + lay.LAST], last)
    if score > f[o + lay.SCORE]:
        f[o + lay.SCORE], f[o + lay.VALUE], f[o + lay.EXPECTED], f[o + lay.LOW], f[o + lay.HIGH] = (
            score,
            value,
            level,
            low,
            high,
        )


@compiled
def report(f: Floats, o: int, row: int, at: float, closed: bool, reports: Floats, n: int) -> int:
    r = reports[n]
    r[lay.ROW], r[lay.WHEN], r[lay.CLOSED], r[lay.R_KIND] = row, at, closed, f[o + lay.KIND]
    r[lay.R_FIRST], r[lay.R_LAST], r[lay.R_SCORE], r[lay.R_VALUE] = (
        f[o + lay.FIRST],
        f[o + lay.LAST],
        f[o + lay.SCORE],
        f[o + lay.VALUE],
    )
    r[lay.R_EXPECTED], r[lay.R_LOW], r[lay.R_HIGH] = f[o + lay.EXPECTED], f[o + lay.LOW], f[o + lay.HIGH]
    f[o + lay.SAID] = f[o + lay.LAST]
    return n + 1


@compiled
def close_flag(f: Floats, o: int, row: int, at: float, reports: Floats, n: int) -> int:
    """End the flag; said once more when it grew since it was last said."""
    if f[o + lay.LAST] > f[o + lay.SAID]:
        n = report(f, o, row, at, True, reports, n)
    f[o + lay.KIND] = lay.NONE
    return n


@compiled
def tend_flag(f: Floats, o: int, row: int, at: float, quiet: float, grow: float, reports: Floats, n: int) -> int:
    """Say an open flag at its opening, each time its age has doubled, and when it was quiet long enough to end."""
    if f[o + lay.KIND] == lay.NONE:
        return n
    if at - f[o + lay.LAST] > quiet:
        n = close_flag(f, o, row, at, reports, n)
    elif at >= f[o + lay.DUE] and f[o + lay.LAST] > f[o + lay.SAID]:
        n = report(f, o, row, at, False, reports, n)
        f[o + lay.DUE] = at + max(grow, at - f[o + lay.FIRST])
    return n


@compiled
def check_limits(f: Floats, config: Floats, x: float, at: float) -> None:
    """Engineering limits, with a hysteresis of 2 % of the band: a flag on the edge stays one flag."""
    low, high = config[lay.C_LOW], config[lay.C_HIGH]
    if math.isnan(low) and math.isnan(high):
        return
    if not (math.isnan(low) or math.isnan(high)):
        width = high - low
    else:
        width = max(abs(high if math.isnan(low) else low), 1e-9)
    beyond = 0.0
    if x > high:
        beyond = x - high
    elif x < low:
        beyond = low - x
    band = 0.02 * abs(width)
    is_open = f[lay.LIMIT_FLAG + lay.KIND] != lay.NONE
    if beyond > 0.0:
        score = 1.0 - 0.5 * math.exp(-10.0 * beyond / max(abs(width), 1e-9))
        raise_flag(f, lay.LIMIT_FLAG, float(lay.LIMIT), at, at, score, x, math.nan, low, high)
    elif is_open and (x > high - band or x < low + band):
        f[lay.LIMIT_FLAG + lay.LAST] = at


@compiled
def check_flatline(
    f: Floats, c: Floats, g: Floats, config: Floats, p: Floats, x: float, at: float, live: bool, runs: bool,
    entered: bool,
) -> None:  # fmt: skip
    """A sensor that stopped moving: longer than configured, or against how often it repeats itself in this context."""
    if x != f[lay.X] or not live:
        if f[lay.FLAT_FLAG + lay.KIND] == lay.NONE:
            f[lay.USUAL_EVIDENCE] = max(f[lay.USUAL_EVIDENCE], f[lay.EVIDENCE])
        else:
            f[lay.USUAL_EVIDENCE] += 0.15 * f[lay.EVIDENCE]
        young = c[lay.REPEATS] > 0.9 and c[lay.SEEN] < max(p[lay.YOUNG_MS] / max(f[lay.STEP], 1.0), p[lay.WARM_ALL])
        if not entered and (young or (f[lay.HOLD] >= 60.0 and f[lay.HOLD] >= 0.5 * c[lay.SEEN])):
            c[:], g[:] = 0.0, 0.0  # it was stuck for most of what was learned here
        f[lay.HOLD_FIRST], f[lay.HOLD], f[lay.EVIDENCE] = at, 0.0, 0.0
        return
    f[lay.HOLD] += 1.0
    tells = runs or f[lay.UNEVEN] <= p[lay.BY_HAND_FROM]  # what is sent on change has no reason to move while it stands
    if f[lay.COUNT] >= p[lay.WARM_ALL] and c[lay.SEEN] >= p[lay.WARM_SAMPLES] and tells:
        f[lay.EVIDENCE] -= math.log(c[lay.REPEATS])
    held = at - f[lay.HOLD_FIRST]
    limit = config[lay.C_FLATLINE]
    due = 3.0 * f[lay.USUAL_EVIDENCE] + p[lay.FLAT_EVIDENCE]
    if held >= limit or (
        math.isnan(limit) and held >= p[lay.FLAT_MS] and f[lay.HOLD] >= 20.0 and f[lay.EVIDENCE] >= due
    ):
        score = 1.0 - 0.5 * math.exp(-held / 36e5)
        raise_flag(f, lay.FLAT_FLAG, float(lay.FLATLINE), f[lay.HOLD_FIRST], at, score, x, math.nan, math.nan, math.nan)


@compiled
def missing(f: Floats, p: Floats, at: float, live: bool) -> None:
    """No number at an instant at which the machine was sampled: a gap, if the signal does not use to pause so long."""
    f[lay.MISSED] += 1.0
    if not live or f[lay.BASE] == 0.0:
        f[lay.MISSED] = 0.0
    elif (
        f[lay.MISSED] >= p[lay.GAP_SAMPLES] + 5.0 * f[lay.USUAL_MISSED]
        and at - f[lay.AT] >= p[lay.GAP_MS]
        and f[lay.COUNT] >= p[lay.WARM_ALL]
    ):
        score = 1.0 - 0.5 * math.exp((f[lay.AT] - at) / 36e5)
        raise_flag(f, lay.GAP_FLAG, float(lay.GAP), f[lay.AT], at, score, f[lay.X], math.nan, math.nan, math.nan)
