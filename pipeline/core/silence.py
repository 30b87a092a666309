"""Signals that are sent when they change, or with a block of others, and fall silent while their machine goes on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.minutes import SIGNALS, Minute
from pipeline.core.model import SignalBlock
from pipeline.core.stretches import MINUTE_MS, Key, Said, Stretch, Stretches

# Flagged after so many times the longest silence that it ever kept, and so much more, in time that the machine ran.
LONGEST, MORE_MS, LEAST_MS = 2, 2 * MINUTE_MS, 5 * MINUTE_MS
GONE_MS = 240 * MINUTE_MS  # of running, after which a signal is not expected any more
TOLD = 0.5  # share by which a silence that was told moves the longest
KNOWN = 240  # minutes of running in which a signal was heard before its silence is judged

Ints = NDArray[np.int64]


class Silences:
    """Watches one machine's signals, minute by minute of running. A sample that is no number is no silence: the
    detectors tell of it. Only running counts: a machine that stands has nothing to report."""

    __slots__ = ("_heard", "_known", "_longest", "_minute", "_plan", "_rows", "_silent", "_since")

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}
        self._heard: dict[int, set[int]] = {}  # signals heard in minutes that were not looked at
        self._minute = 0  # the last one that was
        self._plan: tuple[list[str], frozenset[int]] = ([], frozenset())
        empty = np.zeros(0, dtype=np.int64)
        # Per signal: end of the last minute in which it was heard, in ms; running time since then, and the longest, in
        # ms; minutes of running in which it was heard.
        self._since, self._silent, self._longest, self._known = empty, empty, empty, empty

    def add(self, block: SignalBlock) -> None:
        """Samples in order of time, in any state."""
        if self._plan[0] != block.names:
            for name in block.names:
                if name not in self._rows and len(self._rows) < SIGNALS:
                    self._rows[name] = len(self._rows)
            rows = frozenset(self._rows[name] for name in block.names if name in self._rows)
            self._plan = (list(block.names), rows)
        first, last = int(block.at[0]) // MINUTE_MS, int(block.at[-1]) // MINUTE_MS
        minutes = [first] if first == last else np.unique(block.at // MINUTE_MS).tolist()
        for minute in minutes:
            if minute > self._minute:
                self._heard.setdefault(minute, set()).update(self._plan[1])

    def look(self, minute: Minute, left_out: frozenset[str], open_: Stretches) -> list[Said]:
        """What a minute says; `left_out` are signals that nobody wants watched."""
        self._minute = minute.start // MINUTE_MS
        self._make_room()
        for past in [one for one in self._heard if one < self._minute]:
            del self._heard[past]
        heard = np.array(sorted(self._heard.pop(self._minute, ())), dtype=np.int64)
        ran = minute.ran_ms if minute.heard else 0
        said = []
        if len(heard):
            silent = heard[self._silent[heard] > 0]
            self._learn(silent)
            if len(silent) and len(open_):
                names = list(self._rows)
                said = [one for row in silent for one in open_.end(Key(names[row], "gap"))]
            self._since[heard], self._silent[heard] = minute.end, 0
        if not ran:
            return said
        self._known[heard] += 1
        quiet = np.ones(len(self._silent), dtype=bool)
        quiet[heard] = False
        self._silent[quiet] += ran
        due = self._due()
        over = np.flatnonzero((self._silent >= due) & (self._known >= KNOWN)).tolist()
        names = list(self._rows) if over else []
        for row in over:
            key = Key(names[row], "gap")
            if names[row] in left_out:
                said += open_.end(key)
            elif self._silent[row] < GONE_MS + due[row]:
                said += open_.see(key, self._stretch(row, float(due[row]), minute))
            else:  # renamed, or taken out: it is learned anew should it come back
                said += open_.end(key)
                self._known[row] = self._longest[row] = self._silent[row] = 0
        return said

    def _learn(self, rows: Ints) -> None:
        """Silences that came to an end. What was told, or would have been, is learned by a share: the next one of a
        sensor that fails is told too, a habit is not told for ever."""
        more = np.maximum(self._silent[rows] - self._longest[rows], 0)
        far = self._silent[rows] >= self._due()[rows]
        self._longest[rows] += np.where(far, (TOLD * more).astype(np.int64), more)

    def _due(self) -> Ints:
        return np.maximum(LONGEST * self._longest + MORE_MS, LEAST_MS)

    def _stretch(self, row: int, due: float, minute: Minute) -> Stretch:
        """As long as the machine stands it stays open: it ends when the signal is heard again, or within a day."""
        running = [piece for piece in minute.pieces if piece.state == "running"]
        silent = float(self._silent[row])
        return Stretch(
            first=int(self._since[row]), last=minute.end, quiet=24 * 60 * MINUTE_MS,
            score=1.0 - 0.5 ** (silent / due), state="running", product=running[-1].product,
            notes=[int(silent), int(self._longest[row])],
        )  # fmt: skip

    def _make_room(self) -> None:
        more = len(self._rows) - len(self._silent)
        if more:
            parts = (self._since, self._silent, self._longest, self._known)
            new = (np.concatenate([part, np.zeros(more, dtype=np.int64)]) for part in parts)
            self._since, self._silent, self._longest, self._known = new

    def pack(self) -> list[Any]:
        parts = (self._since, self._silent, self._longest, self._known)
        heard = [[minute, sorted(rows)] for minute, rows in sorted(self._heard.items())]
        return [self._minute, list(self._rows), heard, *(part.tobytes() for part in parts)]

    @classmethod
    def unpack(cls, packed: list[Any]) -> Silences:
        new = cls()
        new._minute, names, heard = packed[:3]
        new._rows = {name: row for row, name in enumerate(names)}
        new._heard = {minute: set(rows) for minute, rows in heard}
        parts = (np.frombuffer(part, dtype=np.int64).copy() for part in packed[3:])
        new._since, new._silent, new._longest, new._known = parts
        return new
