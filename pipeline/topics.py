"""The Kafka topics of the line: their shape in one table, created and checked through the admin interface."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from logging import Logger
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from pipeline import kafka_clients
from pipeline.errors import AccessRefused, BrokerUnavailable, TopicMismatch, UsageError
from pipeline.settings import Settings

RETRY_S = 1.0
ANSWER_S = 15.0  # a broker that is silent for longer counts as away
DAY_MS = 86_400_000
WORKER_GROUP = "openoee-worker"  # full names: settings.topic(...)
SINK_GROUP = "openoee-sink"
NOTIFY_GROUP = "openoee-notify"


@dataclass(frozen=True)
class Topic:
    """One row of the table. `keyed`: as many partitions as `telemetry`; else one. `policy`: Kafka's cleanup.policy."""

    name: str
    key: str
    holds: str
    policy: str = "delete"
    keep_days: int = 7
    keyed: bool = True
    max_mib: int = 4
    more: Mapping[str, str] = field(default_factory=dict)

    def configuration(self, replication: int) -> dict[str, str]:
        """What the topic is created with. Record time is arrival: a backfill of old data is kept like new data."""
        values = {
            "cleanup.policy": self.policy,
            "message.timestamp.type": "LogAppendTime",
            "max.message.bytes": str(self.max_mib << 20),
            "min.insync.replicas": str(max(1, replication - 1)),
        }
        if self.policy == "delete":
            values["retention.ms"] = str(self.keep_days * DAY_MS)
        return values | dict(self.more)


_OFTEN = {"segment.ms": "3600000", "segment.bytes": str(64 << 20), "min.cleanable.dirty.ratio": "0.1"}
TABLE: tuple[Topic, ...] = (
    Topic("telemetry", "machine", "frames and control records, in order per machine"),
    Topic("factory", "site", "factory files as applied", policy="compact", keyed=False),
    Topic("corrections", "machine", "corrections as they were sent", keep_days=3650, keyed=False),
    Topic("oee", "machine", "facts per window segment, every revision"),
    Topic("intervals", "machine", "state intervals and stops, every revision"),
    Topic("anomalies", "machine", "anomaly flags"),
    Topic("incidents", "machine", "anomaly flags that belong together, every version"),
    Topic("dead-letters", "as found", "records that could not be used, and why", keep_days=30, max_mib=8),
    Topic("state", "bucket", "snapshots with the offset they cover", policy="compact", max_mib=8, more=_OFTEN),
    Topic("notices", "incident", "messages about incidents that were sent", policy="compact", keyed=False),
)
BY_NAME = {topic.name: topic for topic in TABLE}
CHECKED = ("cleanup.policy", "message.timestamp.type")  # the rest is the operator's to choose


@dataclass(frozen=True)
class Found:
    """A topic as the broker has it."""

    topic: Topic
    full_name: str
    partitions: int
    replication: int
    configuration: Mapping[str, str]


@dataclass(frozen=True)
class Identity:
    """A topic as Kafka made it: another id means that it was deleted and made again."""

    id: str
    partitions: int

    def __str__(self) -> str:
        return f"{self.id}/{self.partitions}"


def ensure(settings: Settings) -> list[str]:
    """Create what is missing, check what is there; returns the full names that were created.

    Raises TopicMismatch, BrokerUnavailable, AccessRefused. Safe to call from many processes at once.
    """
    admin = _admin(settings)
    there = _partitions(admin, settings)
    names = {topic.name: settings.topic(topic.name) for topic in TABLE}
    # topics that are there already decide the number of partitions: all keyed ones must agree
    keyed = [there[names[topic.name]] for topic in TABLE if topic.keyed and names[topic.name] in there]
    partitions = keyed[0] if keyed else settings.int("partitions")
    missing = [topic for topic in TABLE if names[topic.name] not in there]
    created = _create(admin, missing, names, partitions, settings) if missing else []
    check(settings)
    return created


def check(settings: Settings) -> None:
    """Raise TopicMismatch when a topic is missing or has another shape than the line needs."""
    found = {item.topic.name: item for item in describe(settings)}
    missing = [settings.topic(topic.name) for topic in TABLE if topic.name not in found]
    if missing:
        raise TopicMismatch(
            f"missing in Kafka at {settings['kafka']}: {', '.join(missing)}: run `openoee topics --create`"
            f"{', or let the user see them' if kafka_clients.has_user(settings) else ''}"
        )
    telemetry = found["telemetry"]
    for item in found.values():
        if item.topic.keyed and item.partitions != telemetry.partitions:
            raise TopicMismatch(
                f"topic {item.full_name} has {item.partitions} partitions, {telemetry.full_name} has"
                f" {telemetry.partitions}: they must agree; drop {item.full_name} and run `openoee topics --create`"
            )
        want = item.topic.configuration(1)
        for key in CHECKED:
            if item.configuration.get(key) != want[key]:
                raise TopicMismatch(
                    f"topic {item.full_name} has {key}={item.configuration.get(key)}, the line needs {want[key]}:"
                    f" kafka-configs.sh --alter --entity-type topics --entity-name {item.full_name}"
                    f" --add-config {key}={want[key]}"
                )


def await_shape(settings: Settings, log: Logger, stop: Callable[[], bool] = lambda: False) -> None:
    """`check`, again and again while Kafka does not answer, until told to stop. Raises TopicMismatch, AccessRefused."""
    while not stop():
        try:
            check(settings)
            return
        except BrokerUnavailable as error:
            log.warning("%s; trying again", error)
            time.sleep(RETRY_S)


def identities(settings: Settings, names: Iterable[str], answer_s: float = ANSWER_S) -> dict[str, Identity]:
    """What Kafka made these topics (short names) as; those that it does not have are left out.

    Raises BrokerUnavailable after `answer_s`, AccessRefused.
    """
    full = {settings.topic(name): name for name in names}
    admin = _admin(settings)  # kept: its answers end with it
    answers = admin.describe_topics(TopicCollection(list(full)), request_timeout=answer_s)
    found = {}
    for topic, answer in answers.items():
        try:
            about = answer.result(answer_s + 5)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                continue
            raise _mapped(error, settings) from None
        found[full[topic]] = Identity(str(about.topic_id), len(about.partitions))
    return found


def reset_state(settings: Settings) -> None:
    """Make the topic `state` anew: workers then compute everything again from the telemetry that Kafka has.

    Raises UsageError while workers are at work, BrokerUnavailable.
    """
    admin, name, group = _admin(settings), settings.topic("state"), settings.topic(WORKER_GROUP)
    members = _members(admin, group, settings)
    if members:
        raise UsageError(f"{members} workers are members of {group}: stop them, then reset their state")
    if name in _partitions(admin, settings):
        _result(admin.delete_topics([name], request_timeout=ANSWER_S)[name], settings)
    deadline = time.monotonic() + ANSWER_S
    while name in _partitions(admin, settings):
        if time.monotonic() > deadline:
            raise BrokerUnavailable(f"Kafka has not deleted topic {name} after {ANSWER_S:.0f} s: run this again")
        time.sleep(0.05)
    ensure(settings)


def _members(admin: AdminClient, group: str, settings: Settings) -> int:
    answer = admin.describe_consumer_groups([group], request_timeout=ANSWER_S)[group]
    try:
        return len(answer.result(ANSWER_S + 5).members)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return 0
        raise _mapped(error, settings) from None


def describe(settings: Settings) -> list[Found]:
    """The line's topics that the broker has, in the order of the table. Raises BrokerUnavailable, AccessRefused."""
    admin = _admin(settings)
    metadata = _metadata(admin, settings)
    there = [topic for topic in TABLE if settings.topic(topic.name) in metadata.topics]
    resources = [ConfigResource(ResourceType.TOPIC, settings.topic(topic.name)) for topic in there]
    answers = admin.describe_configs(resources, request_timeout=ANSWER_S) if resources else {}
    found = []
    for topic, resource in zip(there, resources, strict=True):
        configuration = {key: str(entry.value) for key, entry in _result(answers[resource], settings).items()}
        partitions = metadata.topics[resource.name].partitions
        replication = len(partitions[0].replicas) if partitions else 0
        found.append(Found(topic, resource.name, len(partitions), replication, configuration))
    return found


def _create(
    admin: AdminClient, topics: Iterable[Topic], names: Mapping[str, str], partitions: int, settings: Settings
) -> list[str]:
    fresh, replication = [], settings.int("replication")
    for topic in topics:
        count, configuration = partitions if topic.keyed else 1, topic.configuration(replication)
        fresh.append(NewTopic(names[topic.name], count, replication, config=configuration))
    created = []
    for name, answer in admin.create_topics(fresh, request_timeout=ANSWER_S).items():
        try:
            answer.result(ANSWER_S + 5)
            created.append(name)
        except KafkaException as error:
            code = error.args[0].code()
            if code == KafkaError.INVALID_REPLICATION_FACTOR:
                raise TopicMismatch(
                    f"topic {name} needs {replication} brokers (OPENOEE_REPLICATION): {error.args[0].str()}"
                ) from None
            if code != KafkaError.TOPIC_ALREADY_EXISTS:  # somebody else was quicker: fine
                raise _mapped(error, settings) from None
    _await_metadata(admin, {topic.topic for topic in fresh}, settings)
    return created


def _await_metadata(admin: AdminClient, names: set[str], settings: Settings) -> None:
    """Return once the broker tells everybody about the new topics and each partition has a leader."""
    deadline = time.monotonic() + ANSWER_S
    while True:
        topics = _metadata(admin, settings).topics
        waiting = sorted(name for name in names if name not in topics or not _led(topics[name]))
        if not waiting:
            return
        if time.monotonic() > deadline:
            raise BrokerUnavailable(f"topics without a leader after {ANSWER_S:.0f} s: {', '.join(waiting)}")
        time.sleep(0.05)


def _led(topic: Any) -> bool:
    return bool(topic.partitions) and all(partition.leader >= 0 for partition in topic.partitions.values())


def _admin(settings: Settings) -> AdminClient:
    return AdminClient({**kafka_clients.common(settings), "topic.metadata.propagation.max.ms": 0})


def _metadata(admin: AdminClient, settings: Settings) -> Any:
    try:
        return admin.list_topics(timeout=ANSWER_S)
    except KafkaException as error:
        admin.poll(0)  # takes in what the client heard of itself: it tells more than that nothing answers
        raise _mapped(error, settings) from None


def _partitions(admin: AdminClient, settings: Settings) -> dict[str, int]:
    return {name: len(topic.partitions) for name, topic in _metadata(admin, settings).topics.items()}


def _result(answer: Any, settings: Settings) -> Any:
    try:
        return answer.result(ANSWER_S + 5)
    except KafkaException as error:
        raise _mapped(error, settings) from None


def _mapped(error: KafkaException, settings: Settings) -> AccessRefused | BrokerUnavailable:
    return kafka_clients.failed(settings, error.args[0])
