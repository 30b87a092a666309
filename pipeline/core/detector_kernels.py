"""Compiled arithmetic of the anomaly detectors: one signal's samples in time order, scored before they are learned.

A signal is one row of float64: fields of the signal, then one group of fields per flag, then one per context. What a
context is (state, product, just entered or settled) is the caller's business; here it is a number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
F = TypeVar("F", bound=Callable[..., Any])

# Fields of a signal.
(
    AT, X, ENTERED, BASE, COUNT, STEP, ALL_LEVEL, ALL_SCALE, QUANTUM, LOCAL, WARM, FAST, SLOW, FAST_SCALE, SLOW_SCALE,
    ONSET, SIDE, BAD, BAD_FIRST, BAD_SCORE, BAD_VALUE, BAD_LEVEL, BAD_SCALE, LAST_BAD, HOLD_FIRST, HOLD, EVIDENCE,
    USUAL_EVIDENCE, MISSED, USUAL_MISSED, OFFSET, OFFSET_SEEN, RENEWED, LAGGED, PLAIN_ERROR, LAG_ERROR, PIECE,
    PIECE_SUM, PIECE_FROM, PIECE_BASE, PIECE_BEFORE, X_SPREAD, X_CHANGE, PULL, LAG_OFFSET, LAG_OFFSET_SEEN, COMPARED,
    PEAK, PEAK_NOW, PEAK_AT, REFRACTORY, LAST_RUN,
) = range(52)  # fmt: skip
SIGNAL_FIELDS = 52
# Fields of a flag; four flags can be open on one signal.
KIND, FIRST, LAST, SCORE, VALUE, EXPECTED, LOW, HIGH, DUE, SAID = range(10)
FLAG_FIELDS = 10
LEARNED_FLAG, LIMIT_FLAG, FLAT_FLAG, GAP_FLAG = (SIGNAL_FIELDS + i * FLAG_FIELDS for i in range(4))
FLAGS = LEARNED_FLAG, LIMIT_FLAG, FLAT_FLAG, GAP_FLAG
# Fields of a context, of which each (state, product) has two: just entered, and settled.
SEEN, LEVEL, SCALE, SPREAD, LAG_SCALE, REPEATS, FLAGGED = range(7)
CONTEXT_FIELDS = 7
CONTEXTS = 14
CONTEXTS_FROM = SIGNAL_FIELDS + len(FLAGS) * FLAG_FIELDS
# The lag model, per (state, product): pieces of time seen, their mean, and the mean change to the next piece.
PIECES, PIECE_MEAN, PIECE_CHANGE = range(3)
LAG_FIELDS = 3
LAGS_FROM = CONTEXTS_FROM + 2 * CONTEXTS * CONTEXT_FIELDS
FIELDS = LAGS_FROM + CONTEXTS * LAG_FIELDS
# Kinds of flags.
NONE, SPIKE, SHIFT, DRIFT, LIMIT, FLATLINE, GAP = range(7)
# Columns of a report.
ROW, WHEN, CLOSED, R_KIND, R_FIRST, R_LAST, R_SCORE, R_VALUE, R_EXPECTED, R_LOW, R_HIGH = range(11)
REPORT_FIELDS = 11
REPORTS_PER_SAMPLE = 8
# Columns of a signal's configuration.
C_LOW, C_HIGH, C_FLATLINE, C_LEARN = range(4)

# Parameters; all durations in ms of event time.
PARAMETERS = {
    "warm_samples": 50.0,  # samples of a context before it is judged
    "warm_all": 100.0,  # samples of a signal before any judgement
    "memory_samples": 3000.0,  # memory of level and scale, at least
    "memory_ms": 10 * 3600e3,
    "offset_ms": 3 * 3600e3,  # memory of what all running contexts share: wear, ambience
    "offset_samples": 6000.0,
    "settle_ms": 30e3,  # after a change of state a signal is in a context of its own for so long
    "fast_samples": 5.0,
    "fast_ms": 60e3,
    "slow_samples": 40.0,
    "slow_ms": 600e3,
    "spike": 6.5,  # threshold of a single sample, in scales
    "shift_scales": 5.0,  # threshold of the fast and slow means, in their own scales ...
    "fast_effect": 2.7,  # ... and at least so many scales of the signal
    "slow_effect": 2.0,
    "drift_ms": 900e3,  # a rise that took longer is a drift
    "spike_samples": 3.0,  # more in a row are a shift
    "quiet_ms": 300e3,  # a flag ends when nothing was wrong for so long ...
    "quiet_samples": 150.0,  # ... and so many samples
    "accept_ms": 4 * 3600e3,  # what lasts longer is the new normal
    "accept_samples": 600.0,
    "flat_ms": 300e3,
    "flat_evidence": 30.0,
    "grow_ms": 60e3,
    "clip": 3.0,
    "mean_clip": 8.0,
    "floor": 0.01,
    "gap_ms": 300e3,
    "gap_samples": 60.0,
    "habit": 0.3,
    "habit_most": 8.0,
    "habit_ms": 3 * 86400e3,
    "habit_samples": 5000.0,
    "alarm": 0.6,
    "refractory_samples": 250.0,
    "young_ms": 3600e3,
    "piece_ms": 30e3,
    "piece_memory": 1000.0,
    "offset_pieces": 360.0,
    "accept_at_least_ms": 1200e3,
    "change_ms": 1800e3,
}
NAMES = tuple(PARAMETERS)
(
    WARM_SAMPLES, WARM_ALL, MEMORY_SAMPLES, MEMORY_MS, OFFSET_MS, OFFSET_SAMPLES, SETTLE_MS, FAST_SAMPLES, FAST_MS,
    SLOW_SAMPLES, SLOW_MS, P_SPIKE, SHIFT_SCALES, FAST_EFFECT, SLOW_EFFECT, DRIFT_MS, SPIKE_SAMPLES, QUIET_MS,
    QUIET_SAMPLES, ACCEPT_MS, ACCEPT_SAMPLES, FLAT_MS, FLAT_EVIDENCE, GROW_MS, CLIP, MEAN_CLIP, FLOOR, GAP_MS,
    GAP_SAMPLES, HABIT, HABIT_MOST, HABIT_MS, HABIT_SAMPLES, ALARM, REFRACTORY_SAMPLES, YOUNG_MS, PIECE_MS,
    PIECE_MEMORY, OFFSET_PIECES, ACCEPT_AT_LEAST_MS, CHANGE_MS,
) = range(len(PARAMETERS))  # fmt: skip
BIG = 1e150


def compiled(function: F) -> F:
    """Compiled into its callers; x / 0 is infinite, as numpy has it."""
    return cast("F", njit(error_model="numpy")(function))


def entry(function: F) -> F:
    """Called from Python: compiled once per machine and kept on disk, together with all that it calls."""
    return cast("F", njit(error_model="numpy", cache=True)(function))


@compiled
def clipped(value: float, most: float) -> float:
    return min(max(value, -most), most)


@compiled
def score_of(surprise: float) -> float:
    """0.5 at the threshold (surprise 1), towards 1 far beyond it."""
    return 1.0 - math.exp(-math.log(2.0) * min(max(surprise, 0.0), 50.0))


@compiled
def raise_flag(
    f: Floats, o: int, kind: float, first: float, last: float, score: float, value: float, level: float, low: float,
    high: float,
) -> None:  # fmt: skip
    """Open the flag at offset `o`, or extend the one that is open; the worst sample describes it."""
    if f[o + KIND] == NONE:
        f[o + KIND], f[o + FIRST], f[o + SCORE], f[o + DUE], f[o + SAID] = kind, first, -1.0, -BIG, -BIG
        f[o + LAST] = last
    f[o + LAST] = max(f[o + LAST], last)
    if score > f[o + SCORE]:
        f[o + SCORE], f[o + VALUE], f[o + EXPECTED], f[o + LOW], f[o + HIGH] = score, value, level, low, high


@compiled
def report(f: Floats, o: int, row: int, at: float, closed: bool, reports: Floats, n: int) -> int:
    r = reports[n]
    r[ROW], r[WHEN], r[CLOSED], r[R_KIND] = row, at, closed, f[o + KIND]
    r[R_FIRST], r[R_LAST], r[R_SCORE], r[R_VALUE] = f[o + FIRST], f[o + LAST], f[o + SCORE], f[o + VALUE]
    r[R_EXPECTED], r[R_LOW], r[R_HIGH] = f[o + EXPECTED], f[o + LOW], f[o + HIGH]
    f[o + SAID] = f[o + LAST]
    return n + 1


@compiled
def close_flag(f: Floats, o: int, row: int, at: float, reports: Floats, n: int) -> int:
    """End the flag; said once more when it grew since it was last said."""
    if f[o + LAST] > f[o + SAID]:
        n = report(f, o, row, at, True, reports, n)
    f[o + KIND] = NONE
    return n


@compiled
def tend_flag(f: Floats, o: int, row: int, at: float, quiet: float, grow: float, reports: Floats, n: int) -> int:
    """Say an open flag at its opening, each time its age has doubled, and when it was quiet long enough to end."""
    if f[o + KIND] == NONE:
        return n
    if at - f[o + LAST] > quiet:
        n = close_flag(f, o, row, at, reports, n)
    elif at >= f[o + DUE] and f[o + LAST] > f[o + SAID]:
        n = report(f, o, row, at, False, reports, n)
        f[o + DUE] = at + max(grow, at - f[o + FIRST])
    return n


@compiled
def check_limits(f: Floats, config: Floats, x: float, at: float) -> None:
    """Engineering limits, with a hysteresis of 2 % of the band: a flag on the edge stays one flag."""
    low, high = config[C_LOW], config[C_HIGH]
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
    is_open = f[LIMIT_FLAG + KIND] != NONE
    if beyond > 0.0:
        score = 1.0 - 0.5 * math.exp(-10.0 * beyond / max(abs(width), 1e-9))
        raise_flag(f, LIMIT_FLAG, float(LIMIT), at, at, score, x, math.nan, low, high)
    elif is_open and (x > high - band or x < low + band):
        f[LIMIT_FLAG + LAST] = at


@compiled
def check_flatline(
    f: Floats, c: Floats, g: Floats, config: Floats, p: Floats, x: float, at: float, live: bool, entered: bool
) -> None:
    """A sensor that stopped moving: longer than configured, or against how often it repeats itself in this context."""
    if x != f[X] or not live:
        if f[FLAT_FLAG + KIND] == NONE:
            f[USUAL_EVIDENCE] = max(f[USUAL_EVIDENCE], f[EVIDENCE])
        else:
            f[USUAL_EVIDENCE] += 0.15 * f[EVIDENCE]
        young = c[REPEATS] > 0.9 and c[SEEN] < max(p[YOUNG_MS] / max(f[STEP], 1.0), p[WARM_ALL])
        if not entered and (young or (f[HOLD] >= 60.0 and f[HOLD] >= 0.5 * c[SEEN])):
            c[:], g[:] = 0.0, 0.0  # it was stuck for most of what was learned here
        f[HOLD_FIRST], f[HOLD], f[EVIDENCE] = at, 0.0, 0.0
        return
    f[HOLD] += 1.0
    if f[COUNT] >= p[WARM_ALL] and c[SEEN] >= p[WARM_SAMPLES]:
        f[EVIDENCE] -= math.log(c[REPEATS])
    held = at - f[HOLD_FIRST]
    limit = config[C_FLATLINE]
    due = 3.0 * f[USUAL_EVIDENCE] + p[FLAT_EVIDENCE]
    if held >= limit or (math.isnan(limit) and held >= p[FLAT_MS] and f[HOLD] >= 20.0 and f[EVIDENCE] >= due):
        score = 1.0 - 0.5 * math.exp(-held / 36e5)
        raise_flag(f, FLAT_FLAG, float(FLATLINE), f[HOLD_FIRST], at, score, x, math.nan, math.nan, math.nan)


@compiled
def pace(seen: float, memory: float) -> float:
    """Weight of a new sample: at first that of a short memory, so that a bad start is forgotten, then a mean's."""
    return 3.0 / (seen + 2.0) if seen < 300.0 else 1.0 / min(seen - 200.0, memory)


@compiled
def learn_context(
    f: Floats,
    c: Floats,
    p: Floats,
    x: float,
    memory: float,
    trust: float,
    wears: bool,
    floor: float,
    lag_known: bool,
) -> None:
    """Level and scale of a context: means of clipped deviations, so that an outlier moves them little."""
    c[SEEN] += 1.0
    offset = f[OFFSET] if wears else 0.0
    if c[SEEN] == 1.0:
        c[LEVEL], c[REPEATS] = x - offset, 0.5
        return
    a = trust * pace(c[SEEN], memory)
    r = clipped(x - offset - c[LEVEL], p[CLIP] * max(c[SCALE], floor) if c[SEEN] > 20.0 else BIG)
    if wears and c[SEEN] >= p[WARM_SAMPLES]:
        f[OFFSET_SEEN] += 1.0
        if f[OFFSET_SEEN] < p[WARM_SAMPLES]:
            wide = clipped(x - offset - c[LEVEL], 20.0 * max(c[SCALE], floor))
            f[OFFSET] += wide * pace(f[OFFSET_SEEN], BIG)
            return
        f[OFFSET] += r * trust / min(f[OFFSET_SEEN], max(p[OFFSET_SAMPLES], p[OFFSET_MS] / max(f[STEP], 1.0)))
    c[LEVEL] += a * r
    c[SCALE] += a * (1.2533 * abs(r) - c[SCALE])
    near = clipped(x - f[LOCAL], 4.0 * max(c[SPREAD], floor) if c[SEEN] > 20.0 else BIG)
    c[SPREAD] += a * (1.2533 * abs(near) - c[SPREAD])
    if lag_known:
        if c[LAG_SCALE] == 0.0:
            c[LAG_SCALE] = c[SCALE]
        lag = clipped(x - f[LAGGED], p[CLIP] * max(c[LAG_SCALE], floor))
        c[LAG_SCALE] += min(max(3.0 * a, trust / max(p[OFFSET_SAMPLES], p[YOUNG_MS] / max(f[STEP], 1.0))), 1.0) * (
            1.2533 * abs(lag) - c[LAG_SCALE]
        )
    c[REPEATS] += (1.0 / min(c[SEEN] + 2.0, memory)) * ((1.0 if x == f[X] else 0.0) - c[REPEATS])
    c[REPEATS] = max(c[REPEATS], 1e-3)


@compiled
def follow_lag(f: Floats, g: Floats, x: float, at: float, wears: bool, p: Floats) -> bool:
    """Where the signal would be by now if it tended exponentially to the target of each context it was in.

    False: not known in this context yet; then it just follows the signal."""
    if f[COUNT] == 0.0:
        f[LAGGED] = x
    if f[COUNT] >= p[WARM_SAMPLES]:
        x = f[LAGGED] + clipped(x - f[LAGGED], 10.0 * f[ALL_SCALE])
    fresh = wears and f[LAG_OFFSET_SEEN] < 20.0
    if f[PULL] <= 0.0 or g[PIECES] < 20.0 or fresh:
        f[LAGGED] += 0.1 * (x - f[LAGGED])
        return False
    target = g[PIECE_MEAN] + g[PIECE_CHANGE] / f[PULL] + (f[LAG_OFFSET] if wears else 0.0)
    keep = (1.0 - f[PULL]) ** min((at - f[AT]) / max(p[PIECE_MS], f[STEP]), 1000.0)
    f[LAGGED] = target + (f[LAGGED] - target) * keep
    return True


@compiled
def learn_lag(f: Floats, g: Floats, x: float, at: float, base: int, wears: bool, trust: float, p: Floats) -> None:
    """Regression of the change from piece to piece of time on the piece's mean, one intercept per context."""
    if f[COUNT] < p[WARM_SAMPLES]:
        return
    x = f[LAGGED] + clipped(x - f[LAGGED], 10.0 * f[ALL_SCALE])
    length = max(p[PIECE_MS], f[STEP])
    if f[PIECE_BASE] != base + 1.0 or at - f[AT] > 2.0 * length:
        f[PIECE_BASE], f[PIECE], f[PIECE_SUM], f[PIECE_FROM], f[PIECE_BEFORE] = base + 1.0, 0.0, 0.0, at, math.nan
    elif at - f[PIECE_FROM] >= length and f[PIECE] > 0.0:
        mean, before = f[PIECE_SUM] / f[PIECE], f[PIECE_BEFORE]
        f[PIECE], f[PIECE_SUM], f[PIECE_FROM], f[PIECE_BEFORE] = 0.0, 0.0, at, mean
        if not math.isnan(before):
            learn_piece(f, g, before, mean - before, wears, trust, p)
    f[PIECE] += 1.0
    f[PIECE_SUM] += x


@compiled
def learn_piece(f: Floats, g: Floats, mean: float, change: float, wears: bool, trust: float, p: Floats) -> None:
    if wears and f[PULL] > 0.0 and g[PIECES] >= 20.0:
        seen = (change + f[PULL] * mean - g[PIECE_CHANGE]) / f[PULL] - g[PIECE_MEAN]
        f[LAG_OFFSET_SEEN] += 1.0
        f[LAG_OFFSET] += trust * (seen - f[LAG_OFFSET]) / min(f[LAG_OFFSET_SEEN], p[OFFSET_PIECES])
    if wears:
        change -= f[PULL] * f[LAG_OFFSET]
    g[PIECES] += 1.0
    a = (trust if g[PIECES] > 1.0 else 1.0) / min(g[PIECES], p[PIECE_MEMORY])
    dx, dc = mean - g[PIECE_MEAN], change - g[PIECE_CHANGE]
    g[PIECE_MEAN] += a * dx
    g[PIECE_CHANGE] += a * dc
    if g[PIECES] > 1.0:
        f[X_SPREAD] += (1.0 - a) * dx * dx - f[X_SPREAD] / p[PIECE_MEMORY]
        f[X_CHANGE] += (1.0 - a) * dx * dc - f[X_CHANGE] / p[PIECE_MEMORY]
        f[PULL] = min(max(-f[X_CHANGE] / f[X_SPREAD], 0.0), 0.9) if f[X_SPREAD] > 0.0 else 0.0


@compiled
def learn_signal(f: Floats, x: float, memory: float) -> None:
    """Level and scale over all contexts, and the smallest step ever seen: floors of the contexts' scales."""
    if f[COUNT] == 0.0:
        f[ALL_LEVEL], f[QUANTUM] = x, BIG
    step = abs(x - f[X])
    if f[COUNT] > 0.0 and 0.0 < step < f[QUANTUM]:
        f[QUANTUM] = step
    f[COUNT] += 1.0
    a = pace(f[COUNT], memory)
    most = 10.0 * f[ALL_SCALE] if f[COUNT] > 20.0 and f[ALL_SCALE] > 0.0 else BIG
    r = clipped(x - f[ALL_LEVEL], most)
    f[ALL_LEVEL] += a * r
    f[ALL_SCALE] += a * (1.2533 * abs(r) - f[ALL_SCALE])


@compiled
def follow(f: Floats, z: float, fast: float, slow: float, at: float) -> None:
    """Fast and slow means of the standardised deviation, and since when the fast one stands off to one side."""
    f[FAST] += (z - f[FAST]) / fast
    f[SLOW] += (z - f[SLOW]) / slow
    if f[SIDE] == 0.0 or f[FAST] * f[SIDE] < 0.25:
        f[SIDE] = 0.0
        if abs(f[FAST]) >= 1.0:
            f[SIDE], f[ONSET] = (1.0 if f[FAST] > 0.0 else -1.0), at


@compiled
def note_bad(f: Floats, at: float, score: float, x: float, level: float, scale: float) -> None:
    """Remember a run of samples that are wrong one by one; a spike or a shift, that its length will tell."""
    if f[BAD] == 0.0:
        f[BAD_FIRST], f[BAD_SCORE] = at, -1.0
    f[BAD] += 1.0
    f[LAST_BAD] = at
    if score > f[BAD_SCORE]:
        f[BAD_SCORE], f[BAD_VALUE], f[BAD_LEVEL], f[BAD_SCALE] = score, x, level, scale


@compiled
def raise_bad(f: Floats, kind: float, wide: float) -> None:
    low, high = f[BAD_LEVEL] - wide * f[BAD_SCALE], f[BAD_LEVEL] + wide * f[BAD_SCALE]
    raise_flag(
        f, LEARNED_FLAG, kind, f[BAD_FIRST], f[LAST_BAD], f[BAD_SCORE], f[BAD_VALUE], f[BAD_LEVEL], low, high
    )  # fmt: skip


@compiled
def usual_peak(f: Floats, p: Floats, surprise: float, at: float) -> float:
    """Factor on the thresholds (at least 1): higher for a signal that is hardly known, or that often strays so far."""
    tail: float = max(1.0, 1.1 * f[PEAK])
    young = max(p[YOUNG_MS] / max(f[STEP], 1.0), p[WARM_ALL])
    if f[PEAK_NOW] > 0.0 and at - f[PEAK_AT] > max(p[QUIET_MS], p[QUIET_SAMPLES] * f[STEP]):
        f[PEAK] += p[HABIT] * (min(f[PEAK_NOW], p[HABIT_MOST] * max(f[PEAK], 1.0)) - f[PEAK])
        f[PEAK_NOW] = 0.0
    if surprise > 0.7:
        f[PEAK_NOW], f[PEAK_AT] = max(f[PEAK_NOW], surprise), at
    f[PEAK] *= 1.0 - min(1.0, max(at - f[AT], 0.0) / max(p[HABIT_MS], p[HABIT_SAMPLES] * f[STEP]))
    tail *= 1.0 + 0.6 * young / (young + f[WARM])
    return tail


@compiled
def judge(
    f: Floats, p: Floats, single: float, x: float, at: float, level: float, scale: float, row: int, reports: Floats,
    n: int,
) -> tuple[float, int]:  # fmt: skip
    """Score of one sample (0.5 is the threshold) and the learned flag: single samples are spikes until they last."""
    fast = min(abs(f[FAST]) / p[FAST_EFFECT], abs(f[FAST]) / (p[SHIFT_SCALES] * max(f[FAST_SCALE], 1e-3)))
    slow = min(abs(f[SLOW]) / p[SLOW_EFFECT], abs(f[SLOW]) / (p[SHIFT_SCALES] * max(f[SLOW_SCALE], 1e-3)))
    mean = max(fast, slow) if abs(f[FAST]) >= 0.5 * p[SLOW_EFFECT] else 0.0  # the slow mean alone is an echo
    tail = usual_peak(f, p, max(single, mean), at)
    single, mean = single / tail, mean / tail
    score = score_of(max(single, mean))
    o = LEARNED_FLAG
    if single >= 1.0:
        note_bad(f, at, score, x, level, scale)
    lasts = mean >= 1.0 or f[BAD] > p[SPIKE_SAMPLES]
    kind = f[o + KIND]
    if lasts:
        first = f[ONSET] if mean >= 1.0 and f[SIDE] != 0.0 else at
        if f[BAD] > 0.0:
            first = min(first, f[BAD_FIRST])
        if kind == SPIKE:
            n = close_flag(f, o, row, at, reports, n)
            kind = 0.0
        if kind == NONE:
            kind = float(DRIFT) if at - first >= p[DRIFT_MS] else float(SHIFT)
        wide = p[FAST_EFFECT]
        raise_flag(f, o, kind, first, at, score, x, level, level - wide * scale, level + wide * scale)
    elif single >= 1.0:
        if kind != NONE:
            raise_bad(f, kind, p[P_SPIKE])
    elif kind >= SHIFT and mean >= 0.5:
        f[o + LAST] = at
    if single < 0.5 and f[BAD] > 0.0:
        if kind == NONE:
            raise_bad(f, float(SPIKE), p[P_SPIKE])
        f[BAD] = 0.0
    return score, n


@compiled
def compared(f: Floats, p: Floats) -> bool:
    """Whether the two models were compared long enough: a lag that did not show by then is none."""
    return bool(f[COMPARED] >= max(p[YOUNG_MS] / max(f[STEP], 1.0), p[WARM_ALL]))


@compiled
def expectation(
    f: Floats, c: Floats, p: Floats, x: float, offset: float, floor: float, lag_known: bool
) -> tuple[float, float]:
    """Level and scale by the model that fits this signal better; not clear yet: by the one that x fits better."""
    young = 1.0 + 10.0 / max(c[SEEN], 1.0)
    plain, plain_scale = c[LEVEL] + offset, max(c[SCALE] * young, floor)
    lag, lag_scale = f[LAGGED], max(c[LAG_SCALE], c[SPREAD], 1.2533 * f[LAG_ERROR], floor) * young
    if f[LAG_ERROR] < 0.6 * f[PLAIN_ERROR]:
        return lag, lag_scale
    if f[PLAIN_ERROR] < 0.6 * f[LAG_ERROR] or compared(f, p) or not lag_known:
        return plain, plain_scale
    if abs(x - lag) * plain_scale < abs(x - plain) * lag_scale:
        return lag, lag_scale
    return plain, plain_scale


@compiled
def learn_all(
    f: Floats, c: Floats, g: Floats, p: Floats, x: float, at: float, base: int, memory: float, wears: bool,
    floor: float, lag_known: bool,
) -> None:  # fmt: skip
    trust = 1.0 / (1.0 + f[SLOW] ** 4)  # what may be the beginning of a drift is learned with reserve
    if f[WARM] > 0.0:
        a = 1.0 / min(f[WARM], memory)
        f[FAST_SCALE] += a * trust * (min(1.2533 * abs(f[FAST]), 1.0) - f[FAST_SCALE])
        f[SLOW_SCALE] += a * trust * (min(1.2533 * abs(f[SLOW]), 1.0) - f[SLOW_SCALE])
    if lag_known:
        f[COMPARED] += 1.0
        a = 1.0 / min(f[COMPARED], max(p[OFFSET_SAMPLES], p[OFFSET_MS] / max(f[STEP], 1.0)))
        offset = f[OFFSET] if wears else 0.0
        f[PLAIN_ERROR] += a * (min(abs(x - c[LEVEL] - offset), 10.0 * f[ALL_SCALE]) - f[PLAIN_ERROR])
        f[LAG_ERROR] += a * (min(abs(x - f[LAGGED]), 10.0 * f[ALL_SCALE]) - f[LAG_ERROR])
    learn_lag(f, g, x, at, base, wears, trust, p)
    learn_context(f, c, p, x, memory, trust, wears, floor, lag_known)
    learn_signal(f, x, memory)


@compiled
def learned(
    f: Floats, c: Floats, g: Floats, p: Floats, x: float, at: float, base: int, entered: bool, wears: bool, row: int,
    reports: Floats, n: int,
) -> tuple[float, int]:  # fmt: skip
    """Judge a sample by what was learned before it, then learn it. NaN as score: still warming up."""
    step = max(f[STEP], 1.0)
    memory = max(p[MEMORY_SAMPLES], p[MEMORY_MS] / step)
    score = math.nan
    quantum = 0.5 * f[QUANTUM] if f[QUANTUM] < BIG else 0.0
    floor = max(p[FLOOR] * f[ALL_SCALE], quantum)
    if entered:
        f[LOCAL] = x
    if wears and f[RENEWED] > 0.0:
        f[RENEWED], f[OFFSET_SEEN], f[LAG_OFFSET_SEEN] = 0.0, 0.0, 0.0
    if wears and f[LAST_RUN] != base + 1.0:
        if f[LAST_RUN] > 0.0:  # another product: what wears may show otherwise on it
            f[OFFSET_SEEN] = min(f[OFFSET_SEEN], max(p[WARM_SAMPLES], p[CHANGE_MS] / step))
            f[LAG_OFFSET_SEEN] = min(f[LAG_OFFSET_SEEN], max(20.0, p[CHANGE_MS] / p[PIECE_MS]))
        f[LAST_RUN] = base + 1.0
    lag_known = follow_lag(f, g, x, at, wears, p)
    level, scale = expectation(f, c, p, x, f[OFFSET] if wears else 0.0, floor, lag_known)
    fresh = wears and f[OFFSET_SEEN] < p[WARM_SAMPLES]
    stuck = f[EVIDENCE] > 10.0  # a sensor that stopped is neither judged nor learned
    clear = f[LAG_ERROR] < 0.6 * f[PLAIN_ERROR] or f[PLAIN_ERROR] < 0.6 * f[LAG_ERROR]
    known = lag_known or (clear and f[COMPARED] >= p[WARM_ALL]) or compared(f, p)
    if c[SEEN] >= p[WARM_SAMPLES] and scale > 0.0 and known and not fresh and not stuck:
        z = clipped((x - level) / scale, 100.0)
        near = abs(x - f[LOCAL]) / max(c[SPREAD], quantum, 1e-3 * scale)
        follow(f, clipped(z, p[MEAN_CLIP]), max(p[FAST_SAMPLES], p[FAST_MS] / step),
               max(p[SLOW_SAMPLES], p[SLOW_MS] / step), at)  # fmt: skip
        f[WARM] += 1.0
        if f[WARM] >= p[WARM_ALL]:
            single = max(abs(z), min(near, 100.0) if abs(z) > 1.0 else 0.0) / p[P_SPIKE]
            score, n = judge(f, p, single, x, at, level, scale, row, reports, n)
    if f[LEARNED_FLAG + KIND] >= SHIFT:
        c[FLAGGED] += 1.0
        if c[FLAGGED] >= max(p[ACCEPT_SAMPLES], p[ACCEPT_AT_LEAST_MS] / step) and (
            c[FLAGGED] > c[SEEN] or c[FLAGGED] * step > p[ACCEPT_MS]
        ):
            n = close_flag(f, LEARNED_FLAG, row, at, reports, n)
            c[:], g[:], f[FAST], f[SLOW], f[SIDE], f[BAD] = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    elif not stuck:
        learn_all(f, c, g, p, x, at, base, memory, wears, floor, lag_known)
    f[LOCAL] += 0.3 * clipped(x - f[LOCAL], max(4.0 * c[SPREAD], 0.1 * scale))
    return score, n


@compiled
def step_time(f: Floats, at: float) -> None:
    """The usual time between samples; pauses count for little."""
    passed = at - f[AT]
    if f[STEP] == 0.0:
        f[STEP] = max(passed, 1.0)
    f[STEP] += 0.02 * (min(max(passed, 1.0), 4.0 * f[STEP]) - f[STEP])


@compiled
def missing(f: Floats, p: Floats, at: float, live: bool) -> None:
    """No number at an instant at which the machine was sampled: a gap, if the signal does not use to pause so long."""
    f[MISSED] += 1.0
    if not live or f[BASE] == 0.0:
        f[MISSED] = 0.0
    elif f[MISSED] >= p[GAP_SAMPLES] + 5.0 * f[USUAL_MISSED] and at - f[AT] >= p[GAP_MS] and f[COUNT] >= p[WARM_ALL]:
        score = 1.0 - 0.5 * math.exp((f[AT] - at) / 36e5)
        raise_flag(f, GAP_FLAG, float(GAP), f[AT], at, score, f[X], math.nan, math.nan, math.nan)


@compiled
def sample(
    f: Floats, config: Floats, p: Floats, x: float, at: float, base: int, renewing: int, live: bool, wears: bool,
    row: int, reports: Floats, n: int,
) -> tuple[float, int]:  # fmt: skip
    """One sample of one signal; its score and the number of reports written so far."""
    if f[BASE] == 0.0:
        f[AT], f[X], f[HOLD_FIRST], f[QUANTUM] = at, x, at, BIG
    else:
        step_time(f, at)
    if f[MISSED] > 0.0:
        f[USUAL_MISSED] = max(f[USUAL_MISSED], f[MISSED] if f[GAP_FLAG + KIND] == NONE else 0.0)
        f[MISSED] = 0.0
    moved = f[BASE] != base + 1.0
    if moved:
        if f[BASE] == renewing + 1.0:
            f[RENEWED] = 1.0  # parts were changed: what wears starts anew
        f[BASE], f[ENTERED] = base + 1.0, at
    settled = at - f[ENTERED] >= p[SETTLE_MS]
    entered = moved or (settled and f[AT] - f[ENTERED] < p[SETTLE_MS])
    o = CONTEXTS_FROM + (2 * base + (1 if settled else 0)) * CONTEXT_FIELDS
    c = f[o : o + CONTEXT_FIELDS]
    g = LAGS_FROM + base * LAG_FIELDS
    check_limits(f, config, x, at)
    check_flatline(f, c, f[g : g + LAG_FIELDS], config, p, x, at, live, entered)
    score = math.nan
    if config[C_LEARN] > 0.0:
        score, n = learned(f, c, f[g : g + LAG_FIELDS], p, x, at, base, entered, wears, row, reports, n)
    f[AT], f[X] = at, x
    return score, n


@compiled
def once(f: Floats, p: Floats, score: float) -> float:
    """An alarm is news once: within the refractory time after it scores are halved."""
    f[REFRACTORY] = max(f[REFRACTORY] - 1.0, 0.0)
    if f[REFRACTORY] > 0.0:
        return 0.5 * score
    if score >= p[ALARM]:
        f[REFRACTORY] = p[REFRACTORY_SAMPLES] + 1.0
    return score


@entry
def run(
    signals: Floats, rows: NDArray[np.int64], configs: Floats, p: Floats, at: NDArray[np.int64], values: Floats,
    base: int, renewing: int, live: bool, wears: bool, start: int, reports: Floats, scores: Floats,
) -> tuple[int, int]:  # fmt: skip
    """Samples of some signals [k, n] from flat position `start` on, signal by signal; returns where it stopped (the
    end, or where `reports` was full) and the number of reports. `scores` is [k, n], or [0, 0] when not wanted."""
    samples = at.shape[0]
    n = 0
    for position in range(start, rows.shape[0] * samples):
        if n + REPORTS_PER_SAMPLE > reports.shape[0]:
            return position, n
        k, i = position // samples, position % samples
        x, row = values[k, i], rows[k]
        if row < 0 or at[i] < signals[row, AT]:
            continue
        f, now = signals[row], float(at[i])
        if abs(x) < BIG:
            score, n = sample(f, configs[k], p, x, now, base, renewing, live, wears, row, reports, n)
            if scores.shape[0] > 0:
                scores[k, i] = once(f, p, score)
        else:
            missing(f, p, now, live)
        quiet = max(p[QUIET_MS], p[QUIET_SAMPLES] * f[STEP])
        for flag in FLAGS:
            n = tend_flag(f, flag, row, now, quiet, p[GROW_MS], reports, n)
    return rows.shape[0] * samples, n


@entry
def silence(signals: Floats, p: Floats, at: float, reports: Floats) -> int:
    """End the flags of signals that were quiet until `at`; returns the number of reports (at most four a signal)."""
    n = 0
    for row in range(signals.shape[0]):
        f = signals[row]
        quiet = max(p[QUIET_MS], p[QUIET_SAMPLES] * f[STEP])
        for flag in FLAGS:
            if f[flag + KIND] != NONE and at - f[flag + LAST] > quiet:
                n = close_flag(f, flag, row, at, reports, n)
    return n
