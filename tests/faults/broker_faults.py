"""Faults of the broker and of the way to it: killed, frozen, answers lost, tails and heads of the log gone."""

from __future__ import annotations

import os
import signal
import time
from unittest.mock import patch

from book import NotSeen, Wrong, fault
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions
from sink_trial import lag as sink_lag
from trial import Trial, expect, says, stops
from worker_trial import Load, delete_until, lag, put, until

from pipeline import producer, topics
from pipeline.codec import Codec
from pipeline.core.model import Frame, StateChange

FROZEN_S = 30.0


@fault(1, "broker kill -9, restarted", rounds=3, quick=True)
def broker_killed(trial: Trial) -> None:
    trial.worker()
    trial.sink()
    load = trial.load()
    for _ in range(2):
        trial.after(load)
        pid = trial.place.signal("kafka-1", signal.SIGKILL)
        trial.place.up()
        trial.saw(f"broker {pid} killed after {load.sent:,} records")
    trial.after(load)
    trial.finish(load)


@fault(2, "one of three brokers killed, leader moves", rounds=2, place="three", replication=3)
def leader_killed(trial: Trial) -> None:
    trial.worker()
    trial.sink()
    load = trial.load()
    trial.after(load)
    leader = _leader(trial, 0)
    trial.place.signal(f"kafka-{leader}", signal.SIGKILL)
    until(lambda: _leader(trial, 0) not in (-1, leader), 60, "another broker leads")
    trial.saw(f"broker {leader} killed after {load.sent:,} records, broker {_leader(trial, 0)} leads")
    trial.after(load)
    trial.place.up()
    trial.after(load)
    trial.finish(load)


@fault(3, "broker SIGSTOP 30 s, SIGCONT", rounds=2)
def broker_frozen(trial: Trial) -> None:
    trial.worker()
    trial.sink()
    load = trial.load()
    trial.after(load)
    trial.place.signal("kafka-1", signal.SIGSTOP)
    try:
        time.sleep(FROZEN_S)  # the very fault
    finally:
        trial.place.signal("kafka-1", signal.SIGCONT)
    trial.saw(f"no answer for {FROZEN_S:.0f} s after {load.sent:,} records")
    trial.after(load)
    trial.finish(load)


def _answers_lost(trial: Trial, turns: int) -> Load:
    """A load that reaches Kafka through the proxy, which loses answers so many times."""
    through = trial.place.through
    load = trial.load(trial.with_settings(kafka=trial.place.proxied), repeats=0.0)
    lost = through.lost
    for _ in range(turns):
        stored, more = _stored(trial), trial.chance.randint(50, 200)
        until(lambda stored=stored, more=more: _stored(trial) > stored + more, 60, "Kafka takes records", 0.01)
        seen = through.lost
        through.lose_answers()
        until(lambda seen=seen: through.lost > seen + 100 or load.error, 30, "answers to requests are lost", 0.001)
        if load.error is not None:
            raise Wrong(f"the producer gave up: {load.error}")
        through.pass_on()
    if through.lost == lost:
        raise NotSeen("no answer was lost")
    trial.saw(f"{through.lost - lost:,} bytes of answers lost in {turns} turns, after the records had been appended")
    return load


def _copies_without_idempotence(trial: Trial) -> None:
    """The control: a producer that is not idempotent appends again what was appended, and the copies are found."""

    def plain(configuration: dict[str, object]) -> Producer:
        return Producer({**configuration, "enable.idempotence": False, "socket.timeout.ms": 3000})

    with patch.object(producer, "Producer", plain):
        response_lost(trial, turns=2)


@fault(4, "response lost after append", rounds=3, control=_copies_without_idempotence, quick=True)
def response_lost(trial: Trial, turns: int = 6) -> None:
    trial.worker()
    trial.sink()
    load = _answers_lost(trial, turns)
    trial.finish(load)
    if copies := trial.copies():
        raise Wrong(f"{copies} records are in the log twice")


@fault(5, "committed offset before the log's start (retention ran past)", rounds=2)
def start_lost(trial: Trial) -> None:
    _some(trial, 0)
    worker, sink = trial.worker(), trial.sink()
    until(lambda: _caught_up(trial), 60, "worker and sink have read it")
    trial.end_processes()
    _some(trial, 1)
    partitions = [n for n in range(trial.settings.int("partitions")) if _end(trial, n)]
    ends = {n: _end(trial, n) for n in partitions}
    for number, end in ends.items():
        delete_until(trial.settings, "telemetry", number, end)
    trial.saw(f"records of {len(ends)} partitions deleted before anybody had read them")
    _some(trial, 2)
    worker = trial.worker()
    says(worker, "LOST: partition")
    sink = trial.sink()
    stops(sink, "records were gone from Kafka before they were in the store")
    sink = trial.sink("import sys; sys.argv.insert(2, '--accept-loss'); ")
    says(sink, "LOST")
    until(lambda: _caught_up(trial), 60, "worker and sink go on behind the loss")
    trial.processes = [worker, sink]
    trial.end_processes()


@fault(5, "committed offset past the log's end (tail lost)", rounds=2)
def tail_lost(trial: Trial) -> None:
    _some(trial, 0)
    trial.worker()
    trial.sink()
    until(lambda: _caught_up(trial), 60, "worker and sink have read it")
    trial.end_processes()
    before = _stored(trial)
    trial.place.signal("kafka-1", signal.SIGKILL)
    for file in (trial.place.home / "kafka" / "node-1").glob(f"{trial.settings.topic('telemetry')}-*/*.log"):
        if size := file.stat().st_size:
            os.truncate(file, size - size // 3)
    trial.place.up()
    after = until(lambda: _found(trial), 60, "the broker leads every partition again")[0]
    if after >= before:
        raise NotSeen("the broker has all records in spite of it")
    trial.saw(f"the log ended at {before:,} records and came back with {after:,}")
    stops(trial.start_worker(), "its tail was lost, or the topic was made again", 120)
    stops(trial.sink(), "records were gone from Kafka")
    trial.processes.clear()
    topics.reset_state(trial.settings)
    trial.worker()
    says(trial.sink("import sys; sys.argv.insert(2, '--accept-loss'); "), "LOST")
    _some(trial, 1)
    until(lambda: _caught_up(trial), 60, "worker and sink go on with what is there")
    trial.end_processes()


@fault(6, "topic deleted and made again", rounds=2, quick=True)
def topic_made_again(trial: Trial) -> None:
    _some(trial, 0)
    running, sink = trial.worker(), trial.sink()
    until(lambda: _caught_up(trial), 60, "worker and sink have read it")
    sink.end(signal.SIGTERM)
    _delete(trial, "telemetry")
    topics.ensure(trial.settings)
    for part in range(1, 4):
        _some(trial, part)  # more than the saved state covers
    trial.saw("telemetry deleted and made again, with more records than before")
    stops(running, "made again", 60)
    stops(trial.start_worker(), "made again", 120)


@fault(6, "partitions added", rounds=2)
def partitions_added(trial: Trial) -> None:
    _some(trial, 0)
    running = trial.worker()
    until(lambda: lag(trial.settings) == 0, 60, "the worker has read it")
    admin = AdminClient({"bootstrap.servers": trial.settings["kafka"], "log_level": 0})
    wanted = trial.settings.int("partitions") + 1
    keyed = [trial.settings.topic(topic.name) for topic in topics.TABLE if topic.keyed]
    for done in admin.create_partitions([NewPartitions(name, wanted) for name in keyed]).values():
        done.result(20)
    trial.saw(f"{len(keyed)} topics grown to {wanted} partitions")
    stops(running, "partitions", 60)
    stops(trial.start_worker(), "partitions", 120)


def _some(trial: Trial, part: int) -> None:
    """A few records for each of some machines."""
    codec = Codec()
    for number in range(trial.settings.int("partitions")):
        records = []
        for step in range(part * 20, part * 20 + 20):
            at = 1_700_000_000_000 + step * 5_000
            frame = Frame(f"p{number}", "plc", 1, step, at, states=[StateChange(at, "running")])
            records.append((frame.machine.encode(), codec.encode(frame)))
        put(trial.settings, "telemetry", records, number)


def _caught_up(trial: Trial) -> bool:
    """Whether the worker has folded and the sink has written all of telemetry."""
    return lag(trial.settings) == 0 and sink_lag(trial.settings) == 0


def _stored(trial: Trial) -> int:
    """Records of telemetry that Kafka has."""
    return sum(_end(trial, number) for number in range(trial.settings.int("partitions")))


def _found(trial: Trial) -> tuple[int] | None:
    """As `_stored`; None while a partition has no leader."""
    try:
        return (_stored(trial),)
    except KafkaException:
        return None


def _end(trial: Trial, partition: int) -> int:
    consumer = Consumer({"bootstrap.servers": trial.settings["kafka"], "group.id": "ends", "log_level": 0})
    try:
        return consumer.get_watermark_offsets(TopicPartition(trial.settings.topic("telemetry"), partition), 15)[1]
    finally:
        consumer.close()


def _delete(trial: Trial, name: str) -> None:
    admin = AdminClient({"bootstrap.servers": trial.settings["kafka"], "log_level": 0})
    full = trial.settings.topic(name)
    admin.delete_topics([full])[full].result(20)
    expect(lambda: full not in admin.list_topics(timeout=10).topics, 30, f"{full} is gone")


def _leader(trial: Trial, partition: int) -> int:
    admin = AdminClient({"bootstrap.servers": trial.settings["kafka"], "log_level": 0})
    name = trial.settings.topic("telemetry")
    return int(admin.list_topics(name, timeout=15).topics[name].partitions[partition].leader)
