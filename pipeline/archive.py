"""The archives: topics that keep what was applied, by whom and when, after the line has been told."""

from __future__ import annotations

from confluent_kafka import KafkaError, Producer

from pipeline import kafka_clients
from pipeline.codec import Codec, Message
from pipeline.errors import DeliveryFailed
from pipeline.settings import Settings

ANSWER_S = 15.0


def keep(name: str, key: str, record: Message, settings: Settings, codec: Codec) -> None:
    """Put a record into the archive topic of that name. Raises DeliveryFailed: the machines were told all the same."""
    topic, kafka = settings.topic(name), settings["kafka"]
    producer = Producer({**kafka_clients.common(settings), "enable.idempotence": True, "acks": "all"})
    failed: list[KafkaError] = []
    producer.produce(
        topic,
        key=key.encode(),
        value=codec.encode(record),
        on_delivery=lambda error, _: failed.append(error) if error else None,
    )
    if producer.flush(ANSWER_S) or failed:
        why = failed[0].str() if failed else "no answer"
        raise DeliveryFailed(
            f"every machine was told, but {topic} at {kafka} did not keep the record ({why}); do the same again"
        )
