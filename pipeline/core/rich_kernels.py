"""Compiled arithmetic of the rich detector: how far a signal is from the nearest thing that it ever did here.

A signal's memory is a ring of rows (value, fast mean, slow mean), each with the context in which it was. A new sample
is looked up in it, then stored. Three distances to the nearest row of its context, each ranked among its own past ones
(conformal: the rank needs no scale and no distribution; the tail beyond is taken as exponential), say how novel it is.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.core import detector_flags as flags
from pipeline.core import detector_layout as lay
from pipeline.core.detector_layout import Floats, clipped, compiled, entry

Rows = NDArray[np.float32]
Contexts = NDArray[np.uint8]

MEMBERS = 3  # distances: value and slow mean together, value, fast mean
ROWS = 6000  # moments remembered of a signal
BINS = 320  # of a distance's histogram: a quarter of an octave each, around the first distance seen
FORGOTTEN = 255  # context of a row that is not looked at any more
FAR = np.float32(1e30)
# Fields of a signal; the flag's fields (detector_layout) follow.
(
    AT, ORIGIN, SEEN, FAST, SLOW, SINCE, CONTEXT, ENTERED, STEP, HEAD, COUNT, STORED_AT, QUIET, HABIT, RISING, WARMED,
) = range(16)  # fmt: skip
REFERENCE, SMOOTHED, TOTAL = 16, 19, 22  # one per member
FLAG = 25
FIELDS = FLAG + lay.FLAG_FIELDS
PATTERN = 7  # kind of flag, after those of detector_layout
GAP = 5  # the newest rows are not looked at, or a thing would be its own precedent

WARM = 50.0  # samples of a context, and distances of a signal, before it is judged
FAST_PACE, SLOW_PACE, SMOOTH = 0.2, 0.05, 0.3
TAIL = 0.03  # share of distances beyond which the tail is extrapolated
LN10 = math.log(10.0)
MEMORY = 50_000.0  # distances after which older ones count half
THRESHOLD = 0.76  # of the mean of -log10 of the three shares, smoothed: the score is 0.5 there
REFRACTORY = 120.0  # samples after an alarm in which there is no second one ...
REFRACTORY_YOUNG = 0.03  # ... or this share of all samples seen, of a signal that is hardly known ...
REFRACTORY_LEAST = 40.0  # ... but at least so many
EACH_ALARM, HABIT_SAMPLES = 0.1, 3000.0  # each alarm raises the threshold by a tenth, for so long
ROW_MS = 10_000.0  # a row at most so often
SETTLE_MS = 30e3
QUIET_MS, QUIET_SAMPLES, GROW_MS = 300e3, 150.0, 60e3
FLAG_AT = 4.5  # of the same mean: a flag, which a person is sent for
FLAG_LASTS = 2.0
REPORTS = 2  # of one sample, at most


@compiled
def nearest(rows: Rows, contexts: Contexts, mine: int, first: int, last: int, probe: Rows, found: Rows) -> None:
    """Smallest distances to rows `first` to `last` (exclusive) of context `mine`; `found` [3] is lowered to them."""
    value, fast, slow = probe[0], probe[1], probe[2]
    both, alone, mean = found[0], found[1], found[2]
    for j in range(first, last):
        away = np.float32(0.0) if contexts[j] == mine else FAR
        dv = abs(value - rows[0, j]) + away
        both = min(both, dv + abs(slow - rows[2, j]))
        alone = min(alone, dv)
        mean = min(mean, abs(fast - rows[1, j]) + away)
    found[0], found[1], found[2] = both, alone, mean


@compiled
def look_up(f: Floats, rows: Rows, contexts: Contexts, probe: Rows, found: Rows) -> None:
    """Distances [3] of a moment to the nearest row of its context; FAR where there is none."""
    head, count, mine, size = int(f[HEAD]), int(f[COUNT]), int(f[CONTEXT]), rows.shape[1]
    first, last = head - count, head - GAP
    if first < 0:
        nearest(rows, contexts, mine, first + size, min(last, 0) + size, probe, found)
        first = 0
    nearest(rows, contexts, mine, first, last, probe, found)


@compiled
def precedent(f: Floats, rows: Rows, contexts: Contexts, value: float, slow: float) -> float:
    """Value of the row nearest to a moment, in its context."""
    best, found = 1e300, math.nan
    for j in range(int(f[COUNT])):
        away = abs(value - rows[0, j]) + abs(slow - rows[2, j])
        if contexts[j] == int(f[CONTEXT]) and away < best:
            best, found = away, float(rows[0, j])
    return found


@compiled
def store(f: Floats, rows: Rows, contexts: Contexts, kept: NDArray[np.int64], probe: Rows, at: float) -> None:
    """Remember a moment, in the place of the oldest when the ring is full; `kept` [256] counts rows per context."""
    head, mine = int(f[HEAD]), int(f[CONTEXT])
    if f[COUNT] >= rows.shape[1]:
        kept[contexts[head]] -= 1
    else:
        f[COUNT] += 1.0
    rows[:, head] = probe
    contexts[head] = mine
    kept[mine] += 1
    f[HEAD], f[STORED_AT] = (head + 1) % rows.shape[1], at


@compiled
def surprise(f: Floats, counts: Rows, member: int, distance: float) -> float:
    """-log10 of the share of past distances that are as large, learned after it was told; NaN while too few are known.

    Beyond the largest TAIL of them the share falls exponentially, with the mean excess that those have."""
    if f[REFERENCE + member] == 0.0 and distance > 0.0:
        f[REFERENCE + member] = distance
    place = 0.0
    if distance > 0.0:
        place = min(max(4.0 * math.log2(distance / f[REFERENCE + member]) + 0.5 * BINS, 0.0), BINS - 1e-3)
    bin_ = int(place)
    total, share = f[TOTAL + member], math.nan
    if total >= WARM:
        share = rarity(counts, member, total, place)
    counts[member, bin_] += np.float32(1.0)
    f[TOTAL + member] = total + 1.0
    if total + 1.0 >= MEMORY:
        counts[member] *= np.float32(0.5)
        f[TOTAL + member] *= 0.5
    return share


@compiled
def rarity(counts: Rows, member: int, total: float, place: float) -> float:
    """-log10 of the share of `total` distances at or beyond `place`, in quarters of octaves."""
    wanted, beyond, edge = TAIL * total, 0.0, BINS - 1
    while edge > 0 and beyond + counts[member, edge] < wanted:
        beyond += counts[member, edge]
        edge -= 1
    quantile = edge + 1.0 - (wanted - beyond) / max(counts[member, edge], 1e-9)
    if place < quantile:
        k = int(place)
        share = counts[member, k] * (1.0 - (place - k))
        for j in range(k + 1, BINS):
            share += counts[member, j]
        return -math.log10(max(min(float(share / total), 1.0), TAIL))
    excess, weight = 3.0, 3.0  # three excesses of the quantile's own size are taken as seen
    for j in range(edge + 1, BINS):
        if counts[member, j] > 0.0:
            excess += counts[member, j] * (2.0 ** (0.25 * (j + 0.5 - quantile)) - 1.0)
            weight += counts[member, j]
    over = min(2.0 ** (0.25 * (place - quantile)) - 1.0, 1e6)
    return float(-math.log10(TAIL) + over / max(excess / weight, 0.05) / LN10)


@compiled
def follow(f: Floats, x: float, at: float, context: int) -> None:
    """Fast and slow means of the value, anew after a change of context: what was before it is no precedent."""
    if f[SEEN] == 0.0 or int(f[CONTEXT]) // 2 != context:
        f[ENTERED] = at
    mine = 2 * context + (1 if at - f[ENTERED] >= SETTLE_MS else 0)
    if f[CONTEXT] != mine:
        f[CONTEXT], f[SINCE] = mine, 0.0
        f[SMOOTHED : SMOOTHED + MEMBERS] = 0.0
    f[SINCE] += 1.0
    start = 1.0 / f[SINCE]
    f[FAST] += max(FAST_PACE, start) * (x - f[FAST])
    f[SLOW] += max(SLOW_PACE, start) * (x - f[SLOW])


@compiled
def once(f: Floats, novelty: float) -> float:
    """Score in [0, 1], 0.5 at the threshold; an alarm is news once, and frequent alarms raise the threshold."""
    f[HABIT] *= 1.0 - 1.0 / HABIT_SAMPLES
    f[QUIET] = max(f[QUIET] - 1.0, 0.0)
    ratio = novelty / (THRESHOLD * (1.0 + EACH_ALARM * f[HABIT]))
    score = 1.0 - math.exp(-math.log(2.0) * min(max(ratio, 0.0), 50.0))
    if f[QUIET] > 0.0:
        return 0.5 * score
    if ratio >= 1.0:
        f[HABIT] += 1.0
        f[QUIET] = 1.0 + min(REFRACTORY, max(REFRACTORY_LEAST, REFRACTORY_YOUNG * f[SEEN]))
    return score


@compiled
def judged(f: Floats, rows: Rows, contexts: Contexts, kept: NDArray[np.int64], counts: Rows, x: float, at: float,
           scratch: Rows) -> float:  # fmt: skip
    """How novel a sample is (mean of three -log10 shares, smoothed); then it is learned. NaN: warming up."""
    probe, found = scratch[0], scratch[1]
    probe[0], probe[1], probe[2] = x, f[FAST], f[SLOW]
    found[:] = FAR
    mean = math.nan
    if kept[int(f[CONTEXT])] > GAP:
        look_up(f, rows, contexts, probe, found)
    if found[0] < FAR:
        mean = 0.0
        for member in range(MEMBERS):
            share = surprise(f, counts, member, float(found[member]))
            if not math.isnan(share):
                f[SMOOTHED + member] += SMOOTH * (share - f[SMOOTHED + member])
            mean += (f[SMOOTHED + member] if kept[int(f[CONTEXT])] >= WARM else math.nan) / MEMBERS
    if f[COUNT] == 0.0 or at - f[STORED_AT] >= ROW_MS:
        store(f, rows, contexts, kept, probe, at)
    return mean


@compiled
def step_time(f: Floats, at: float) -> None:
    """The usual time between samples; pauses count for little."""
    passed = max(at - f[AT], 1.0)
    f[STEP] += 0.02 * (min(passed, 4.0 * f[STEP]) - f[STEP]) if f[STEP] > 0.0 else passed


@compiled
def flagged(f: Floats, rows: Rows, contexts: Contexts, novelty: float, x: float, at: float) -> None:
    """Open the flag of a pattern, or extend it; it began when the novelty rose."""
    if not novelty >= FLAG_LASTS:
        f[RISING] = 0.0
        return
    if f[RISING] == 0.0:
        f[RISING] = at
    is_open = f[FLAG + lay.KIND] != lay.NONE
    if novelty >= FLAG_AT:
        score = 1.0 - math.exp(-math.log(2.0) * min(novelty / FLAG_AT, 50.0))
        usual = math.nan
        if not is_open or score > f[FLAG + lay.SCORE]:
            usual = f[ORIGIN] + precedent(f, rows, contexts, x, f[SLOW])
        flags.raise_flag(
            f, FLAG, float(PATTERN), f[RISING], at, score, f[ORIGIN] + x, usual, math.nan, math.nan
        )  # fmt: skip
    elif is_open:
        f[FLAG + lay.LAST] = at


@compiled
def end_quiet(f: Floats, at: float, reports: Floats, n: int) -> int:
    """End the flag when it was quiet until `at`; returns the number of reports so far."""
    if f[FLAG + lay.KIND] != lay.NONE and at - f[FLAG + lay.LAST] > max(QUIET_MS, QUIET_SAMPLES * f[STEP]):
        return flags.close_flag(f, FLAG, 0, at, reports, n)
    return n


@entry
def run(
    f: Floats, rows: Rows, contexts: Contexts, kept: NDArray[np.int64], counts: Rows, at: NDArray[np.int64],
    values: Floats, context: int, start: int, reports: Floats, scores: Floats,
) -> tuple[int, int]:  # fmt: skip
    """Samples of one signal [n] from `start` on; where it stopped (the end, or `reports` was full), reports written.

    `scores` is [n], or [0] when not wanted."""
    scratch = np.empty((2, MEMBERS), dtype=np.float32)
    n = 0
    for i in range(start, at.shape[0]):
        if n + REPORTS > reports.shape[0]:
            return i, n
        x, now = values[i], float(at[i])
        if not abs(x) < lay.BIG or (f[SEEN] > 0.0 and now < f[AT]):
            continue
        n = end_quiet(f, now, reports, n)
        if f[SEEN] == 0.0:
            f[ORIGIN] = x
        else:
            step_time(f, now)
        x = clipped(x - f[ORIGIN], 1e29)
        follow(f, x, now, context)
        f[SEEN] += 1.0
        f[AT] = now
        novelty = judged(f, rows, contexts, kept, counts, x, now, scratch)
        f[WARMED] = 0.0 if math.isnan(novelty) else 1.0
        if not math.isnan(novelty):
            score = once(f, novelty)
            if scores.shape[0] > 0:
                scores[i] = score
        flagged(f, rows, contexts, novelty, x, now)
        quiet = max(QUIET_MS, QUIET_SAMPLES * f[STEP])
        n = flags.tend_flag(f, FLAG, 0, now, quiet, GROW_MS, reports, n)
    return at.shape[0], n


@entry
def silence(f: Floats, at: float, reports: Floats) -> int:
    """End the flag when it was quiet until `at`; returns the number of reports, one at most."""
    return end_quiet(f, at, reports, 0)
