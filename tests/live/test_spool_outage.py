"""Kafka away, the gateway killed meanwhile: all that `send` took is in the topic, in order; the disk is bounded."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from live_stack import LiveStack, LocalStack
from spool_gateway import MACHINES
from spool_trial import FORGET, SPOOL_MB, Taken, outage
from worker_trial import read, until

from pipeline import topics
from pipeline.codec import Codec
from pipeline.core.model import Control, Frame
from pipeline.errors import DeliveryFailed, TopicMismatch
from pipeline.local.kafka import Kafka, node_name
from pipeline.spooled import SpooledProducer

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]


class Broker(LocalStack):
    """A Kafka of its own, which can be killed."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.link_downloads()
        self.kafka = Kafka(home, self.kafka_port)

    def start(self) -> None:
        self.kafka.start(1, print)

    def kill(self) -> None:
        running = self.kafka.supervisor.alive(node_name(1))
        assert running is not None
        os.kill(running.pid, signal.SIGKILL)
        until(lambda: self.kafka.supervisor.alive(node_name(1)) is None, 30, "the broker is dead")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    made = Broker(tmp_path_factory.mktemp("broker"))
    made.start()
    yield made
    made.kafka.stop()


def trial(broker: Broker, folder: Path, patch: str = "") -> tuple[list[Taken], list[Taken], str]:
    """An outage of this broker."""
    settings = broker.settings("outage", partitions=3, spool=str(folder / "spool"), spool_mb=SPOOL_MB)
    topics.ensure(settings)
    return outage(settings, broker.kill, broker.start, folder, patch)


def test_what_was_taken_is_in_the_topic_in_order_though_broker_and_gateway_were_killed(
    broker: Broker, tmp_path: Path
) -> None:
    taken, held, said = trial(broker, tmp_path)
    assert len(set(taken)) == len(taken)
    assert set(taken) - set(held) == set()
    assert len(set(held) - set(taken)) <= 1, "at most the record that the killed gateway was about to take"
    for machine in (f"m{number}" for number in range(MACHINES)):
        once = list(dict.fromkeys(row[1:] for row in held if row[0] == machine))
        assert once == sorted(once), machine
    left = [line for line in said.splitlines() if "records of before are sent first" in line]
    assert len(left) == 1
    places = [said.index(words) for words in ("does not answer: going on", "% full (", "the source waits")]
    assert places == sorted(places), "the alarm comes before it is full"
    assert said.count("once it is full no more are taken") == 1


def test_control_leftovers_that_are_not_drained_are_missed(broker: Broker, tmp_path: Path) -> None:
    """A gateway that forgets what the one before it left must be found out, else the trial shows nothing."""
    taken, held, _ = trial(broker, tmp_path, FORGET)
    missing = set(taken) - set(held)
    assert {epoch for _, epoch, _ in missing} == {1}
    assert len(missing) > 100


def test_a_record_that_kafka_refuses_is_set_aside_and_the_others_arrive(stack: LiveStack, tmp_path: Path) -> None:
    settings = stack.settings("refused", partitions=1, spool=str(tmp_path), spool_mb=8)
    topics.ensure(settings)
    limit = ConfigEntry("max.message.bytes", "20000", incremental_operation=AlterConfigOpType.SET)
    where = ConfigResource(ResourceType.TOPIC, settings.topic("telemetry"), incremental_configs=[limit])
    admin = AdminClient({"bootstrap.servers": settings["kafka"]})
    for done in admin.incremental_alter_configs([where]).values():
        done.result(30)

    class Sized:
        def encode(self, message: Frame | Control) -> bytes:
            assert isinstance(message, Frame)
            return os.urandom(30_000) if message.sequence == 5 else b"%d" % message.sequence

    def sends(producer: SpooledProducer) -> None:
        with producer:
            for sequence in range(20):
                producer.send(Frame("m1", "plc", 1, sequence, 0))

    producer = SpooledProducer(settings, Sized())
    with pytest.raises(DeliveryFailed, match="Kafka refused 1 records"):
        sends(producer)
    held = {int(message.value()) for message in read(settings, "telemetry")}
    assert held == {number for number in range(20) if number != 5}
    (kept,) = (tmp_path / "set-aside").iterdir()
    assert kept.stat().st_size == 30_000
    assert (producer.sent, producer.acknowledged, producer.refused, producer.spool.used) == (20, 19, 1, 0)


def test_a_broker_that_answers_without_the_topic_is_a_mistake_that_is_told(stack: LiveStack, tmp_path: Path) -> None:
    settings = stack.settings("bare", spool=str(tmp_path))
    with pytest.raises(TopicMismatch, match="has no topic"):
        SpooledProducer(settings, Codec()).__enter__()
    topics.ensure(settings)
    with SpooledProducer(settings, Codec()) as producer:
        producer.send(Frame("m1", "plc", 1, 0, 0))
    assert producer.acknowledged == 1
