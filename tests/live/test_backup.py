"""Back-up and restore on a real line under load: lost, restored, filled in from the topics, and the audit passes."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from live_stack import LiveStack
from sink_trial import Load as Everything
from sink_trial import SinkProcess, drained
from sink_trial import lag as sink_lag
from worker_trial import Load, Worker, delete_until, until
from worker_trial import lag as worker_lag

from pipeline import backup, topics
from pipeline.audit import Options, audit
from pipeline.audit.report import MISMATCH, PASS
from pipeline.backup_files import Manifest
from pipeline.cli.backup import command as backup_command
from pipeline.cli.restore import command as restore_command
from pipeline.errors import BackupUnusable, BrokerUnavailable, StopError, UsageError
from pipeline.restore import LOST
from pipeline.settings import Settings
from pipeline.sink import TOPICS
from pipeline.sink_offsets import SinkGroup
from pipeline.store import native
from pipeline.store.client import Store
from pipeline.store.migrate import check, migrate

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]
CAUGHT_UP_S = 150
HOUR_OF_FRAMES = 4 * 720  # four machines, a frame every 5 s of event time
PLACED = ("kafka", "topic_prefix", "store", "database", "home", "session_s")
CHANGING = "version, part"  # of sums: how often they were made


@dataclass
class Kept:
    """A line that has ended: what its hours were, its backup of the middle of it, offsets committed at its end."""

    settings: Settings
    folder: Path
    manifest: Manifest
    hours: dict[str, bytes]


@pytest.fixture(scope="module")
def kept(stack: LiveStack, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """Worker and sink under load; the backup is taken while the load goes on, over the ends of hours."""
    folder = tmp_path_factory.mktemp("backup")
    settings = stack.settings("backup", partitions=3, session_s=6, snapshot_s=1, provisional_s=1, sink_ms=200)
    topics.ensure(settings)
    migrate(settings)
    load = Load(settings, seed=11, machines=4, frames_per_s=400)
    running: list[Worker | SinkProcess] = []
    running += [Worker(settings, folder / "worker.log"), SinkProcess(settings, folder / "sink.log")]
    try:
        with closing(Store(settings)) as store:
            sql = "SELECT count() FROM oee_hours"
            until(lambda: store.query(sql).result_rows[0][0] > 0, CAUGHT_UP_S, "hours are summed", 0.2)
        sent = load.sent
        said = done(run(backup_command, settings, str(folder / "files"), "--json"))
        assert json.loads(said.stdout)["database"] == settings["database"]
        until(lambda: load.sent > sent + HOUR_OF_FRAMES, 120, "the load goes on")
        load.end()
        until(lambda: worker_lag(settings) == 0, CAUGHT_UP_S, "the worker has folded everything", 0.2)
        until(lambda: sink_lag(settings) == 0, CAUGHT_UP_S, "the sink has written everything", 0.2)
    finally:
        load.end()
        codes = [one.end(signal.SIGTERM, 60) for one in running]
    assert codes == [0, 0]
    passes(settings)
    return Kept(settings, folder / "files", Manifest.read(folder / "files"), hours(settings))


def run(command: Any, settings: Settings, *arguments: str) -> Result:
    places = [f"--{name.replace('_', '-')}={settings[name]}" for name in PLACED if name in str(command.params)]
    return CliRunner().invoke(command, [*arguments, *places], catch_exceptions=False, standalone_mode=False)


def done(result: Result) -> Result:
    assert result.exit_code == 0, result.output
    return result


def drop(settings: Settings) -> None:
    with closing(Store(settings, database="default")) as store:
        store.command(f"DROP DATABASE IF EXISTS {settings['database']}")


def passes(settings: Settings) -> None:
    report = audit(settings, Options(wait_s=60), lambda _: None)
    assert report.verdict == PASS, list(report.lines())


def hours(settings: Settings) -> dict[str, bytes]:
    """The sums by hour, whoever made them and how often."""
    with closing(Store(settings)) as store:
        return {
            name: store.raw(f"SELECT * EXCEPT ({CHANGING}, removed) FROM {name} FINAL ORDER BY ALL")
            for name in ("oee_hours", "loss_hours")
        }


@contextmanager
def sink(settings: Settings, log: Path) -> Iterator[SinkProcess]:
    """A sink that has caught up."""
    process = SinkProcess(settings, log)
    try:
        drained(settings, process)
        yield process
    finally:
        code = process.end(signal.SIGTERM, 60) if process.process.poll() is None else process.process.returncode
    assert code == 0, log.read_text()


def test_lost_restored_and_filled_in_again(kept: Kept, tmp_path: Path) -> None:
    settings = kept.settings
    with closing(Store(settings)) as store:
        ((all_rows,),) = store.query("SELECT count() FROM oee_facts FINAL").result_rows
    assert 0 < kept.manifest.rows["oee_facts"] < all_rows, "the backup was not of the middle"
    assert kept.manifest.rows["oee_hours"] > 0
    drop(settings)
    said = json.loads(done(run(restore_command, settings, str(kept.folder), "--json")).stdout)
    assert said["rows"] == sum(kept.manifest.rows.values())
    assert (said["lost"], said["lost_unknown"]) == (0, False)
    assert "views" in said["migrated"]
    assert {(one["topic"], one["partition"]): one["to"] for one in said["offsets"]} == {
        (mark.topic, mark.partition): mark.offset for mark in kept.manifest.offsets
    }
    assert sink_lag(settings) > 0
    with sink(settings, tmp_path / "sink.log"):
        passes(settings)
    assert hours(settings) == kept.hours


def test_control_with_the_offsets_left_as_they_are_the_audit_finds_what_is_missing(kept: Kept) -> None:
    settings = kept.settings
    group = SinkGroup(settings, TOPICS)
    ends = group.back(group.marks())
    drop(settings)
    done(run(restore_command, settings, str(kept.folder)))
    group.set(ends)
    group.close()
    assert audit(settings, Options(), lambda _: None).verdict == MISMATCH


def test_a_damaged_file_is_found_before_anything_is_written(kept: Kept) -> None:
    settings = kept.settings
    drop(settings)
    path = kept.folder / max(kept.manifest.pieces, key=lambda piece: piece.bytes).file
    sound = path.read_bytes()
    path.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    before = sink_lag(settings)
    try:
        for arguments in ([], ["--check"]):
            with pytest.raises(BackupUnusable, match="is not what was written"):
                run(restore_command, settings, str(kept.folder), *arguments)
    finally:
        path.write_bytes(sound)
    with closing(Store(settings, database="default")) as store:
        sql = "SELECT count() FROM system.databases WHERE name = {name:String}"
        assert store.query(sql, {"name": settings["database"]}).result_rows == [(0,)]
    assert sink_lag(settings) == before
    assert "whole" in done(run(restore_command, settings, str(kept.folder), "--check")).stdout


def test_beside_the_line_to_look_at_and_then_for_good(kept: Kept, tmp_path: Path) -> None:
    """Into a database of its own nothing of the line changes; with --finish it becomes the line's."""
    settings = kept.settings
    drop(settings)
    done(run(restore_command, settings, str(kept.folder)))
    with sink(settings, tmp_path / "sink.log"):
        with pytest.raises(StopError, match=r"a sink is in the group .*: stop every `openoee sink`"):
            run(restore_command, settings, str(kept.folder))
        other = Settings({**settings.values, "database": settings["database"] + "_march"})
        said = done(run(restore_command, settings, str(kept.folder), f"--into={other['database']}"))
        assert "this database is to look at" in said.stdout
        assert sink_lag(settings) == 0
    with pytest.raises(UsageError, match=r"is not empty \(\d+ tables and views\): restore into another one"):
        run(restore_command, settings, str(kept.folder))
    done(run(restore_command, other, str(kept.folder), "--finish"))
    assert sink_lag(settings) > 0
    with sink(other, tmp_path / "other.log"):
        passes(other)
    assert hours(other) == kept.hours
    drop(other)


def test_records_that_the_topics_have_lost_are_counted(kept: Kept) -> None:
    settings = kept.settings
    drop(settings)
    (mark,) = [mark for mark in kept.manifest.offsets if (mark.topic, mark.partition) == ("oee", 1)]
    delete_until(settings, "oee", 1, mark.offset + 3)
    result = run(restore_command, settings, str(kept.folder), "--json")
    assert result.exit_code == LOST
    assert json.loads(result.stdout)["lost"] == 3
    with closing(Store(settings)) as store:
        check(store)


def test_every_value_comes_back_as_it_was(stack: LiveStack, tmp_path: Path) -> None:
    """Maps, lists, NULLs, bytes that are no text, numbers that are none, every revision."""
    settings = stack.settings("values", partitions=2, session_s=6)
    topics.ensure(settings)
    migrate(settings)
    Everything(settings).send(range(60))
    with sink(settings, tmp_path / "sink.log"), closing(Store(settings)) as store:
        store.insert("dead_letters", pa.table({"topic": ["t"], "offset": [1], "value": [bytes(range(256))]}), None)
        numbers = [float("nan"), float("inf"), 5e-324, -0.0, 1.7976931348623157e308]
        store.insert("anomalies", pa.table({"signal": list("abcde"), "score": numbers, "value": numbers}), None)
        store.command("CREATE TABLE mine (a Int8) ENGINE = MergeTree ORDER BY a")
        said = done(run(backup_command, settings, str(tmp_path / "files"))).stdout
        assert "no table of openoee" in said
    with pytest.raises(UsageError, match="is not empty"):
        run(backup_command, settings, str(tmp_path / "files"))
    with pytest.raises(BrokerUnavailable, match="check OPENOEE_KAFKA"):
        run(backup_command, Settings({**settings.values, "kafka": "127.0.0.1:9"}), str(tmp_path / "away"))
    assert not (tmp_path / "away" / "manifest.json").exists()
    other = Settings({**settings.values, "database": settings["database"] + "_b"})
    done(run(restore_command, settings, str(tmp_path / "files"), f"--into={other['database']}"))
    with closing(Store(settings)) as one, closing(Store(other)) as two:
        names, _ = backup.tables(one)
        assert len(names) > 12
        for name, engine in names:
            final = "FINAL" if "Replacing" in engine else ""
            sql = f"SELECT * FROM {name} {final} ORDER BY ALL"
            assert one.raw(sql, fmt="RowBinary") == two.raw(sql, fmt="RowBinary"), name


@pytest.mark.parametrize("rows", [0, 1, 100_000])
def test_the_servers_own_blocks_are_counted(stack: LiveStack, rows: int) -> None:
    kinds = (
        "number, toString(number), toLowCardinality(toString(number % 300)), [number, 2], map('a', number),"
        " toLowCardinality(toNullable('x')), toNullable(toDateTime64(number, 3, 'UTC')), arrayMap(x ->"
        " toLowCardinality(toString(x)), range(number % 3)), toDate(number % 1000), number % 2 = 0, number / 7,"
        " [toLowCardinality('')], (number, 'b'), toFixedString('abc', 3), map(toLowCardinality('k'), [number])"
    )
    with closing(Store(stack.settings("native"), database="default")) as store:
        assert native.rows(store.stream(f"SELECT {kinds} FROM numbers({rows})", "Native")) == rows
