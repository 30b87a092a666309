"""One partition of telemetry, read from the log: the rows that the store must hold because of it, in its order."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from pipeline import kafka_clients
from pipeline.codec import Codec, Message
from pipeline.core.admission import extents
from pipeline.core.engine import Engine
from pipeline.core.model import Anomaly, Control, DeadLetter, Frame, Incident, Interval, OeeFact, Record
from pipeline.core.seen import Seen
from pipeline.errors import BrokerUnavailable, LogHole, ParkError
from pipeline.rows import Rows, read
from pipeline.settings import Settings

HOUR_MS, MOST_HOURS = 3_600_000, 1000
RECORDS = 500
ROWS = 100_000  # rows that are handed on at once
ANSWER_S, POLL_S = 20.0, 0.1


def raw(settings: Settings, partition: int, start: int, end: int) -> Iterator[list[Any]]:
    """Records [start, end) of a partition of telemetry. Raises BrokerUnavailable, LogHole when they are gone."""
    topic = settings.topic("telemetry")
    consumer = Consumer({
        **kafka_clients.common(settings), "group.id": settings.topic("openoee-audit"), "enable.auto.commit": False,
        "enable.partition.eof": True, "auto.offset.reset": "error", "fetch.wait.max.ms": 10,
    })  # fmt: skip
    try:
        consumer.assign([TopicPartition(topic, partition, start)])
        patience = time.monotonic() + ANSWER_S
        while start < end:
            found = consumer.consume(RECORDS, POLL_S)
            if found:
                patience = time.monotonic() + ANSWER_S
            elif time.monotonic() > patience:
                raise BrokerUnavailable(f"Kafka does not hand out {topic}, partition {partition}, offset {start}")
            ended = _heard([message.error() for message in found if message.error() is not None], topic, start)
            part = [message for message in found if message.error() is None and message.offset() < end]
            if part:
                yield part
            places = [message.offset() + 1 for message in found if message.error() is None]
            start = end if ended else max(places, default=start)
    except KafkaException as error:
        raise BrokerUnavailable(f"Kafka does not answer: {error.args[0].str()}") from None
    finally:
        consumer.close()


def _heard(errors: Sequence[Any], topic: str, start: int) -> bool:
    """Whether the log has ended; what else there is to hear is raised."""
    for error in errors:
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            raise LogHole(f"{topic} lost the records from offset {start} on while they were read ({error.str()})")
        if error.code() != KafkaError._PARTITION_EOF:
            raise BrokerUnavailable(f"Kafka, {topic}: {error.str()}")
    return bool(errors)


@dataclass
class Reading:
    """A partition read once, from `start` to `end`, for one machine or all.

    `lost`: records before `start` are gone. `repeats`: frames that came before are read again, for whoever wants every
    copy. `computes`: the engine folds the records, as it can only where none is lost; else the refused records are
    those that cannot be decoded.
    """

    settings: Settings
    codec: Codec
    partition: int
    start: int
    end: int
    machine: str = ""
    lost: bool = False
    computes: bool = True
    repeats: bool = False
    machines: set[str] = field(default_factory=set)
    again: dict[tuple[str, int], int] = field(default_factory=dict)  # (machine, hour): end of the last repeated frame
    frames: int = 0
    repeated: int = 0
    first_arrived: int | None = None

    def __post_init__(self) -> None:
        self._engine = Engine(self.settings.engine())
        self._seen: dict[str, Seen] = {}
        self._topic = self.settings.topic("telemetry")

    @property
    def bounds(self) -> dict[str, int]:
        """The newest version that each machine's rows can have because of what was read."""
        known = self._engine.machines
        return {name: known[name].known_at if name in known else -1 for name in self.machines}

    @property
    def gaps(self) -> int:
        """Runs of sequence numbers that the log has not, between those that it has."""
        return sum(len(ranges) - 1 for seen in self._seen.values() for ranges in seen.ranges.values())

    def tables(self) -> Iterator[tuple[range, str, pa.Table]]:
        """(offsets of the records concerned, table of the store, rows).

        With `repeats`, rows of one key come in the order of the log.
        """
        rows, first = self._rows(), self.start
        for part in raw(self.settings, self.partition, self.start, self.end):
            for record in part:
                if self.first_arrived is None:
                    self.first_arrived = record.timestamp()[1]
                if self.machine and record.key() != self.machine.encode():
                    continue
                message = self._message(record)
                if rows.count > ROWS:
                    yield from ((range(first, record.offset()), name, table) for name, table in rows.tables())
                    rows, first = self._rows(), record.offset()
                self._take(record, message, rows)
        yield from ((range(first, self.end), name, table) for name, table in rows.tables())

    def _rows(self) -> Rows:
        return Rows(round(self.settings.float("max_future_s") * 1000))

    def _message(self, raw: Any) -> Message:
        try:
            return read(self.codec, False, raw.key(), raw.value())
        except ParkError as error:
            return DeadLetter(
                self._topic, self.partition, raw.offset(), raw.timestamp()[1], None, error.reason, str(error), 0,
                raw.key(), raw.value(),
            )  # fmt: skip

    def _take(self, raw: Any, message: Message, rows: Rows) -> None:
        arrived = raw.timestamp()[1]
        if isinstance(message, DeadLetter):
            rows.add(arrived, message)
            return
        assert isinstance(message, Frame | Control)
        self.machines.add(message.machine)
        if self._is_new(message, raw.offset()) or self.repeats:
            rows.add(arrived, message)
        if self.computes:
            emitted = self._engine.fold([Record(arrived, message, self.partition, raw.offset())])
            computed: tuple[OeeFact | Interval | Anomaly | Incident, ...] = (
                *emitted.facts, *emitted.intervals, *emitted.anomalies, *emitted.incidents,
            )  # fmt: skip
            for row in computed:
                rows.add(arrived, row)
            for letter in emitted.dead_letters:
                rows.add(arrived, replace(letter, topic=self._topic, key=raw.key(), value=raw.value()))

    def _is_new(self, message: Frame | Control, offset: int) -> bool:
        if isinstance(message, Control):
            return True
        self.frames += 1
        seen = self._seen.setdefault(message.machine, Seen())
        new = seen.add(message.source, message.epoch, message.sequence)
        if not new:
            self.repeated += 1
            for first, last in extents(message):
                hours = range(first // HOUR_MS, min(last // HOUR_MS, first // HOUR_MS + MOST_HOURS) + 1)
                self.again.update(((message.machine, hour), offset + 1) for hour in hours)
        return new
