"""What a machine did in one minute, and sums of its signals' samples by minute while it ran."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipeline.core.counters import RESET
from pipeline.core.history import History
from pipeline.core.model import SignalBlock
from pipeline.core.stretches import MINUTE_MS

SIGNALS = 2000  # signals summed per machine before it is known which are wanted

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(slots=True)
class Piece:
    """A stretch [start, end) of a minute in one state and product, and the parts counted at its first instant."""

    start: int
    end: int
    state: str
    product: str
    state_since: int
    counted: bool = False
    parts: int = 0
    reset: bool = False


@dataclass(slots=True)
class Minute:
    """[start, start + 60 s) of a machine. `heard`: it gave a sign of life in it."""

    start: int
    pieces: list[Piece]
    heard: bool

    @property
    def end(self) -> int:
        return self.start + MINUTE_MS

    @property
    def ran_ms(self) -> int:
        return sum(piece.end - piece.start for piece in self.pieces if piece.state == "running")

    @property
    def steady(self) -> bool:
        """Whether it ran all the time, on one product."""
        first = self.pieces[0].product
        return self.heard and all(one.state == "running" and one.product == first for one in self.pieces)


def minute_of(history: History, start: int) -> Minute:
    """The minute from `start` (ms) on, as far as the history knows it now."""
    end, heard = start + MINUTE_MS, history.heard
    runs, timeline = history.runs, history.timeline
    config = timeline.config(start).config
    place = bisect_right(heard.first, end - 1) - 1
    lively = place >= 0 and heard.last[place] >= start
    silent_from = end
    if not lively and config.stale_after_ms is not None:
        silent_from = max(heard.last[place] + config.stale_after_ms, start) if place >= 0 else start
    run = timeline.run(start)
    counts = history.counts.between(start, end, lambda at: timeline.config(at).config.counter_modulus)
    cuts = {start, *(one.at for one in counts), *history.products.changes(start, end)}
    last = bisect_left(runs, end, key=_start)
    cuts.update(one.start for one in runs[run + 1 : last])
    if silent_from < end:
        cuts.add(silent_from)
    edges = sorted(cuts)
    made = {one.at: one for one in counts}
    pieces = []
    for at, until in zip(edges, [*edges[1:], end], strict=True):
        while run + 1 < len(runs) and runs[run + 1].start <= at:
            run += 1
        known = run >= 0 and at < silent_from
        state, since = (runs[run].state, runs[run].start) if known else ("unknown", at)
        piece = Piece(at, until, state, history.products.at(at), since)
        if at in made:
            piece.counted, piece.reset = True, RESET in made[at].flags
            piece.parts = made[at].total * timeline.units(at, piece.product)
        pieces.append(piece)
    return Minute(start, pieces, lively)


def _start(run: Any) -> int:
    start: int = run.start
    return start


class Sums:
    """Sums and numbers of samples per minute and signal, of minutes that have not been looked at."""

    __slots__ = ("_counts", "_plan", "_rows", "_sums", "minute")

    def __init__(self) -> None:
        self.minute: int | None = None  # start of the first minute kept, in ms
        self._rows: dict[str, int] = {}
        self._sums: Floats = np.zeros((0, 0))
        self._counts: Floats = np.zeros((0, 0))
        self._plan: tuple[list[str], frozenset[str] | None, Ints] | None = None

    def add(self, block: SignalBlock, names: frozenset[str] | None) -> None:
        """Add samples in order of time; of `names` only (None: of all signals)."""
        if self._plan is None or self._plan[0] != block.names or self._plan[1] != names:
            for name in block.names:
                if name not in self._rows and (name in names if names is not None else len(self._rows) < SIGNALS):
                    self._rows[name] = len(self._rows)
            rows = np.array([self._rows.get(name, -1) for name in block.names], dtype=np.int64)
            self._plan = (list(block.names), names, rows)
        first = int(block.at[0]) // MINUTE_MS * MINUTE_MS
        if self.minute is None:
            self.minute = first
        if first < self.minute:
            self._make_room((self.minute - first) // MINUTE_MS, 0)
            self.minute = first
        needed = (int(block.at[-1]) - self.minute) // MINUTE_MS + 1
        if needed > self._sums.shape[0] or len(self._rows) > self._sums.shape[1]:
            self._make_room(0, max(needed - self._sums.shape[0], 0))
        _gather(self._sums, self._counts, self._plan[2], _plain(block.at), _plain(block.values), self.minute)

    def _make_room(self, before: int, after: int) -> None:
        minutes, columns = self._sums.shape
        shape = (before + minutes + after, len(self._rows))
        sums, counts = np.zeros(shape), np.zeros(shape)
        sums[before : before + minutes, :columns] = self._sums
        counts[before : before + minutes, :columns] = self._counts
        self._sums, self._counts = sums, counts

    def take(self) -> dict[str, tuple[float, float]]:
        """(sum, number) of the samples of the first minute kept, by signal; the next minute is then the first."""
        assert self.minute is not None
        self.minute += MINUTE_MS
        if not len(self._sums):
            return {}
        sums, counts = self._sums[0].tolist(), self._counts[0].tolist()
        self._sums, self._counts = self._sums[1:], self._counts[1:]
        return {name: (sums[row], counts[row]) for name, row in self._rows.items() if counts[row]}

    def keep_only(self, names: frozenset[str]) -> None:
        """Forget the signals that are not among `names`."""
        if self._rows.keys() <= names:
            return
        kept = [name for name in self._rows if name in names]
        rows = [self._rows[name] for name in kept if self._rows[name] < self._sums.shape[1]]
        self._sums, self._counts = self._sums[:, rows].copy(), self._counts[:, rows].copy()
        self._rows, self._plan = {name: row for row, name in enumerate(kept)}, None

    def pack(self) -> list[Any]:
        known = self._sums.shape
        return [self.minute, list(self._rows), list(known), self._sums.tobytes(), self._counts.tobytes()]

    @classmethod
    def unpack(cls, packed: list[Any]) -> Sums:
        new = cls()
        new.minute, names, shape, sums, counts = packed
        new._rows = {name: row for row, name in enumerate(names)}
        new._sums = np.frombuffer(sums).reshape(shape).copy()
        new._counts = np.frombuffer(counts).reshape(shape).copy()
        return new


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _gather(sums: Floats, counts: Floats, rows: Ints, at: Ints, values: Floats, base: int) -> None:
    for k in range(len(rows)):
        if rows[k] >= 0:
            for i in range(len(at)):
                if np.isfinite(values[k, i]):
                    minute = (at[i] - base) // 60_000
                    sums[minute, rows[k]] += values[k, i]
                    counts[minute, rows[k]] += 1.0


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    """As the kernel was compiled for: in one piece and writable."""
    return array if array.flags.c_contiguous and array.flags.writeable else array.copy(order="C")
