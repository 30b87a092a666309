"""An export holds nothing that came later: the same from a store that stopped there as from one that knows the rest."""

from __future__ import annotations

import json
import re
import shlex
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from export_trial import HOUR, MINUTE, T0, correction, load, log, raised, up_to
from live_stack import LiveStack, environment

from pipeline.cli import cli
from pipeline.core.model import FACTS, Correction, Frame, Record
from pipeline.core.plant_dirt import Dirt
from pipeline.export import asked, columns, export
from pipeline.export.plan import Plan
from pipeline.replay import current, run
from pipeline.settings import Settings
from pipeline.store.client import Store

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]
END = T0 + 3 * HOUR
# Finals are made by the first frame from beyond the lateness (30 s): most have come 36 s after the window, not all.
PLAN = Plan(T0, END, allowance_ms=36_000, horizon_ms=10 * MINUTE)
STATISTICS = (".mean", ".std", ".min", ".max", ".last", ".count")
SAW, MILL = "lyon-L1-saw", "lyon-L1-mill-1"


@dataclass
class Lines:
    """The same log up to the last cut-off, and all of it, each in a store of its own."""

    records: list[Record]
    before: Settings
    later: Settings


@pytest.fixture(scope="module")
def lines(stack: LiveStack) -> Lines:
    """Hours of a plant whose data come late, twice and with gaps; corrected after the time that is exported. A shift
    begins before the last cut-off, and is flagged after it."""
    said = [
        correction(SAW, END + HOUR, Correction(T0 + 20 * MINUTE, T0 + 50 * MINUTE, state="fault", id="c1")),
        correction(SAW, END + HOUR, Correction(T0 + HOUR, T0 + 2 * HOUR, reason="operator", id="c2")),
        correction(MILL, END + HOUR, Correction(T0 + 90 * MINUTE, T0 + 90 * MINUTE + 1, good=-2, reject=2, id="c3")),
        correction(MILL, T0 + 2 * HOUR, Correction(T0 + 10 * MINUTE, T0 + 30 * MINUTE, state="setup", id="c4")),
    ]
    dirty = log(4.5, dirt=Dirt(repeat=0.05, late=0.05, gaps=1), said=said)
    records = list(raised(dirty, SAW, "power", END + 5_000, END + 20 * MINUTE, 20.0))
    before, later = stack.settings("export-before"), stack.settings("export-later")
    load(before, up_to(records, PLAN.last_cut_off))
    load(later, records)
    return Lines(records, before, later)


def exported(settings: Settings, folder: Path, plan: Plan = PLAN) -> tuple[pa.Table, pa.Table]:
    """Features and labels of all splits."""
    with closing(Store(settings)) as store:
        export(store, plan, folder)
    features, labels = (
        pa.concat_tables(pq.read_table(folder / split.name / f"{what}.parquet") for split in plan.splits)
        for what in ("features", "labels")
    )
    return features, labels


def differing(before: pa.Table, later: pa.Table) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Rows that are not the same, but for `as_known`, which knows what came later. The tables have the same shape."""
    assert before.schema.equals(later.schema, check_metadata=True)
    assert before.num_rows == later.num_rows > 300
    rows = zip(before.to_pylist(), later.to_pylist(), strict=True)
    return [(a, b) for a, b in rows if {**a, "as_known": None} != {**b, "as_known": None}]


def test_later_records_change_no_feature(lines: Lines, tmp_path: Path) -> None:
    """But that a sample sent again later is taken for one that came later: a sample less, never one more, and said."""
    before, _ = exported(lines.before, tmp_path / "a")
    later, _ = exported(lines.later, tmp_path / "b")
    for a, b in differing(before, later):
        other = {name for name in a if a[name] != b[name]}
        assert all(name.endswith(STATISTICS) or name == "as_known" for name in other)
        assert all(b[name] < a[name] for name in other if name.endswith(".count"))
        assert any(name.endswith(".count") for name in other)
        assert not b["as_known"]
    assert 0.2 < np.mean(later["as_known"].to_pylist()) < np.mean(before["as_known"].to_pylist()) < 1
    assert {"provisional", "final"} <= set(later["facts_status"].to_pylist())
    assert sum(later["flags_1h"].to_pylist()) > 0


CONTROLS = {
    "facts": ("VERSIONS", "oee_revisions FINAL", "(SELECT * REPLACE (window_end AS known_at) FROM oee_facts FINAL)"),
    "samples": ("SAMPLES", "toUnixTimestamp64Milli(arrived) <= cut", "true"),
    "states": ("EVENTS", "toUnixTimestamp64Milli(arrived) AS came", "toUnixTimestamp64Milli(ts) AS came"),
    "counts": ("REPORTS", "toUnixTimestamp64Milli(arrived) AS came", "toUnixTimestamp64Milli(ts) AS came"),
    "flags": (
        "FLAG_VERSIONS",
        "anomaly_revisions FINAL",
        "(SELECT * REPLACE (first AS known_at) FROM anomalies FINAL)",
    ),
}


@pytest.mark.parametrize("control", CONTROLS)
def test_an_export_that_read_current_rows_would_be_found_out(
    lines: Lines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, control: str
) -> None:
    name, right, wrong = CONTROLS[control]
    sql = getattr(asked, name)
    assert right in sql
    monkeypatch.setattr(asked, name, sql.replace(right, wrong))
    before, _ = exported(lines.before, tmp_path / "a")
    later, _ = exported(lines.later, tmp_path / "b")
    leaks = [
        (a, b) for a, b in differing(before, later)
        if b["as_known"] or any(a[k] != b[k] for k in a if not k.endswith((*STATISTICS, "as_known")))
        or any(b[k] > a[k] for k in a if k.endswith(".count"))
    ]  # fmt: skip
    assert leaks


def test_features_are_what_the_log_says_that_had_arrived(lines: Lines, tmp_path: Path) -> None:
    """Samples counted in the log, facts taken from the engine's own rows, by plain loops."""
    features, _ = exported(lines.before, tmp_path)
    records = list(up_to(lines.records, PLAN.last_cut_off))
    came: dict[tuple[str, str, int], tuple[int, float]] = {}
    for arrived, message, *_ in records:
        for block in message.signals if isinstance(message, Frame) else []:
            for name, values in zip(block.names, block.values, strict=True):
                for at, value in zip(block.at.tolist(), values.tolist(), strict=True):
                    came[message.machine, name, at] = (arrived, value)  # of one sent again, the last
    samples: dict[tuple[str, str, int], list[float]] = {}
    for (machine, name, at), (arrived, value) in sorted(came.items()):
        start = at // MINUTE * MINUTE
        if arrived <= start + MINUTE + PLAN.allowance_ms and np.isfinite(value):
            samples.setdefault((machine, name, start), []).append(value)
    facts = run(records, lines.before.engine()).facts
    versions: dict[tuple[str, int], list[Any]] = {}
    for fact in facts:
        versions.setdefault((fact.machine, fact.window_start), []).append(fact)
    for row in features.to_pylist():
        start = milliseconds(row["window_start"])
        for name in ("temperature", "power"):
            values = samples.get((row["machine"], name, start), [])
            assert row[f"{name}.count"] == len(values)
            assert row[f"{name}.last"] == (values[-1] if values else None)
            if values:
                assert row[f"{name}.mean"] == pytest.approx(np.mean(values), rel=1e-12)
                assert row[f"{name}.std"] == pytest.approx(np.std(values), rel=1e-9, abs=1e-12)
                assert (row[f"{name}.min"], row[f"{name}.max"]) == (min(values), max(values))
        cut = milliseconds(row["cut_off"])
        for column, first in (("", start), ("_1h", start - 59 * MINUTE)):
            known = [
                one for at in range(first, start + 1, MINUTE)
                for one in current(v for v in versions.get((row["machine"], at), []) if v.known_at <= cut)
            ]  # fmt: skip
            sums = {name + column: sum(getattr(one, name) for one in known) if known else None for name in FACTS}
            assert {name: row[name] for name in sums} == sums


def test_labels_are_what_came_after_corrections_included(lines: Lines, tmp_path: Path) -> None:
    _, labels = exported(lines.later, tmp_path)
    made = run(lines.records, lines.later.engine())
    stops = [
        one for one in current(made.intervals)
        if one.element == "adet" and not one.micro and not one.external and one.stop == one.start
    ]  # fmt: skip
    parts = {(one.machine, one.window_start): 0 for one in made.facts}
    for one in current(made.facts):
        parts[one.machine, one.window_start] += one.reject
    for row in labels.to_pylist():
        cut, until = milliseconds(row["cut_off"]), milliseconds(row["label_until"])
        assert row["labels_known"]
        assert until - cut == PLAN.horizon_ms
        ahead = sorted((one.start, one.state, one.reason) for one in stops
                       if one.machine == row["machine"] and cut <= one.start < until)  # fmt: skip
        first = (ahead[0][0] - cut, *ahead[0][1:]) if ahead else (None, None, None)
        assert (row["stop_ahead"], (row["stop_in_ms"], row["stop_state"], row["stop_reason"])) == (bool(ahead), first)
        assert row["reject_ahead"] == sum(
            count for (machine, at), count in parts.items()
            if machine == row["machine"] and cut <= at and at + MINUTE <= until
        )  # fmt: skip
    assert {True, False} == set(labels["stop_ahead"].to_pylist()) == set(labels["corrected"].to_pylist())
    assert "operator" in labels["stop_reason"].to_pylist()


def test_labels_that_cannot_be_known_yet_are_null(lines: Lines, tmp_path: Path) -> None:
    _, labels = exported(lines.before, tmp_path)
    open_ones = [row for row in labels.to_pylist() if not row["labels_known"]]
    assert open_ones
    named = {field.name for field in labels.schema if field.metadata[b"role"] == b"label"}
    assert all(row[name] is None for row in open_ones for name in named)


def test_the_same_store_gives_the_same_bytes_and_splits_do_not_touch(lines: Lines, tmp_path: Path) -> None:
    exported(lines.later, tmp_path / "a")
    with closing(Store(lines.later)) as store:
        for table in ("telemetry", "events", "oee_revisions"):
            store.command(f"OPTIMIZE TABLE {table} FINAL")
    exported(lines.later, tmp_path / "b")
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*"))
    assert len(files) == 6
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    spans = [pq.read_table(tmp_path / "a" / split / "labels.parquet") for split in ("train", "validation", "test")]
    for earlier, later in pairwise(spans):
        assert max(earlier["label_until"].to_pylist()) <= min(later["window_start"].to_pylist())


def test_what_has_no_history_is_said_and_not_made_up(stack: LiveStack, tmp_path: Path) -> None:
    settings = stack.settings("export-old")
    load(settings, log(1.5, machines=1))
    plan = Plan(T0, T0 + HOUR, horizon_ms=MINUTE)
    before, _ = exported(settings, tmp_path / "a", plan)
    with closing(Store(settings)) as store:
        old = f"fromUnixTimestamp64Milli({T0 + 5 * MINUTE + 1}, 'UTC')"
        store.command(f"INSERT INTO telemetry (machine, signal, ts, value) VALUES ('{SAW}', 'power', {old}, 1e6)")
        gone = f"window_start = fromUnixTimestamp64Milli({T0 + 59 * MINUTE}, 'UTC')"
        store.command(f"ALTER TABLE oee_revisions DELETE WHERE {gone} SETTINGS mutations_sync = 1")
        at = f"fromUnixTimestamp64Milli({T0 + 50 * MINUTE}, 'UTC')"
        store.command(
            "INSERT INTO anomalies (machine, signal, kind, first, last, score, known_at)"
            f" SELECT '{SAW}', 'power', 'spike', {at}, {at}, 0.9, {at}"
        )
    later, _ = exported(settings, tmp_path / "b", plan)
    assert all(before["as_known"].to_pylist())
    rows = {(milliseconds(row["window_start"]) - T0) // MINUTE: row for row in later.to_pylist()}
    doubted = {minute for minute, row in rows.items() if not row["as_known"]}
    assert doubted == {5} | {minute for minute in rows if minute >= 49}
    assert rows[5]["power.max"] == 1e6
    assert rows[59]["pbt_ms"] is None
    assert rows[59]["facts_status"] is None
    assert rows[59]["flags_1h"] == 0


def test_backfilled_data_are_taken_as_in_time_and_say_so(stack: LiveStack, tmp_path: Path) -> None:
    settings = stack.settings("export-filled")
    records = log(1.5, machines=1)
    load(settings, [one._replace(arrived=one.arrived + 100 * HOUR) for one in records])
    plan = Plan(T0, T0 + HOUR, horizon_ms=MINUTE)
    with closing(Store(settings)) as store:
        assert sum(export(store, plan, tmp_path / "a").rows.values()) == 0
    features, _ = exported(settings, tmp_path / "b", replace(plan, backfilled=True))
    assert features.num_rows > 50
    assert not any(features["as_known"].to_pylist())
    assert sum(features["apt_ms"].to_pylist()) > 0
    assert min(features["power.count"].to_pylist()) > 0


def test_the_command_says_what_it_wrote_and_the_files_what_their_columns_mean(
    lines: Lines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(lines.later).items():
        monkeypatch.setenv(name, value)
    base = ["export", "--from", "2026-03-02T07:00", "--to", "2026-03-02T10:00", "--out", str(tmp_path)]
    said = CliRunner().invoke(cli, [*base, "--features", "--machine", SAW, "--horizon-min", "5"])
    assert said.exit_code == 0, said.output
    assert "windows of 1 machines" in said.output
    assert sorted(path.name for path in tmp_path.rglob("*.parquet")) == ["features.parquet"] * 3
    told = json.loads(CliRunner().invoke(cli, [*base, "--horizon-min", "5", "--json"]).output)
    assert set(told["rows"]) == {"train", "validation", "test"}
    assert sum(told["rows"].values()) >= told["as_known"] > 0
    assert len(told["machines"]) == 3
    schema = pq.read_schema(tmp_path / "test" / "features.parquet")
    assert schema.field("temperature.mean").metadata[b"unit"] == b"Cel"
    assert schema.field("apt_ms_1h").metadata[b"unit"] == b"ms"
    assert b'"horizon_ms": 300000' in schema.metadata[b"openoee.export"]
    short = CliRunner().invoke(cli, [*base[:4], "2026-03-02T07:30", *base[5:]])
    assert "too short for three splits" in str(short.exception)
    nothing = CliRunner().invoke(cli, [*base, "--machine", "nobody"])
    assert "holds no facts" in str(nothing.exception)


def test_the_example_of_the_documentation_runs_and_names_every_column(
    lines: Lines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
    for name, value in environment(lines.later).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(cli, shlex.split(text.partition("    openoee ")[2].partition("\n")[0]))
    assert said.exit_code == 0, said.output
    exec(compile(text.partition("```python\n")[2].partition("```")[0], "export.md", "exec"), {})
    windows, stops = map(int, re.findall(r"\d+", capsys.readouterr().out))
    assert windows > stops > 0
    words = set(re.findall(r"`([a-z_0-9]+)`", text))
    summed = {"t_ms", "line_pbt_ms", "t_ms_1h", "line_pbt_ms_1h"}
    for column in (*columns.KEYS, *columns.PLAIN_FEATURES, *columns.LABELS):
        of_kind = column.name.startswith("flags_1h_")
        assert column.name in words or of_kind or column.name.removesuffix("_1h") in FACTS, column.name
    assert summed <= words


def milliseconds(at: Any) -> int:
    return round(at.timestamp() * 1000)
