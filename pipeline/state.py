"""Saved state of a partition: snapshots of machines with the offset that they cover in the same record.

A partition's machines lie in buckets by the hash of their key, so that a record stays small. Each record of the
compacted topic `state` says: these are the machines of this bucket after every record before `cover`. State and
position are one record, so they cannot disagree: whichever record survives a zombie or a compaction is right, and an
older one only means that more of the log is read again. The highest cover wins; a partition starts at the lowest
cover of its buckets, and records that a bucket already holds are skipped for its machines.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgpack
import zstandard
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from pipeline import kafka_clients
from pipeline.codec import Codec, StateRecord
from pipeline.errors import AccessRefused, BrokerUnavailable, ParkError, StateUnreadable
from pipeline.settings import Settings

RECORD_BYTES = 900_000  # above this a partition gets twice as many buckets
MAX_BUCKETS = 4096
ANSWER_S = 15.0
OF_TOPIC = "telemetry"  # header of a state record: the topic whose offsets it covers (topics.Identity)
REMEDY = (
    "Or run `openoee topics --reset-state`: workers then compute everything again from the telemetry that Kafka "
    "still has"
)


class Machines(Protocol):
    """What is asked of an engine here."""

    changed: set[str]

    def snapshot(self, machine: str) -> dict[str, Any]: ...

    def restore(self, machine: str, snapshot: dict[str, Any]) -> None: ...


def pack(snapshot: dict[str, Any]) -> bytes:
    """Bytes of a machine's snapshot: MessagePack, compressed."""
    return zstandard.compress(msgpack.packb(snapshot), 1)


def unpack(packed: bytes) -> dict[str, Any]:
    """The snapshot in these bytes. Raises ValueError when they are damaged."""
    try:
        snapshot: dict[str, Any] = msgpack.unpackb(zstandard.decompress(packed), strict_map_key=False)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from None
    return snapshot


def bucket_of(key: bytes, buckets: int) -> int:
    """Bucket of a machine, by CRC-32 of its key."""
    return zlib.crc32(key) % buckets


def state_key(record: StateRecord) -> bytes:
    """Key in the topic `state`; another number of buckets has other keys, so a change of it replaces nothing."""
    return f"{record.partition}/{record.buckets}/{record.bucket}".encode()


class Snapshots:
    """What is saved of one partition, and what of it has to be saved next.

    `found` are the partition's records of the topic `state`, in any order; versions `oldest` to `engine` are read.
    Raises StateUnreadable when all that is there was written by another version of the engine.
    """

    def __init__(
        self, partition: int, buckets: int, engine: int, found: Iterable[StateRecord] = (), oldest: int | None = None
    ) -> None:
        self.partition, self.engine = partition, engine
        best: dict[tuple[int, int], StateRecord] = {}
        others = set()
        for record in found:
            address = (record.buckets, record.bucket)
            if not (engine if oldest is None else oldest) <= record.engine <= engine:
                others.add(record.engine)
            elif address not in best or record.cover >= best[address].cover:
                best[address] = record
        if others and not best:
            raise StateUnreadable(
                f"the state of partition {partition} was written by version {sorted(others)} of the engine, this is "
                f"version {engine}: run the release that wrote it. {REMEDY}"
            ).at(partition=partition)
        self._covers = {address: record.cover for address, record in best.items()}
        self._layouts = sorted({layout for layout, _ in best})
        self.found = bool(best)
        self.newest = max(self._covers.values(), default=0)
        self.start, complete = self._complete()
        self.buckets = max(buckets, complete)
        self._packed: dict[str, bytes] = {}
        for (layout, bucket), record in best.items():
            for machine, snapshot in record.machines.items():
                if self._winner(machine.encode()) == (layout, bucket):
                    self._packed[machine] = snapshot
        self._dirty: set[str] = set()

    def cover(self, key: bytes) -> int:
        """The next offset to apply to the machine of this key: what lies before it is in its snapshot."""
        winner = self._winner(key)
        return 0 if winner is None else self._covers[winner]

    def restore(self, engine: Machines) -> None:
        """Give the engine every machine that is saved. Raises StateUnreadable."""
        for machine, packed in self._packed.items():
            try:
                engine.restore(machine, unpack(packed))
            except (ValueError, KeyError, TypeError, IndexError) as error:
                where = f"machine {machine!r} in partition {self.partition}"
                raise StateUnreadable(f"the saved state of {where} is damaged: {error!r}. {REMEDY}").at(
                    machine=machine, partition=self.partition
                ) from None

    def renew(self, engine: Machines, cover: int, whole: bool = False) -> list[StateRecord]:
        """Records to save now that everything before `cover` is folded and its results are stored.

        Buckets in which nothing changed are left out unless `whole`. The engine's `changed` is emptied. There is
        nothing to save while the log is read again that some bucket already holds.
        """
        if cover < self.newest:
            return []
        for machine in engine.changed:
            self._packed[machine] = pack(engine.snapshot(machine))
        self._dirty |= engine.changed
        engine.changed.clear()
        while self.buckets < MAX_BUCKETS and self._largest() > RECORD_BYTES:
            self.buckets *= 2
            whole = True
        whole = whole or any((self.buckets, bucket) not in self._covers for bucket in range(self.buckets))
        changed = {bucket_of(machine.encode(), self.buckets) for machine in self._dirty}
        self._dirty.clear()
        wanted = range(self.buckets) if whole else sorted(changed)
        content: dict[int, dict[str, bytes]] = {bucket: {} for bucket in wanted}
        for machine, snapshot in self._packed.items():
            bucket = bucket_of(machine.encode(), self.buckets)
            if bucket in content:
                content[bucket][machine] = snapshot
        for bucket in wanted:
            self._covers[self.buckets, bucket] = cover
        if self.buckets not in self._layouts:
            self._layouts = sorted({*self._layouts, self.buckets})
        return [
            StateRecord(self.partition, bucket, self.buckets, cover, self.engine, machines)
            for bucket, machines in content.items()
        ]

    def _winner(self, key: bytes) -> tuple[int, int] | None:
        here = [(layout, bucket_of(key, layout)) for layout in self._layouts]
        return max((at for at in here if at in self._covers), key=lambda at: self._covers[at], default=None)

    def _complete(self) -> tuple[int, int]:
        """Lowest cover and number of buckets of the complete layout that reaches furthest; (0, 0) without one."""
        best = (0, 0)
        for layout in self._layouts:
            covers = [self._covers.get((layout, bucket)) for bucket in range(layout)]
            known = [cover for cover in covers if cover is not None]
            if len(known) == layout:
                best = max(best, (min(known), layout))
        return best

    def _largest(self) -> int:
        sizes: dict[int, int] = {}
        for machine, snapshot in self._packed.items():
            bucket = bucket_of(machine.encode(), self.buckets)
            sizes[bucket] = sizes.get(bucket, 0) + len(snapshot) + len(machine) + 8
        return max(sizes.values(), default=0)


class LogReader:
    """Questions to Kafka that are asked when a partition is taken over; blocking, so to be called in a thread."""

    def __init__(self, settings: Settings, codec: Codec) -> None:
        self._codec = codec
        self._settings = settings
        self._state = settings.topic("state")
        self._telemetry = settings.topic("telemetry")
        self.garbage = 0
        self.of_topics: set[str] = set()

    def states(self, partitions: Sequence[int]) -> dict[int, list[StateRecord]]:
        """State records of these partitions, of each key the one with the highest cover.

        What is no state record is counted as `garbage` and left out: without it more of the log is read again. The
        topics whose offsets the records cover, as far as they say so, are in `of_topics`.
        """
        best: dict[tuple[int, int, int, int], StateRecord] = {}
        for message in self._read([TopicPartition(self._state, n, OFFSET_BEGINNING) for n in partitions]):
            number = message.partition()
            try:
                record = self._codec.decode(message.value())
            except ParkError:
                self.garbage += 1
                continue
            if not isinstance(record, StateRecord) or record.partition != number or record.bucket >= record.buckets:
                self.garbage += 1
                continue
            self.of_topics |= {value.decode() for name, value in message.headers() or () if name == OF_TOPIC}
            key = (number, record.engine, record.buckets, record.bucket)
            if key not in best or record.cover >= best[key].cover:
                best[key] = record
        return {number: [best[key] for key in best if key[0] == number] for number in partitions}

    def extent(self, partition: int) -> tuple[int, int]:
        """First offset of the partition of `telemetry`, and its end."""
        consumer = self._consumer()
        try:
            low, high = consumer.get_watermark_offsets(TopicPartition(self._telemetry, partition), timeout=ANSWER_S)
        except KafkaException as error:
            raise self._away(error.args[0]) from None
        finally:
            consumer.close()
        return int(low), int(high)

    def first_from(self, partition: int, offset: int) -> int | None:
        """Offset of the first record of `telemetry` that is there at or after `offset`; None: there is none."""
        consumer = self._consumer()
        try:
            consumer.assign([TopicPartition(self._telemetry, partition, offset)])
            for message in self._polled(consumer, 1):
                return int(message.offset())
        finally:
            consumer.close()
        return None

    def _read(self, at: list[Any]) -> Iterator[Any]:
        if not at:
            return
        consumer = self._consumer()
        try:
            consumer.assign(at)
            yield from self._polled(consumer, len(at))
        finally:
            consumer.close()

    def _polled(self, consumer: Any, partitions: int) -> Iterator[Any]:
        """Every record up to the end of so many partitions."""
        ended = 0
        while ended < partitions:
            message = consumer.poll(ANSWER_S)
            if message is None:
                raise self._away(KafkaError(KafkaError._TIMED_OUT))
            if message.error() is None:
                yield message
            elif message.error().code() == KafkaError._PARTITION_EOF:
                ended += 1
            else:
                raise self._away(message.error())

    def _consumer(self) -> Any:
        configuration: Mapping[str, Any] = {
            **kafka_clients.common(self._settings),
            "group.id": self._settings.topic("openoee-state-reader"),  # never joined, never committed
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 10,
        }
        return Consumer(configuration)

    def _away(self, error: KafkaError) -> AccessRefused | BrokerUnavailable:
        return kafka_clients.failed(self._settings, error)
