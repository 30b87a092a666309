"""The rich tier of detection: signals that are compared with thousands of moments of their own past.

For signals that the factory file names (`detector: rich`), beside the default detector: it sees values far from their
level, this one a course of values that the signal never took, wherever its level is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core import detector_layout as lay
from pipeline.core import rich_kernels as kernels
from pipeline.core import words
from pipeline.core.machine_config import RICH, RICH_SIGNALS, SignalConfig
from pipeline.core.model import Anomaly, SignalBlock

VERSION = 1
KIND = "pattern"
THRESHOLD = 0.5  # score of an alarm in `MachineDetectors.score`, frozen on the development files of NAB
REPORTS = 64
DEFAULT = SignalConfig("")
NO_SCORES = np.empty(0)

Floats = NDArray[np.float64]


class RichSignal:
    """All that is remembered of one signal: fields, a ring of moments, and the ranks of its distances (84 KB)."""

    __slots__ = ("contexts", "counts", "f", "kept", "rows")

    def __init__(self) -> None:
        self.f: Floats = np.zeros(kernels.FIELDS)
        self.rows = np.zeros((kernels.MEMBERS, kernels.ROWS), dtype=np.float32)
        self.contexts = np.full(kernels.ROWS, kernels.FORGOTTEN, dtype=np.uint8)
        self.kept = np.zeros(kernels.FORGOTTEN + 1, dtype=np.int64)
        self.counts = np.zeros((kernels.MEMBERS, kernels.BINS), dtype=np.float32)

    def run(self, at: NDArray[np.int64], values: Floats, context: int, scores: Floats) -> list[list[float]]:
        """Judge, then learn, samples [n] in one context; the reports of its flag. `scores`: [n], or [0]."""
        found: list[list[float]] = []
        position = 0
        while position < len(at):
            reports = np.empty((REPORTS, lay.REPORT_FIELDS))
            position, n = kernels.run(
                self.f, self.rows, self.contexts, self.kept, self.counts, at, values, context, position, reports,
                scores,
            )  # fmt: skip
            found += reports[:n].tolist()
        return found

    def forget(self, context: int) -> None:
        """A context's number is given to another one: its rows are not looked at any more."""
        mine = (self.contexts == 2 * context) | (self.contexts == 2 * context + 1)
        self.contexts[mine] = kernels.FORGOTTEN
        self._count()
        if self.f[kernels.CONTEXT] // 2 == context:
            self.f[kernels.CONTEXT] = -2.0

    def pack(self) -> list[bytes]:
        count = int(self.f[kernels.COUNT])
        return [
            self.f.tobytes(), self.rows[:, :count].tobytes(), self.contexts[:count].tobytes(), self.counts.tobytes()
        ]  # fmt: skip

    @classmethod
    def unpack(cls, packed: list[bytes]) -> RichSignal:
        new = cls()
        new.f[:] = np.frombuffer(packed[0])
        count = int(new.f[kernels.COUNT])
        new.rows[:, :count] = np.frombuffer(packed[1], np.float32).reshape(kernels.MEMBERS, count)
        new.contexts[:count] = np.frombuffer(packed[2], np.uint8)
        new.counts[:] = np.frombuffer(packed[3], np.float32).reshape(kernels.MEMBERS, kernels.BINS)
        new._count()
        return new

    def _count(self) -> None:
        used = self.contexts[: int(self.f[kernels.COUNT])]
        self.kept[:] = np.bincount(used, minlength=len(self.kept))


class RichSignals:
    """The rich signals of one machine, at most RICH_SIGNALS."""

    __slots__ = ("_opened", "_signals", "_units", "_watched")

    def __init__(self) -> None:
        self._signals: dict[str, RichSignal] = {}
        self._opened: dict[str, tuple[int, str, str]] = {}  # of the last flag: first, state, product
        self._units: dict[str, str] = {}
        self._watched: list[tuple[int, str]] = []

    def plan(self, block: SignalBlock, configs: Mapping[str, SignalConfig]) -> None:
        """Which signals of such blocks are rich ones from here on; one that is none any more is forgotten."""
        self._watched = []
        units = block.units or [""] * len(block.names)
        for k, name in enumerate(block.names):
            config = configs.get(name, DEFAULT)
            if config.detector != RICH or not config.learn:
                for kept in (self._signals, self._opened, self._units):
                    kept.pop(name, None)
            elif name in self._signals or len(self._signals) < RICH_SIGNALS:
                self._signals.setdefault(name, RichSignal())
                self._units[name] = config.unit or units[k]
                self._watched.append((k, name))

    def observe(
        self, at: NDArray[np.int64], values: Floats, context: int, state: str, product: str, scores: Floats
    ) -> list[Anomaly]:
        """As `MachineDetectors.observe`, of a block like the one last planned; writes over the scores of its signals.

        `context` is the number of (state, product), below 127."""
        found: list[tuple[float, Anomaly]] = []
        for k, name in self._watched:
            mine = scores[k] if len(scores) else NO_SCORES
            mine[:] = np.nan
            for report in self._signals[name].run(at, values[k], context, mine):
                found.append((report[lay.WHEN], self._flag(name, report, state, product)))
        return [flag for _, flag in sorted(found, key=lambda one: one[0])]

    def silence(self, now: int) -> list[Anomaly]:
        """Ends the flags that were quiet until `now` (ms)."""
        found = []
        for name, signal in self._signals.items():
            reports = np.empty((1, lay.REPORT_FIELDS))
            if kernels.silence(signal.f, float(now), reports):
                found.append(self._flag(name, reports[0].tolist(), "", ""))
        return found

    def forget(self, context: int) -> None:
        for signal in self._signals.values():
            signal.forget(context)

    def warming(self, name: str) -> bool:
        """Whether too little was seen of a rich signal, in its context, to judge it. KeyError: it is none."""
        return bool(self._signals[name].f[kernels.WARMED] == 0.0)

    def __contains__(self, name: str) -> bool:
        return name in self._signals

    def pack(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "fields": kernels.FIELDS,
            "signals": [[name, *signal.pack()] for name, signal in self._signals.items()],
            "opened": [[name, *opened] for name, opened in self._opened.items()],
            "units": list(self._units.items()),
        }

    @classmethod
    def unpack(cls, packed: Mapping[str, Any] | None) -> RichSignals:
        """Those that were packed; those of another version, and of a time before there were any, start anew."""
        new = cls()
        if packed is not None and packed["version"] == VERSION and packed["fields"] == kernels.FIELDS:
            new._signals = {name: RichSignal.unpack(rest) for name, *rest in packed["signals"]}
            new._opened = {name: (first, state, product) for name, first, state, product in packed["opened"]}
            new._units = dict(packed["units"])
        return new

    def _flag(self, name: str, report: list[float], state: str, product: str) -> Anomaly:
        first, last, score = int(report[lay.R_FIRST]), int(report[lay.R_LAST]), report[lay.R_SCORE]
        if self._opened.get(name, (-1,))[0] != first:
            self._opened[name] = (first, state, product)
        _, state, product = self._opened[name]
        value = report[lay.R_VALUE]
        usual = None if math.isnan(report[lay.R_EXPECTED]) else report[lay.R_EXPECTED]
        return Anomaly(
            machine="", site="", line="", signal=name, kind=KIND, detector=RICH, detector_version=VERSION, first=first,
            last=last, score=score, value=value, expected=usual, expected_low=None, expected_high=None,
            severity="warning", state=state, product=product,
            message=_sentence(name, self._units[name], first, last, value, usual, state, product),
        )  # fmt: skip


def _sentence(
    signal: str, unit: str, first: int, last: int, value: float, usual: float | None, state: str, product: str
) -> str:
    where = f"while {state or 'in an unknown state'}" + (f" on {product}" if product and state == "running" else "")
    since = f"since {words.clock(first)}" + (f" (for {words.span(last - first)})" if last > first else "")
    read, nearest = (words.with_unit(words.number(one), unit) for one in (value, usual))
    return f"{signal} does what it never did {where}, {since}: it was {read}, the nearest that is known is {nearest}."
