"""The sink on a real Kafka and a real store: killed, stopped, doubled, without a store - and each row is there once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event

import pytest
from confluent_kafka import Message, TopicPartition
from confluent_kafka.admin import AdminClient
from live_stack import LiveStack, environment
from sink_trial import COLUMNS, NO_TOKENS, OTHER_GROUP, Load, SinkProcess, drained, held, wrong
from worker_trial import until

from pipeline import topics
from pipeline.group import Group, Rebalanced
from pipeline.local.machine import free_port
from pipeline.local.store import Store as LocalStore
from pipeline.settings import Settings, load
from pipeline.sink import TOPICS
from pipeline.store.client import Store
from pipeline.store.migrate import migrate

Start = Callable[..., SinkProcess]
pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]


@pytest.fixture
def line(stack: LiveStack) -> Settings:
    """Topics and tables of their own; small batches; no merge may hide a row that is there twice."""
    settings = stack.settings("sink", partitions=4, session_s=6, sink_ms=200, sink_rows=3000)
    topics.ensure(settings)
    migrate(settings)
    store = Store(settings)
    for table in COLUMNS.keys() - {"oee_facts"}:
        store.command(f"SYSTEM STOP MERGES {table}")
    store.close()
    return settings


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a sink; what still runs when the test is over is killed."""
    sinks: list[SinkProcess] = []

    def started(settings: Settings, patch: str = "", **more: str) -> SinkProcess:
        sinks.append(SinkProcess(settings, tmp_path / f"sink-{len(sinks)}.log", patch, **more))
        return sinks[-1]

    yield started
    for sink in sinks:
        if sink.process.poll() is None:
            sink.end(signal.SIGKILL)


def crashed_and_finished(line: Settings, start: Start, point: str, patch: str = "") -> dict[str, str]:
    """Kill the sink at a point of its third batch, let another finish; what is then wrong in the store."""
    rows = Load(line)
    rows.send(range(60))
    first = start(line, patch, crash_at=f"{point}:3")
    assert first.process.wait(60) == -signal.SIGKILL, first.log.read_text()
    rows.send(range(60, 70))
    second = start(line, patch)
    drained(line, second)
    assert second.end() == 0, second.log.read_text()
    return wrong(held(line), rows.want)


@pytest.mark.parametrize("point", ["before_insert", "during", "after_insert", "after_commit"])
def test_killed_at_every_point_each_row_is_there_once(line: Settings, start: Start, point: str) -> None:
    assert crashed_and_finished(line, start, point) == {}


def test_control_without_tokens_the_same_kill_writes_rows_twice(line: Settings, start: Start) -> None:
    found = crashed_and_finished(line, start, "after_insert", NO_TOKENS)
    assert found["telemetry"].startswith("0 missing, ")
    rows = Load(line)
    for step in range(70):
        for number in range(12):
            rows._frame(f"machine-{number}", step, 0)
    # the keys make one row of them again
    assert held(line, final=True)["telemetry"].total() == rows.want["telemetry"].total()


def test_killed_at_random_under_load_and_stopped(line: Settings, start: Start) -> None:
    rows = Load(line)
    for turn in range(6):
        rows.send(range(turn * 20, turn * 20 + 20))
        sink = start(line)
        until(lambda sink=sink: sink.says("dealt out"), 40, f"{sink.log} joins")
        rows.send(range(1000 + turn * 20, 1020 + turn * 20))
        if turn % 2:
            assert sink.end(signal.SIGTERM, within=10) == 0, sink.log.read_text()
        else:
            sink.end(signal.SIGKILL)
    last = start(line)
    drained(line, last)
    assert last.end() == 0
    assert wrong(held(line), rows.want) == {}


def test_two_sinks_share_and_a_third_group_adds_nothing(line: Settings, start: Start) -> None:
    rows = Load(line)
    rows.send(range(30))
    sinks = [start(line), start(line)]
    for step in range(30, 90, 10):
        rows.send(range(step, step + 10))
    until(lambda: all(sink.says("dealt out") for sink in sinks), 40, "both join")
    sinks[0].end(signal.SIGKILL)
    rows.send(range(90, 100))
    drained(line, sinks[1])
    assert sinks[1].end() == 0
    assert wrong(held(line), rows.want) == {}

    stray = start(line, OTHER_GROUP, sink_rows="1777")
    drained(line, stray, "by-mistake")
    assert stray.end() == 0
    assert wrong(held(line, final=True), rows.want) == {}


def test_a_frozen_sink_that_wakes_after_another_took_over_changes_nothing(line: Settings, start: Start) -> None:
    rows = Load(line)
    rows.send(range(40))
    frozen = start(line, sink_rows="500")
    until(lambda: frozen.says("dealt out"), 40, "it joins")
    frozen.process.send_signal(signal.SIGSTOP)
    other = start(line)
    rows.send(range(40, 60))
    drained(line, other)
    frozen.process.send_signal(signal.SIGCONT)
    until(lambda: frozen.log.read_text().count("dealt out") > 1, 40, f"{frozen.log} joins again")
    rows.send(range(60, 80))
    assert other.end() == 0
    drained(line, frozen)
    assert frozen.end() == 0, frozen.log.read_text()
    assert wrong(held(line), rows.want) == {}


def test_unusable_records_are_parked_with_their_address_and_the_rest_lands(line: Settings, start: Start) -> None:
    rows = Load(line)
    rows.send(range(5))
    rows.raw("telemetry", b"rubbish", b"machine-1", "undecodable")
    rows.raw("telemetry", b"\0\0\0\0\0", b"machine-1", "unknown_schema")
    rows.raw("oee", b"", b"machine-1", "undecodable")
    rows.send(range(5, 10))
    sink = start(line)
    drained(line, sink)
    assert sink.end() == 0
    assert wrong(held(line), rows.want) == {}


def test_waits_for_a_store_that_is_away_at_start_and_mid_run(line: Settings, start: Start, tmp_path: Path) -> None:
    own = load({**line.values, "home": str(tmp_path), "store": f"http://127.0.0.1:{free_port()}"}, {})
    rows = Load(own)
    rows.send(range(20))
    sink = start(own)
    until(lambda: sink.says("does not answer"), 40, f"{sink.log} says that the store is away")
    place = LocalStore(tmp_path, int(own["store"].rpartition(":")[2]), own["store_user"])
    place.start()
    try:
        migrate(own)
        drained(own, sink)
        place.stop()
        rows.send(range(20, 60))
        until(lambda: sink.log.read_text().count("does not answer") > 1, 40, f"{sink.log} says it again")
        place.start()
        drained(own, sink)
        assert sink.end() == 0
        assert wrong(held(own), rows.want) == {}
    finally:
        place.stop()


def test_partitions_dealt_out_while_it_takes_nothing_are_read_on(line: Settings) -> None:
    """With a refused commit or a store that is away the sink idles: its partitions are paused, and come back so."""
    over = Event()

    def read(group: Group) -> list[Message]:
        with suppress(Rebalanced):
            return group.next(0.1)
        return []

    def another() -> None:
        group = Group(line, TOPICS, over.is_set)
        while not over.is_set():
            read(group)
        group.close()

    group = Group(line, TOPICS, over.is_set)
    until(lambda: read(group) or len(group.share.positions) == 25, 40, "it has everything")
    with ThreadPoolExecutor(1) as pool:
        joined = pool.submit(another)
        try:
            with pytest.raises(Rebalanced):
                until(lambda: group.idle(0.2), 40, "the other joins")
            until(lambda: read(group) or group.share.positions, 40, "it has its share")
            Load(line).send(range(20))
            until(lambda: read(group), 20, "it reads what it was dealt")
        finally:
            over.set()
            group.close()
        joined.result()


def test_records_gone_before_they_were_written_stop_it_until_the_loss_is_accepted(line: Settings, start: Start) -> None:
    rows = Load(line)
    rows.send(range(10))
    sink = start(line)
    drained(line, sink)
    assert sink.end() == 0
    rows.send(range(10, 20))
    name = line.topic("telemetry")
    admin = AdminClient({"bootstrap.servers": line["kafka"]})
    gone = admin.delete_records([TopicPartition(name, number, -1) for number in range(4)])
    assert all(answer.result(20).low_watermark >= 0 for answer in gone.values())

    stopped = start(line)
    assert stopped.process.wait(40) == 1
    assert stopped.says("records were gone from Kafka before they were in the store"), stopped.log.read_text()
    went_on = start(line, "import sys; sys.argv.insert(2, '--accept-loss'); ")
    drained(line, went_on)
    assert went_on.end() == 0
    assert went_on.says("LOST"), went_on.log.read_text()
    assert held(line)["oee_revisions"] == rows.want["oee_revisions"]


def test_a_wrong_password_is_one_clear_line(line: Settings, start: Start) -> None:
    sink = start(line, store_password="wrong")
    assert sink.process.wait(40) == 1
    assert "turns user openoee away" in sink.log.read_text()
    assert "Traceback" not in sink.log.read_text()
    assert environment(line)["OPENOEE_STORE"] in sink.log.read_text()
