"""The topic `notices`: which messages about incidents were sent, so that none is sent twice."""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from pipeline import kafka_clients
from pipeline.codec import Codec, Notice
from pipeline.errors import BrokerUnavailable, DeliveryFailed, ParkError
from pipeline.settings import Settings
from pipeline.topics import NOTIFY_GROUP

ANSWER_S = 15.0
POLL_S, STOPPING_S = 0.5, 5.0


def read(settings: Settings, codec: Codec) -> dict[str, str]:
    """Outcome of every message so far, by key (`<incident id>/<what>`), up to the end of the topic as of now.

    Raises BrokerUnavailable, AccessRefused.
    """
    topic, found = settings.topic("notices"), dict[str, str]()
    reader = Consumer({
        **kafka_clients.common(settings), "group.id": settings.topic(NOTIFY_GROUP), "enable.auto.commit": False,
    })  # fmt: skip
    try:
        low, end = reader.get_watermark_offsets(TopicPartition(topic, 0), timeout=ANSWER_S, cached=False)
        reader.assign([TopicPartition(topic, 0, low)])
        while reader.position([TopicPartition(topic, 0)])[0].offset < end and low < end:
            message = reader.poll(ANSWER_S)
            if message is None:
                raise BrokerUnavailable(f"Kafka at {settings['kafka']} does not hand out {topic}: check OPENOEE_KAFKA")
            if message.error() is not None:
                raise KafkaException(message.error())
            notice = _notice(codec, message)
            if notice is not None:
                found[f"{notice.incident}/{notice.what}"] = notice.outcome
    except KafkaException as error:
        raise kafka_clients.failed(settings, error.args[0]) from None
    finally:
        reader.close()
    return found


def _notice(codec: Codec, message: Message) -> Notice | None:
    try:
        said = codec.decode(message.value())
    except ParkError:  # nobody but us writes here; what cannot be read says nothing of a message
        return None
    return said if isinstance(said, Notice) else None


class Notices:
    """Writes notices, each known to be stored when `keep` returns."""

    def __init__(self, settings: Settings, codec: Codec) -> None:
        self._settings, self._codec, self._topic = settings, codec, settings.topic("notices")
        self._producer = Producer({
            **kafka_clients.common(settings), "client.id": "openoee-notify", "enable.idempotence": True, "acks": "all",
            "message.timeout.ms": 0,
        })  # fmt: skip

    def keep(self, notice: Notice, stop: Callable[[], bool]) -> bool:
        """Store it, however long Kafka is away; False: told to stop, and not stored within some seconds after that.

        Raises DeliveryFailed when Kafka refuses it.
        """
        told: list[KafkaError | None] = []

        def delivered(error: KafkaError | None, _: Message) -> None:
            told.append(error)

        key = f"{notice.incident}/{notice.what}".encode()
        self._producer.produce(self._topic, self._codec.encode(notice), key, on_delivery=delivered)
        left = STOPPING_S
        while not told and left > 0:
            self._producer.poll(POLL_S)
            left -= POLL_S if stop() else 0.0
        if not told:
            return False
        if told[0] is not None:
            raise DeliveryFailed(f"{self._topic} does not take a notice: {told[0].str()}")
        return True
