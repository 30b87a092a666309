"""Which element of time every instant of a machine belongs to: one sweep over all boundaries (oee.md, section 3)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from pipeline.core.calendar import NONWORK, PBT, PDOT, Calendar, Span, line_calendar
from pipeline.core.model import Correction, MachineConfig
from pipeline.core.series import Heard, Run, Series, Stop

ELEMENT = {
    "running": "apt", "setup": "aust", "idle": "adot", "off": "adot", "fault": "adet", "stopped": "adet",
    "starved": "adet", "blocked": "adet", "maintenance": "adet", "planned_stop": "pdot", "unknown": "unknown",
}  # fmt: skip
EXTERNAL = frozenset({"starved", "blocked"})
SAID_OF_CALENDAR = {"planned": PDOT, "unplanned": PBT, "closed": NONWORK}
NOTHING_SAID = Run(-(1 << 62), "unknown", "", False, None)


class Piece(NamedTuple):
    """A stretch [start, end) with one answer to every question that facts and intervals ask."""

    start: int
    end: int
    element: str
    state: str
    reason: str
    stop: Stop | None
    micro: bool
    external: bool
    overtime: bool
    failure: bool  # a fault that is no micro-stop starts with this piece's run
    run_start: int
    shift: str
    shift_date: int
    local_date: int
    product: str
    order: str


class Configured(NamedTuple):
    """A configuration with its calendar and its line's own; in force from config.effective until the next one."""

    config: MachineConfig
    calendar: Calendar
    line: Calendar | None = None

    @classmethod
    def of(cls, config: MachineConfig) -> Configured:
        return cls(config, Calendar(config), line_calendar(config))


class Timeline:
    """A view over one machine's history; it keeps nothing and changes nothing.

    `corrections` are those that hold, in the order in which they are laid over each other.
    """

    def __init__(
        self,
        configs: Sequence[Configured],
        runs: Sequence[Run],
        heard: Heard,
        products: Series,
        orders: Series,
        corrections: Sequence[Correction],
    ) -> None:
        self._configs, self._runs, self._heard = configs, runs, heard
        self._products, self._orders, self._corrections = products, orders, corrections

    def config(self, at: int) -> Configured:
        """The configuration in force at an instant: the first one before its time."""
        if len(self._configs) == 1:
            return self._configs[0]
        return self._configs[max(bisect_right(self._configs, at, key=lambda c: c.config.effective) - 1, 0)]

    def changes(self, start: int, end: int) -> list[int]:
        """Instants in (start, end) at which another configuration comes into force."""
        return [c.config.effective for c in self._configs[1:] if start < c.config.effective < end]

    def run(self, at: int) -> int:
        """Index of the run at an instant; -1 before the first."""
        return bisect_right(self._runs, at, key=_start) - 1

    def pieces(self, start: int, end: int) -> list[Piece]:
        """Pieces that cover [start, end) without holes, in order."""
        if start >= end:
            return []
        cuts = {start, end}
        spans: list[Span] = []
        silences: list[tuple[int, int]] = []
        for low, high, configured in self._stretches(start, end):
            cuts.add(low)
            spans.extend(configured.calendar.spans(low, high))
            if configured.config.stale_after_ms is not None:
                silences.extend(self._heard.silences(low, high, configured.config.stale_after_ms))
        cuts.update(span.start for span in spans)
        self._cut(cuts, (at for silence in silences for at in silence), start, end)
        self._cut(cuts, (run.start for run in self._runs[self.run(start) + 1 : self.run(end) + 1]), start, end)
        cuts.update(self._products.changes(start, end))
        cuts.update(self._orders.changes(start, end))
        self._cut(cuts, (at for c in self._corrections for at in (c.start, c.end)), start, end)
        return [self._piece(low, high, spans, silences) for low, high in pairwise(sorted(cuts))]

    def _stretches(self, start: int, end: int) -> list[tuple[int, int, Configured]]:
        if len(self._configs) == 1:
            return [(start, end, self._configs[0])]
        found = []
        while start < end:
            configured = self.config(start)
            later = [c.config.effective for c in self._configs if start < c.config.effective < end]
            high = min(later, default=end)
            found.append((start, high, configured))
            start = high
        return found

    @staticmethod
    def _cut(cuts: set[int], instants: Iterable[int], start: int, end: int) -> None:
        cuts.update(at for at in instants if start < at < end)

    def _piece(self, start: int, end: int, spans: Sequence[Span], silences: Sequence[tuple[int, int]]) -> Piece:
        span = spans[bisect_right(spans, start, key=_start) - 1]
        index = self.run(start)
        run = self._runs[index] if index >= 0 else NOTHING_SAID
        silent = bisect_right(silences, start, key=_first) - 1
        stale = not run.corrected and silent >= 0 and start < silences[silent][1]
        overtime, element = _element(run.state, stale, self._work(start, span.work))
        micro = run.stop is not None and self.is_micro(run.stop)
        return Piece(
            start, end, element, "unknown" if stale else run.state, run.reason, run.stop, micro,
            element == "adet" and run.state in EXTERNAL, overtime,
            run.state == "fault" and not micro and not (index and self._runs[index - 1].state == "fault"),
            run.start, span.shift, span.shift_date, span.local_date,
            self.product(start), self.order(start),
        )  # fmt: skip

    def product(self, at: int) -> str:
        """The product in force at an instant; empty when none was said."""
        said = self._said(at, "product")
        return self._products.at(at) if said is None else str(said)

    def order(self, at: int) -> str:
        """The order in force at an instant; empty when none was said."""
        said = self._said(at, "order")
        return self._orders.at(at) if said is None else str(said)

    def ideal_us(self, at: int, product: str) -> int | None:
        """Ideal cycle time of a part made at an instant, in microseconds; None: not known."""
        said = self.ideal_said(at)
        return _of_product(self.config(at).config.ideal_cycle_us, product) if said is None else said

    def ideal_said(self, at: int) -> int | None:
        """What a correction says of the ideal cycle time at an instant."""
        said = self._said(at, "ideal_cycle_us")
        return None if said is None else int(said)

    def units(self, at: int, product: str) -> int:
        """Parts per count of the counters."""
        said = _of_product(self.config(at).config.units_per_cycle, product)
        return 1 if said is None else said

    def _said(self, at: int, what: str) -> str | int | None:
        """What the corrections say of an instant; the last one that says anything counts."""
        for correction in reversed(self._corrections):
            if correction.start <= at < correction.end:
                said: str | int | None = getattr(correction, what)
                if said is not None:
                    return said
        return None

    def _work(self, at: int, work: str) -> str:
        said = self._said(at, "calendar")
        return work if said is None else SAID_OF_CALENDAR[str(said)]

    def is_micro(self, stop: Stop) -> bool:
        """Whether a stop that has ended is a micro-stop: its unclipped length decides."""
        return stop.end is not None and stop.end - stop.start <= self.config(stop.start).config.micro_stop_ms


def _of_product(by_product: Mapping[str, int], product: str) -> int | None:
    return by_product.get(product, by_product.get("*"))


def _element(state: str, stale: bool, work: str) -> tuple[bool, str]:
    if state == "running" and not stale and work != PBT:
        return True, "apt"
    if work == NONWORK:
        return False, "nonwork"
    if work == PDOT:
        return False, "pdot"
    return False, "unknown" if stale else ELEMENT[state]


def _start(row: Run | Span) -> int:
    return row.start


def _first(silence: tuple[int, int]) -> int:
    return silence[0]
