"""`openoee replay` and the account that it and `openoee produce` print, on a small log."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from pipeline.cli import cli
from pipeline.cli.produce import Pace
from pipeline.core.model import Frame
from pipeline.errors import FactoryFileError, StopError, UsageError

MAPPING = """\
adapter: shdr
device: M1
state: {item: execution, values: {ACTIVE: running, READY: idle}}
parts: {cycle: {item: execution, running: ACTIVE, end: READY}}
context: {product: program}
signals: {load: {name: load, unit: "%"}}
conditions: {items: system, severity: {Warning: warning, Fault: fault}}
ignore: [line]
"""
FACTORY = """\
version: 1
site: lyon
timezone: UTC
machines: {M1: {ideal_cycle_s: 60}}
"""
LOG = """\
2026-03-02T08:00:00Z|execution|ACTIVE
2026-03-02T08:00:00Z|program|A
2026-03-02T08:00:30Z|load|55
2026-03-02T08:00:31Z|load|much
2026-03-02T08:00:40Z|system|Fault|7|||HOT
2026-03-02T08:00:41Z|line|3
2026-03-02T08:00:42Z|other|3
2026-03-02T08:02:00Z|execution|READY
2026-03-02T08:03:59.999Z|load|1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {"m.yaml": MAPPING, "factory.yaml": FACTORY, "M1-20260302.txt": LOG}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def replay(folder: Path, *more: str) -> str:
    arguments = ["replay", "--mapping", str(folder / "m.yaml"), "--out", str(folder / "out"), *more]
    result = CliRunner().invoke(cli, [*arguments, str(folder / "M1-20260302.txt")], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_replay_writes_parquet_and_accounts_for_every_line(folder: Path) -> None:
    report = folder / "refused.jsonl"
    output = replay(folder, "--factory", str(folder / "factory.yaml"), "--refused", str(report))
    lines = {line.split()[0]: line for line in output.splitlines()}
    assert "9 lines of 1 files, 9 entries" in lines["read"]
    assert lines["used"].split()[1] == "6"
    assert lines["ignored"].endswith("ignores: line 1")
    assert lines["unmapped"].endswith("name: other 1")
    assert lines["refused"].endswith("1 entries: no number 1")
    assert "shdr:M1-20260302.txt:4: no number: 'load|much'" in output
    assert [json.loads(line) for line in report.read_text().splitlines()] == [
        {"source": "shdr:M1-20260302.txt", "line": 4, "reason": "no number", "text": "load|much"}
    ]
    assert lines["M1"].split() == ["M1", "25.0%", "50.0%", "50.0%", "100.0%", "0.1", "0.0", "0.0", "1", "0"]
    facts = pq.read_table(folder / "out/oee_facts.parquet").to_pylist()
    assert [row["window_start"] for row in facts] == [
        datetime(2026, 3, 2, 8, minute, tzinfo=UTC) for minute in range(4)
    ]
    assert [row["apt_ms"] for row in facts] == [60_000, 60_000, 0, 0]
    assert [row["total"] for row in facts] == [0, 0, 1, 0]
    assert {row["site"] for row in facts} == {"lyon"}
    intervals = pq.read_table(folder / "out/intervals.parquet").to_pylist()
    assert [(row["state"], row["end"] and row["end"].minute) for row in intervals] == [("running", 2), ("idle", None)]
    (event,) = pq.read_table(folder / "out/events.parquet").to_pylist()
    assert (event["machine"], event["severity"], event["code"], event["text"]) == ("M1", "fault", "system/7", "HOT")
    assert pq.read_table(folder / "out/anomalies.parquet").num_rows == 0


def test_replay_without_a_factory_and_under_another_name(folder: Path) -> None:
    output = replay(folder, "--machine", "press")
    want = ["press", "-", "50.0%", "-", "-", "0.1", "0.0", "0.0", "1", "0", "(not_in_factory)"]
    assert output.splitlines()[-1].split() == want


def test_mistakes_are_said(folder: Path) -> None:
    with pytest.raises(UsageError, match="no adapter 'opcua'"):
        replay(folder, "--adapter", "opcua")
    with pytest.raises(UsageError, match="exactly one --mapping"):
        replay(folder, "--machine", "press", "--mapping", str(folder / "m.yaml"))
    with pytest.raises(FactoryFileError, match="there is no such file"):
        replay(folder, "--factory", str(folder / "none.yaml"))
    (folder / "M1-20260302.txt").write_text("no log at all\n")
    with pytest.raises(StopError, match="not one entry could be used"):
        replay(folder)
    (folder / "m.yaml").write_text(MAPPING.replace("adapter: shdr", "adapter: csv"))
    with pytest.raises(UsageError, match="for the adapter csv, not shdr"):
        replay(folder)


def test_pace_waits_by_event_time(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    monkeypatch.setattr("time.monotonic", lambda: 100.0)
    pace = Pace(2.0)
    pace.wait(Frame("m", "s", 0, 0, 0, opening=True))
    for sequence, sent in enumerate((1_000_000, 1_010_000, 1_005_000)):
        pace.wait(Frame("m", "s", 0, sequence, sent))
    assert slept == [0.0, 5.0, 2.5]
    Pace(None).wait(Frame("m", "s", 0, 0, 2_000_000))
    assert len(slept) == 3
