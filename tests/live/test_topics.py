"""The topics on a real broker: created once, found again, refused when their shape would break the line."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from click.testing import CliRunner
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType
from live_stack import LiveStack

from pipeline import topics
from pipeline.cli.topics import command
from pipeline.errors import BrokerUnavailable, TopicMismatch
from pipeline.settings import Settings, load

pytestmark = pytest.mark.live


@pytest.fixture
def line(stack: LiveStack) -> Settings:
    return stack.settings("topics", partitions=3)


def admin(line: Settings) -> AdminClient:
    return AdminClient({"bootstrap.servers": line["kafka"], "log_level": 0})


def create(line: Settings, name: str, partitions: int, **configuration: str) -> None:
    full = {key.replace("_", "."): value for key, value in configuration.items()}
    client = admin(line)
    for future in client.create_topics([NewTopic(line.topic(name), partitions, 1, config=full)]).values():
        future.result(30)
    told(lambda: line.topic(name) in client.list_topics(timeout=10).topics)


def told(seen: Callable[[], bool]) -> None:
    """Return when the broker tells everybody what it has already acknowledged."""
    deadline = time.monotonic() + 30
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_created_once_and_found_again(line: Settings) -> None:
    with pytest.raises(TopicMismatch, match="openoee topics --create"):
        topics.check(line)
    with ThreadPoolExecutor(4) as pool:  # four processes starting at once
        created = [name for names in pool.map(topics.ensure, [line] * 4) for name in names]
    assert sorted(created) == sorted(line.topic(topic.name) for topic in topics.TABLE)
    assert topics.ensure(line) == []
    found = {item.topic.name: item for item in topics.describe(line)}
    assert {name: item.partitions for name, item in found.items()} == {
        topic.name: 3 if topic.keyed else 1 for topic in topics.TABLE
    }
    for item in found.values():
        for key, value in item.topic.configuration(1).items():
            assert item.configuration[key] == value, (item.full_name, key)


def test_the_partitions_that_are_there_decide(line: Settings) -> None:
    create(line, "telemetry", 5, message_timestamp_type="LogAppendTime")
    topics.ensure(line)
    assert {item.partitions for item in topics.describe(line) if item.topic.keyed} == {5}


def test_other_shapes_are_refused_with_a_remedy(line: Settings) -> None:
    topics.ensure(line)
    resource = ConfigResource(ResourceType.TOPIC, line.topic("telemetry"))
    change = ConfigEntry("message.timestamp.type", "CreateTime", incremental_operation=AlterConfigOpType.SET)
    resource.add_incremental_config(change)
    client = admin(line)
    for future in client.incremental_alter_configs([resource]).values():
        future.result(30)
    told(lambda: topics.describe(line)[0].configuration["message.timestamp.type"] == "CreateTime")
    with pytest.raises(TopicMismatch, match=r"CreateTime, the line needs LogAppendTime: kafka-configs.sh"):
        topics.ensure(line)


def test_partitions_that_disagree_are_refused(line: Settings) -> None:
    create(line, "telemetry", 2, message_timestamp_type="LogAppendTime")
    create(line, "oee", 4, message_timestamp_type="LogAppendTime")
    with pytest.raises(TopicMismatch, match=r"oee has 4 partitions, .*telemetry has 2: they must agree"):
        topics.ensure(line)


def test_more_copies_than_brokers(stack: LiveStack) -> None:
    with pytest.raises(TopicMismatch, match="needs 3 brokers"):
        topics.ensure(stack.settings("topics", replication=3))


def test_the_broker_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "ANSWER_S", 1.0)
    with pytest.raises(BrokerUnavailable, match="OPENOEE_KAFKA"):
        topics.ensure(load({"kafka": "127.0.0.1:9"}, {}))


def test_the_command_shows_the_table(line: Settings) -> None:
    flags = ["--kafka", line["kafka"], "--topic-prefix", line["topic_prefix"], "--partitions", "3"]
    shown = CliRunner().invoke(command, flags)
    assert shown.exit_code == 0, shown.output
    assert f"created {line.topic('telemetry')}" in shown.output
    rows = [row.split() for row in shown.output.splitlines() if row.startswith(line.topic("telemetry") + " ")]
    assert [row[:5] for row in rows] == [[line.topic("telemetry"), "machine", "3", "1", "delete"]]
    assert CliRunner().invoke(command, [*flags, "--check"]).exit_code == 0
