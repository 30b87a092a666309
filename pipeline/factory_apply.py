"""A factory file to the running line: one control record per machine, and the file itself into the archive."""

from __future__ import annotations

import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from pipeline.codec import Codec, FactoryFile
from pipeline.errors import BrokerUnavailable, DeliveryFailed, TopicMismatch
from pipeline.factory import Factory, archive, controls
from pipeline.producer import TelemetryProducer
from pipeline.settings import Settings

ANSWER_S = 15.0


def apply(factory: Factory, settings: Settings, codec: Codec, issued: int, by: str, effective: int) -> int:
    """Send the factory; returns the number of machines told. Times in UTC ms.

    The archive is written last: what stands there has reached every machine. Raises BrokerUnavailable, TopicMismatch,
    DeliveryFailed; sending the same file again is harmless.
    """
    with TelemetryProducer(settings, codec) as producer:
        for control in controls(factory, issued, by, effective):
            producer.send(control)
        producer.flush()
    _keep(archive(factory, issued, by, effective), settings, codec)
    return len(factory.machines)


def last_applied(site: str, settings: Settings, codec: Codec) -> FactoryFile | None:
    """The file that was applied last for a site, None for a new one. Raises BrokerUnavailable, TopicMismatch."""
    topic, kafka = settings.topic("factory"), settings["kafka"]
    consumer = Consumer(
        {
            "bootstrap.servers": kafka,
            "group.id": settings.topic("openoee-factory"),  # required, never joined: partitions are assigned by hand
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "log_level": 0,
        }
    )
    try:
        return _newest(consumer, topic, site, codec)
    except KafkaException as error:
        raise _mapped(error.args[0], topic, kafka) from None
    finally:
        consumer.close()


def _newest(consumer: Consumer, topic: str, site: str, codec: Codec) -> FactoryFile | None:
    deadline = time.monotonic() + ANSWER_S
    _require_leader(consumer, topic, deadline)
    consumer.assign([TopicPartition(topic, 0, 0)])
    newest: FactoryFile | None = None
    while time.monotonic() < deadline:
        record = consumer.poll(1.0)
        if record is None:
            continue
        if record.error() is not None:
            if record.error().code() == KafkaError._PARTITION_EOF:
                return newest
            raise KafkaException(record.error())
        if record.key() == site.encode() and record.value() is not None:
            found = codec.decode(record.value())
            newest = found if isinstance(found, FactoryFile) else newest
    raise KafkaException(KafkaError(KafkaError._TIMED_OUT))


def _require_leader(consumer: Consumer, topic: str, deadline: float) -> None:
    """Fail at once without topic or broker; a topic that was made a moment ago may still be without a leader."""
    while True:
        try:
            consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=ANSWER_S)
            return
        except KafkaException as error:
            electing = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)
            if error.args[0].code() not in electing or time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def _keep(record: FactoryFile, settings: Settings, codec: Codec) -> None:
    topic, kafka = settings.topic("factory"), settings["kafka"]
    producer = Producer({"bootstrap.servers": kafka, "enable.idempotence": True, "acks": "all", "log_level": 0})
    failed: list[KafkaError] = []
    producer.produce(
        topic,
        key=record.site.encode(),
        value=codec.encode(record),
        on_delivery=lambda error, _: failed.append(error) if error else None,
    )
    if producer.flush(ANSWER_S) or failed:
        why = failed[0].str() if failed else "no answer"
        raise DeliveryFailed(
            f"every machine was told, but {topic} at {kafka} did not keep the file ({why}); apply again"
        )


def _mapped(error: KafkaError, topic: str, kafka: str) -> BrokerUnavailable | TopicMismatch:
    if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION):
        return TopicMismatch(f"Kafka at {kafka} has no topic {topic}: run `openoee topics --create` first")
    return BrokerUnavailable(
        f"Kafka at {kafka} does not answer ({error.str()}): start it (`openoee up`) or name another one (--kafka)"
    )
