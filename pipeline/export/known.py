"""Features: what was known of each window at its cut-off, from arrivals and from versions, never from current rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.core.model import FACTS
from pipeline.export import asked
from pipeline.export.asked import SIGNALS_AT_ONCE, Columns, Reader, joined
from pipeline.export.columns import BEFORE, KINDS, OWN, STATISTICS
from pipeline.export.plan import HOUR_MS, Ints, Windows

NEVER = 1 << 62  # ms
WORDS = ("site", "line", "product", "shift")


class Known:
    """Features of one machine. `signals` are the columns of the export, whether the machine has them or not."""

    def __init__(self, reader: Reader, signals: Sequence[str]) -> None:
        self._reader, self._signals = reader, signals

    def of(self, windows: Windows) -> Mapping[str, Any]:
        """Every feature by its column's name, one value per window; and `heard`: whether anything was known.

        Raises StoreUnavailable, StoreRefused.
        """
        reader, plan = self._reader, windows.plan
        unsure = np.zeros(len(windows), np.bool_)
        found: dict[str, Any] = {
            "machine": [reader.machine] * len(windows), "window_start": windows.starts, "window_end": windows.ends,
            "cut_off": windows.cuts, "as_known": unsure,
        }  # fmt: skip
        reach = (plan.look_back - 1) * plan.window_ms
        versions = reader.ask(asked.VERSIONS, windows.first - reach, windows.end, {"cut": int(windows.cuts[-1])})
        found |= facts(windows, versions)
        gone = reader.ask(asked.WITHOUT_HISTORY, windows.first - reach, windows.end)["at"]
        for slot in windows.slots(gone):
            unsure[max(0, slot) : max(0, slot + plan.look_back)] = True
        heard = found["windows_1h"] > 0
        for part, more in (self._samples(windows, unsure), self._said(windows, unsure)):
            found |= part
            heard = heard | more
        found |= self._flags(windows, unsure)
        found["as_known"] = np.zeros(len(windows), np.bool_) if plan.backfilled else ~unsure
        return {**found, "heard": heard}

    def _samples(self, windows: Windows, unsure: Any) -> tuple[Mapping[str, Any], Any]:
        size = len(windows)
        heard = np.zeros(size, np.bool_)
        found: dict[str, Any] = {}
        for at in range(0, len(self._signals), SIGNALS_AT_ONCE):
            names = self._signals[at : at + SIGNALS_AT_ONCE]
            answer = self._reader.samples(windows, names)
            slots = answer["window"] - windows.first // windows.plan.window_ms
            unsure[slots[answer["unsure"] > 0]] = True
            heard[slots[answer["count"] > 0]] = True
            for name in names:
                mine = answer["signal"] == name
                found |= _statistics(name, size, slots[mine], {key: answer[key][mine] for key in STATISTICS})
        return found, heard

    def _said(self, windows: Windows, unsure: Any) -> tuple[Mapping[str, Any], Any]:
        """States, alarms and reports of counters."""
        plan, first_cut = windows.plan, int(windows.cuts[0])
        here = self._reader.ask(asked.EVENTS, windows.first, windows.end)
        reports = self._reader.ask(asked.REPORTS, windows.first, windows.end)
        before = self._reader.states_before(windows, first_cut)
        for one in (here, reports, *before):
            if plan.backfilled:
                one["came"] = np.minimum(one["came"], one["at"])
        for one in (here, reports):
            slots = windows.slots(one["at"])
            unsure[slots[(one["came"] == 0) | (one["came"] > windows.cuts[slots])]] = True
        found = states(windows, joined([*before, _chosen(here, here["kind"] == "state")]))
        changes = _counted(windows, _chosen(here, here["kind"] == "state"))
        alarms = _chosen(here, here["kind"] != "state")
        found |= {
            "state_changes": changes,
            "fault_events": _counted(windows, _chosen(alarms, alarms["severity"] == "fault")),
            "warning_events": _counted(windows, _chosen(alarms, alarms["severity"] == "warning")),
            "count_reports": _counted(windows, reports),
        }
        heard = (changes > 0) | (found["fault_events"] > 0) | (found["warning_events"] > 0)
        return found, heard | (found["count_reports"] > 0)

    def _flags(self, windows: Windows, unsure: Any) -> Mapping[str, Any]:
        first, last = int(windows.cuts[0]) - HOUR_MS, int(windows.cuts[-1])
        gone = self._reader.ask(asked.FLAGS_WITHOUT_HISTORY, first, last)
        for began, ended in zip(gone["since"], gone["until"], strict=True):
            unsure[(windows.cuts >= began) & (windows.cuts < ended + HOUR_MS)] = True
        return flags(windows, self._reader.ask(asked.FLAG_VERSIONS, first, last))


def facts(windows: Windows, versions: Columns) -> dict[str, Any]:
    """Facts of each window and of the hour that ends with it, each in the version known by that window's cut-off.

    `versions` are rows of segments in order of window, segment and `known_at`; a version counts until the next one of
    its segment is known. A segment without length is one that was removed.
    """
    plan, size = windows.plan, len(windows)
    start, known = versions["since"], versions["known"]
    follows = np.full(len(known), NEVER)
    same = (start[1:] == start[:-1]) & (versions["at"][1:] == versions["at"][:-1])
    follows[:-1][same] = known[1:][same]
    if plan.backfilled:
        known, follows = versions["at"], np.full(len(known), NEVER)
    lasting = versions["until"] > start
    slots = windows.slots(versions["at"])
    numbers = np.array([versions[name] for name in FACTS], np.int64).reshape(len(FACTS), -1).T
    hour = np.zeros((size, len(FACTS)), np.int64)
    there = np.zeros((plan.look_back, size), np.bool_)
    latest = np.full(size, -1)
    for back in range(plan.look_back):
        at = slots + back
        inside = np.flatnonzero((at >= 0) & (at < size) & lasting)
        cut = windows.cuts[at[inside]]
        rows = inside[(known[inside] <= cut) & (cut < follows[inside])]
        np.add.at(hour, at[rows], numbers[rows])
        there[back, at[rows]] = True
        if back == 0:
            own, latest[at[rows]] = hour.copy(), rows  # rows ascend: the last segment stays
    none = ~there[0]
    words = {name: _words(versions[name], latest) for name in WORDS}
    return {
        **words, "facts_status": _words(versions["status"], latest),
        **{name + OWN: np.ma.MaskedArray(own[:, k], none) for k, name in enumerate(FACTS)},
        "windows_1h": there.sum(axis=0).astype(np.int64),
        **{name + BEFORE: np.ma.MaskedArray(hour[:, k], ~there.any(axis=0)) for k, name in enumerate(FACTS)},
    }  # fmt: skip


def states(windows: Windows, said: Columns) -> dict[str, Any]:
    """The last state said of before each window's end, by what had arrived at its cut-off; `said` in order of time."""
    latest = np.full(len(windows), -1)
    for row, (at, came) in enumerate(zip(said["at"], said["came"], strict=True)):
        latest[max(windows.ends.searchsorted(at, "right"), windows.cuts.searchsorted(came)) :] = row
    age = windows.ends - (said["at"][latest] if len(said["at"]) else 0)
    return {
        "state": _words(said["code"], latest), "state_reason": _words(said["text"], latest),
        "state_age_ms": np.ma.MaskedArray(age, latest < 0),
    }  # fmt: skip


def flags(windows: Windows, versions: Columns) -> dict[str, Any]:
    """Flags of which something was said in the hour to the cut-off: how many, of which kinds, their highest score."""
    size = len(windows)
    score = np.full(size, -1.0)
    told: dict[tuple[str, str, int], Any] = {}
    for signal, kind, first, known, value in zip(
        *(versions[name] for name in ("signal", "kind", "since", "known", "score")), strict=True
    ):
        begin, end = windows.cuts.searchsorted(known), windows.cuts.searchsorted(known + HOUR_MS)
        told.setdefault((signal, kind, first), np.zeros(size, np.int64))[begin:end] = 1
        score[begin:end] = np.maximum(score[begin:end], value)
    nothing = np.zeros(size, np.int64)
    return {
        "flags_1h": sum(told.values(), nothing), "flag_score_1h": np.ma.MaskedArray(score, score < 0),
        **{
            f"flags_1h_{kind}": sum((row for key, row in told.items() if key[1] == kind), nothing) for kind in KINDS
        },
    }  # fmt: skip


def _statistics(name: str, size: int, slots: Ints, values: Columns) -> dict[str, Any]:
    heard = values["count"] > 0
    count = np.zeros(size, np.int64)
    count[slots] = values["count"]
    found: dict[str, Any] = {f"{name}.count": count}
    for statistic in STATISTICS[:-1]:
        whole = np.zeros(size)
        whole[slots[heard]] = values[statistic][heard]
        found[f"{name}.{statistic}"] = np.ma.MaskedArray(whole, count == 0)
    return found


def _counted(windows: Windows, said: Columns) -> Ints:
    """How many of these were said in each window and had arrived by its cut-off."""
    slots = windows.slots(said["at"])
    return np.bincount(slots[said["came"] <= windows.cuts[slots]], minlength=len(windows)).astype(np.int64)


def _chosen(said: Columns, rows: Any) -> Columns:
    return {name: values[rows] for name, values in said.items()}


def _words(values: Any, latest: Ints) -> list[str | None]:
    return [values[row] if row >= 0 else None for row in latest.tolist()]
