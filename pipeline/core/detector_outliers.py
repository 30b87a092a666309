"""What is far out for a signal: against the furthest it ever went, how much it swings, and readings that drop out."""

from __future__ import annotations

import math

from pipeline.core import detector_flags as flags
from pipeline.core import detector_layout as lay
from pipeline.core.detector_layout import Floats, compiled


@compiled
def single(f: Floats, p: Floats, x: float, z: float, r: float, near: float) -> float:
    """How far out one sample is (1: threshold). `r` is its deviation from what was expected, `z` the same in scales,
    `near` that from the last few samples in scales.

    A signal that reports on change shows its extremes and not its rest: there a sample has to go beyond all that were
    seen, too."""
    far, jump = abs(z) / p[lay.P_SPIKE], near / p[lay.P_SPIKE]
    if f[lay.UNEVEN] > p[lay.UNEVEN_FROM]:
        most = f[lay.ALL_HIGH] if r > 0.0 else f[lay.ALL_LOW]
        if most > 0.0:
            far = min(far, abs(r) / (p[lay.BEYOND] * most))
        if f[lay.ALL_JUMP] > 0.0:
            jump = min(jump, abs(x - f[lay.LOCAL]) / (p[lay.BEYOND_JUMP] * f[lay.ALL_JUMP]))
    return float(max(far, jump if abs(z) > 1.0 else 0.0))


@compiled
def stretched(most: float, now: float, forget: float, share: float) -> float:
    """The furthest so far; what is wild counts half, so that it is no news when it comes a third time."""
    most *= 1.0 - forget
    return most + share * max(now - most, 0.0)


@compiled
def means(f: Floats, p: Floats, noise: float) -> tuple[float, float, float]:
    """How far the fast and the slow mean and the swing are out (1: threshold); see `single`."""
    fast = abs(f[lay.FAST]) / max(p[lay.FAST_EFFECT], p[lay.SHIFT_SCALES] * f[lay.FAST_SCALE])
    slow = abs(f[lay.SLOW]) / max(p[lay.SLOW_EFFECT], p[lay.SHIFT_SCALES] * f[lay.SLOW_SCALE])
    if f[lay.UNEVEN] > p[lay.UNEVEN_FROM]:
        fast = min(fast, abs(f[lay.FAST]) / (p[lay.BEYOND_MEAN] * max(f[lay.MOST_FAST], 1e-9)))
        slow = min(slow, abs(f[lay.SLOW]) / (p[lay.BEYOND_MEAN] * max(f[lay.MOST_SLOW], 1e-9)))
        noise = min(noise, f[lay.ROUGH] / (p[lay.BEYOND_MEAN] * max(f[lay.MOST_ROUGH], 1e-9)))
    return fast, slow, noise


@compiled
def learn_most(f: Floats, p: Floats, x: float, r: float, passed: float, wild: bool) -> None:
    """How far samples go from what is expected, and from the last few, at most."""
    forget = min(passed / p[lay.FORGET_MS], 1.0)
    share = p[lay.WILD] if wild else 1.0
    high, low, jump = max(r, 0.0), max(-r, 0.0), abs(x - f[lay.LOCAL])
    f[lay.ALL_HIGH] = stretched(f[lay.ALL_HIGH], high, forget, share)
    f[lay.ALL_LOW] = stretched(f[lay.ALL_LOW], low, forget, share)
    f[lay.ALL_JUMP] = stretched(f[lay.ALL_JUMP], jump, forget, share)
    f[lay.MOST_FAST] = stretched(f[lay.MOST_FAST], abs(f[lay.FAST]), forget, p[lay.WILD_MEAN])
    f[lay.MOST_SLOW] = stretched(f[lay.MOST_SLOW], abs(f[lay.SLOW]), forget, p[lay.WILD_MEAN])
    f[lay.MOST_ROUGH] = stretched(f[lay.MOST_ROUGH], f[lay.ROUGH], forget, p[lay.WILD_MEAN])


@compiled
def rough(f: Floats, p: Floats, z: float, slow: float) -> float:
    """How much more than usual a signal that reports on change swings about its level (1: threshold)."""
    f[lay.ROUGH] += (min(abs(z - f[lay.FAST]), p[lay.MEAN_CLIP]) - f[lay.ROUGH]) / slow
    if f[lay.UNEVEN] <= p[lay.UNEVEN_FROM] or f[lay.ROUGH_MEAN] <= 0.0 or f[lay.WARM] < 3.0 * p[lay.WARM_ALL]:
        return 0.0
    more = max(p[lay.NOISE_EFFECT] * max(f[lay.ROUGH_MEAN], 0.5), p[lay.SHIFT_SCALES] * f[lay.ROUGH_SCALE])
    return float((f[lay.ROUGH] - f[lay.ROUGH_MEAN]) / more)


@compiled
def learn_rough(f: Floats, a: float) -> None:
    d = f[lay.ROUGH] - f[lay.ROUGH_MEAN]
    f[lay.ROUGH_MEAN] += a * d
    f[lay.ROUGH_SCALE] += a * (1.2533 * abs(d) - f[lay.ROUGH_SCALE])


@compiled
def dropped_out(f: Floats, p: Floats, x: float, at: float) -> bool:
    """Whether a reading is one more 0 that stands for none: of a signal that never comes near it but for a moment.

    The first ones are judged as any reading; when they come again and again that is told once, as a gap, and they are
    left out from then on, up to three in a row."""
    if x != 0.0:
        f[lay.NEAREST] = min(f[lay.NEAREST], abs(x)) if f[lay.NEAREST] > 0.0 else abs(x)
        f[lay.FURTHEST] = max(f[lay.FURTHEST], abs(x))
        f[lay.ZEROS] = 0.0
        return False
    if f[lay.COUNT] < 20.0 or f[lay.NEAREST] < 0.4 * f[lay.FURTHEST] or f[lay.FURTHEST] == 0.0:
        return False
    f[lay.ZEROS] += 1.0
    if f[lay.ZEROS] > 3.0:
        return False
    if f[lay.ZEROS] == 1.0:
        within = p[lay.DROPS_WITHIN] * (1.0 if f[lay.DROPS] < p[lay.DROPS_TOLD] else 50.0)
        if f[lay.DROPS] == 0.0 or f[lay.COUNT] - f[lay.DROP_AT] > within:
            f[lay.DROPS], f[lay.DROP_FIRST] = 0.0, at
        f[lay.DROPS] += 1.0
        f[lay.DROP_AT] = f[lay.COUNT]
        if f[lay.DROPS] == p[lay.DROPS_TOLD]:
            flags.raise_flag(
                f, lay.GAP_FLAG, float(lay.GAP), f[lay.DROP_FIRST], at, 0.5, x, f[lay.ALL_LEVEL], math.nan, math.nan
            )
            f[lay.CONTEXTS_FROM : lay.LAGS_FROM] = 0.0  # a signal with such readings repeats itself less than it does
    return bool(f[lay.DROPS] >= p[lay.DROPS_TOLD])
