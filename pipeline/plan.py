"""The plan of a batch: which offsets it holds, so that whoever comes next can cut the very same batch again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from pipeline.errors import BrokerUnavailable, LogHole

METADATA_BYTES = 3_900  # the broker takes 4,096 with an offset
ANSWER_S = 20.0
Place = tuple[str, int]


@dataclass(frozen=True)
class Plan:
    """Offsets [first, next) of each topic (short name) and partition of a batch."""

    ranges: Mapping[Place, tuple[int, int]]

    def text(self) -> str:
        """As it stands in the metadata of a commit: `1 oee/0=12-40 telemetry/3=100-220`."""
        parts = [f"{topic}/{number}={first}-{end}" for (topic, number), (first, end) in sorted(self.ranges.items())]
        return " ".join(["1", *parts])

    @classmethod
    def parse(cls, text: str | None) -> Plan | None:
        """The plan in a commit's metadata; None when there is none."""
        version, *parts = (text or "").split(" ")
        if version != "1":
            return None
        ranges = {}
        for part in parts:
            found = re.fullmatch(r"(.+)/(\d+)=(\d+)-(\d+)", part)
            if found is None:
                return None
            ranges[found[1], int(found[2])] = (int(found[3]), int(found[4]))
        return cls(ranges)

    def token(self, records: Iterable[Message]) -> str:
        """Names topics, partitions, offsets, and the very records: a topic that was made again counts from 0 too."""
        digest = blake2b(digest_size=8)
        for record in records:
            digest.update(b"%d %d %d\n" % (record.partition(), record.offset(), record.timestamp()[1]))
        return f"{self.text()} {digest.hexdigest()}"


def cut(ranges: Mapping[Place, tuple[int, int]]) -> Plan:
    """The plan of as many of these ranges as fit into the metadata of a commit; the rest waits for the next one."""
    taken: dict[Place, tuple[int, int]] = {}
    used = 1
    for (topic, number), (first, end) in sorted(ranges.items()):
        used += len(f" {topic}/{number}={first}-{end}")
        if used > METADATA_BYTES:
            break
        taken[topic, number] = (first, end)
    return Plan(taken)


def records(
    plan: Plan, topics: Mapping[str, str], reach: Mapping[str, Any], accept_loss: bool = False
) -> list[Message]:
    """The records of a plan, read from the log again.

    `topics`: full names by short ones; `reach`: how to reach Kafka. Raises BrokerUnavailable, and LogHole when records
    are gone (with `accept_loss`: gives what is left).
    """
    consumer = Consumer({
        "group.id": "openoee-plan", **reach, "enable.auto.commit": False, "enable.partition.eof": True,
        "auto.offset.reset": "earliest" if accept_loss else "error",
    })  # fmt: skip
    wanted = {(topics[topic], number): span for (topic, number), span in plan.ranges.items()}
    found: list[Message] = []
    try:
        consumer.assign([TopicPartition(topic, number, first) for (topic, number), (first, _) in wanted.items()])
        waiting = set(wanted)
        while waiting:
            message = consumer.poll(ANSWER_S)
            if message is None:
                raise BrokerUnavailable(f"Kafka does not hand out the records of an unfinished batch: {plan.text()}")
            place = (message.topic(), message.partition())
            end = wanted[place][1]
            if message.error() is not None:
                at_end = message.error().code() == KafkaError._PARTITION_EOF
                if message.error().code() == KafkaError._AUTO_OFFSET_RESET or (at_end and message.offset() < end):
                    if not accept_loss:
                        raise LogHole(
                            f"records of {place[0]}, partition {place[1]}, were gone before they were in the store"
                            f" (unfinished batch {plan.text()}). `openoee sink --accept-loss` goes on without them"
                        )
                    waiting.discard(place)
                elif at_end:
                    waiting.discard(place)  # the last offsets hold no records: marks of a transaction
                continue
            if message.offset() < end:
                found.append(message)
            if message.offset() >= end - 1:
                waiting.discard(place)
    except KafkaException as error:
        raise BrokerUnavailable(f"Kafka does not answer: {error.args[0].str()}") from None
    finally:
        consumer.close()
    return found
