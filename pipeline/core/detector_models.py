"""What is usual for a signal: a level per context, and for signals that lag behind the state, where they tend to."""

from __future__ import annotations

import math

from pipeline.core import detector_layout as lay
from pipeline.core import detector_outliers as outliers
from pipeline.core.detector_layout import Floats, clipped, compiled


@compiled
def pace(seen: float, memory: float) -> float:
    """Weight of a new sample: at first that of a short memory, so that a bad start is forgotten, then a mean's."""
    return 3.0 / (seen + 2.0) if seen < 300.0 else 1.0 / min(seen - 200.0, memory)


@compiled
def learn_context(
    f: Floats, c: Floats, p: Floats, x: float, memory: float, trust: float, wears: bool, floor: float, lag_known: bool
) -> None:
    """Level and scale of a context: means of clipped deviations, so that an outlier moves them little."""
    c[lay.SEEN] += 1.0
    offset = f[lay.OFFSET] if wears else 0.0
    if c[lay.SEEN] == 1.0:
        c[lay.LEVEL], c[lay.REPEATS] = x - offset, 0.5
        return
    a = trust * pace(c[lay.SEEN], memory)
    r = clipped(x - offset - c[lay.LEVEL], p[lay.CLIP] * max(c[lay.SCALE], floor) if c[lay.SEEN] > 20.0 else lay.BIG)
    if wears and c[lay.SEEN] >= p[lay.WARM_SAMPLES]:
        f[lay.OFFSET_SEEN] += 1.0
        if f[lay.OFFSET_SEEN] < p[lay.WARM_SAMPLES]:
            wide = clipped(x - offset - c[lay.LEVEL], 20.0 * max(c[lay.SCALE], floor))
            f[lay.OFFSET] += wide * pace(f[lay.OFFSET_SEEN], lay.BIG)
            return
        slowly = max(p[lay.OFFSET_SAMPLES], p[lay.OFFSET_MS] / max(f[lay.STEP], 1.0))
        f[lay.OFFSET] += r * trust / min(f[lay.OFFSET_SEEN], slowly)
    c[lay.LEVEL] += a * r
    c[lay.SCALE] += a * (1.2533 * abs(r) - c[lay.SCALE])
    near = clipped(x - f[lay.LOCAL], 4.0 * max(c[lay.SPREAD], floor) if c[lay.SEEN] > 20.0 else lay.BIG)
    c[lay.SPREAD] += a * (1.2533 * abs(near) - c[lay.SPREAD])
    if lag_known:
        if c[lay.LAG_SCALE] == 0.0:
            c[lay.LAG_SCALE] = c[lay.SCALE]
        lag = clipped(x - f[lay.LAGGED], p[lay.CLIP] * max(c[lay.LAG_SCALE], floor))
        least = trust / max(p[lay.OFFSET_SAMPLES], p[lay.YOUNG_MS] / max(f[lay.STEP], 1.0))
        c[lay.LAG_SCALE] += min(max(3.0 * a, least), 1.0) * (1.2533 * abs(lag) - c[lay.LAG_SCALE])
    c[lay.REPEATS] += (1.0 / min(c[lay.SEEN] + 2.0, memory)) * ((1.0 if x == f[lay.X] else 0.0) - c[lay.REPEATS])
    c[lay.REPEATS] = max(c[lay.REPEATS], 1e-3)


@compiled
def follow_lag(f: Floats, g: Floats, x: float, at: float, wears: bool, p: Floats) -> bool:
    """Where the signal would be by now if it tended exponentially to the target of each context it was in.

    False: not known in this context yet; then it just follows the signal."""
    if f[lay.COUNT] == 0.0:
        f[lay.LAGGED] = x
    if f[lay.COUNT] >= p[lay.WARM_SAMPLES]:
        x = f[lay.LAGGED] + clipped(x - f[lay.LAGGED], 10.0 * f[lay.ALL_SCALE])
    fresh = wears and f[lay.LAG_OFFSET_SEEN] < 20.0
    if f[lay.PULL] <= 0.0 or g[lay.PIECES] < 20.0 or fresh:
        f[lay.LAGGED] += 0.1 * (x - f[lay.LAGGED])
        return False
    target = g[lay.PIECE_MEAN] + g[lay.PIECE_CHANGE] / f[lay.PULL] + (f[lay.LAG_OFFSET] if wears else 0.0)
    keep = (1.0 - f[lay.PULL]) ** min((at - f[lay.AT]) / max(p[lay.PIECE_MS], f[lay.STEP]), 1000.0)
    f[lay.LAGGED] = target + (f[lay.LAGGED] - target) * keep
    return True


@compiled
def learn_lag(f: Floats, g: Floats, x: float, at: float, base: int, wears: bool, trust: float, p: Floats) -> None:
    """Regression of the change from piece to piece of time on the piece's mean, one intercept per context."""
    if f[lay.COUNT] < p[lay.WARM_SAMPLES]:
        return
    x = f[lay.LAGGED] + clipped(x - f[lay.LAGGED], 10.0 * f[lay.ALL_SCALE])
    length = max(p[lay.PIECE_MS], f[lay.STEP])
    if f[lay.PIECE_BASE] != base + 1.0 or at - f[lay.AT] > 2.0 * length:
        f[lay.PIECE_BASE], f[lay.PIECE], f[lay.PIECE_SUM] = base + 1.0, 0.0, 0.0
        f[lay.PIECE_FROM], f[lay.PIECE_BEFORE] = at, math.nan
    elif at - f[lay.PIECE_FROM] >= length and f[lay.PIECE] > 0.0:
        mean, before = f[lay.PIECE_SUM] / f[lay.PIECE], f[lay.PIECE_BEFORE]
        f[lay.PIECE], f[lay.PIECE_SUM], f[lay.PIECE_FROM], f[lay.PIECE_BEFORE] = 0.0, 0.0, at, mean
        if not math.isnan(before):
            learn_piece(f, g, before, mean - before, wears, trust, p)
    f[lay.PIECE] += 1.0
    f[lay.PIECE_SUM] += x


@compiled
def learn_piece(f: Floats, g: Floats, mean: float, change: float, wears: bool, trust: float, p: Floats) -> None:
    if wears and f[lay.PULL] > 0.0 and g[lay.PIECES] >= 20.0:
        seen = (change + f[lay.PULL] * mean - g[lay.PIECE_CHANGE]) / f[lay.PULL] - g[lay.PIECE_MEAN]
        f[lay.LAG_OFFSET_SEEN] += 1.0
        f[lay.LAG_OFFSET] += trust * (seen - f[lay.LAG_OFFSET]) / min(f[lay.LAG_OFFSET_SEEN], p[lay.OFFSET_PIECES])
    if wears:
        change -= f[lay.PULL] * f[lay.LAG_OFFSET]
    g[lay.PIECES] += 1.0
    a = (trust if g[lay.PIECES] > 1.0 else 1.0) / min(g[lay.PIECES], p[lay.PIECE_MEMORY])
    dx, dc = mean - g[lay.PIECE_MEAN], change - g[lay.PIECE_CHANGE]
    g[lay.PIECE_MEAN] += a * dx
    g[lay.PIECE_CHANGE] += a * dc
    if g[lay.PIECES] > 1.0:
        f[lay.X_SPREAD] += (1.0 - a) * dx * dx - f[lay.X_SPREAD] / p[lay.PIECE_MEMORY]
        f[lay.X_CHANGE] += (1.0 - a) * dx * dc - f[lay.X_CHANGE] / p[lay.PIECE_MEMORY]
        f[lay.PULL] = min(max(-f[lay.X_CHANGE] / f[lay.X_SPREAD], 0.0), 0.9) if f[lay.X_SPREAD] > 0.0 else 0.0


@compiled
def learn_signal(f: Floats, x: float, memory: float) -> None:
    """Level and scale over all contexts, and the smallest step ever seen: floors of the contexts' scales."""
    if f[lay.COUNT] == 0.0:
        f[lay.ALL_LEVEL], f[lay.QUANTUM] = x, lay.BIG
    step = abs(x - f[lay.X])
    if f[lay.COUNT] > 0.0 and 0.0 < step < f[lay.QUANTUM]:
        f[lay.QUANTUM] = step
    f[lay.COUNT] += 1.0
    a = pace(f[lay.COUNT], memory)
    most = 10.0 * f[lay.ALL_SCALE] if f[lay.COUNT] > 20.0 and f[lay.ALL_SCALE] > 0.0 else lay.BIG
    r = clipped(x - f[lay.ALL_LEVEL], most)
    f[lay.ALL_LEVEL] += a * r
    f[lay.ALL_SCALE] += a * (1.2533 * abs(r) - f[lay.ALL_SCALE])


@compiled
def compared(f: Floats, p: Floats) -> bool:
    """Whether the two models were compared long enough: a lag that did not show by then is none."""
    return bool(f[lay.COMPARED] >= max(p[lay.YOUNG_MS] / max(f[lay.STEP], 1.0), p[lay.WARM_ALL]))


@compiled
def expectation(
    f: Floats, c: Floats, p: Floats, x: float, offset: float, floor: float, lag_known: bool
) -> tuple[float, float]:
    """Level and scale by the model that fits this signal better; not clear yet: by the one that x fits better."""
    young = 1.0 + 10.0 / max(c[lay.SEEN], 1.0)
    plain, plain_scale = c[lay.LEVEL] + offset, max(c[lay.SCALE] * young, floor)
    lag, lag_scale = f[lay.LAGGED], max(c[lay.LAG_SCALE], c[lay.SPREAD], 1.2533 * f[lay.LAG_ERROR], floor) * young
    if f[lay.LAG_ERROR] < 0.6 * f[lay.PLAIN_ERROR]:
        return lag, lag_scale
    if f[lay.PLAIN_ERROR] < 0.6 * f[lay.LAG_ERROR] or compared(f, p) or not lag_known:
        return plain, plain_scale
    if abs(x - lag) * plain_scale < abs(x - plain) * lag_scale:
        return lag, lag_scale
    return plain, plain_scale


@compiled
def note_run(f: Floats, p: Floats, seen: float, at: float, base: int, step: float) -> None:
    """How long a product runs, of which `seen` samples are known, and how far off products were when they came back."""
    if f[lay.LAST_RUN] != base + 1.0:
        learn_carry(f, p)
        if f[lay.LAST_RUN] > 0.0:  # another product: what wears may show otherwise on it
            f[lay.OFFSET_SEEN] = min(f[lay.OFFSET_SEEN], max(p[lay.WARM_SAMPLES], p[lay.ANEW_MS] / step))
            f[lay.LAG_OFFSET_SEEN] = min(f[lay.LAG_OFFSET_SEEN], max(20.0, p[lay.ANEW_MS] / p[lay.PIECE_MS]))
        f[lay.SINCE] = 0.0 if seen >= p[lay.WARM_SAMPLES] else lay.BIG
        f[lay.LAST_RUN] = base + 1.0
    f[lay.SINCE] += max(min(at - f[lay.AT], 4.0 * step), 0.0)
    if f[lay.SINCE] >= p[lay.CHANGE_MS]:
        learn_carry(f, p)


@compiled
def learn_carry(f: Floats, p: Floats) -> None:
    if f[lay.MISFIT] > 0.0:
        if f[lay.CARRY] > 0.0:  # a fault may have come with it: that is no habit
            f[lay.MISFIT] = min(f[lay.MISFIT], p[lay.CARRY_MORE] * f[lay.CARRY])
        f[lay.CARRY] = max(f[lay.MISFIT], p[lay.CARRY_KEPT] * f[lay.CARRY])
        f[lay.MISFIT] = 0.0


@compiled
def reserve(f: Floats, p: Floats, scale: float) -> float:
    """What to add to the scale in the first half hour after a product came back, in the signal's unit.

    Wear went on meanwhile, and how much of it this product shows is known from the products before only."""
    if f[lay.SINCE] >= p[lay.CHANGE_MS]:
        return 0.0
    usual = p[lay.CARRY_SHARE] * f[lay.CARRY] if f[lay.CARRY] > 0.0 else p[lay.CARRY_FIRST] * scale
    return float(usual * (1.0 - f[lay.SINCE] / p[lay.CHANGE_MS]))


@compiled
def learn_all(
    f: Floats, c: Floats, g: Floats, p: Floats, x: float, at: float, base: int, memory: float, wears: bool,
    floor: float, lag_known: bool,
) -> None:  # fmt: skip
    back = wears and f[lay.SINCE] < p[lay.CHANGE_MS]
    trust = 1.0 if back else 1.0 / (1.0 + f[lay.SLOW] ** 4)  # what may be the beginning of a drift: with reserve
    if back and lag_known:
        behind = clipped(x - f[lay.LAGGED], 10.0 * f[lay.ALL_SCALE])
        f[lay.LAGGED] += min((at - f[lay.AT]) / p[lay.CATCH_UP_MS], 1.0) * behind
    if f[lay.WARM] > 0.0:
        a = 1.0 / min(f[lay.WARM], memory)
        f[lay.FAST_SCALE] += a * trust * (min(1.2533 * abs(f[lay.FAST]), 1.0) - f[lay.FAST_SCALE])
        f[lay.SLOW_SCALE] += a * trust * (min(1.2533 * abs(f[lay.SLOW]), 1.0) - f[lay.SLOW_SCALE])
        outliers.learn_rough(f, a * trust)
    if lag_known:
        f[lay.COMPARED] += 1.0
        a = 1.0 / min(f[lay.COMPARED], max(p[lay.OFFSET_SAMPLES], p[lay.OFFSET_MS] / max(f[lay.STEP], 1.0)))
        offset = f[lay.OFFSET] if wears else 0.0
        f[lay.PLAIN_ERROR] += a * (min(abs(x - c[lay.LEVEL] - offset), 10.0 * f[lay.ALL_SCALE]) - f[lay.PLAIN_ERROR])
        f[lay.LAG_ERROR] += a * (min(abs(x - f[lay.LAGGED]), 10.0 * f[lay.ALL_SCALE]) - f[lay.LAG_ERROR])
    learn_lag(f, g, x, at, base, wears, trust, p)
    learn_context(f, c, p, x, memory, trust, wears, floor, lag_known)
    learn_signal(f, x, memory)
