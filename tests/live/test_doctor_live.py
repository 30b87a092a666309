"""`openoee doctor` against a real Kafka and a real store, from an empty line to one with a record in it."""

from __future__ import annotations

import time
from contextlib import closing

import pytest
from confluent_kafka import Producer
from live_stack import LiveStack

from pipeline import kafka_clients, topics
from pipeline.local.doctor import Check, examine
from pipeline.settings import Settings
from pipeline.store.client import Store
from pipeline.store.migrate import migrate

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


def found(settings: Settings) -> dict[str, Check]:
    return {check.name: check for check in examine(settings)}


def test_an_empty_line_and_one_that_is_made(stack: LiveStack) -> None:
    settings = stack.settings("doctor")
    checks = found(settings)
    assert checks["Kafka"].state == checks["store"].state == checks["store's clock"].state == "ok"
    assert checks["topics"].state == "fault"
    assert "openoee topics --create" in checks["topics"].remedy
    assert checks["tables"].state == "fault"
    assert "openoee migrate" in checks["tables"].remedy

    topics.ensure(settings)
    migrate(settings)
    checks = found(settings)
    assert [check for check in checks.values() if check.state == "fault"] == []
    assert checks["Kafka's clock"].found == "no record in the topic telemetry to tell it by"
    assert checks["workers"].state == checks["sinks"].state == "warning"
    assert checks["workers"].remedy == "start one: `openoee worker`"

    producer = Producer(kafka_clients.common(settings))
    producer.produce(settings.topic("telemetry"), b"x", key=b"m")
    producer.flush(30)
    assert "arrived" in found(settings)["Kafka's clock"].found


def test_tables_of_an_older_version_and_dead_letters(stack: LiveStack) -> None:
    settings = stack.settings("doctor")
    migrate(settings)
    with closing(Store(settings)) as store:
        now = int(time.time() * 1000)
        store.command(
            "INSERT INTO dead_letters (topic, partition, offset, arrived, reason)"
            f" VALUES ('t', 0, 1, fromUnixTimestamp64Milli({now}), 'undecodable')"
        )
        assert found(settings)["dead letters"].state == "warning"
        store.command("DROP TABLE schema_migrations")
    assert found(settings)["tables"].state == "fault"


def test_a_wrong_password_is_told(stack: LiveStack) -> None:
    checks = found(stack.settings("doctor", store_password="wrong"))
    assert checks["store"].state == "fault"
    assert "refuses user" in checks["store"].found
