"""The sink's consumer group seen from outside: what it has written, whether anybody is in it, and setting it back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from pipeline import kafka_clients
from pipeline.errors import BrokerUnavailable, StopError, TopicMismatch
from pipeline.settings import Settings
from pipeline.topics import SINK_GROUP

ANSWER_S = 20.0
PAUSE_S = 0.2
MOVING = {
    KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE,
}  # fmt: skip
IN_USE = {KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS,
          KafkaError.NON_EMPTY_GROUP}  # fmt: skip


@dataclass(frozen=True)
class Mark:
    """One partition (short name of its topic): everything before `offset` is in the store; the log is [low, high).

    A sink that found nothing committed begins at `low`: then `offset` is that.
    """

    topic: str
    partition: int
    offset: int
    low: int
    high: int


@dataclass(frozen=True)
class Back:
    """Where a partition is to be read on from: `to`, which is the `noted` offset where the log still has it.

    `gone`: offsets that the log has no more, though they were not in the store; None: nobody knows how many.
    """

    topic: str
    partition: int
    noted: int
    to: int
    low: int
    high: int
    gone: int | None = 0


class SinkGroup:
    """Questions about the group, which is never joined. Raises BrokerUnavailable, TopicMismatch."""

    def __init__(self, settings: Settings, names: Sequence[str]) -> None:
        self._settings, self._names = settings, names
        self._group = settings.topic(SINK_GROUP)
        self._consumer = Consumer({
            **kafka_clients.common(settings), "group.id": self._group, "enable.auto.commit": False,
        })  # fmt: skip

    def marks(self) -> list[Mark]:
        """What the sink has written, partition by partition.

        The committed offset of a batch under way is where it begins, so it counts as not written.
        """
        log = self._log()
        wanted = [TopicPartition(self._settings.topic(name), number) for name, number in log]
        found = self._asked(lambda: self._consumer.committed(wanted, timeout=ANSWER_S))
        offsets = {(at.topic, at.partition): int(at.offset) for at in found}
        marks = []
        for (name, number), (low, high) in log.items():
            offset = offsets[self._settings.topic(name), number]
            marks.append(Mark(name, number, offset if offset >= 0 else low, low, high))
        return marks

    def back(self, marks: Iterable[Mark]) -> list[Back]:
        """Where each partition that the log has now is to be read on from."""
        noted = {(mark.topic, mark.partition): mark.offset for mark in marks}
        return [reached(*place, noted.get(place, 0), *extent) for place, extent in self._log().items()]

    def set(self, places: Iterable[Back]) -> None:
        """Commit these; a plan that is there is void. Raises StopError when a sink is in the group."""
        marks = [TopicPartition(self._settings.topic(one.topic), one.partition, one.to, "") for one in places]
        done = self._asked(lambda: self._consumer.commit(offsets=marks, asynchronous=False))
        refused = [mark.error for mark in done if mark.error is not None]
        if refused and refused[0].code() in IN_USE:
            raise self._in_use(1)
        if refused:
            raise BrokerUnavailable(f"Kafka does not take the offsets of {self._group}: {refused[0].str()}")

    def check_empty(self) -> None:
        """Raise StopError when a sink is in the group."""
        admin = AdminClient(kafka_clients.common(self._settings))
        answer = admin.describe_consumer_groups([self._group], request_timeout=ANSWER_S)[self._group]
        try:
            members = len(answer.result(ANSWER_S + 5).members)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                return
            raise BrokerUnavailable(f"Kafka does not tell who is in {self._group}: {error.args[0].str()}") from None
        if members:
            raise self._in_use(members)

    def close(self) -> None:
        self._consumer.close()

    def _in_use(self, members: int) -> StopError:
        sinks = "a sink is" if members == 1 else f"{members} sinks are"
        return StopError(
            f"{sinks} in the group {self._group}: stop every `openoee sink` of this line first (one that was killed is"
            f" let go after {self._settings.int('session_s')} s)"
        )

    def _log(self) -> dict[tuple[str, int], tuple[int, int]]:
        """First offset and end of every partition."""
        found = {}
        for name in self._names:
            full = self._settings.topic(name)
            about = self._asked(partial(self._consumer.list_topics, full, ANSWER_S)).topics[full]
            if about.error is not None:
                raise TopicMismatch(f"topic {full}: {about.error.str()}: run `openoee topics --create`")
            for number in sorted(about.partitions):
                at = TopicPartition(full, number)
                ask = partial(self._consumer.get_watermark_offsets, at, timeout=ANSWER_S, cached=False)
                low, high = self._asked(ask)
                found[name, number] = (int(low), int(high))
        return found

    def _asked(self, ask: Callable[[], Any]) -> Any:
        """The answer; a coordinator that moves or is only being made is asked again for a while."""
        deadline = time.monotonic() + ANSWER_S
        while True:
            try:
                return ask()
            except KafkaException as error:
                code = error.args[0].code()
                if code in IN_USE:
                    raise self._in_use(1) from None
                if code not in MOVING or time.monotonic() > deadline:
                    raise BrokerUnavailable(
                        f"Kafka at {self._settings['kafka']} does not answer ({error.args[0].str()}): check"
                        " OPENOEE_KAFKA, or start the local stack: `openoee up`"
                    ) from None
                time.sleep(PAUSE_S)


def reached(topic: str, partition: int, noted: int, low: int, high: int) -> Back:
    """The noted offset, where the log still has it; else the log's start, and how much is gone."""
    if low <= noted <= high:
        return Back(topic, partition, noted, noted, low, high)
    if noted < low:
        return Back(topic, partition, noted, low, low, high, low - noted)
    return Back(topic, partition, noted, low, low, high, None)  # its tail was lost, or it was made again


def losses(places: Iterable[Back]) -> list[Back]:
    """The partitions of which something is gone for good."""
    return [one for one in places if one.gone != 0]
