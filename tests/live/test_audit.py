"""`openoee audit` on a real line: what is right passes, what was spoilt is found and named, what is unknown is said."""

from __future__ import annotations

import json
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from live_stack import LiveStack, environment
from sink_trial import SinkProcess
from worker_trial import Load, Worker, delete_until, put, until

from pipeline import row_hash, topics
from pipeline.audit import Options, audit
from pipeline.audit.report import MISMATCH, PASS, UNVERIFIED, Check, Report
from pipeline.audit_queries import BY_TABLE, Compared
from pipeline.cli.audit import command
from pipeline.codec import Codec
from pipeline.core.model import Frame, SignalBlock
from pipeline.producer import TelemetryProducer
from pipeline.rows import SCHEMAS
from pipeline.settings import Settings
from pipeline.store.client import Store
from pipeline.store.migrate import migrate

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "trials"))

from line import Line
from line import command as openoee

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]
PLANT = ("--from=2026-03-02T05:00:00Z", "--machines=4", "--signal-period=5", "--seed=7", "--hours=3")
DIRT = "--dirt=repeat=0.05,shuffle,late=0.01,gaps=2,resets=2,clock=0.01"
DAY_MS, T0 = 86_400_000, 1_772_434_800_000
TYPES = "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {table:String}"


@pytest.fixture(scope="module")
def line(stack: LiveStack, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A dirty plant that went through two workers and a sink, with some records that nobody can use; all has ended."""
    settings = stack.settings("audit", partitions=3, snapshot_s=1, session_s=6)
    folder = tmp_path_factory.mktemp("line")
    with Line(settings, folder) as running:
        openoee(settings, "simulate", f"--truth={folder}", *PLANT, DIRT)
        put(settings, "telemetry", [(b"m", b"no avro"), (None, None)])
        with TelemetryProducer(settings, Codec()) as producer:
            now = int(time.time() * 1000)
            for epoch, load in (
                (0, 1.5),
                (1, 1.5),
                (0, 1.5),
                (2, 3.5),
            ):  # resent, and by a restarted gateway
                block = SignalBlock(np.array([now, now + DAY_MS]), ["load"], np.array([[load, 2.5]]))
                producer.send(Frame("late-1", "plc", epoch, 0, now, signals=[block]))
        running.caught_up(120)
    assert running.codes == [0, 0, 0]
    return settings


@contextmanager
def spoilt(settings: Settings, table: str, *statements: str) -> Iterator[None]:
    """The store after these statements; what it held is there again afterwards."""
    with closing(Store(settings)) as store:
        store.command(f"CREATE TABLE kept AS {table}")
        store.command(f"INSERT INTO kept SELECT * FROM {table}")
        for statement in statements:
            store.command(statement)
        try:
            yield
        finally:
            store.command(f"EXCHANGE TABLES kept AND {table}")
            store.command("DROP TABLE kept")


def found(report: Report) -> list[tuple[str, str, str]]:
    """(check, column, what is told) of every difference."""
    return [(one.check, one.column, str(one)) for check in report.checks for one in check.differences]


def checks(report: Report) -> dict[str, Check]:
    return {check.name: check for check in report.checks}


def made_up(kind: pa.DataType, random: np.random.Generator, nullable: bool) -> pa.Array:
    """Two hundred values of a type, every tenth of them missing where that can be."""
    texts = ["", "a", "door öffen ⚙", 'it\'s \\ "x"', "x" * 3000, "\t\n"]
    numbers = [0.0, -0.0, 1.5, -2.25, 5e-324, 1.7976931348623157e308, 1e-9, float("inf")]
    values: list[Any]
    if pa.types.is_floating(kind):
        values = [numbers[pick] for pick in random.integers(0, len(numbers), 200)]
    elif pa.types.is_timestamp(kind):
        values = random.integers(T0, T0 + 10**10, 200).tolist()
    elif pa.types.is_date(kind):
        values = random.integers(0, 40_000, 200).tolist()
    elif pa.types.is_boolean(kind):
        values = (random.random(200) < 0.5).tolist()
    elif pa.types.is_integer(kind):
        low, high = {"int32": (-(2**31), 2**31 - 1), "uint32": (0, 2**32 - 1)}.get(str(kind), (-(2**63), 2**63 - 1))
        values = [*random.integers(low, high, 198).tolist(), low, high]
    elif pa.types.is_list(kind):
        values = [[texts[1 + pick % 2]] * (pick % 3) for pick in random.integers(0, 9, 200)]
    elif pa.types.is_binary(kind):
        values = [random.bytes(pick) for pick in random.integers(0, 30, 200)]
    else:
        values = [texts[pick] for pick in random.integers(0, len(texts), 200)]
    return pa.array([None if nullable and n % 10 == 0 else value for n, value in enumerate(values)], kind)


@pytest.mark.parametrize("one", BY_TABLE.values(), ids=lambda one: str(one.name))
def test_the_server_hashes_as_python_does(line: Settings, one: Compared) -> None:
    with closing(Store(line)) as store:
        known = dict(store.query(TYPES, {"table": one.table}).result_rows)
        random, schema = np.random.default_rng(11), SCHEMAS[one.table]
        arrays = [made_up(field.type, random, "Nullable" in known[field.name]) for field in schema]
        table = pa.Table.from_arrays(arrays, schema=schema)
        columns = ", ".join(f"`{name}` {known[name]}" for name in schema.names)
        store.command(f"CREATE TABLE made_up ({columns}) ENGINE = MergeTree ORDER BY tuple()")
        try:
            store.insert("made_up", table, None)
            found = store.query(f"SELECT {one.hash_sql(one.columns)} FROM made_up").result_rows
            total = store.query(f"SELECT sum({one.hash_sql(one.columns)}) FROM made_up").result_rows[0][0]
        finally:
            store.command("DROP TABLE made_up")
    expected = row_hash.hashes(table, one.columns).tolist()
    assert sorted(row[0] for row in found) == sorted(expected)
    assert len(set(expected)) > 150
    assert total == sum(expected) % 2**64


def test_a_line_that_is_right_passes(line: Settings) -> None:
    report = audit(line, Options())
    assert found(report) == []
    assert (report.verdict, report.exit_code) == (PASS, 0), list(report.lines())
    counted = {check.name: check.rows for check in report.checks}
    with closing(Store(line)) as store:
        for name, view in {"samples": "signals", "events": "machine_events", "counts": "part_counts"}.items():
            assert counted[name] >= store.query(f"SELECT count() FROM {view}").result_rows[0][0] > 0
        assert counted["facts"] == store.query("SELECT countIf(status != 'provisional') FROM facts").result_rows[0][0]
        assert counted["intervals"] == store.query("SELECT count() FROM timeline").result_rows[0][0] > 0
        assert counted["dead letters"] == store.query("SELECT count() FROM parked").result_rows[0][0] > 3
        assert counted["anomalies"] == store.query("SELECT count() FROM anomaly_flags").result_rows[0][0] > 0


def test_a_missing_sample_is_named(line: Settings) -> None:
    with closing(Store(line)) as store:
        sql = "SELECT machine, signal, toUnixTimestamp64Milli(ts), value FROM signals ORDER BY cityHash64(ts) LIMIT 1"
        machine, name, ts, value = store.query(sql).result_rows[0]
    where = f"machine = '{machine}' AND signal = '{name}' AND toUnixTimestamp64Milli(ts) = {ts}"
    with spoilt(line, "telemetry", f"DELETE FROM telemetry WHERE {where}"):
        report = audit(line, Options())
    assert (report.verdict, report.exit_code) == (MISMATCH, 1)
    (difference,) = [one for check in report.checks for one in check.differences]
    assert difference.key == {"machine": machine, "signal": name, "ts": ts}
    assert (difference.check, difference.column, difference.source, difference.store) == (
        "samples",
        "",
        "a row",
        "none",
    )
    columns = "telemetry (machine, signal, ts, value)"
    changed = f"INSERT INTO {columns} SELECT machine, signal, ts, value + 0.5 FROM signals WHERE {where}"
    with spoilt(line, "telemetry", changed):
        ((check, column, text),) = found(audit(line, Options(machine=machine, start=ts, end=ts + 1)))
        assert audit(line, Options(machine=machine, start=ts + 1)).verdict == PASS
        assert audit(line, Options(end=ts)).verdict == PASS
    assert (check, column) == ("samples", "value")
    assert f"{value}" in text
    assert f"{value + 0.5} in the store" in text


@pytest.mark.parametrize(
    ("name", "table", "column", "change"),
    [
        ("facts", "oee_facts", "good", "good + 1"),
        ("facts", "oee_facts", "flags", "arrayConcat(flags, ['seen'])"),
        ("intervals", "intervals", "state", "'fault '"),
        ("anomalies", "anomalies", "score", "score / 2"),
        ("events", "events", "text", "concat(text, '!')"),
        ("counts", "counts", "total", "total + 1"),
        ("dead letters", "dead_letters", "value", "'other'"),
    ],
)
def test_a_changed_value_is_named(line: Settings, name: str, table: str, column: str, change: str) -> None:
    some = "status != 'provisional' AND segment_end > segment_start" if table == "oee_facts" else "true"
    some = "end > start" if table == "intervals" else "total IS NOT NULL" if table == "counts" else some
    insert = (
        f"INSERT INTO {table} SELECT * REPLACE ({change} AS {column}) FROM (SELECT * FROM {table} FINAL WHERE {some})"
        " ORDER BY ALL LIMIT 1"
    )
    with spoilt(line, table, insert):
        differences = found(audit(line, Options()))
    assert [(check, what) for check, what, _ in differences] == [(name, column)], differences


def test_rows_that_nobody_sent_are_named(line: Settings) -> None:
    with closing(Store(line)) as store:
        machine = store.query("SELECT min(machine) FROM signals WHERE machine != 'late-1'").result_rows[0][0]
    rows = f"('{machine}', 'load', '2026-03-02 06:00:00.001', 1.5), ('nobody', 'load', '2026-03-02 06:00:00', 2)"
    with spoilt(line, "telemetry", f"INSERT INTO telemetry (machine, signal, ts, value) VALUES {rows}"):
        report = audit(line, Options())
        assert audit(line, Options(start=1_772_500_000_000)).verdict == PASS
    texts = [text for _, _, text in found(report)]
    assert texts == [
        f"samples: machine {machine}, signal load, ts 2026-03-02T06:00:00.001Z: none in the source, a row in the store",
        "samples: machine nobody, first 2026-03-02T06:00:00Z, last 2026-03-02T06:00:00Z: 1 rows in the store, and"
        " the source does not know the machine",
    ]


def test_a_missing_dead_letter_is_named(line: Settings) -> None:
    with closing(Store(line)) as store:
        sql = "SELECT partition, offset, reason FROM parked ORDER BY reason LIMIT 1"
        partition, offset, reason = store.query(sql).result_rows[0]
    with spoilt(line, "dead_letters", f"DELETE FROM dead_letters WHERE partition = {partition} AND offset = {offset}"):
        ((check, column, text),) = found(audit(line, Options()))
    assert (check, column) == ("dead letters", "")
    assert f"partition {partition}, offset {offset}, reason {reason}: a row in the source, none in the store" in text


def test_no_more_differences_are_told_than_asked_for(line: Settings) -> None:
    with spoilt(line, "telemetry", "TRUNCATE TABLE telemetry"), spoilt_facts(line):
        report = audit(line, Options(most=5))
    assert {name: len(check.differences) for name, check in checks(report).items() if check.differences} == {
        "samples": 5, "facts": 5
    }  # fmt: skip
    assert [check.name for check in report.checks if check.more] == ["samples", "facts"]


@contextmanager
def spoilt_facts(settings: Settings) -> Iterator[None]:
    """A store whose facts are gone."""
    with closing(Store(settings)) as store:
        store.command("CREATE TABLE kept_facts AS oee_facts")
        store.command("EXCHANGE TABLES kept_facts AND oee_facts")
        try:
            yield
        finally:
            store.command("EXCHANGE TABLES kept_facts AND oee_facts")
            store.command("DROP TABLE kept_facts")


def test_the_command_tells_by_its_exit_code(line: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(line).items():
        monkeypatch.setenv(name, value)
    answer = CliRunner().invoke(command, ["--from", "2026-03-02", "--to", "2026-03-03"], catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    assert answer.output.rstrip().endswith("\nPASS")
    told = CliRunner().invoke(command, ["--json"], catch_exceptions=False)
    assert json.loads(told.stdout)["verdict"] == "PASS"
    assert {at["topic"] for at in json.loads(told.stdout)["positions"]} >= {"telemetry", "oee", "intervals"}
    away = CliRunner().invoke(command, ["--store", "http://127.0.0.1:9"], catch_exceptions=False)
    assert away.exit_code == 3
    assert "UNVERIFIED" in away.output


def test_what_is_under_way_and_what_is_gone_is_not_verified(stack: LiveStack, tmp_path: Path) -> None:
    settings = stack.settings("audit_lag", partitions=2, snapshot_s=1, session_s=6, provisional_s=0.2)
    topics.ensure(settings)
    migrate(settings)
    load = Load(settings, seed=5, machines=6, frames_per_s=120)
    running: list[Worker | SinkProcess] = []
    try:
        until(lambda: load.sent > 300, 20, "telemetry")
        report = audit(settings, Options())
        assert (report.verdict, report.exit_code) == (UNVERIFIED, 3)
        assert len(checks(report)["offsets"].unverified) == 2, list(report.lines())
        (worker, sink) = checks(report)["offsets"].unverified
        assert re.fullmatch(r"the worker is \d+ records behind", worker)
        assert re.fullmatch(r"the sink is \d+ records behind", sink)
        assert all("not compared: the worker is" in check.unverified[0] for check in report.checks[1:])
        running = [Worker(settings, tmp_path / "worker.log"), SinkProcess(settings, tmp_path / "sink.log")]
        report = audit(settings, Options(wait_s=60))  # while the plant goes on
        assert (report.verdict, found(report)) == (PASS, []), list(report.lines())
        load.end()
        report = audit(settings, Options(wait_s=60))
        assert (report.verdict, found(report)) == (PASS, []), list(report.lines())
    finally:
        load.end()
        codes = [one.end(signal.SIGTERM, 30) for one in running]
    assert codes == [0, 0]
    delete_until(settings, "telemetry", 0, 200)
    report = audit(settings, Options())
    assert (report.verdict, report.exit_code, found(report)) == (UNVERIFIED, 3, []), list(report.lines())
    (said, *_) = checks(report)["samples"].unverified
    assert said.startswith("partition 0: Kafka no longer has offsets 0 to 199: the time from ")
    assert "cannot be computed again" in checks(report)["facts"].unverified[0]
    deleted = "DELETE FROM telemetry WHERE ts >= (SELECT max(ts) FROM telemetry)"
    with spoilt(settings, "telemetry", deleted):
        assert audit(settings, Options()).verdict == MISMATCH
    put(settings, "telemetry", [(b"m", b"no avro")] * 3)
    end = max(one.end for one in report.positions if (one.topic, one.partition) == ("telemetry", 0))
    delete_until(settings, "telemetry", 0, end + 2)
    texts = [text for _, _, text in found(audit(settings, Options()))]
    assert [text.partition("partition 0: ")[2] for text in texts] == [
        f"offsets {end:,} to {end + 1:,} were removed before the {who} had taken them" for who in ("worker", "sink")
    ]
