"""Anomaly flags of one machine: limits, flatlines, gaps, and what each signal does not usually do in this context."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core import detector_kernels as kernels
from pipeline.core import detector_layout as lay
from pipeline.core import words
from pipeline.core.model import Anomaly, MachineConfig, SignalBlock, SignalConfig
from pipeline.core.rich import RichSignals

DETECTOR = "default"
VERSION = 3
CONTEXTS = lay.CONTEXTS  # (state, product) pairs remembered per machine; the one longest unused makes room
SIGNALS = 2000  # signals watched per machine; more are stored but not judged
KINDS = ("", "spike", "shift", "drift", "limit", "flatline", "gap", "noise")
FLAG_OF = {
    lay.LIMIT: lay.LIMIT_FLAG, lay.FLATLINE: lay.FLAT_FLAG, lay.GAP: lay.GAP_FLAG,
}  # fmt: skip
REPORTS = 64
NO_SCORES = np.empty((0, 0))
DEFAULT = SignalConfig("")

Floats = NDArray[np.float64]


class MachineDetectors:
    """All detectors of one machine, folded over its samples in event-time order.

    What is flagged depends on the samples alone, not on how they are cut into blocks. A flag is returned when it
    opens, when its age has doubled, and when it has ended; `first` stays the same, later rows replace earlier ones.
    """

    __slots__ = ("_contexts", "_gap", "_heard", "_opened", "_p", "_plan", "_rich", "_rows", "_signals", "_units")

    def __init__(self, parameters: Mapping[str, float] | None = None) -> None:
        self._p = np.array(list({**lay.PARAMETERS, **(parameters or {})}.values()), dtype=np.float64)
        self._rows: dict[str, int] = {}
        self._units: list[str] = []
        self._rich = RichSignals()
        self._signals: Floats = np.zeros((0, lay.FIELDS))
        self._contexts: dict[tuple[str, str], int] = {}  # in order of last use
        self._opened: dict[tuple[int, int], tuple[int, str, str]] = {}  # (row, kind): first, state, product
        self._heard: int | None = None
        self._gap: int = 0  # silence (ms) last said; 0: no gap open
        self._plan: tuple[list[str], Mapping[str, SignalConfig], NDArray[np.int64], Floats] | None = None

    def observe(
        self, block: SignalBlock, state: str, product: str, configs: Mapping[str, SignalConfig]
    ) -> list[Anomaly]:
        """Judge, then learn, samples in event-time order, each once, all in one state and product."""
        return self._observe(block, state, product, configs, NO_SCORES)

    def score(
        self, block: SignalBlock, state: str, product: str, configs: Mapping[str, SignalConfig]
    ) -> tuple[Floats, list[Anomaly]]:
        """As `observe`, with the learned (or rich) detector's score of every sample, float64 [len(names), n] in [0, 1].

        0.5 is the threshold; NaN: not judged (still learning, or no number)."""
        scores = np.full(block.values.shape, np.nan)
        return scores, self._observe(block, state, product, configs, scores)

    def advance(self, now: int, last_message: int, config: MachineConfig) -> list[Anomaly]:
        """Time passed until `now`, the last message came at `last_message` <= now; times in ms.

        Ends flags that were quiet, and flags a machine that is silent for `stale_after_ms`. Call it after `observe` of
        the samples before `now`: at the end of each silence, before and after its message, and as often as a silence
        shall be told."""
        found = self._gaps(now, last_message, config.stale_after_ms)
        if self._opened:
            reports = np.empty((len(lay.FLAGS) * len(self._signals), lay.REPORT_FIELDS))
            n = kernels.silence(self._signals, self._p, float(now), reports)
            found += self._flags(reports[:n], "", "")
            for key in [key for key in self._opened if not self._is_open(*key)]:
                del self._opened[key]
        return found + self._rich.silence(now)

    def warming(self, signal: str) -> bool:
        """Whether too little was seen of a signal to judge it: no flag then says nothing about its health."""
        if signal in self._rich:
            return self._rich.warming(signal)
        row = self._rows.get(signal)
        return row is None or bool(self._signals[row, lay.WARM] < self._p[lay.WARM_ALL])

    def pack(self) -> dict[str, Any]:
        """The whole state, for msgpack; `unpack` goes on bit for bit."""
        return {
            "version": VERSION,
            "fields": lay.FIELDS,
            "names": list(self._rows),
            "units": self._units,
            "signals": self._signals.tobytes(),
            "contexts": [[state, product, base] for (state, product), base in self._contexts.items()],
            "opened": [[*key, *value] for key, value in self._opened.items()],
            "heard": self._heard,
            "gap": self._gap,
            "rich": self._rich.pack(),
        }

    @classmethod
    def unpack(cls, packed: Mapping[str, Any], parameters: Mapping[str, float] | None = None) -> MachineDetectors:
        """The detectors that were packed; those of another version start to learn anew."""
        new = cls(parameters)
        new._rich = RichSignals.unpack(packed.get("rich"))
        if packed["version"] != VERSION or packed["fields"] != lay.FIELDS:
            return new
        new._rows = {name: row for row, name in enumerate(packed["names"])}
        new._units = list(packed["units"])
        new._signals = np.frombuffer(packed["signals"]).reshape(len(new._rows), lay.FIELDS).copy()
        new._contexts = {(state, product): base for state, product, base in packed["contexts"]}
        new._opened = {(row, kind): (first, s, p) for row, kind, first, s, p in packed["opened"]}
        new._heard, new._gap = packed["heard"], packed["gap"]
        return new

    def _observe(
        self, block: SignalBlock, state: str, product: str, configs: Mapping[str, SignalConfig], scores: Floats
    ) -> list[Anomaly]:
        if not len(block.at):
            return []
        rows, limits = self._planned(block, configs)
        base = self._context(state, product if state == "running" else "")
        renewing = self._contexts.get(("maintenance", ""), -9)
        found: list[Anomaly] = []
        pieces: list[Floats] = []
        at, values = _plain(block.at), _plain(block.values)
        position, end = 0, len(rows) * len(at)
        while position < end:
            reports = np.empty((REPORTS, lay.REPORT_FIELDS))
            position, n = kernels.run(
                self._signals, rows, limits, self._p, at, values, base, renewing, state != "off",
                state == "running", position, reports, scores,
            )  # fmt: skip
            if n:
                pieces.append(reports[:n])
        if pieces:
            reports = np.concatenate(pieces)
            found = self._flags(reports[np.lexsort((reports[:, lay.ROW], reports[:, lay.WHEN]))], state, product)
        return found + self._rich.observe(at, values, base, state, product, scores)

    def _planned(self, block: SignalBlock, configs: Mapping[str, SignalConfig]) -> tuple[NDArray[np.int64], Floats]:
        plan = self._plan
        if plan is not None and plan[0] == block.names and plan[1] == configs:
            return plan[2], plan[3]
        new = [name for name in dict.fromkeys(block.names) if name not in self._rows][: SIGNALS - len(self._rows)]
        for name in new:
            self._rows[name] = len(self._rows)
            self._units.append("")
        if new:
            self._signals = np.vstack((self._signals, np.zeros((len(new), lay.FIELDS))))
        rows = np.array([self._rows.get(name, -1) for name in block.names], dtype=np.int64)
        limits = np.full((len(rows), 4), np.nan)
        units = block.units or [""] * len(rows)
        for k, name in enumerate(block.names):
            config = configs.get(name, DEFAULT)
            if rows[k] >= 0:
                self._units[rows[k]] = config.unit or units[k]
            known = (config.low, config.high, config.flatline_ms)
            limits[k, :3] = [np.nan if value is None else value for value in known]
            limits[k, lay.C_LEARN] = config.learn
        self._rich.plan(block, configs)
        self._plan = (list(block.names), dict(configs), rows, limits)
        return rows, limits

    def _context(self, state: str, product: str) -> int:
        """The number of a context; a new one takes the place of the one longest unused when there are too many."""
        key = (state, product)
        base = self._contexts.pop(key, None)
        if base is None:
            base = len(self._contexts)
            if base >= CONTEXTS:
                base = self._contexts.pop(next(iter(self._contexts)))
                self._forget(base)
        self._contexts[key] = base
        return base

    def _forget(self, base: int) -> None:
        self._rich.forget(base)
        start = lay.CONTEXTS_FROM + 2 * base * lay.CONTEXT_FIELDS
        self._signals[:, start : start + 2 * lay.CONTEXT_FIELDS] = 0.0
        start = lay.LAGS_FROM + base * lay.LAG_FIELDS
        self._signals[:, start : start + lay.LAG_FIELDS] = 0.0
        last = self._signals[:, lay.BASE]
        last[last == base + 1] = -1.0

    def _is_open(self, row: int, kind: int) -> bool:
        flag = FLAG_OF.get(kind, lay.LEARNED_FLAG)
        return bool(self._signals[row, flag + lay.KIND] == kind)

    def _flags(self, reports: Floats, state: str, product: str) -> list[Anomaly]:
        names = list(self._rows)
        found = []
        for report in reports.tolist():
            row, kind, first = int(report[lay.ROW]), int(report[lay.R_KIND]), int(report[lay.R_FIRST])
            opened = self._opened.get((row, kind))
            if opened is None or opened[0] != first:
                opened = self._opened[row, kind] = (first, state, product)
            found.append(_flag(names[row], self._units[row], KINDS[kind], report, opened[1], opened[2]))
        return found

    def _gaps(self, now: int, last_message: int, stale_ms: int | None) -> list[Anomaly]:
        found = []
        if self._heard is None or last_message > self._heard:
            if self._heard is not None and self._gap:
                found.append(_gap(self._heard, last_message, stale_ms or self._gap, ended=True))
            self._heard, self._gap = last_message, 0
        silent = now - self._heard
        if stale_ms and silent >= max(stale_ms, 2 * self._gap):
            self._gap = stale_ms << max((silent // stale_ms).bit_length() - 1, 0)
            found.append(_gap(self._heard, self._heard + self._gap, stale_ms, ended=False))
        return found


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    """As the kernels were compiled for: in one piece and writable."""
    return array if array.flags.c_contiguous and array.flags.writeable else array.copy(order="C")


def _flag(signal: str, unit: str, kind: str, report: list[float], state: str, product: str) -> Anomaly:
    first, last, score = int(report[lay.R_FIRST]), int(report[lay.R_LAST]), report[lay.R_SCORE]
    value, expected, low, high = (
        None if number != number else number for number in report[lay.R_VALUE : lay.R_HIGH + 1]
    )
    return Anomaly(
        machine="", site="", line="", signal=signal, kind=kind, detector=DETECTOR, detector_version=VERSION,
        first=first, last=last, score=score, value=value, expected=expected, expected_low=low, expected_high=high,
        severity=_severity(kind, score), state=state, product=product,
        message=_sentence(signal, unit, kind, first, last, value, expected, low, high, state, product),
    )  # fmt: skip


def _gap(first: int, last: int, stale_ms: int, ended: bool) -> Anomaly:
    silent = last - first
    what = "was silent for" if ended else "has been silent for at least"
    return Anomaly(
        machine="", site="", line="", signal="", kind="gap", detector=DETECTOR, detector_version=VERSION,
        first=first, last=last, score=1.0 - 0.5 ** (silent / stale_ms), value=None, expected=None, expected_low=None,
        expected_high=None, severity="critical" if silent >= 4 * stale_ms else "warning", state="", product="",
        message=f"The machine {what} {words.span(silent)}, since {words.clock(first)}: "
        "no message came, whatever it did.",
    )  # fmt: skip


def _severity(kind: str, score: float) -> str:
    if kind == "limit" or (kind in ("shift", "drift") and score >= 0.75):
        return "critical"
    return "info" if kind == "spike" and score < 0.6 else "warning"


def _sentence(
    signal: str, unit: str, kind: str, first: int, last: int, value: float | None, expected: float | None,
    low: float | None, high: float | None, state: str, product: str,
) -> str:  # fmt: skip
    where = f"while {state or 'in an unknown state'}" + (f" on {product}" if product and state == "running" else "")
    since = f"since {words.clock(first)}" + (f" (for {words.span(last - first)})" if last > first else "")
    number = words.number(value)
    if kind == "flatline":
        return f"{signal} has not moved from {words.with_unit(number, unit)} {where}, {since}: the sensor may be stuck."
    if kind == "limit":
        bounds = " and ".join(
            words.with_unit(f"{word} {words.number(bound)}", unit)
            for word, bound in (("above", low), ("below", high))
            if bound is not None
        )
        return f"{signal} reached {words.with_unit(number, unit)} {where}, {since}; it has to stay {bounds}."
    if kind == "gap" and expected is not None:
        return (
            f"{signal} drops out {where}, {since}: it reads {words.with_unit(number, unit)} for a moment, again and "
            "again. Such readings are left out from now on; look at the sensor and its line."
        )
    if kind == "gap":
        last_read = words.with_unit(number, unit)
        return f"{signal} sends nothing {where}, {since}, though the machine does; it was {last_read} then."
    if kind == "noise":
        return f"{signal} swings more than usual {where}, {since}, last to {words.with_unit(number, unit)}."
    usual = f"{words.number(low)} to {words.with_unit(words.number(high), unit)}"
    if kind == "spike":
        return f"{signal} jumped to {words.with_unit(number, unit)} at {words.clock(first)} {where}; usual is {usual}."
    verb = "drifted away" if kind == "drift" else "left its level"
    return f"{signal} {verb}, to about {words.with_unit(number, unit)} {where}, {since}; usual is {usual}."
