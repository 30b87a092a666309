"""Compiled arithmetic of control charts: points one by one against a frozen base, and which rules each completes.

Rules and their numbers: L. S. Nelson, The Shewhart control chart: tests for special causes, Journal of Quality
Technology 16 (1984), 237-239; Western Electric, Statistical quality control handbook (1956).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Fields of a chart: its base, then the runs at its last point. A run counts points; its sign is its side or direction.
POINTS, SUM, RANGES, RANGE_SUM, MEAN, SIGMA, LAST, SIDE, TREND, TURNS, STEP, NEAR, FAR, Z1, Z2, Z3, Z4 = range(17)
FIELDS = 17
BREAKS_FROM = LAST  # what does not outlast a break
D2 = 1.128  # mean range of two samples of a normal process of scale 1
NELSON, WESTERN_ELECTRIC = 0b0_1111_1111, 0b1_0011_0001  # bit k - 1: Nelson's rule k; bit 8: eight on one side


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def chart(c: Floats, values: Floats, base: int, rules: Floats, sigmas: Floats) -> None:
    """Judge values in order: `rules[i]` has the bits of the rules that value i completes, `sigmas[i]` is its distance
    from the centre in sigmas (NaN: not judged). The first `base` values of a chart are what it is judged by.

    Inequalities are strict; a value on the centre line, or equal to the one before, breaks a run.
    """
    for i in range(len(values)):
        x = values[i]
        rules[i], sigmas[i] = 0.0, np.nan
        if c[POINTS] < base:
            if not np.isnan(c[LAST]):
                c[RANGES] += 1.0
                c[RANGE_SUM] += abs(x - c[LAST])
            c[POINTS] += 1.0
            c[SUM] += x
            c[LAST] = x
            if c[POINTS] == base:
                c[MEAN] = c[SUM] / base
                c[SIGMA] = c[RANGE_SUM] / max(c[RANGES], 1.0) / D2
                c[LAST] = np.nan
            continue
        if c[SIGMA] <= 0.0:
            continue
        z = (x - c[MEAN]) / c[SIGMA]
        _runs(c, x, z)
        rules[i], sigmas[i] = _completed(c, z), z
        c[Z4], c[Z3], c[Z2], c[Z1], c[LAST] = c[Z3], c[Z2], c[Z1], z, x


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _runs(c: Floats, x: float, z: float) -> None:
    side = float(np.sign(z))
    c[SIDE] = 0.0 if side == 0.0 else c[SIDE] + side if c[SIDE] * side > 0.0 else side
    step = 0.0 if np.isnan(c[LAST]) else float(np.sign(x - c[LAST]))
    c[TREND] = step if step == 0.0 else c[TREND] + step if c[TREND] * step > 0.0 else step
    c[TURNS] = 0.0 if step == 0.0 else c[TURNS] + 1.0 if c[STEP] * step < 0.0 else 1.0
    c[STEP] = step
    c[NEAR] = c[NEAR] + 1.0 if abs(z) < 1.0 else 0.0
    c[FAR] = c[FAR] + 1.0 if abs(z) > 1.0 else 0.0


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _completed(c: Floats, z: float) -> float:
    side, away = float(np.sign(z)), abs(z)
    z1, z2, z3, z4 = side * c[Z1], side * c[Z2], side * c[Z3], side * c[Z4]
    found = 0
    if away > 3.0:
        found |= 1
    if abs(c[SIDE]) >= 9.0:
        found |= 2
    if abs(c[TREND]) >= 5.0:  # steps: six points
        found |= 4
    if c[TURNS] >= 13.0:  # steps: fourteen points
        found |= 8
    if away > 2.0 and (z1 > 2.0 or z2 > 2.0):
        found |= 16
    if away > 1.0 and (z1 > 1.0) + (z2 > 1.0) + (z3 > 1.0) + (z4 > 1.0) >= 3:
        found |= 32
    if c[NEAR] >= 15.0:
        found |= 64
    if c[FAR] >= 8.0 and abs(c[SIDE]) < 8.0:  # on both sides
        found |= 128
    if abs(c[SIDE]) >= 8.0:
        found |= 256
    return float(found)
