"""Compiled arithmetic of a machine's relation: how far each signal is from what the others say it should be."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

RIDGE = 0.003  # of a signal's variance: what nobody can be asked to explain


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def residuals(cov: Floats, deviation: Floats, seen: Flags, z: Floats, sigma: Floats) -> None:
    """What is left of each signal's deviation when the other seen ones have explained their part.

    With the precision P of the seen signals, signal j departs by (P d)_j / P_jj from its regression on the others,
    whose scale is P_jj ** -0.5. `z`: departure in that scale, `sigma`: that scale in the signal's unit; NaN: not seen.
    """
    n = len(deviation)
    z[:], sigma[:] = np.nan, np.nan
    place = np.empty(n, dtype=np.int64)
    m = 0
    for j in range(n):
        if seen[j] and cov[j, j] > 0.0:
            place[m] = j
            m += 1
    p = np.empty((m, m))
    for a in range(m):
        for b in range(m):
            i, j = place[a], place[b]
            p[a, b] = cov[i, j] / np.sqrt(cov[i, i] * cov[j, j])
        p[a, a] += RIDGE
    _invert(p)
    for a in range(m):
        j = place[a]
        left = 0.0
        for b in range(m):
            left += p[a, b] * deviation[place[b]] / np.sqrt(cov[place[b], place[b]])
        z[j] = left / np.sqrt(p[a, a])
        sigma[j] = np.sqrt(cov[j, j] / p[a, a])


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _invert(a: Floats) -> None:
    """In place, of a symmetric positive definite matrix (Gauss-Jordan without pivots, which it does not need)."""
    n = len(a)
    for k in range(n):
        pivot = 1.0 / a[k, k]
        a[k, k] = 1.0
        for j in range(n):
            a[k, j] *= pivot
        for i in range(n):
            if i != k:
                factor = a[i, k]
                a[i, k] = 0.0
                for j in range(n):
                    a[i, j] -= factor * a[k, j]


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def learn(cov: Floats, mean: Floats, deviation: Floats, seen: Flags, share: float, mean_share: float) -> None:
    """Move covariance and means towards a minute by these shares; the covariance as it is about the means so far."""
    n = len(deviation)
    for i in range(n):
        if seen[i]:
            mean[i] += mean_share * deviation[i]
            for j in range(n):
                if seen[j]:
                    cov[i, j] += share * (deviation[i] * deviation[j] - cov[i, j])
