"""Rows of the line as Parquet files: instants as UTC timestamps, dates as dates, everything else as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.model import FACTS, Anomaly, Incident, Interval, OeeFact

INSTANT, DATE = pa.timestamp("ms", tz="UTC"), pa.date32()
TYPES: dict[str, Any] = {
    **dict.fromkeys(("window_start", "window_end", "segment_start", "segment_end", "known_at"), INSTANT),
    **dict.fromkeys(("start", "end", "first", "last", "at"), INSTANT),
    **dict.fromkeys(("shift_date", "local_date"), DATE),
    **dict.fromkeys(FACTS, pa.int64()),
    **dict.fromkeys(("micro", "external", "overtime"), pa.bool_()),
    **dict.fromkeys(("score", "value", "expected", "expected_low", "expected_high"), pa.float64()),
    **dict.fromkeys(("position", "detector_version", "revision"), pa.int32()),
    "stop": pa.int64(),
    "flags": pa.list_(pa.string()),
}
OF_INCIDENTS: dict[str, Any] = {
    **dict.fromkeys(("opened", "closed", "acknowledged"), INSTANT),
    **dict.fromkeys(("page", "muted"), pa.bool_()),
    **dict.fromkeys(("signals", "kinds"), pa.list_(pa.string())),
    "flags": pa.int32(),  # their number; of facts, words
}
EVENTS = ("machine", "at", "kind", "severity", "code", "text")


def write_rows(path: Path, kind: type[OeeFact | Interval | Anomaly | Incident], rows: Sequence[Any]) -> None:
    """One file with one column per field of the record."""
    names = [field.name for field in fields(kind)]
    own = OF_INCIDENTS if kind is Incident else {}
    write(path, {name: [getattr(row, name) for row in rows] for name in names}, own)


def write(path: Path, columns: Mapping[str, Sequence[Any]], own: Mapping[str, Any] = MappingProxyType({})) -> None:
    """One file of these columns, compressed with zstd; replaces a file of the same name only when it is whole.

    `own`: types of columns that TYPES does not know, or knows otherwise.
    """
    shape = pa.schema([(name, own.get(name, TYPES.get(name, pa.string()))) for name in columns])
    arrays = [_array(values, shape.field(name).type) for name, values in columns.items()]
    draft = path.with_name(path.name + ".part")
    pq.write_table(pa.Table.from_arrays(arrays, schema=shape), draft, compression="zstd")
    draft.replace(path)


def _array(values: Sequence[Any], kind: Any) -> Any:
    if kind in (INSTANT, DATE):
        return pa.array(values, pa.int64() if kind == INSTANT else pa.int32()).cast(kind)
    return pa.array(values, kind)
