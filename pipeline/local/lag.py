"""How far each consumer group is behind: asked of Kafka, never of the consumers."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.settings import Settings

ANSWER_S = 5.0


@dataclass(frozen=True)
class Lag:
    """One group on one topic: members now, partitions with a committed offset, records after it."""

    group: str
    topic: str
    members: int
    partitions: int
    records: int


def lags(settings: Settings) -> list[Lag]:
    """Lag of every consumer group with committed offsets; BrokerUnavailable, AccessRefused."""
    from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
    from confluent_kafka.admin import AdminClient, OffsetSpec

    from pipeline import kafka_clients

    admin = AdminClient(kafka_clients.common(settings))
    found: list[Lag] = []
    try:
        names = [group.group_id for group in admin.list_consumer_groups(request_timeout=ANSWER_S).result().valid]
        if not names:
            return []
        described = admin.describe_consumer_groups(names, request_timeout=ANSWER_S)
        for name in sorted(names):
            members = len(described[name].result().members)
            asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(name)], request_timeout=ANSWER_S)
            committed = [place for place in asked[name].result().topic_partitions if place.offset >= 0]
            ends = admin.list_offsets(
                {TopicPartition(place.topic, place.partition): OffsetSpec.latest() for place in committed},
                request_timeout=ANSWER_S,
            )
            newest = {(place.topic, place.partition): future.result().offset for place, future in ends.items()}
            for topic in sorted({place.topic for place in committed}):
                places = [place for place in committed if place.topic == topic]
                behind = sum(max(0, newest[topic, place.partition] - place.offset) for place in places)
                found.append(Lag(name, topic, members, len(places), behind))
    except KafkaException as error:
        raise kafka_clients.failed(settings, error.args[0]) from None
    return found
