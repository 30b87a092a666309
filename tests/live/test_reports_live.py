"""`openoee report` by shift and in every form, on a simulated plant in a real store."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest
from live_stack import LiveStack
from plant_in_store import HOUR, SITE, START, fill

from pipeline.errors import UsageError
from pipeline.reports.shifts import span
from pipeline.settings import Settings
from pipeline.store.client import Store

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def line(stack: LiveStack) -> Settings:
    settings = stack.settings("report")
    fill(settings)
    return settings


def report(line: Settings, *arguments: str) -> str:
    command = [sys.executable, "-m", "pipeline", "report", "--site", SITE, *arguments]
    done = subprocess.run(command, env={**os.environ, **line.environment()}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_forms_say_the_same(line: Settings, tmp_path: Path) -> None:
    told = json.loads(report(line, "--json"))
    rows = list(csv.DictReader(io.StringIO(report(line, "--format", "csv"))))
    oee = {row["subject"]: row["value"] for row in rows if row["section"] == "machine" and row["figure"] == "oee"}
    assert len(oee) == 12
    assert oee == {row["machine"]: str(row["oee"]) for row in told["machines"]}
    minutes = [float(row["value"]) for row in rows if row["section"] == "waterfall"]
    assert minutes == [row["minutes"] for row in told["waterfall"]]

    report(line, "--format", "html", "--output", str(tmp_path / "r.html"))
    html = (tmp_path / "r.html").read_text()
    for row in told["machines"]:
        assert f"{100 * row['oee']:.1f} %" in html
    assert re.search(r"<script|(?:src|href)=|url\(|@import", html) is None, "it needs nothing from elsewhere"
    plots = re.findall(r"<svg.*?</svg>", html, re.S)
    assert len(plots) == 3
    assert len(ElementTree.fromstring(plots[0]).findall("rect")) == 12


def test_a_shift_is_what_the_facts_say_it_was(line: Settings) -> None:
    now = START + 26 * HOUR
    with closing(Store(line)) as store:
        end = store.query("SELECT max(segment_end) FROM facts").result_rows[0][0].replace(tzinfo=UTC)
        whole = (START, round(end.timestamp() * 1000))
        assert span(store, SITE, "yesterday", now) == span(store, SITE, "2026-03-02", now)
        first, last = span(store, SITE, "2026-03-02", now)
        assert whole[0] <= first < last <= whole[1]
        names = store.query("SELECT DISTINCT shift FROM facts WHERE shift != ''").result_rows
        for (name,) in names:
            begin, finish = span(store, SITE, f"2026-03-02/{name}", now)
            assert first <= begin < finish <= last
        for wrong in ("today", "2026-03-02/never", "last week", "2026-13-01"):
            with pytest.raises(UsageError):
                span(store, SITE, wrong, now)
    told = json.loads(report(line, "--shift", "2026-03-02", "--json"))
    assert datetime.fromisoformat(told["start"]).timestamp() * 1000 == first
