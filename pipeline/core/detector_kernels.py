"""Compiled arithmetic of the detectors: one signal's samples in time order, scored before they are learned."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.core import detector_flags as flags
from pipeline.core import detector_layout as lay
from pipeline.core import detector_models as models
from pipeline.core import detector_outliers as outliers
from pipeline.core.detector_layout import Floats, clipped, compiled, entry

USUAL = 3.0  # scales on either side of the level that a flag names as usual for single samples


@compiled
def score_of(surprise: float) -> float:
    """0.5 at the threshold (surprise 1), towards 1 far beyond it."""
    return 1.0 - math.exp(-math.log(2.0) * min(max(surprise, 0.0), 50.0))


@compiled
def follow(f: Floats, z: float, fast: float, slow: float, at: float) -> None:
    """Fast and slow means of the standardised deviation, and since when the fast one stands off to one side."""
    f[lay.FAST] += (z - f[lay.FAST]) / fast
    f[lay.SLOW] += (z - f[lay.SLOW]) / slow
    if f[lay.SIDE] == 0.0 or f[lay.FAST] * f[lay.SIDE] < 0.25:
        f[lay.SIDE] = 0.0
        if abs(f[lay.FAST]) >= 1.0:
            f[lay.SIDE], f[lay.ONSET] = (1.0 if f[lay.FAST] > 0.0 else -1.0), at


@compiled
def note_bad(f: Floats, at: float, score: float, x: float, level: float, scale: float) -> None:
    """Remember a run of samples that are wrong one by one; a spike or a shift, that its length will tell."""
    if f[lay.BAD] == 0.0:
        f[lay.BAD_FIRST], f[lay.BAD_SCORE] = at, -1.0
    f[lay.BAD] += 1.0
    f[lay.LAST_BAD] = at
    if score > f[lay.BAD_SCORE]:
        f[lay.BAD_SCORE], f[lay.BAD_VALUE], f[lay.BAD_LEVEL], f[lay.BAD_SCALE] = score, x, level, scale


@compiled
def raise_bad(f: Floats, kind: float) -> None:
    low, high = f[lay.BAD_LEVEL] - USUAL * f[lay.BAD_SCALE], f[lay.BAD_LEVEL] + USUAL * f[lay.BAD_SCALE]
    first, last, score, x = f[lay.BAD_FIRST], f[lay.LAST_BAD], f[lay.BAD_SCORE], f[lay.BAD_VALUE]
    flags.raise_flag(f, lay.LEARNED_FLAG, kind, first, last, score, x, f[lay.BAD_LEVEL], low, high)


@compiled
def usual_peak(f: Floats, p: Floats, surprise: float, at: float) -> float:
    """Factor on the thresholds (at least 1): higher for a signal that is hardly known, or that often strays so far."""
    tail: float = max(1.0, 1.3 * f[lay.PEAK])
    young = max(p[lay.YOUNG_MS] / max(f[lay.STEP], 1.0), p[lay.WARM_ALL])
    if f[lay.PEAK_NOW] > 0.0 and at - f[lay.PEAK_AT] > max(p[lay.QUIET_MS], p[lay.QUIET_SAMPLES] * f[lay.STEP]):
        f[lay.PEAK] += p[lay.HABIT] * (min(f[lay.PEAK_NOW], p[lay.HABIT_MOST] * max(f[lay.PEAK], 1.0)) - f[lay.PEAK])
        f[lay.PEAK_NOW] = 0.0
    if surprise > 0.7:
        f[lay.PEAK_NOW], f[lay.PEAK_AT] = max(f[lay.PEAK_NOW], surprise), at
    f[lay.PEAK] *= 1.0 - min(1.0, max(at - f[lay.AT], 0.0) / max(p[lay.HABIT_MS], p[lay.HABIT_SAMPLES] * f[lay.STEP]))
    tail *= 1.0 + 0.6 * young / (young + f[lay.WARM])
    return tail


@compiled
def over(f: Floats, p: Floats, away: float, at: float) -> bool:
    """Whether a run of wrong samples is over; a shift would show in the fast mean by now."""
    wait = max(p[lay.FAST_MS], p[lay.FAST_SAMPLES] * f[lay.STEP])
    passed = at - f[lay.LAST_BAD]
    return bool(passed > wait or (passed >= 0.5 * wait and away < 2.0 and abs(f[lay.FAST]) < 1.0))


@compiled
def lasting(p: Floats, swings: bool, ms: float) -> float:
    """The kind of a flag that is no spike, `ms` after it began."""
    if swings:
        return float(lay.NOISE)
    return float(lay.DRIFT) if ms >= p[lay.DRIFT_MS] else float(lay.SHIFT)


@compiled
def judge(
    f: Floats, p: Floats, single: float, noise: float, away: float, x: float, at: float, level: float, scale: float,
    row: int, reports: Floats, n: int,
) -> tuple[float, int]:  # fmt: skip
    """Score of one sample (0.5 is the threshold) and the learned flag: single samples are spikes until they last."""
    fast, slow, noise = outliers.means(f, p, noise)
    mean = max(fast, slow) if abs(f[lay.FAST]) >= 0.5 * p[lay.SLOW_EFFECT] else 0.0  # the slow mean alone is an echo
    swings = noise > mean
    mean = max(mean, noise)
    tail = usual_peak(f, p, max(single, mean), at)
    single, mean = single / tail, mean / tail
    score = score_of(max(single, mean))
    o = lay.LEARNED_FLAG
    if single >= 1.0:
        note_bad(f, at, score, x, level, scale)
    lasts = mean >= 1.0 or f[lay.BAD] > p[lay.SPIKE_SAMPLES]
    kind = f[o + lay.KIND]
    if lasts:
        first = f[lay.ONSET] if mean >= 1.0 and f[lay.SIDE] != 0.0 else at
        if f[lay.BAD] > 0.0:
            first = min(first, f[lay.BAD_FIRST])
        if kind == lay.SPIKE:
            n = flags.close_flag(f, o, row, at, reports, n)
            kind = 0.0
        if kind == lay.NONE:
            kind = lasting(p, swings and mean >= 1.0, at - first)
        if mean > single and not swings:  # then the mean that gave it away is what is unusual
            wide = p[lay.FAST_EFFECT] if fast >= slow else p[lay.SLOW_EFFECT]
            x = level + (f[lay.FAST] if fast >= slow else f[lay.SLOW]) * scale
        else:
            wide = USUAL
        flags.raise_flag(f, o, kind, first, at, score, x, level, level - wide * scale, level + wide * scale)
    elif single >= 1.0:
        if kind != lay.NONE:
            raise_bad(f, kind)
    elif kind >= lay.SHIFT and mean >= 0.5:
        f[o + lay.LAST] = at
    if f[lay.BAD] > 0.0 and single < 0.5 and over(f, p, away, at):
        if kind == lay.NONE:
            raise_bad(f, float(lay.SPIKE))
        f[lay.BAD] = 0.0
    return score, n


@compiled
def learned(
    f: Floats, c: Floats, g: Floats, p: Floats, x: float, at: float, base: int, entered: bool, wears: bool, row: int,
    reports: Floats, n: int,
) -> tuple[float, int]:  # fmt: skip
    """Judge a sample by what was learned before it, then learn it. NaN as score: still warming up."""
    step = max(f[lay.STEP], 1.0)
    memory = max(p[lay.MEMORY_SAMPLES], p[lay.MEMORY_MS] / step)
    score, wild = math.nan, False
    quantum = 0.5 * f[lay.QUANTUM] if f[lay.QUANTUM] < lay.BIG else 0.0
    floor = max(p[lay.FLOOR] * f[lay.ALL_SCALE], quantum)
    if entered:
        f[lay.LOCAL] = x
    if wears and f[lay.RENEWED] > 0.0:
        f[lay.RENEWED], f[lay.OFFSET_SEEN], f[lay.LAG_OFFSET_SEEN] = 0.0, 0.0, 0.0
    if wears:
        o = lay.CONTEXTS_FROM + 2 * base * lay.CONTEXT_FIELDS + lay.SEEN  # just entered, and settled
        models.note_run(f, p, f[o] + f[o + lay.CONTEXT_FIELDS], at, base, step)
    lag_known = models.follow_lag(f, g, x, at, wears, p)
    level, scale = models.expectation(f, c, p, x, f[lay.OFFSET] if wears else 0.0, floor, lag_known)
    reserve = models.reserve(f, p, scale) if wears else 0.0
    scale += reserve
    fresh = wears and f[lay.OFFSET_SEEN] < p[lay.WARM_SAMPLES]
    stuck = f[lay.EVIDENCE] > 10.0  # a sensor that stopped is neither judged nor learned
    clear = f[lay.LAG_ERROR] < 0.6 * f[lay.PLAIN_ERROR] or f[lay.PLAIN_ERROR] < 0.6 * f[lay.LAG_ERROR]
    known = lag_known or (clear and f[lay.COMPARED] >= p[lay.WARM_ALL]) or models.compared(f, p)
    by_hand = not wears and f[lay.UNEVEN] > p[lay.BY_HAND_FROM]  # on change, of a machine that stands: people move it
    if c[lay.SEEN] >= p[lay.WARM_SAMPLES] and scale > 0.0 and known and not fresh and not stuck and not by_hand:
        z = clipped((x - level) / scale, 100.0)
        near = abs(x - f[lay.LOCAL]) / max(c[lay.SPREAD], quantum, 1e-3 * scale)
        follow(f, clipped(z, p[lay.MEAN_CLIP]), max(p[lay.FAST_SAMPLES], p[lay.FAST_MS] / step),
               max(p[lay.SLOW_SAMPLES], p[lay.SLOW_MS] / step), at)  # fmt: skip
        if reserve > 0.0:
            f[lay.MISFIT] = max(f[lay.MISFIT], abs(f[lay.FAST]) * scale)
        f[lay.WARM] += 1.0
        if f[lay.WARM] >= p[lay.WARM_ALL]:
            single = outliers.single(f, p, x, z, x - level, min(near, 100.0))
            noise = outliers.rough(f, p, z, max(p[lay.SLOW_SAMPLES], p[lay.SLOW_MS] / step))
            score, n = judge(f, p, single, noise, abs(z), x, at, level, scale, row, reports, n)
            wild = single >= 1.0
    if f[lay.LEARNED_FLAG + lay.KIND] >= lay.SHIFT:
        c[lay.FLAGGED] += 1.0
        if c[lay.FLAGGED] >= max(p[lay.ACCEPT_SAMPLES], p[lay.ACCEPT_AT_LEAST_MS] / step) and (
            c[lay.FLAGGED] > c[lay.SEEN] or c[lay.FLAGGED] * step > p[lay.ACCEPT_MS]
        ):
            n = flags.close_flag(f, lay.LEARNED_FLAG, row, at, reports, n)
            c[:], g[:], f[lay.FAST], f[lay.SLOW], f[lay.SIDE], f[lay.BAD] = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    elif not stuck:
        if c[lay.SEEN] >= 20.0:
            outliers.learn_most(f, p, x, x - level, min(at - f[lay.AT], 4.0 * step), wild)
        models.learn_all(f, c, g, p, x, at, base, memory, wears, floor, lag_known)
    f[lay.LOCAL] += 0.3 * clipped(x - f[lay.LOCAL], max(4.0 * c[lay.SPREAD], 0.1 * scale))
    return score, n


@compiled
def step_time(f: Floats, at: float) -> None:
    """The usual time between samples; pauses count for little."""
    passed = at - f[lay.AT]
    if f[lay.STEP] == 0.0:
        f[lay.STEP] = max(passed, 1.0)
    f[lay.UNEVEN] += 0.02 * (min(abs(passed - f[lay.STEP]) / f[lay.STEP], 1.0) - f[lay.UNEVEN])
    f[lay.STEP] += 0.02 * (min(max(passed, 1.0), 4.0 * f[lay.STEP]) - f[lay.STEP])


@compiled
def sample(
    f: Floats, config: Floats, p: Floats, x: float, at: float, base: int, renewing: int, live: bool, wears: bool,
    row: int, reports: Floats, n: int,
) -> tuple[float, int]:  # fmt: skip
    """One sample of one signal; its score and the number of reports written so far."""
    if f[lay.BASE] == 0.0:
        f[lay.AT], f[lay.X], f[lay.HOLD_FIRST], f[lay.QUANTUM] = at, x, at, lay.BIG
    else:
        step_time(f, at)
    if f[lay.MISSED] > 0.0:
        f[lay.USUAL_MISSED] = max(f[lay.USUAL_MISSED], f[lay.MISSED] if f[lay.GAP_FLAG + lay.KIND] == lay.NONE else 0.0)
        f[lay.MISSED] = 0.0
    moved = f[lay.BASE] != base + 1.0
    if moved:
        if f[lay.BASE] == renewing + 1.0:
            f[lay.RENEWED] = 1.0  # parts were changed: what wears starts anew
        f[lay.BASE], f[lay.ENTERED] = base + 1.0, at
    settled = at - f[lay.ENTERED] >= p[lay.SETTLE_MS]
    entered = moved or (settled and f[lay.AT] - f[lay.ENTERED] < p[lay.SETTLE_MS])
    o = lay.CONTEXTS_FROM + (2 * base + (1 if settled else 0)) * lay.CONTEXT_FIELDS
    c = f[o : o + lay.CONTEXT_FIELDS]
    g = lay.LAGS_FROM + base * lay.LAG_FIELDS
    flags.check_limits(f, config, x, at)
    flags.check_flatline(f, c, f[g : g + lay.LAG_FIELDS], config, p, x, at, live, wears, entered)
    score = math.nan
    if config[lay.C_LEARN] > 0.0:
        score, n = learned(f, c, f[g : g + lay.LAG_FIELDS], p, x, at, base, entered, wears, row, reports, n)
    f[lay.AT], f[lay.X] = at, x
    return score, n


@compiled
def once(f: Floats, p: Floats, score: float) -> float:
    """An alarm is news once: within the refractory time after it scores are halved."""
    f[lay.REFRACTORY] = max(f[lay.REFRACTORY] - 1.0, 0.0)
    if f[lay.REFRACTORY] > 0.0:
        return 0.5 * score
    if score >= p[lay.ALARM]:
        f[lay.REFRACTORY] = p[lay.REFRACTORY_SAMPLES] + 1.0
    return score


@compiled
def end_quiet(f: Floats, p: Floats, row: int, at: float, reports: Floats, n: int) -> int:
    """End the flags of a signal that were quiet until `at`; returns the number of reports so far."""
    quiet = max(p[lay.QUIET_MS], p[lay.QUIET_SAMPLES] * f[lay.STEP])
    for flag in lay.FLAGS:
        if f[flag + lay.KIND] != lay.NONE and at - f[flag + lay.LAST] > quiet:
            n = flags.close_flag(f, flag, row, at, reports, n)
    return n


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
        if n + lay.REPORTS_PER_SAMPLE > reports.shape[0]:
            return position, n
        k, i = position // samples, position % samples
        x, row = values[k, i], rows[k]
        if row < 0 or at[i] < signals[row, lay.AT]:
            continue
        f, now = signals[row], float(at[i])
        n = end_quiet(f, p, row, now, reports, n)  # a flag that ended in a pause is not taken up again after it
        if abs(x) < lay.BIG:
            if outliers.dropped_out(f, p, x, now):
                continue
            score, n = sample(f, configs[k], p, x, now, base, renewing, live, wears, row, reports, n)
            if scores.shape[0] > 0:
                scores[k, i] = once(f, p, score)
        else:
            flags.missing(f, p, now, live)
        quiet = max(p[lay.QUIET_MS], p[lay.QUIET_SAMPLES] * f[lay.STEP])
        for flag in lay.FLAGS:
            n = flags.tend_flag(f, flag, row, now, quiet, p[lay.GROW_MS], reports, n)
    return rows.shape[0] * samples, n


@entry
def silence(signals: Floats, p: Floats, at: float, reports: Floats) -> int:
    """End the flags of signals that were quiet until `at`; returns the number of reports (at most four a signal)."""
    n = 0
    for row in range(signals.shape[0]):
        n = end_quiet(signals[row], p, row, at, reports, n)
    return n
