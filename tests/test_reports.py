"""Reports as a page and as rows: escaped, complete, and honest about what is not known."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

from pipeline.report import Report
from pipeline.reports import svg
from pipeline.reports.page import as_html
from pipeline.reports.tidy import COLUMNS, as_csv

AT = datetime(2026, 3, 2, 7, tzinfo=UTC)


def made(**more: Any) -> Report:
    row = {"machine": "<b>saw</b>", "oee": None, "oee_null": "no_ideal_rate", "a": 0.8, "p": None, "q": 1.0,
           "coverage": 0.5, "total": 12, "good": 11}  # fmt: skip
    return Report("ly&on", AT, AT, **{
        "machines": [row], "lines": [], "total": {}, "waterfall": [], "losses": [], "anomalies": [], "rows": {}, **more,
    })  # fmt: skip


def test_texts_of_the_data_are_escaped_and_what_is_none_says_why() -> None:
    page = as_html(made())
    assert "<b>saw" not in page
    assert "&lt;b&gt;saw" in page
    assert "ly&amp;on" in page
    assert "no ideal rate" in page
    ElementTree.fromstring(page.removeprefix("<!doctype html>\n").replace('<meta charset="utf-8">', ""))


def test_rows_are_tidy_and_empty_where_nothing_is_known() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(made()))))
    assert tuple(rows[0]) == COLUMNS
    figures = {row["figure"]: row["value"] for row in rows}
    assert (figures["oee"], figures["a"], figures["good"]) == ("", "0.8", "11")


def test_bars_are_as_long_as_their_values() -> None:
    drawn = ElementTree.fromstring(svg.bars([svg.Bar("a", 1.0, "", True), svg.Bar("b", 0.25, "", False)]))
    assert [float(rect.get("width", "")) for rect in drawn.findall("rect")] == [600.0, 150.0]
    half = ElementTree.fromstring(svg.bars([svg.Bar("a", 0.5, "", True)], 1.0)).find("rect")
    assert half is not None
    assert half.get("width") == "300.0"
