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
    AT, X, ENTERED, BASE, COUNT, STEP, ALL_LEVEL, ALL_SCALE, LOCAL, WARM, FAST, SLOW, FAST_SCALE, SLOW_SCALE,
    ONSET, SIDE, BAD, BAD_FIRST, BAD_SCORE, BAD_VALUE, BAD_LEVEL, BAD_SCALE, LAST_BAD, HOLD_FIRST, HOLD,
    EVIDENCE, USUAL_EVIDENCE, QUANTUM,
) = range(28)  # fmt: skip
SIGNAL_FIELDS = 28
# Fields of a flag; three flags can be open on one signal.
KIND, FIRST, LAST, SCORE, VALUE, EXPECTED, LOW, HIGH, DUE, SAID = range(10)
FLAG_FIELDS = 10
LEARNED_FLAG, LIMIT_FLAG, FLAT_FLAG = (SIGNAL_FIELDS + i * FLAG_FIELDS for i in range(3))
# Fields of a context.
SEEN, VISITS, LEVEL, SCALE, SPREAD, REPEATS = range(6)
CONTEXT_FIELDS = 6
CONTEXTS_FROM = SIGNAL_FIELDS + 3 * FLAG_FIELDS
# Kinds of flags.
NONE, SPIKE, SHIFT, DRIFT, LIMIT, FLATLINE = range(6)
# Columns of a report.
ROW, WHEN, CLOSED, R_KIND, R_FIRST, R_LAST, R_SCORE, R_VALUE, R_EXPECTED, R_LOW, R_HIGH = range(11)
REPORT_FIELDS = 11
REPORTS_PER_SAMPLE = 6
# Columns of a signal's configuration.
C_LOW, C_HIGH, C_FLATLINE, C_LEARN = range(4)

# Parameters; all durations in ms of event time.
PARAMETERS = {
    "warm_samples": 100.0,  # samples of a context before it is judged
    "warm_all": 300.0,  # samples of a signal before any judgement
    "memory_samples": 3000.0,  # memory of level and scale, at least
    "memory_ms": 8 * 3600e3,
    "settle_ms": 30e3,  # after a change of state a signal is in a context of its own for so long
    "fast_samples": 5.0,
    "fast_ms": 60e3,
    "slow_samples": 30.0,
    "slow_ms": 600e3,
    "spike": 6.5,  # threshold of a single sample, in scales
    "shift_scales": 5.0,  # threshold of the fast and slow means, in their own scales ...
    "fast_effect": 2.7,  # ... and at least so many scales of the signal
    "slow_effect": 2.0,
    "drift_ms": 900e3,  # a rise that took longer is a drift
    "spike_samples": 3.0,  # more in a row are a shift
    "quiet_ms": 300e3,  # a flag ends when nothing was wrong for so long ...
    "quiet_samples": 10.0,  # ... and so many samples
    "accept_ms": 4 * 3600e3,  # what lasts longer is the new normal
    "accept_samples": 300.0,
    "flat_ms": 300e3,
    "flat_evidence": 30.0,
    "grow_ms": 60e3,
    "clip": 3.0,
    "mean_clip": 6.0,
    "floor": 0.01,
}
NAMES = tuple(PARAMETERS)
(
    WARM_SAMPLES, WARM_ALL, MEMORY_SAMPLES, MEMORY_MS, SETTLE_MS, FAST_SAMPLES, FAST_MS, SLOW_SAMPLES, SLOW_MS,
    P_SPIKE, SHIFT_SCALES, FAST_EFFECT, SLOW_EFFECT, DRIFT_MS, SPIKE_SAMPLES, QUIET_MS, QUIET_SAMPLES, ACCEPT_MS,
    ACCEPT_SAMPLES, FLAT_MS, FLAT_EVIDENCE, GROW_MS, CLIP, MEAN_CLIP, FLOOR,
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
def check_flatline(f: Floats, c: Floats, config: Floats, p: Floats, x: float, at: float, live: bool) -> None:
    """A sensor that stopped moving: longer than configured, or against how often it repeats itself in this context."""
    if x != f[X] or not live:
        if f[FLAT_FLAG + KIND] == NONE:
            f[USUAL_EVIDENCE] = max(f[USUAL_EVIDENCE], f[EVIDENCE])
        else:
            f[USUAL_EVIDENCE] += 0.15 * f[EVIDENCE]
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
def learn_context(
    f: Floats, c: Floats, p: Floats, x: float, memory: float, trust: float, entered: bool, floor: float
) -> None:
    """Level and scale of a context: means of clipped deviations, so that an outlier moves them little."""
    c[SEEN] += 1.0
    if entered:
        c[VISITS] += 1.0
    if c[SEEN] == 1.0:
        c[LEVEL], c[SCALE], c[REPEATS] = x, 0.0, 0.5
        return
    a = trust / min(c[SEEN], memory)
    r = clipped(x - c[LEVEL], p[CLIP] * max(c[SCALE], floor) if c[SEEN] > 20.0 else BIG)
    c[LEVEL] += a * r
    c[SCALE] += a * (1.2533 * abs(r) - c[SCALE])
    near = clipped(x - f[LOCAL], 4.0 * max(c[SPREAD], floor) if c[SEEN] > 20.0 else BIG)
    c[SPREAD] += a * (1.2533 * abs(near) - c[SPREAD])
    c[REPEATS] += (1.0 / min(c[SEEN] + 2.0, memory)) * ((1.0 if x == f[X] else 0.0) - c[REPEATS])
    c[REPEATS] = max(c[REPEATS], 1e-3)


@compiled
def learn_signal(f: Floats, x: float, memory: float) -> None:
    """Level and scale over all contexts, and the smallest step ever seen: floors of the contexts' scales."""
    if f[COUNT] == 0.0:
        f[ALL_LEVEL], f[QUANTUM] = x, BIG
    step = abs(x - f[X])
    if f[COUNT] > 0.0 and 0.0 < step < f[QUANTUM]:
        f[QUANTUM] = step
    f[COUNT] += 1.0
    a = 1.0 / min(f[COUNT], memory)
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
def judge(
    f: Floats, p: Floats, single: float, x: float, at: float, level: float, scale: float, row: int, reports: Floats,
    n: int,
) -> tuple[float, int]:  # fmt: skip
    """Score of one sample (0.5 is the threshold) and the learned flag: single samples are spikes until they last."""
    fast = min(abs(f[FAST]) / p[FAST_EFFECT], abs(f[FAST]) / (p[SHIFT_SCALES] * max(f[FAST_SCALE], 1e-3)))
    slow = min(abs(f[SLOW]) / p[SLOW_EFFECT], abs(f[SLOW]) / (p[SHIFT_SCALES] * max(f[SLOW_SCALE], 1e-3)))
    mean = max(fast, slow) if abs(f[FAST]) >= 0.5 * p[SLOW_EFFECT] else 0.0  # the slow mean alone is an echo
    score = score_of(max(single, mean))
    o = LEARNED_FLAG
    if single >= 1.0:
        note_bad(f, at, score, x, level, scale)
    lasts = mean >= 1.0 or f[BAD] > p[SPIKE_SAMPLES]
    kind = f[o + KIND]
    if lasts:
        first = f[ONSET] if mean >= 1.0 and f[SIDE] != 0.0 else (f[BAD_FIRST] if f[BAD] > 0.0 else at)
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
    if single < 1.0 and f[BAD] > 0.0:
        if kind == NONE:
            raise_bad(f, float(SPIKE), p[P_SPIKE])
        f[BAD] = 0.0
    return score, n


@compiled
def forget(f: Floats) -> None:
    """What was learned of levels is void: warm up anew (flags and sampling stay)."""
    f[COUNT], f[FAST], f[SLOW], f[SIDE], f[BAD], f[WARM] = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    f[FAST_SCALE], f[SLOW_SCALE], f[ALL_SCALE] = 0.0, 0.0, 0.0
    f[CONTEXTS_FROM:] = 0.0


@compiled
def learned(
    f: Floats, c: Floats, p: Floats, x: float, at: float, entered: bool, row: int, reports: Floats, n: int
) -> tuple[float, int]:
    """Judge a sample by what was learned before it, then learn it. NaN as score: still warming up."""
    step = max(f[STEP], 1.0)
    memory = max(p[MEMORY_SAMPLES], p[MEMORY_MS] / step)
    score, trust = math.nan, 1.0
    quantum = 0.5 * f[QUANTUM] if f[QUANTUM] < BIG else 0.0
    floor = max(p[FLOOR] * f[ALL_SCALE], quantum)
    scale = max(c[SCALE] * (1.0 + 10.0 / max(c[SEEN], 1.0)), floor)
    if entered:
        f[LOCAL] = x
    if c[SEEN] >= p[WARM_SAMPLES] and scale > 0.0:
        z = clipped((x - c[LEVEL]) / scale, 100.0)
        near = abs(x - f[LOCAL]) / max(c[SPREAD], quantum, 1e-3 * scale)
        follow(f, clipped(z, p[MEAN_CLIP]), max(p[FAST_SAMPLES], p[FAST_MS] / step),
               max(p[SLOW_SAMPLES], p[SLOW_MS] / step), at)  # fmt: skip
        f[WARM] += 1.0
        if f[WARM] >= p[WARM_ALL]:
            single = max(abs(z), min(near, 100.0) if abs(z) > 2.0 else 0.0) / p[P_SPIKE]
            score, n = judge(f, p, single, x, at, c[LEVEL], scale, row, reports, n)
        if f[LEARNED_FLAG + KIND] == NONE:
            a = 1.0 / min(f[WARM], memory)
            trust = 1.0 / (1.0 + f[SLOW] ** 4)  # what may be the beginning of a drift is learned with reserve
            fast = min(1.2533 * abs(f[FAST]), 1.0)
            slow = min(1.2533 * abs(f[SLOW]), 1.0)
            f[FAST_SCALE] += a * trust * (fast - f[FAST_SCALE])
            f[SLOW_SCALE] += a * trust * (slow - f[SLOW_SCALE])
    if f[LEARNED_FLAG + KIND] < SHIFT:
        learn_context(f, c, p, x, memory, trust, entered, floor)
        learn_signal(f, x, memory)
    elif at - f[LEARNED_FLAG + FIRST] > max(p[ACCEPT_MS], p[ACCEPT_SAMPLES] * step):
        n = close_flag(f, LEARNED_FLAG, row, at, reports, n)
        forget(f)
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
def sample(
    f: Floats, config: Floats, p: Floats, x: float, at: float, base: int, live: bool, row: int, reports: Floats, n: int
) -> tuple[float, int]:
    """One sample of one signal; its score and the number of reports written so far."""
    if f[BASE] == 0.0:
        f[AT], f[X], f[HOLD_FIRST], f[QUANTUM] = at, x, at, BIG
    else:
        step_time(f, at)
    moved = f[BASE] != base + 1.0
    if moved:
        f[BASE], f[ENTERED] = base + 1.0, at
    settled = at - f[ENTERED] >= p[SETTLE_MS]
    entered = moved or (settled and f[AT] - f[ENTERED] < p[SETTLE_MS])
    o = CONTEXTS_FROM + (2 * base + (1 if settled else 0)) * CONTEXT_FIELDS
    c = f[o : o + CONTEXT_FIELDS]
    check_limits(f, config, x, at)
    check_flatline(f, c, config, p, x, at, live)
    score = math.nan
    if config[C_LEARN] > 0.0:
        score, n = learned(f, c, p, x, at, entered, row, reports, n)
    quiet = max(p[QUIET_MS], p[QUIET_SAMPLES] * f[STEP])
    for flag in (LEARNED_FLAG, LIMIT_FLAG, FLAT_FLAG):
        n = tend_flag(f, flag, row, at, quiet, p[GROW_MS], reports, n)
    f[AT], f[X] = at, x
    return score, n


@entry
def run(
    signals: Floats, rows: NDArray[np.int64], configs: Floats, p: Floats, at: NDArray[np.int64], values: Floats,
    base: int, live: bool, start: int, reports: Floats, scores: Floats,
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
        f = signals[row]
        if not abs(x) < BIG or at[i] < f[AT]:
            continue
        score, n = sample(f, configs[k], p, x, float(at[i]), base, live, row, reports, n)
        if scores.shape[0] > 0:
            scores[k, i] = score
    return rows.shape[0] * samples, n


@entry
def silence(signals: Floats, p: Floats, at: float, reports: Floats) -> int:
    """End the flags of signals that were quiet until `at`; returns the number of reports (at most three a signal)."""
    n = 0
    for row in range(signals.shape[0]):
        f = signals[row]
        quiet = max(p[QUIET_MS], p[QUIET_SAMPLES] * f[STEP])
        for flag in (LEARNED_FLAG, LIMIT_FLAG, FLAT_FLAG):
            if f[flag + KIND] != NONE and at - f[flag + LAST] > quiet:
                n = close_flag(f, flag, row, at, reports, n)
    return n
