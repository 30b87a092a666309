"""Facts in the store against facts that are known to be true: row by row, every integer, with ==."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.model import FACTS
from pipeline.store.client import Store

KEY = ("machine", "window_start", "segment_start")
COMPARED = ("segment_end", "shift", "shift_date", "local_date", "product", "order", *FACTS)
STORED = """
SELECT {columns} FROM facts
WHERE machine IN {{machines:Array(String)}} AND window_start <= {{until:DateTime64(3, 'UTC')}}
  AND status != 'provisional'
"""


@dataclass(frozen=True)
class Comparison:
    """How many rows agree, and what does not: (key, column, expected, got); a whole row missing or extra has no column.

    `rows` counts the expected ones.
    """

    rows: int
    differences: Sequence[tuple[tuple[Any, ...], str, Any, Any]]

    @property
    def agree(self) -> int:
        return self.rows - len({key for key, *_ in self.differences})

    def __str__(self) -> str:
        told = f"{self.agree:,} of {self.rows:,} rows equal the truth in every integer column"
        if self.differences:
            key, column, expected, got = self.differences[0]
            told += f"; first difference: {key} {column}: expected {expected}, got {got}"
        return told


def with_truth(store: Store, truth: Path) -> Comparison:
    """Compare the store's final facts with oee_facts.parquet, for its machines, up to its last window."""
    expected = pq.read_table(truth)
    return facts(stored(store, expected), expected)


def stored(store: Store, expected: pa.Table) -> pa.Table:
    """The store's final rows for the machines and up to the last window of `expected`."""
    machines = sorted(set(expected.column("machine").to_pylist()))
    until = max(expected.column("window_start").to_pylist())
    columns = ", ".join(f"`{name}`" for name in (*KEY, *COMPARED))
    return store.arrow(STORED.format(columns=columns), {"machines": machines, "until": until})


def facts(got: pa.Table, expected: pa.Table) -> Comparison:
    """Compare two tables of facts; both hold KEY and COMPARED."""
    ours, truth = _by_key(got), _by_key(expected)
    differences: list[tuple[tuple[Any, ...], str, Any, Any]] = []
    for key in sorted(ours.keys() | truth.keys(), key=str):
        mine, true = ours.get(key), truth.get(key)
        if mine is None or true is None:
            differences.append((key, "", *(("a row", "none") if mine is None else ("none", "a row"))))
            continue
        differences.extend(
            (key, column, theirs, value)
            for column, theirs, value in zip(COMPARED, true, mine, strict=True)
            if theirs != value
        )
    return Comparison(len(truth), differences)


def _by_key(table: pa.Table) -> Mapping[tuple[Any, ...], tuple[Any, ...]]:
    keys = zip(*(plain(table.column(name)) for name in KEY), strict=True)
    values = zip(*(plain(table.column(name)) for name in COMPARED), strict=True)
    return dict(zip(keys, values, strict=True))


def plain(column: pa.ChunkedArray) -> list[Any]:
    """Instants as ms, dates as days, whatever the table calls them."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        return column.cast(pa.timestamp("ms", tz=kind.tz)).cast(pa.int64()).to_pylist()  # type: ignore[no-any-return]
    if pa.types.is_date(kind):
        return column.cast(pa.date32()).cast(pa.int32()).to_pylist()  # type: ignore[no-any-return]
    if pa.types.is_dictionary(kind):
        return column.cast(kind.value_type).to_pylist()  # type: ignore[no-any-return]
    return column.to_pylist()  # type: ignore[no-any-return]
