"""Results to Kafka: handed over without waiting, and known to be stored before anything is based on them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient

from pipeline import kafka_clients
from pipeline.errors import DeliveryFailed
from pipeline.settings import Settings

RECORD_BYTES = 8_000_000
QUEUE_KBYTES = 65_536
PAUSE_S = 0.002
TELL_EVERY_S = 10.0
STUCK_S = 120.0  # Kafka could store results, and those of this client have waited for so long: another client will do
ASK_S = 5.0
log = logging.getLogger("openoee.worker")


class Outgoing(NamedTuple):
    """A record for one of the line's topics (short name), for the partition that its source came from."""

    topic: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


class Results:
    """Idempotent producer of a worker. It waits for a broker that is away, for as long as that takes.

    `settle` raises DeliveryFailed when Kafka refuses a record for good, or takes those of others alone.
    """

    def __init__(self, settings: Settings) -> None:
        self.sent = self.stored = self._stored_then = 0
        self._free_since = 0.0  # since when Kafka could store results, and stored none
        self._turned_away = False
        self._names = {name: settings.topic(name) for name in _TOPICS}
        self._kafka, self._settings = settings["kafka"], settings
        self._told = -TELL_EVERY_S
        self._failure: KafkaError | None = None
        self._producer = Producer(
            {
                **kafka_clients.common(settings),
                "error_cb": self._heard,
                "client.id": "openoee-worker",
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "lz4",
                "linger.ms": 5,
                "batch.size": 1_000_000,
                "message.max.bytes": RECORD_BYTES,
                "queue.buffering.max.kbytes": QUEUE_KBYTES,
                "message.timeout.ms": 0,  # a broker may be away for an hour: what was folded waits
            }
        )

    async def send(self, records: Iterable[Outgoing], partition: int) -> None:
        """Hand the records over; they are stored once `settle` has returned."""
        for record in records:
            while not self._produce(record, partition):
                self._raise_failure()
                await asyncio.sleep(PAUSE_S)
                self._poll()
        self._poll()
        self._raise_failure()

    async def settle(self) -> None:
        """Return when everything handed over is stored."""
        since = told = self._free_since = time.monotonic()
        self._poll()  # even when nothing is under way: who is turned away hears of it
        while self.stored < self.sent:
            self._poll()
            self._raise_failure()
            if self.stored < self.sent:
                await asyncio.sleep(PAUSE_S)
                now = time.monotonic()
                if now - told > TELL_EVERY_S:
                    told = now
                    await self._tell(now - since)
        self._raise_failure()

    async def _tell(self, waited: float) -> None:
        """Say that results wait, and why; raises DeliveryFailed when there is no reason but this client."""
        waiting = f"Kafka at {self._kafka} has not stored {self.sent - self.stored} results for {waited:.0f} s"
        why = await asyncio.to_thread(self._hindrance)
        self._poll()
        if why or self.stored > self._stored_then:  # away till now, or on its way: it has all its time
            self._free_since = time.monotonic()
        self._stored_then = self.stored
        if time.monotonic() - self._free_since > STUCK_S and self.stored < self.sent:
            raise DeliveryFailed(
                f"{waiting}, though it answers others. Nothing is lost: the worker goes on from its last snapshot when"
                " it is started again"
            )
        log.warning("%s: waiting%s", waiting, f" ({why})" if why else "")

    def _hindrance(self) -> str:
        """Why Kafka cannot store results now, as a client hears that has just come; empty when it could."""
        try:
            known = AdminClient(kafka_clients.common(self._settings)).list_topics(timeout=ASK_S).topics
        except KafkaException as error:
            return str(kafka_clients.failed(self._settings, error.args[0]))
        for name in self._names.values():
            parts = known[name].partitions.values() if name in known else ()
            short = [part.id for part in parts if part.leader < 0 or 2 * len(part.isrs) <= len(part.replicas)]
            if short or not parts:
                return f"{name} lacks replicas or leaders" if short else f"there is no {name}"
        return ""

    def _produce(self, record: Outgoing, partition: int) -> bool:
        try:
            self._producer.produce(
                self._names[record.topic], record.value, record.key, partition, on_delivery=self._delivered,
                headers=list(record.headers),
            )  # fmt: skip
        except BufferError:
            return False
        except KafkaException as error:
            raise DeliveryFailed(
                f"{self._names[record.topic]} does not take a record of {len(record.value):,} bytes "
                f"(key {record.key[:80]!r}): {error.args[0].str()}"
            ).at(topic=self._names[record.topic], partition=partition) from None
        self.sent += 1
        return True

    def _poll(self) -> None:
        """Take in what Kafka says."""
        self._producer.poll(0)
        if self._turned_away:
            self._turned_away = False
            kafka_clients.renew_password(self._settings, self._producer)

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        if error is None:
            self.stored += 1
        elif self._failure is None:
            self._failure = error

    def _heard(self, error: KafkaError) -> None:
        refused = kafka_clients.heard(self._settings, error)
        self._turned_away |= refused is not None
        if refused is not None and time.monotonic() - self._told > TELL_EVERY_S:
            self._told = time.monotonic()
            log.warning("waiting: %s", refused)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise DeliveryFailed(
                f"Kafka at {self._kafka} refused a result: {self._failure.str()}. Nothing is lost: the worker goes on "
                "from its last snapshot when it is started again"
            )


_TOPICS = ("telemetry", "oee", "intervals", "anomalies", "incidents", "dead-letters", "state")
