"""The sink's side of Kafka: its share of the partitions, where each stands, unfinished batches, commits with plans."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from pipeline import kafka_clients
from pipeline.errors import BrokerUnavailable, LogHole, OpenOeeError, TopicMismatch
from pipeline.plan import Place, Plan
from pipeline.settings import Settings
from pipeline.topics import SINK_GROUP

MESSAGES = 500
ANSWER_S = 20.0
PAUSE_S = 0.2
TELL_EVERY_S = 10.0
LAST_TRY_S = 5.0
LOOK_EVERY_S, LOOK_S = 5.0, 1.0
log = logging.getLogger("openoee.sink")


class Rebalanced(Exception):
    """The partitions were dealt out again: what was gathered is void, everybody goes on from what is committed."""


class Stopping(Exception):
    """The sink is to end, and what is at hand cannot be finished; its plan is committed, so nothing is lost."""


@dataclass
class Share:
    """Partitions held now: where the next record of each is read, and the unfinished batches that were found.

    `accepted`: where to go on after a loss that was accepted, not yet committed. `written`: everything before it is in
    the store. `ends`: where the logs ended when that was last asked.
    """

    positions: dict[Place, int] = field(default_factory=dict)
    accepted: dict[Place, int] = field(default_factory=dict)
    committed: dict[Place, int] = field(default_factory=dict)
    unfinished: list[Plan] = field(default_factory=list)
    written: dict[Place, int] = field(default_factory=dict)
    ends: dict[Place, int] = field(default_factory=dict)

    def behind(self) -> dict[Place, int]:
        """Records of each partition that are not surely in the store."""
        written = self.written.copy()
        return {place: max(0, end - written[place]) for place, end in self.ends.copy().items() if place in written}


class Group:
    """A member of the sink's consumer group. Places are (short topic name, partition).

    Methods raise Rebalanced when the share changed, LogHole, TopicMismatch.
    """

    def __init__(
        self, settings: Settings, topics: Iterable[str], stop: Callable[[], bool], accept_loss: bool = False
    ) -> None:
        self.lost = 0  # records passed over where that was accepted
        self.joined = False
        self.share = Share()
        self.full = {name: settings.topic(name) for name in topics}
        self._settings = settings
        self._short = {full: name for name, full in self.full.items()}
        self._stop, self._accept_loss = stop, accept_loss
        self._held: list[Message] = []
        self._failure: OpenOeeError | None = None
        self._told = 0.0
        self._looked = 0.0 if settings.int("metrics_port") else float("inf")  # nobody asks how far behind it is
        self._closing = self._turned_away = False
        session_ms = settings.int("session_s") * 1000
        self._consumer = Consumer({
            **self.reach,
            "group.id": settings.topic(SINK_GROUP),
            "client.id": "openoee-sink",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "partition.assignment.strategy": "range",  # one member has a machine's facts and its intervals
            "session.timeout.ms": session_ms,
            "heartbeat.interval.ms": max(session_ms // 5, 500),
            "queued.max.messages.kbytes": settings.int("sink_mb") << 10,
            "error_cb": self._away,
        })  # fmt: skip
        self._consumer.subscribe(list(self._short), on_assign=self._on_assign, on_revoke=self._on_revoke)

    @property
    def reach(self) -> dict[str, Any]:
        """How to reach Kafka now: passwords change."""
        return {**kafka_clients.common(self._settings), "group.id": self._settings.topic("openoee-plan")}

    def place(self, message: Message) -> Place:
        return self._short[message.topic()], message.partition()

    def next(self, timeout: float) -> list[Message]:
        """Records that follow what was handed out so far, partition by partition; none when the time is over."""
        if self._held:
            held, self._held = self._held, []
            return held
        before = self.share
        self._look()
        found = self._consumer.consume(MESSAGES, timeout)
        self._check(before)
        return self._in_order(found)

    def give_back(self, messages: list[Message]) -> None:
        """Records that `next` is to hand out again."""
        self._held = messages + self._held

    def idle(self, seconds: float) -> None:
        """Stay in the group for a while without taking records."""
        before = self.share
        held = [TopicPartition(self.full[topic], number) for topic, number in before.positions]
        self._consumer.pause(held)
        deadline = time.monotonic() + seconds
        try:
            while (left := deadline - time.monotonic()) > 0:
                message = self._consumer.poll(left)
                self._check(before)
                self._look()
                if message is not None:
                    self._held += self._in_order([message])
        finally:
            self._consumer.resume(held)  # a partition that is dealt out again would stay paused for ever

    def commit(self, offsets: Mapping[Place, int], note: str = "") -> None:
        """Commit these offsets; tries until the broker takes them. Raises Rebalanced, Stopping."""
        marks = [TopicPartition(self.full[topic], number, offset, note) for (topic, number), offset in offsets.items()]
        last_try = 0.0
        while marks:
            try:
                done = self._consumer.commit(offsets=marks, asynchronous=False)
                refused = [mark.error for mark in done if mark.error is not None]
                if not refused:
                    self.share.written.update(offsets)
                    return
                problem = refused[0]
            except KafkaException as error:
                problem = error.args[0]
            forbidden = kafka_clients.refusal(self._settings, problem)
            plain = f"Kafka does not take a commit ({problem.str()}): trying again"
            self.tell(plain if forbidden is None else f"waiting: {forbidden}")
            self.idle(PAUSE_S)
            if self._stop():
                last_try = last_try or time.monotonic() + LAST_TRY_S
                if time.monotonic() > last_try:
                    raise Stopping

    def tell(self, line: str, **place: object) -> None:
        """Say a line, but not over and over; `place`: fields for the log."""
        if time.monotonic() - self._told > TELL_EVERY_S:
            self._told = time.monotonic()
            log.warning("%s", line, extra=place)

    def close(self) -> None:
        """Leave the group."""
        self._closing = True
        self._consumer.close()

    def _in_order(self, found: Iterable[Message]) -> list[Message]:
        positions, taken = self.share.positions, []
        for message in found:
            if message.error() is not None:
                self._heard(message)
                continue
            place = self.place(message)
            if message.offset() >= positions.get(place, 1 << 62):
                positions[place] = message.offset() + 1
                taken.append(message)
        return taken

    def _look(self) -> None:
        """Now and then, where the logs end; asked, since nothing is fetched of a partition that is paused."""
        if time.monotonic() - self._looked < LOOK_EVERY_S:
            return
        self._looked, share = time.monotonic(), self.share
        wanted = [TopicPartition(self.full[topic], number, OFFSET_END) for topic, number in share.positions]
        try:
            found = self._consumer.offsets_for_times(wanted, LOOK_S) if wanted else []
        except KafkaException:  # what was known stays: the lag is at least that
            return
        share.ends.update({
            (self._short[mark.topic], mark.partition): mark.offset
            for mark in found if mark.error is None and mark.offset >= 0
        })  # fmt: skip

    def _heard(self, message: Message) -> None:
        error = message.error()
        code, what = error.code(), f"{message.topic()}, partition {message.partition()}"
        if code in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION):
            raise TopicMismatch(f"topic {message.topic()} is gone ({error.str()}): run `openoee topics --create`")
        if code == KafkaError._AUTO_OFFSET_RESET:
            raise _hole(f"{what}: {error.str()}", message.topic(), message.partition(), message.offset())
        refused = kafka_clients.refusal(self._settings, error)
        text = f"Kafka, {what}: {error.str()}" if refused is None else f"waiting: {refused} ({what})"
        self.tell(text, topic=message.topic(), partition=message.partition())

    def _away(self, error: KafkaError) -> None:
        refused = kafka_clients.heard(self._settings, error)
        self._turned_away |= refused is not None
        if refused is not None:
            self.tell(f"waiting: {refused}")
        elif error.code() == KafkaError._ALL_BROKERS_DOWN:
            self.tell(f"waiting: Kafka at {self._settings['kafka']} does not answer")

    def _check(self, before: Share) -> None:
        if self._turned_away:
            self._turned_away = False
            kafka_clients.renew_password(self._settings, self._consumer)
        if self._failure is not None:
            raise self._failure
        if self.share is not before:
            # what was fetched before the change may still come: start over at the positions
            self._held.clear()
            self._consumer.assign([
                TopicPartition(self.full[topic], number, offset)
                for (topic, number), offset in self.share.positions.items()
            ])  # fmt: skip
            raise Rebalanced

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.joined = False
        self.share = Share()

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self._closing:  # librdkafka now and then waits for ever when it is to leave what it was just given
            consumer.unassign()
            return
        try:
            self.share = self._found(partitions)
            self.joined = True
        except OpenOeeError as error:  # it must not be raised through the C library
            self._failure = error
            partitions = []
        consumer.assign([
            TopicPartition(mark.topic, mark.partition, self.share.positions[self._short[mark.topic], mark.partition])
            for mark in partitions
        ])  # fmt: skip

    def _found(self, partitions: list[TopicPartition]) -> Share:
        """Where these partitions stand.

        Asked by a client of its own: a question to the member within its own callback makes the library abort the
        process at the next callback of the same call.
        """
        group = {"group.id": self._settings.topic(SINK_GROUP), "enable.auto.commit": False}
        asker = Consumer({**kafka_clients.common(self._settings), **group})
        try:
            return self._standing(asker, partitions)
        finally:
            asker.close()

    def _standing(self, asker: Consumer, partitions: list[TopicPartition]) -> Share:
        share = Share()
        for mark in self._asked(lambda: asker.committed(partitions, timeout=ANSWER_S)) if partitions else []:
            place = (self._short[mark.topic], mark.partition)
            low, high = self._asked(partial(asker.get_watermark_offsets, mark, timeout=ANSWER_S, cached=False))
            plan = Plan.parse(mark.metadata)
            start = mark.offset
            if plan is not None and place in plan.ranges and plan.ranges[place][0] == start:
                share.unfinished += [] if plan in share.unfinished else [plan]
                share.committed[place] = start
                start = plan.ranges[place][1]
            share.positions[place] = low if start < 0 else self._within(mark, start, low, high)
            share.written[place] = share.committed.get(place, share.positions[place])
            share.ends[place] = high
            if start >= 0 and share.positions[place] != start:
                share.accepted[place] = share.positions[place]
        return share

    def _within(self, mark: TopicPartition, start: int, low: int, high: int) -> int:
        if low <= start <= high:
            return start
        lost = f"{low - start:,} records from offset {start}" if start < low else f"everything before offset {start}"
        text = f"{mark.topic}, partition {mark.partition}: {lost}; the log now holds {low} to {high}"
        if not self._accept_loss:
            raise _hole(text, mark.topic, mark.partition, start)
        self.lost += low - start if start < low else high - low
        log.error("LOST: %s", text, extra={"topic": mark.topic, "partition": mark.partition, "offset": start})
        return low if start < low else high

    def _asked(self, ask: Callable[[], Any]) -> Any:
        while True:
            try:
                return ask()
            except KafkaException as error:
                if self._stop():
                    raise BrokerUnavailable(f"Kafka does not answer: {error.args[0].str()}") from None
                self.tell(f"Kafka does not answer ({error.args[0].str()}): trying again")
                time.sleep(PAUSE_S)


def _hole(what: str, topic: str, partition: int, offset: int) -> LogHole:
    return LogHole(
        f"records were gone from Kafka before they were in the store: {what}. To go on without them, run"
        " `openoee sink --accept-loss` once; keep topics longer than the longest outage"
    ).at(topic=topic, partition=partition, offset=offset)
