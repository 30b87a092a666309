"""What people say, through the real line: command line, Kafka, worker, sink, store; and back again."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click import Group
from click.testing import CliRunner
from confluent_kafka import Consumer, TopicPartition
from live_stack import LiveStack
from sql_trial import EVERYTHING, at, told

from pipeline.cli.correct import command
from pipeline.cli.incidents import command as incidents
from pipeline.codec import Codec
from pipeline.core.model import Control, Correction, CountReading, Frame, StateChange
from pipeline.errors import UsageError
from pipeline.producer import TelemetryProducer
from pipeline.settings import Settings
from pipeline.store.client import Store

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "tests" / "trials"))

from line import Line  # noqa: E402
from line import command as run_command  # noqa: E402

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]
MACHINE = "lyon-L1-saw"
NINE = 1_772_442_000_000  # 2026-03-02T09:00:00Z, ten o'clock in Berlin, where this plant lives
MINUTE = 60_000


@pytest.fixture(scope="module")
def line(stack: LiveStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Settings]]:
    """Four hours of two machines, all of it final in the store, with workers and sink still running."""
    settings = stack.settings("corrections", partitions=2, snapshot_s=1, session_s=6)
    folder = tmp_path_factory.mktemp("corrections")
    with Line(settings, folder), closing(Store(settings)) as store:
        arguments = ["--site=lyon", "--from=2026-03-02T06:00:00Z", "--hours=4", "--machines=2", "--signal-period=30"]
        run_command(settings, "simulate", *arguments)
        wait_for(store, "SELECT toInt64(sum(t_ms) / 60000) AS n FROM oee_by_hour WHERE provisional = 0", 2 * 4 * 60)
        yield store, settings


def wait_for(store: Store, sql: str, least: int) -> None:
    deadline = time.monotonic() + 120
    while (found := told(store, sql)[0]["n"]) < least:
        assert time.monotonic() < deadline, f"{found} of {least}: {sql}"
        time.sleep(0.1)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def correct(settings: Settings, *arguments: str) -> str:
    """What the command says. Its own errors are raised as they are."""
    return said_by(command, settings, *arguments, "--by=ann", "--wait=60")


def said_by(group: Group, settings: Settings, *arguments: str) -> str:
    places = [f"--{name.replace('_', '-')}={settings[name]}" for name in ("kafka", "topic_prefix", "store", "database")]
    places += [f"--home={settings.home}"]
    result = CliRunner().invoke(group, [*arguments, *places], catch_exceptions=False, standalone_mode=False)
    assert result.exception is None
    return result.output


def hour(store: Store, columns: str) -> dict[str, object]:
    [row] = told(
        store,
        f"""SELECT {columns} FROM oee_by(level = 'machine', grain = 'total', profile = '',
        start = {at(NINE)}, end = {at(NINE + 60 * MINUTE)}) WHERE machine = '{MACHINE}'""",
    )
    return row


def test_a_state_is_corrected_shown_and_taken_back(line: tuple[Store, Settings]) -> None:
    store, settings = line
    before = hour(store, "apt_ms, aust_ms, pbt_ms, oee")
    then = told(store, "SELECT max(known_at) AS at FROM oee_revisions")[0]["at"]
    said = correct(settings, "state", MACHINE, "setup", "--reason=tool change",
                   "--from=2026-03-02 10:10", "--to=2026-03-02 10:30")  # fmt: skip
    ident = re.search(r"\((lyon-L1-saw/[0-9a-f]{8})\)", said)
    assert ident is not None
    assert "restated in the store" in said
    assert "on the site's clock, Europe/Berlin: 2026-03-02 10:10:00 to 10:30:00" in said
    until(lambda: int(str(hour(store, "aust_ms")["aust_ms"])) >= 20 * MINUTE)
    after = hour(store, "apt_ms, aust_ms, pbt_ms, oee")
    assert int(str(before["aust_ms"])) < 20 * MINUTE
    assert after["pbt_ms"] == before["pbt_ms"]
    [row] = told(
        store,
        f"""SELECT apt_ms, aust_ms, pbt_ms, oee FROM oee_known(level = 'machine', grain = 'total',
        profile = '', start = {at(NINE)}, end = {at(NINE + 60 * MINUTE)}, at = '{then:%Y-%m-%d %H:%M:%S.%f}')
        WHERE machine = '{MACHINE}'""",
    )
    assert row == before, "what was known before stays readable"
    states = told(
        store,
        f"""SELECT state, reason, duration_ms FROM timeline WHERE machine = '{MACHINE}'
        AND start >= {at(NINE + 10 * MINUTE)} AND until <= {at(NINE + 30 * MINUTE)} AND state = 'setup'""",
    )
    assert sum(row["duration_ms"] for row in states) == 20 * MINUTE
    assert {row["reason"] for row in states} == {"tool change"}
    assert ident[1] in correct_list(settings)
    correct(settings, "withdraw", ident[1])
    until(lambda: hour(store, "apt_ms, aust_ms, pbt_ms, oee") == before)
    assert ident[1] not in correct_list(settings)
    with pytest.raises(UsageError, match="no correction"):
        correct(settings, "withdraw", ident[1])


def correct_list(settings: Settings) -> str:
    places = [f"--store={settings['store']}", f"--database={settings['database']}", f"--home={settings.home}"]
    return CliRunner().invoke(command, ["list", "--machine", MACHINE, *places], catch_exceptions=False).output


def test_scrap_found_later_and_a_wrong_ideal_rate(line: tuple[Store, Settings]) -> None:
    store, settings = line
    before = hour(store, "total, good, reject, ideal_good_us")
    correct(settings, "parts", MACHINE, "--scrap=3", "--at=2026-03-02 10:45")
    until(lambda: hour(store, "reject")["reject"] == before["reject"] + 3)  # type: ignore[operator]
    after = hour(store, "total, good, reject")
    assert (after["total"], after["good"]) == (before["total"], before["good"] - 3)  # type: ignore[operator]
    correct(settings, "ideal", MACHINE, "--seconds=1.5", "--from=2026-03-02 10:00", "--to=2026-03-02 11:00")
    ideal = after["good"] * 1_500_000  # type: ignore[operator]
    until(lambda: hour(store, "ideal_good_us")["ideal_good_us"] == ideal)


def test_a_stop_gets_its_reason_as_a_whole(line: tuple[Store, Settings]) -> None:
    store, settings = line
    stop = told(
        store,
        """SELECT machine, stop, min(start) AS start, max(until) AS until FROM timeline
        WHERE stop IS NOT NULL AND NOT going_on GROUP BY machine, stop ORDER BY until - start DESC""",
    )[0]
    middle = stop["start"] + (stop["until"] - stop["start"]) / 2
    correct(settings, "reason", stop["machine"], "material missing", f"--at={middle:%Y-%m-%dT%H:%M:%S}Z")
    where = f"machine = '{stop['machine']}' AND stop = '{stop['stop']:%Y-%m-%d %H:%M:%S.%f}'"
    reasons = f"SELECT DISTINCT reason FROM timeline WHERE {where}"
    until(lambda: told(store, reasons) == [{"reason": "material missing"}])
    until(lambda: bool(told(store, f"SELECT 1 FROM downtime({EVERYTHING}) WHERE reason = 'material missing'")))
    [ranked] = told(
        store,
        f"""SELECT lost_ms, loss FROM downtime_pareto(level = 'machine', {EVERYTHING})
        WHERE machine = '{stop["machine"]}' AND reason = 'material missing' AND NOT micro""",
    )
    assert ranked["loss"] == "breakdown"
    assert ranked["lost_ms"] > 0


def test_what_is_too_old_or_makes_no_sense_is_refused_in_words(line: tuple[Store, Settings]) -> None:
    _, settings = line
    with pytest.raises(UsageError, match=r"names the machine 'lyon-L1-saww'; did you mean `lyon-L1-saw`\?"):
        correct(settings, "state", "lyon-L1-saww", "setup", "--from=2026-03-02 10:00", "--to=2026-03-02 10:30")
    with pytest.raises(UsageError, match="its end must come after its start"):
        correct(settings, "state", MACHINE, "setup", "--from=2026-03-02 10:30", "--to=2026-03-02 10:00")
    with pytest.raises(UsageError, match="no moment in time"):
        correct(settings, "state", MACHINE, "setup", "--from=ten", "--to=2026-03-02 10:00")
    with pytest.raises(UsageError, match="which stop"):
        correct(settings, "reason", MACHINE, "jam")
    result = CliRunner().invoke(command, ["calendar", "closed", "--site=lyon", "--from=2026-01-05 00:00",
        "--to=2026-01-06 00:00", "--wait=60", *(f"--{name.replace('_', '-')}={settings[name]}"
        for name in ("kafka", "topic_prefix", "store", "database")), f"--home={settings.home}"])  # fmt: skip
    assert "what is older cannot change any more" in result.output
    assert result.exception is not None


def test_every_correction_is_kept_in_its_archive(line: tuple[Store, Settings]) -> None:
    store, settings = line
    reader = Consumer({"bootstrap.servers": settings["kafka"], "group.id": "unused", "enable.auto.commit": False})
    topic = TopicPartition(settings.topic("corrections"), 0, 0)
    end = reader.get_watermark_offsets(TopicPartition(topic.topic, 0))[1]
    reader.assign([topic])
    kept, deadline = [], time.monotonic() + 30
    while len(kept) < end:
        assert time.monotonic() < deadline
        record = reader.poll(1.0)
        if record is not None and record.error() is None:
            kept.append(Codec().decode(record.value()))
    reader.close()
    bodies = [control.body for control in kept if isinstance(control, Control)]
    assert all(isinstance(body, Correction) for body in bodies)
    stored = told(store, "SELECT id, revision FROM corrections FINAL")
    assert {(body.id, body.revision) for body in bodies if isinstance(body, Correction)} >= {
        (row["id"], row["revision"]) for row in stored
    }
    assert len(bodies) >= 5


def test_an_incident_is_seen_and_a_machine_is_muted(line: tuple[Store, Settings]) -> None:
    """counts |------running------|---idle, and still counting: an incident---|"""
    store, settings = line
    began = NINE + 90 * MINUTE
    with TelemetryProducer(settings, Codec()) as producer:
        for k in range(60):
            at = began + k * 10_000
            frame = Frame("press", "plc", 1, k, at, counts=[CountReading(at, True, k, k)])
            if k in (0, 20):
                frame.states.append(StateChange(at, "running" if k == 0 else "idle"))
            producer.send(frame)
        producer.flush()
    found = "SELECT id, acknowledged_by, note FROM incident_list WHERE machine = 'press'"
    until(lambda: bool(told(store, found)))
    ident = str(told(store, found)[0]["id"])
    said_by(incidents, settings, "acknowledge", ident, "--by=ann", "--note=counter is new")
    until(lambda: told(store, found)[0]["acknowledged_by"] == "ann")
    assert told(store, found) == [{"id": ident, "acknowledged_by": "ann", "note": "counter is new"}]
    said_by(incidents, settings, "acknowledge", "press/1", "--by=ann")
    until(lambda: bool(told(store, "SELECT 1 FROM parked WHERE machine = 'press' AND reason = 'invalid'")))

    said = said_by(incidents, settings, "mute", MACHINE, "--until=2100-01-01 00:00", "--why=new sensor", "--by=ann")
    name = re.search(r"\((lyon-L1-saw/[0-9a-f]{8})\)", said)
    assert name is not None
    muted = f"SELECT id, why FROM mutes_in_force WHERE machine = '{MACHINE}'"
    until(lambda: told(store, muted) == [{"id": name[1], "why": "new sensor"}])
    said_by(incidents, settings, "unmute", name[1], "--by=ann")
    until(lambda: told(store, muted) == [])
    with pytest.raises(UsageError, match="no moment in time"):
        said_by(incidents, settings, "mute", MACHINE, "--until=2100-01-01", "--why=new sensor")
