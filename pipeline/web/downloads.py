"""The tables under the pages as files: CSV for people, Parquet for programs."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from fastapi import Query, Response
from fastapi.responses import JSONResponse

FORMAT = Query(
    "json", alias="format", pattern="^(json|csv|parquet)$", description="json: all of it; csv, parquet: one table"
)
TABLE = Query("", max_length=40, description="which table as a file; empty: the first")
KINDS = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}
TIMES = frozenset((
    "start", "until", "since", "first", "last", "period", "opened", "acknowledged", "issued", "end", "newest", "known",
    "at", "stop",
))  # fmt: skip
BOARD = {
    "state": ("state", "element", "since", "until", "product", "reason"),
    "shift": (
        "shift", "oee", "a", "p", "q", "coverage", "oee_null", "good", "reject", "pbt_ms", "total", "ideal_total_us",
        "plan",
    ),
    "incident": (
        "id", "first", "last", "severity", "flags", "signals", "muted", "acknowledged", "acknowledged_by", "note",
        "message",
    ),
}  # fmt: skip
LINES = {
    "shift": (
        "shift", "period", "serial", "constraint_machine", "a", "p", "q", "oee", "coverage", "oee_null", "good",
        "total", "pbt_ms", "busy_ms", "ideal_good_us", "external_ms", "first", "last",
    ),
}  # fmt: skip
Row = Mapping[str, Any]


def given(
    told: Row, kind: str, table: str, tables: Sequence[str], nested: Mapping[str, Sequence[str]] | None = None
) -> Response:
    """What was read as JSON, or one of its `tables` as a file; 503 when the store is away, 400 for no such table.

    In a file times are UTC timestamps, what is `nested` in a row becomes columns (`state_since`), lists of words are
    one cell, other lists are left out.
    """
    if "error" in told:
        return JSONResponse(dict(told), 503)
    if kind == "json":
        return JSONResponse(dict(told))
    name = table or tables[0]
    if name not in tables:
        return JSONResponse({"error": f"there is no table {name!r} here: ?table= takes {', '.join(tables)}"}, 400)
    written = _written(_columns(told[name], nested or {}), kind)
    headers = {"Content-Disposition": f'attachment; filename="openoee-{name}.{kind}"'}
    return Response(written, media_type=KINDS[kind], headers=headers)


def _columns(rows: Sequence[Row], nested: Mapping[str, Sequence[str]]) -> pa.Table:
    flat = [_flat(row, nested) for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    return pa.table({name: _column(name, [row.get(name) for row in flat]) for name in names})


def _flat(row: Row, nested: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, cell in row.items():
        if name in nested:
            found |= {f"{name}_{inner}": _cell((cell or {}).get(inner)) for inner in nested[name]}
        elif not isinstance(cell, dict) and not (isinstance(cell, list) and cell and not isinstance(cell[0], str)):
            found[name] = _cell(cell)
    return found


def _cell(cell: Any) -> Any:
    return "; ".join(map(str, cell)) if isinstance(cell, (list, tuple)) else cell


def _column(name: str, cells: list[Any]) -> pa.Array:
    numbers = all(cell is None or type(cell) is int for cell in cells)
    if numbers and name.rpartition("_")[2] in TIMES:
        return pa.array(cells, pa.timestamp("ms", "UTC"))
    return pa.array(cells)


def _harmless(table: pa.Table) -> pa.Table:
    """Texts that a spreadsheet would take for formulas get an apostrophe before them: anybody may have sent them."""
    for place, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            cells = pc.replace_substring_regex(table.column(place), "^([=+@\\t\\r-])", "'\\1")
            table = table.set_column(place, field, cells)
    return table


def _written(table: pa.Table, kind: str) -> bytes:
    out = io.BytesIO()
    if kind == "csv":
        pyarrow.csv.write_csv(_harmless(table), out)
    else:
        pyarrow.parquet.write_table(table, out, compression="zstd")
    return out.getvalue()
