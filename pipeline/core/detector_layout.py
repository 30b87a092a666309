"""Where everything stands in the detectors' state, their parameters, and how their arithmetic is compiled.

A signal is one row of float64: fields of the signal, then one group of fields per flag, then one per context. What a
context is (state, product, just entered or settled) is the caller's business; in the kernels it is a number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast
from zlib import crc32

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
    PEAK, PEAK_NOW, PEAK_AT, REFRACTORY, LAST_RUN, ALL_HIGH, ALL_LOW, ALL_JUMP, ROUGH, ROUGH_MEAN, ROUGH_SCALE, NEAREST,
    ZEROS, DROPS, DROP_FIRST, DROP_AT, UNEVEN,
    FURTHEST, MOST_FAST, MOST_SLOW, MOST_ROUGH, SINCE, MISFIT, CARRY,
) = range(71)  # fmt: skip
SIGNAL_FIELDS = 71
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
NONE, SPIKE, SHIFT, DRIFT, LIMIT, FLATLINE, GAP, NOISE = range(8)
# Columns of a report.
ROW, WHEN, CLOSED, R_KIND, R_FIRST, R_LAST, R_SCORE, R_VALUE, R_EXPECTED, R_LOW, R_HIGH = range(11)
REPORT_FIELDS = 11
REPORTS_PER_SAMPLE = 12
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
    "spike": 5.7,  # threshold of a single sample, in scales
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
    "alarm": 0.7,
    "refractory_samples": 250.0,
    "young_ms": 3600e3,
    "piece_ms": 30e3,
    "piece_memory": 1000.0,
    "offset_pieces": 360.0,
    "accept_at_least_ms": 1200e3,
    "change_ms": 1800e3,  # for so long after it came back a product is judged with reserve
    "anew_ms": 300e3,  # what wears is then known as after so long
    "catch_up_ms": 300e3,  # and a signal that lags is followed
    "carry_share": 0.75,  # share of what products usually come back with that widens the scale, fading over `change_ms`
    "carry_kept": 0.85,  # what is left of it at the next change
    "carry_more": 2.0,  # times by which it may grow from one change to the next
    "carry_first": 4.0,  # the same of a signal that did not come back to a product yet, in scales
    "beyond": 1.2,  # a spike has to go so much further than the furthest sample known
    "uneven_from": 0.45,  # share by which times between readings differ, from which it reports on change
    "by_hand_from": 0.15,  # the same share, from which nothing is judged while the machine stands
    "beyond_mean": 1.2,  # the same for means and swings
    "beyond_jump": 1.2,  # ... and for what differs from the last few samples
    "wild": 0.5,  # share by which what was too far moves the furthest that is known
    "wild_mean": 1.0,
    "forget_ms": 24 * 3600e3,  # of sampled time, after which the furthest is forgotten
    "noise_effect": 1.0,  # how much more than usual a signal has to swing
    "drops_told": 5.0,  # readings of 0 for a moment after which they are told, once
    "drops_within": 100.0,  # readings from one to the next; after more it begins anew
}
NAMES = tuple(PARAMETERS)
(
    WARM_SAMPLES, WARM_ALL, MEMORY_SAMPLES, MEMORY_MS, OFFSET_MS, OFFSET_SAMPLES, SETTLE_MS, FAST_SAMPLES, FAST_MS,
    SLOW_SAMPLES, SLOW_MS, P_SPIKE, SHIFT_SCALES, FAST_EFFECT, SLOW_EFFECT, DRIFT_MS, SPIKE_SAMPLES, QUIET_MS,
    QUIET_SAMPLES, ACCEPT_MS, ACCEPT_SAMPLES, FLAT_MS, FLAT_EVIDENCE, GROW_MS, CLIP, MEAN_CLIP, FLOOR, GAP_MS,
    GAP_SAMPLES, HABIT, HABIT_MOST, HABIT_MS, HABIT_SAMPLES, ALARM, REFRACTORY_SAMPLES, YOUNG_MS, PIECE_MS,
    PIECE_MEMORY, OFFSET_PIECES, ACCEPT_AT_LEAST_MS, CHANGE_MS, ANEW_MS, CATCH_UP_MS, CARRY_SHARE,
    CARRY_KEPT, CARRY_MORE, CARRY_FIRST, BEYOND, UNEVEN_FROM, BY_HAND_FROM, BEYOND_MEAN, BEYOND_JUMP, WILD, WILD_MEAN,
    FORGET_MS, NOISE_EFFECT, DROPS_TOLD, DROPS_WITHIN,
) = range(len(PARAMETERS))  # fmt: skip
BIG = 1e100  # a number beyond it is none

_sources: list[str] = [repr(sorted((name, value) for name, value in vars().items() if name.isupper()))]


def compiled(function: F) -> F:
    """Compiled into its callers; x / 0 is infinite, as numpy has it."""
    code = function.__code__
    _sources.append(repr((code.co_code, code.co_consts, code.co_names)))
    return cast("F", njit(error_model="numpy")(function))


def entry(function: F) -> F:
    """Called from Python: compiled once and kept on disk, together with all that it calls.

    The name of what is kept says which sources went in: numba itself looks at the entry's own file alone, and would go
    on using machine code of what it called before."""
    function.__qualname__ += f"_{crc32(''.join(_sources).encode()):08x}"
    return cast("F", njit(error_model="numpy", cache=True)(function))


@compiled
def clipped(value: float, most: float) -> float:
    return min(max(value, -most), most)
