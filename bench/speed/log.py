"""A topic read from its beginning to the end that it had at the start, with librdkafka: what loops by hand stand on."""

from __future__ import annotations

from collections.abc import Iterator

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition

from bench.speed.answers import Task

AT_ONCE = 10_000
ANSWER_S = 30.0


def batches(bootstrap: str, topic: str, at_once: int = AT_ONCE) -> Iterator[list[Message]]:
    """Messages in lists of up to `at_once`. Raises RuntimeError when the broker sends an error, or nothing for 30 s."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench",
            "enable.auto.commit": False,
            "fetch.message.max.bytes": 8 << 20,
            "queued.max.messages.kbytes": 256 << 10,
            "fetch.wait.max.ms": 10,
            "log_level": 0,
        }
    )
    partitions = consumer.list_topics(topic, ANSWER_S).topics[topic].partitions
    left = 0
    for number in partitions:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), ANSWER_S)
        left += high - low
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
    while left > 0:
        messages = consumer.consume(min(at_once, left), 0.05) or consumer.consume(1, ANSWER_S)
        if not messages:
            raise RuntimeError(f"{topic}: nothing for {ANSWER_S:.0f} s, {left} records are missing")
        for message in messages:
            if message.error() is not None:
                raise RuntimeError(f"{topic}: {message.error()}")
        left -= len(messages)
        yield messages
    consumer.close()


class Out:
    """Writes answers; nothing is done before `close` has returned."""

    def __init__(self, task: Task) -> None:
        self._topic = task.out
        self._producer = Producer({"bootstrap.servers": task.bootstrap, "linger.ms": 5, "compression.type": "lz4"})

    def write(self, machine: str, value: bytes) -> None:
        self._producer.produce(self._topic, value, machine)
        self._producer.poll(0)

    def close(self) -> None:
        if self._producer.flush(ANSWER_S):
            raise RuntimeError(f"{self._topic} does not take answers")
