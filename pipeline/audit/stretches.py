"""Where sums differ: the rows of either side, key by key, and what is told of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline import row_hash
from pipeline.audit.report import Difference
from pipeline.audit_queries import Compared
from pipeline.compare import plain

ROWS_AT_ONCE = 100_000  # rows of the source that are held at once
Row = tuple[Any, ...]


@dataclass
class Side:
    """What the source says: by key its newest version, as (version, hash of the key, row or None when not in force).

    `later`: what records say that came while the audit was at work; the store may hold it or not.
    """

    rows: dict[Row, tuple[int, int, Row | None]] = field(default_factory=dict)
    later: dict[Row, set[Row]] = field(default_factory=dict)

    def put(self, one: Compared, part: pa.Table, later: bool) -> None:
        """Take rows in the order of the log."""
        words = row_hash.hashes(part, one.key).tolist()
        versions = milliseconds(part[one.version]).tolist() if one.version else [0] * part.num_rows
        in_force = one.in_rows(part).to_pylist()
        for word, version, holds, (key, row) in zip(words, versions, in_force, keyed(one, part), strict=True):
            if later:
                self.later.setdefault(key, set()).add(row)
            elif key not in self.rows or version >= self.rows[key][0]:
                self.rows[key] = (version, word, row if holds else None)


@dataclass(eq=False)
class Stretch:
    """Rows of one machine (or partition of dead letters) in [start, end) ms, from records at [first, last)."""

    one: Compared
    place: str
    start: int
    end: int
    rows: int
    first: int
    last: int
    side: Side = field(default_factory=Side)
    stored: dict[Row, Row] = field(default_factory=dict)

    def take(self, table: pa.Table, later: bool) -> None:
        """Take what of a table is in this stretch."""
        at, places = milliseconds(table[self.one.at]), pc.cast(table[self.one.place], pa.string())
        mine = pc.equal(places, self.place).to_numpy(zero_copy_only=False).astype(np.bool_)
        part = table.filter(pa.array(mine & (at >= self.start) & (at < self.end)))
        if part.num_rows:
            self.side.put(self.one, part, later)

    def pieces(self) -> Iterator[Stretch]:
        """The stretch in parts of about so many rows as are held at once."""
        parts = -(-max(self.rows, 1) // ROWS_AT_ONCE)
        length = max(1, -(-(self.end - self.start) // parts))
        for start in range(self.start, self.end, length):
            end = min(start + length, self.end)
            yield Stretch(self.one, self.place, start, end, self.rows // parts, self.first, self.last)

    def differing(self, moved: set[int], since: int) -> Iterator[tuple[Row, Row | None, Row | None]]:
        """(key, row of the source, row of the store) where they are not the same.

        Left out: keys that later records have `moved`, and versions from before `since`, which the store lets go.
        """
        wanted: dict[Row, Row] = {}
        for key, (version, word, row) in self.side.rows.items():
            if row is not None and version >= since and word not in moved:
                wanted[key] = row
        for key in sorted(wanted.keys() | self.stored.keys(), key=str):
            source, store = wanted.get(key), self.stored.get(key)
            if source != store and not (store is not None and store in self.side.later.get(key, ())):
                yield key, source, store


def groups(stretches: Iterable[Stretch]) -> Iterator[list[Stretch]]:
    """Stretches that are looked at together, in the order of the log."""
    group: list[Stretch] = []
    rows = 0
    for stretch in sorted((piece for one in stretches for piece in one.pieces()), key=lambda piece: piece.first):
        if group and rows + stretch.rows > ROWS_AT_ONCE:
            yield group
            group, rows = [], 0
        group.append(stretch)
        rows += stretch.rows
    if group:
        yield group


def keyed(one: Compared, table: pa.Table) -> Iterator[tuple[Row, Row]]:
    """(key, row) of every row, with instants as ms."""
    columns = {name: _hashable(plain(table.column(name))) for name in one.columns}
    keys = zip(*(columns[name] for name in one.key), strict=True)
    return zip(keys, zip(*columns.values(), strict=True), strict=True)


def named(check: str, one: Compared, key: Row, source: Row | None, store: Row | None) -> Iterator[Difference]:
    """The difference of two rows, column by column; of a row that is there on one side only, its being there."""
    where = dict(zip(one.key, key, strict=True))
    if source is None or store is None:
        yield Difference(check, where, "", "none" if source is None else "a row", "none" if store is None else "a row")
        return
    for name, mine, theirs in zip(one.columns, source, store, strict=True):
        if mine != theirs:
            yield Difference(check, where, name, mine, theirs)


def milliseconds(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Instants as ms."""
    found = column.cast(pa.timestamp("ms", tz=column.type.tz)).cast(pa.int64())
    return np.asarray(found.to_numpy(), np.int64)


def _hashable(values: Sequence[Any]) -> list[Any]:
    return [tuple(value) if isinstance(value, list) else value for value in values]
