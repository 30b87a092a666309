"""The producer with a spool while no broker answers: it starts, takes, keeps, and says so."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from pipeline.core.model import Control, EndOfSource, Frame
from pipeline.errors import BrokerUnavailable, DeliveryFailed, SpoolFull, SpoolUnusable
from pipeline.local.machine import free_port
from pipeline.producer import TelemetryProducer
from pipeline.settings import Settings, load
from pipeline.spooled import SpooledProducer, open_producer


class Echo:
    """An encoder whose records are as long as asked for."""

    def __init__(self, size: int = 10) -> None:
        self.size = size

    def encode(self, message: Frame | Control) -> bytes:
        return b"x" * self.size


@pytest.fixture
def away(tmp_path: Path) -> Settings:
    """Settings with a spool, and a Kafka that nobody runs."""
    return load({"kafka": f"127.0.0.1:{free_port()}", "spool": str(tmp_path / "spool"), "spool_mb": 8}, {})


def frame(sequence: int) -> Frame:
    return Frame("m1", "s", 0, sequence, 0)


def test_only_settings_with_a_spool_make_one(away: Settings) -> None:
    assert type(open_producer(away, Echo())) is SpooledProducer
    assert type(open_producer(Settings({**away.values, "spool": ""}), Echo())) is TelemetryProducer


def test_without_a_broker_everything_is_kept_for_the_next_start(
    away: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    def sends() -> None:
        with SpooledProducer(away, Echo(), timeout_s=0.3) as producer:
            for sequence in range(3):
                producer.send(frame(sequence))
            producer.send(Control("m1", "end", 0, "test", EndOfSource("s", 0)))
            producer.settle()
            with pytest.raises(SpoolUnusable, match="in use by process"):
                SpooledProducer(away, Echo()).__enter__()
            assert (producer.sent, producer.acknowledged, producer.spool.fill.records) == (4, 0, 4)

    with pytest.raises(BrokerUnavailable, match=r"has not acknowledged 4 records; they are safe in the spool"):
        sends()
    assert "does not answer: going on, records wait in the spool" in caplog.text
    producer = SpooledProducer(away, Echo(), timeout_s=0.3)
    with pytest.raises(BrokerUnavailable), producer:
        producer.serve()
    assert producer.spool.left_over == 4
    assert "4 records of before are sent first" in caplog.text


def send(producer: SpooledProducer, frames: int) -> None:
    with producer:
        for sequence in range(frames):
            producer.send(frame(sequence))


def test_a_source_that_cannot_wait_is_told_that_the_spool_is_full(away: Settings) -> None:
    producer = SpooledProducer(away, Echo(100_000), timeout_s=0.3, give_up=lambda: True)
    with pytest.raises(SpoolFull, match=r"this record was not taken, 83 wait for Kafka"):
        send(producer, 100)
    assert producer.sent == producer.spool.records == 83


def test_a_source_that_can_wait_waits_until_it_is_told_to_stop(
    away: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    asked = 0

    def stop_at_the_fifth_question() -> bool:
        nonlocal asked
        asked += 1
        return asked == 5

    producer = SpooledProducer(away, Echo(1_000_000), timeout_s=0.3, give_up=stop_at_the_fifth_question)
    with pytest.raises(SpoolFull):
        send(producer, 9)
    assert (asked, producer.sent) == (5, 8)
    assert caplog.text.count("the source waits until Kafka has taken records") == 1


def test_a_record_that_no_topic_takes_is_refused_before_it_is_kept(away: Settings) -> None:
    producer = SpooledProducer(away, Echo(3_999_500), timeout_s=0.3)
    with pytest.raises(DeliveryFailed, match="3,999,500 bytes of machine m1, source s, sequence 7 is larger"), producer:
        producer.send(frame(7))
    assert producer.spool.records == 0
