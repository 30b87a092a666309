"""Results that Kafka does not store: the worker says why it waits, and ends where only its own client is at fault."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest
from confluent_kafka import Producer
from live_stack import LiveStack

from pipeline import results, topics
from pipeline.errors import DeliveryFailed
from pipeline.local.machine import free_port
from pipeline.results import Outgoing, Results
from pipeline.settings import Settings

pytestmark = pytest.mark.live


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "TELL_EVERY_S", 0.2)
    monkeypatch.setattr(results, "STUCK_S", 1.0)
    monkeypatch.setattr(results, "ASK_S", 2.0)


async def waits(settings: Settings, client: Producer | None, seconds: float) -> None:
    made = Results(settings)
    if client is not None:
        made._producer = client
    await made.send([Outgoing("oee", b"press", b"facts")], 0)
    await asyncio.wait_for(made.settle(), seconds)


def test_a_client_that_alone_gets_nothing_stored_ends_the_worker(stack: LiveStack) -> None:
    """What librdkafka did once, when its broker went away in the midst of its first request: nothing, for ever."""
    settings = stack.settings("stuck")
    topics.ensure(settings)
    deaf = Producer({"bootstrap.servers": f"127.0.0.1:{free_port()}", "message.timeout.ms": 0, "log_level": 0})
    with pytest.raises(DeliveryFailed, match=r"has not stored 1 results .* though it answers others.*last snapshot"):
        asyncio.run(waits(settings, deaf, 60))
    deaf.purge()


def test_while_kafka_is_away_it_waits_and_says_so(stack: LiveStack, caplog: pytest.LogCaptureFixture) -> None:
    away = stack.settings("away", kafka=f"127.0.0.1:{free_port()}")
    with caplog.at_level(logging.WARNING, "openoee.worker"), pytest.raises(TimeoutError):
        asyncio.run(waits(away, None, 6))
    assert "results for" in caplog.text
    assert "does not answer" in caplog.text


def test_time_that_kafka_was_away_is_not_held_against_the_client(
    stack: LiveStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = stack.settings("back")
    topics.ensure(settings)
    began = time.monotonic()
    monkeypatch.setattr(Results, "_hindrance", lambda _: "away" if time.monotonic() - began < 3 else "")
    deaf = Producer({"bootstrap.servers": f"127.0.0.1:{free_port()}", "message.timeout.ms": 0, "log_level": 0})
    with pytest.raises(DeliveryFailed, match="though it answers others"):
        asyncio.run(waits(settings, deaf, 60))
    assert time.monotonic() - began >= 3 + results.STUCK_S - results.TELL_EVERY_S
    deaf.purge()
