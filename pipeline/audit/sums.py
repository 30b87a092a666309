"""Sums of row hashes by machine and hour, kept in little memory however long the log is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]
Columns = tuple[Words, Ints, Words, Ints, Ints, NDArray[np.bool_]]  # key, version, hash, code, hour, in force
COMPACT_AT = 200_000  # rows that wait until repeated keys are dropped
WRAP = 1 << 64


@dataclass(slots=True)
class Sum:
    """Rows of one machine in one hour: how many, the sum of their hashes, the offsets [first, end) they are from."""

    rows: int
    total: int
    first: int
    end: int


class Sums:
    """Sums of rows that are all different."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, int], Sum] = {}

    def add(self, names: Sequence[str], codes: Ints, hours: Ints, hashes: Words, offsets: range) -> None:
        """Rows of the records at these offsets; `codes` are places in `names`."""
        for code, hour, rows, total in grouped(codes, hours, hashes):
            known = self.found.get((names[code], hour))
            if known is None:
                self.found[names[code], hour] = Sum(rows, total, offsets.start, offsets.stop)
            else:
                known.rows, known.total = known.rows + rows, (known.total + total) % WRAP
                known.end = offsets.stop


class Latest:
    """Of every key the newest version: 41 bytes each."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._waiting: list[Columns] = []
        self._rows = self._kept = 0

    def add(
        self, names: Sequence[str], codes: Ints, hours: Ints, hashes: Words, keys: Words, versions: Ints,
        in_force: NDArray[np.bool_],
    ) -> None:  # fmt: skip
        """Rows in the order of the log; of equal versions the last one counts."""
        own = np.array([self._codes.setdefault(name, len(self._codes)) for name in names] or [0], np.int64)
        self._waiting.append((keys, versions, hashes, own[codes], hours, in_force))
        self._rows += len(keys)
        if self._rows > max(COMPACT_AT, 2 * self._kept):
            self._compact()

    def sums(self, without: set[int], since: int = 0) -> Sums:
        """Sums of the newest versions that are in force and not before `since`, without these keys."""
        found = Sums()
        if self._waiting:
            keys, versions, hashes, codes, hours, in_force = self._compact()
            chosen = in_force & (versions >= since)
            if without:
                chosen &= ~np.isin(keys, np.array(sorted(without), np.uint64))
            found.add(list(self._codes), codes[chosen], hours[chosen], hashes[chosen], range(0))
        return found

    def _compact(self) -> Columns:
        columns: Any = tuple(np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
        keys, versions = columns[0], columns[1]
        order = np.lexsort((versions, keys))  # stable: of equal versions the last one stays last
        last = np.ones(len(order), np.bool_)
        last[:-1] = keys[order][1:] != keys[order][:-1]
        kept: Any = tuple(column[order[last]] for column in columns)
        self._waiting, self._rows, self._kept = [kept], len(kept[0]), len(kept[0])
        return cast("Columns", kept)


def grouped(codes: Ints, hours: Ints, hashes: Words) -> Iterator[tuple[int, int, int, int]]:
    """(code, hour, rows, sum of hashes modulo 2**64) of every pair that occurs."""
    if not len(codes):
        return
    order = np.lexsort((hours, codes))
    codes, hours = codes[order], hours[order]
    starts = np.flatnonzero(np.r_[True, (codes[1:] != codes[:-1]) | (hours[1:] != hours[:-1])])
    totals = np.add.reduceat(hashes[order], starts)
    counts = np.diff(np.r_[starts, len(codes)])
    for place, start in enumerate(starts.tolist()):
        yield int(codes[start]), int(hours[start]), int(counts[place]), int(totals[place])
