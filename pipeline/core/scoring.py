"""Signals of one machine, put into order of event time before the detectors see them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from pipeline.core.detectors import MachineDetectors
from pipeline.core.history import History
from pipeline.core.incidents import Incidents
from pipeline.core.model import Anomaly, SignalBlock
from pipeline.core.series import Run, Series
from pipeline.core.watch import Watch

STEP_MS = 10_000  # what lies before the last such step that the watermark passed is due: scored once, in order
# While a backlog is read, event time flies: then several steps are scored at once, when records of so long have come or
# when this many ms are due. When that happens changes no flag: `Machine` scores what is due before anything late.
PACE_MS = 2_000
LONGEST_STEP_MS = 60_000


class Scorer:
    """Holds samples until the watermark has passed them, then scores them once, in order, in their context."""

    __slots__ = ("detectors", "incidents", "scored_at", "until", "waiting", "watch")

    def __init__(self) -> None:
        self.detectors, self.watch, self.incidents = MachineDetectors(), Watch(), Incidents()
        self.until = 0  # samples before it have been scored
        self.scored_at = 0  # arrival of the record that made it so
        self.waiting: list[tuple[str, int, int, SignalBlock]] = []

    def add(self, source: str, epoch: int, sequence: int, block: SignalBlock) -> None:
        """Keep a frame's samples; what is older than the samples already scored comes too late for detection."""
        fresh = _part(block, int(block.at.searchsorted(self.until)), len(block.at))
        if len(fresh.at):
            self.waiting.append((source, epoch, sequence, fresh))

    def due(self, watermark: int, arrived: int, live: bool) -> bool:
        """Whether it is time to score what is due when a record arrives; at once when no more may come."""
        passed = watermark - self.until
        return passed >= LONGEST_STEP_MS or (passed >= STEP_MS and (not live or arrived >= self.scored_at + PACE_MS))

    def is_late(self, at: int, watermark: int) -> bool:
        """Whether something said of this instant comes when what is due, and not scored yet, should be."""
        return at < watermark - watermark % STEP_MS and watermark - self.until >= STEP_MS

    def due_at(self, arrived: int) -> int:
        """The watermark from which on `due` may be true of records that arrive until then."""
        return self.until + (STEP_MS if arrived >= self.scored_at + PACE_MS else LONGEST_STEP_MS)

    def score(self, watermark: int, arrived: int, history: History) -> list[Anomaly]:
        """Score what lies before the last step that the watermark passed; flags in order of their first instant."""
        self.scored_at = arrived
        last = watermark - watermark % STEP_MS
        flags: list[Anomaly] = []
        for until in (*_steps(history.timeline.changes(self.until, last)), last):
            flags.extend(self._score(until, history))
        latest = {(flag.first, flag.signal, flag.kind): flag for flag in flags}  # one row per flag and version
        return [latest[key] for key in sorted(latest)]

    def _score(self, until: int, history: History) -> list[Anomaly]:
        before, self.until = self.until, until
        config = history.timeline.config(until).config
        known = {signal.name: signal for signal in config.signals}
        flags: list[Anomaly] = []
        for block in self._due(until):
            for low, high, state, product in _contexts(block, history.runs, history.products):
                part = _part(block, low, high)
                flags.extend(self.detectors.observe(part, state, product, known))
                self.watch.observe(part, state, product, known)
        for now, last_message in history.heard.looks(before, until):
            flags.extend(self.detectors.advance(now, last_message, config))
        flags.extend(self.watch.look(before, until, history))
        return flags

    def _due(self, until: int) -> list[SignalBlock]:
        """Samples before `until`, those of each signal in one block, in order of time; the rest waits on."""
        due: dict[tuple[str, ...], list[SignalBlock]] = {}
        later = []
        for source, epoch, sequence, block in sorted(self.waiting, key=_sent):
            if block.at[0] >= until:
                later.append((source, epoch, sequence, block))
                continue
            cut = len(block.at) if block.at[-1] < until else int(block.at.searchsorted(until))
            due.setdefault(tuple(block.names), []).append(_part(block, 0, cut))
            if cut < len(block.at):
                later.append((source, epoch, sequence, _part(block, cut, len(block.at))))
        self.waiting = later
        return [_joined(blocks) for _, blocks in sorted(_by_signals(due).items())]

    def pack(self) -> list[Any]:
        waiting = [
            [
                source,
                epoch,
                sequence,
                block.names,
                block.units,
                block.at.tobytes(),
                np.ascontiguousarray(block.values).tobytes(),
            ]
            for source, epoch, sequence, block in self.waiting
        ]
        detectors, watch = self.detectors.pack(), self.watch.pack()
        return [self.until, waiting, detectors, self.scored_at, self.incidents.pack(), watch]

    @classmethod
    def unpack(cls, packed: list[Any]) -> Scorer:
        scorer = cls()
        scorer.until = packed[0]
        for source, epoch, sequence, names, units, at, values in packed[1]:
            times = np.frombuffer(at, np.int64)
            matrix = np.frombuffer(values, np.float64).reshape(len(names), len(times))
            scorer.waiting.append((source, epoch, sequence, SignalBlock(times, list(names), matrix, list(units))))
        scorer.detectors = MachineDetectors.unpack(packed[2])
        scorer.scored_at = packed[3] if len(packed) > 3 else 0  # older versions ran them at every step
        if len(packed) > 4:  # before there were incidents, flags of single signals were all that there was
            scorer.incidents, scorer.watch = Incidents.unpack(packed[4]), Watch.unpack(packed[5])
        return scorer


def _steps(changes: Sequence[int]) -> list[int]:
    """The steps in which configurations change: what lies before each is judged by the one before."""
    return sorted({-(-at // STEP_MS) * STEP_MS - STEP_MS for at in changes})


def _sent(entry: tuple[str, int, int, SignalBlock]) -> tuple[str, int, int]:
    return entry[:3]


def _part(block: SignalBlock, low: int, high: int) -> SignalBlock:
    if low == 0 and high == len(block.at):
        return block
    return SignalBlock(block.at[low:high], block.names, block.values[:, low:high], block.units)


def _by_signals(due: dict[tuple[str, ...], list[SignalBlock]]) -> dict[tuple[str, ...], list[SignalBlock]]:
    """The same samples, no signal under two keys: what is sent on change comes in ever other sets of signals."""
    if len(due) < 2 or len({name for names in due for name in names}) == sum(len(names) for names in due):
        return due
    held: dict[str, list[tuple[str, ...]]] = {}
    for names in sorted(due):
        for name in names:
            held.setdefault(name, []).append(names)
    together: dict[tuple[tuple[str, ...], ...], list[str]] = {}
    for name in sorted(held):
        together.setdefault(tuple(held[name]), []).append(name)
    return {
        tuple(names): [_only(block, names) for one in sets for block in due[one]] for sets, names in together.items()
    }


def _only(block: SignalBlock, names: list[str]) -> SignalBlock:
    rows = [block.names.index(name) for name in names]
    units = [block.units[row] for row in rows] if block.units else []
    return SignalBlock(block.at, names, block.values[rows], units)


def _joined(blocks: list[SignalBlock]) -> SignalBlock:
    if len(blocks) == 1:
        return blocks[0]
    at = np.concatenate([block.at for block in blocks])
    values = np.concatenate([block.values for block in blocks], axis=1)
    if (at[1:] < at[:-1]).any():
        order = np.argsort(at, kind="stable")
        at, values = at[order], values[:, order]
    return SignalBlock(at, blocks[0].names, values, blocks[0].units)


def _contexts(block: SignalBlock, runs: Sequence[Run], products: Series) -> list[tuple[int, int, str, str]]:
    """Stretches [low, high) of a block within which state and product are the same."""
    first, last = int(block.at[0]), int(block.at[-1]) + 1
    begin, end = bisect_right(runs, first, key=_start), bisect_right(runs, last, key=_start)
    cuts = {run.start for run in runs[begin:end]} | set(products.changes(first, last))
    inner = block.at.searchsorted(sorted(cuts)).tolist() if cuts else []
    edges = [0, *inner, len(block.at)]
    found = []
    for low, high in pairwise(edges):
        if low < high:
            at = int(block.at[low])
            index = bisect_right(runs, at, key=_start) - 1
            found.append((low, high, runs[index].state if index >= 0 else "unknown", products.at(at)))
    return found


def _start(run: Run) -> int:
    return run.start
