"""Labels: what came after each window's cut-off, by the rows in force now, corrections included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.export import asked
from pipeline.export.asked import LONGEST_INTERVAL_MS, Columns, Reader
from pipeline.export.plan import Ints, Windows

NEVER = 1 << 61  # ms
FAULT = "fault"


class Ahead:
    """Labels of one machine."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        answer = reader.ask(asked.FINAL_UNTIL, reader.plan.start, reader.plan.end)
        self._final_until = int(answer["until"][0])

    def of(self, windows: Windows) -> Mapping[str, Any]:
        """Every label by its column's name, one value per window; masked where it cannot be known yet.

        Raises StoreUnavailable, StoreRefused.
        """
        reader, plan = self._reader, windows.plan
        first, until = int(windows.cuts[0]), windows.cuts + plan.horizon_ms
        last = int(until[-1])
        known = until <= self._final_until
        began = first - LONGEST_INTERVAL_MS
        found = stops(windows, reader.ask(asked.INTERVALS, began, last, {"never": NEVER}))
        found |= parts(windows, reader.ask(asked.PARTS, first, last))
        flags = reader.ask(asked.FLAGS, first, last)
        ahead, row, _ = _next(windows, flags["since"])
        found |= {"anomaly_ahead": ahead, "anomaly_kind": _words(flags["kind"], row)}
        masked = {name: _masked(values, known) for name, values in found.items()}
        return {"label_until": until, "labels_known": known, **masked}


def stops(windows: Windows, lost: Columns) -> dict[str, Any]:
    """Stops and faults that begin in time, and the time that they take of it. `lost`: intervals by their start."""
    counts = ~lost["micro"].astype(np.bool_) & ~lost["external"].astype(np.bool_)
    lost = {name: values[counts] for name, values in lost.items()}
    start, end, fault = lost["since"], lost["until"], lost["state"] == FAULT
    first = lost["begins"].astype(np.bool_)
    goes_on = np.zeros(len(start), np.bool_)  # the same fault: next to it, or after a break within its stop
    goes_on[1:] = fault[:-1] & ((end[:-1] == start[1:]) | ~first[1:])
    begins, fails = np.flatnonzero(first), np.flatnonzero(fault & ~goes_on)
    found: dict[str, Any] = {}
    for name, rows in (("stop", begins), ("fault", fails)):
        ahead, row, delay = _next(windows, start[rows])
        found |= {
            f"{name}_ahead": ahead, f"{name}_in_ms": np.ma.MaskedArray(delay, ~ahead),
            f"{name}_state": _words(lost["state"][rows], row), f"{name}_reason": _words(lost["reason"][rows], row),
        }  # fmt: skip
    del found["fault_state"]
    until = windows.cuts + windows.plan.horizon_ms
    down, stands = np.zeros(len(windows), np.int64), np.zeros(len(windows), np.bool_)
    for since, to in zip(start, end, strict=True):
        down += np.maximum(0, np.minimum(until, to) - np.maximum(windows.cuts, since))
        stands |= (since <= windows.cuts) & (windows.cuts < to)
    return {**found, "down_ms_ahead": down, "stopped_at_cut_off": stands}


def parts(windows: Windows, made: Columns) -> dict[str, Any]:
    """Parts of the windows that lie within the time of each label, and whether a correction has changed any."""
    window, horizon = windows.plan.window_ms, windows.plan.horizon_ms
    low = made["at"].searchsorted(windows.cuts)
    high = np.maximum(low, made["at"].searchsorted(windows.cuts + horizon - window, "right"))
    found: dict[str, Any] = {}
    for name in ("total", "good", "reject", "corrected"):
        summed = np.concatenate([[0], np.cumsum(made[name].astype(np.int64))])
        found[f"{name}_ahead"] = summed[high] - summed[low]
    return {**found, "corrected": found.pop("corrected_ahead") > 0}


def _next(windows: Windows, starts: Ints) -> tuple[Any, Ints, Ints]:
    """Of ascending instants the first from each cut-off on: whether it is in time, which (-1: none), how far (ms)."""
    row = starts.searchsorted(windows.cuts)
    padded = np.append(starts, NEVER)
    delay = padded[row] - windows.cuts
    ahead = delay < windows.plan.horizon_ms
    return ahead, np.where(ahead, row, -1), delay


def _words(values: Any, rows: Ints) -> list[str | None]:
    return [values[row] if row >= 0 else None for row in rows.tolist()]


def _masked(values: Any, known: Any) -> Any:
    if isinstance(values, list):
        return [value if sure else None for value, sure in zip(values, known, strict=True)]
    return np.ma.MaskedArray(np.ma.getdata(values), np.ma.getmaskarray(values) | ~known)
