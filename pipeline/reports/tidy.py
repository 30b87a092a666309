"""A report as tidy rows: one figure a row, with what it is about, for a spreadsheet or a data frame."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from pipeline.planted import Row
from pipeline.report import Report, plain

COLUMNS = ("site", "start", "end", "section", "subject", "detail", "figure", "value")


def as_csv(report: Report) -> str:
    """The report as CSV (RFC 4180). Ratios are 0 to 1, minutes say so; a figure without a value is an empty cell."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    head = (report.site, plain(report.start), plain(report.end))
    for row in _rows(report):
        writer.writerow((*head, *("" if cell is None else plain(cell) for cell in row)))
    return out.getvalue()


def _rows(report: Report) -> Iterator[tuple[str, str, str, str, Any]]:
    for row in report.machines:
        yield from _figures("machine", row, "machine")
    for row in report.lines:
        yield from _figures("line", row, "line")
    if report.total:
        yield from _figures("site", report.total, "site")
    for row in report.waterfall:
        yield "waterfall", row["step"], row["loss"], "minutes", row["minutes"]
    for row in report.losses:
        detail = row["reason_name"] + (" (micro)" if row["micro"] else "")
        for figure in ("minutes", "stops", "longest_min", "share"):
            yield "downtime", row["state"], detail, figure, row[figure]
    for row in report.anomalies:
        yield "anomaly", row["machine"], row["signal"], row["kind"], row["first"]
    for row in report.incidents:
        yield "incident", row["machine"], row["id"], row["severity"], row["first"]
    for row in report.found.planted if report.found else ():
        yield "planted", row["machine"], row["signal"], row["kind"], row["incident"]


def _figures(section: str, row: Row, key: str) -> Iterator[tuple[str, str, str, str, Any]]:
    for figure, value in row.items():
        if isinstance(value, int | float) or (value is None and figure in ("oee", "a", "p", "q", "coverage")):
            yield section, row[key], "", figure, value
