"""Machines to Kafka: frames and controls, idempotent, keyed by machine, each delivery verified."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from prometheus_client import Histogram

from pipeline import kafka_clients, metrics
from pipeline.core.model import Control, Frame
from pipeline.errors import BrokerUnavailable, DeliveryFailed, OpenOeeError, TopicMismatch
from pipeline.framer import Framer
from pipeline.metrics import Value
from pipeline.settings import Settings
from pipeline.spool import Fill

__all__ = ["Encoder", "Framer", "ProducerHealth", "TelemetryProducer"]

RECORD_BYTES = 4_000_000  # the topic takes 4 MiB
QUEUE_KBYTES = 65_536
POLL_EVERY = 256
ASK_S = 2.0
AWAY = {KafkaError._MSG_TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT}
JOURNAL_HEADER = "machine\tsource\tepoch\tsequence\tpartition\toffset\n"


class Encoder(Protocol):
    """What the producer needs of a codec."""

    def encode(self, message: Any) -> bytes: ...


class TelemetryProducer:
    """Sends frames and controls to the topic `telemetry`; a context manager that flushes when it is left.

    `journal` is a file (TSV, appended) that gets one line per acknowledged record, written and synced by `flush`.
    `timeout_s` is how long a record may wait for its acknowledgement. Memory is bounded: when Kafka is slower than
    the caller, `send` waits. Entering raises BrokerUnavailable when nothing answers, TopicMismatch without the topic,
    AccessRefused when Kafka does not let us.
    """

    def __init__(
        self, settings: Settings, codec: Encoder, journal: Path | None = None, timeout_s: float = 120.0
    ) -> None:
        self.sent = self.acknowledged = self.failed = self.bytes = self.values = 0
        self._kafka, self._settings = settings["kafka"], settings
        self._topic = settings.topic("telemetry")
        self._codec = codec
        self._timeout_s = timeout_s
        self._journal_path = journal
        self._journal: IO[str] | None = None
        self._first_error: KafkaError | None = None
        self._first_failed = ""
        self._producer = Producer(
            {
                **kafka_clients.common(settings),
                "client.id": "openoee-producer",
                "enable.idempotence": True,
                "acks": "all",
                "partitioner": "murmur2_random",
                "compression.type": "lz4",
                "linger.ms": 10,
                "batch.size": 1_000_000,
                "message.max.bytes": RECORD_BYTES,
                "queue.buffering.max.kbytes": QUEUE_KBYTES,
                "delivery.timeout.ms": int(timeout_s * 1000),
                "socket.connection.setup.timeout.ms": 5000,
            }
        )

    def __enter__(self) -> TelemetryProducer:
        self._require_topic()
        self._open_journal()
        return self

    def _require_topic(self) -> None:
        try:
            topic = self._producer.list_topics(self._topic, timeout=min(self._timeout_s, 10)).topics.get(self._topic)
        except KafkaException as error:
            self._producer.poll(0)  # takes in what the client heard of itself
            raise self._away(error.args[0]) from None
        if topic is not None and topic.error is not None:
            self._require_access(topic.error)
        if topic is None or topic.error is not None:
            raise TopicMismatch(f"Kafka at {self._kafka} has no topic {self._topic}: run `openoee topics` first")

    def _open_journal(self) -> None:
        if self._journal_path is not None:
            self._journal = self._journal_path.open("a", encoding="utf-8")
            if not self._journal.tell():
                self._journal.write(JOURNAL_HEADER)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.flush()
            else:
                self._producer.flush(5)
        finally:
            self._close_journal()

    def send(self, message: Frame | Control) -> None:
        """Hands one record over; it is safe after the next `flush`. Raises what `flush` raises, as soon as known."""
        if self._first_error is not None:
            raise self._failure()
        body = self._codec.encode(message)
        delivered = partial(self._delivered, address_of(message))
        key = message.machine.encode()
        while True:
            try:
                self._producer.produce(self._topic, value=body, key=key, on_delivery=delivered)
                break
            except BufferError:
                self._producer.poll(0.1)
                if self._first_error is not None:
                    raise self._failure() from None
            except KafkaException as error:
                raise self._refused(error.args[0], message, len(body)) from None
        self._count(message, body)
        if self.sent % POLL_EVERY == 0:
            self._producer.poll(0)

    def flush(self, within_s: float | None = None) -> None:
        """Returns when everything sent is stored by Kafka, within `within_s` (default: the time-out of a record).

        Raises BrokerUnavailable when Kafka stopped answering, DeliveryFailed when it refused a record; both tell how
        many records were not stored.
        """
        left = self._producer.flush(self._timeout_s + 10 if within_s is None else within_s)
        self._sync_journal()
        if self._first_error is not None:
            raise self._failure()
        if left:
            raise self._away(KafkaError(KafkaError._TIMED_OUT))

    def settle(self) -> None:
        """Returns when everything sent is safe: without a spool, when Kafka has it. Raises what `flush` raises."""
        self.flush()

    def serve(self) -> None:
        """Takes in what Kafka acknowledged; for senders that pause. Raises what `flush` raises, as soon as known."""
        self._producer.poll(0)
        if self._first_error is not None:
            raise self._failure()

    def fill(self) -> Fill | None:
        """How full its spool is; None without one."""
        return None

    def unready(self) -> str:
        """Why records cannot be sent now, in one sentence; empty when Kafka answers. For another thread, too."""
        if self._first_error is not None:
            return str(self._failure())
        try:
            self._producer.list_topics(self._topic, timeout=ASK_S)
        except KafkaException as error:
            return f"Kafka at {self._kafka} does not answer ({error.args[0].str()})"
        return ""

    def _count(self, message: Frame | Control, body: bytes) -> None:
        self.sent += 1
        self.bytes += len(body)
        if isinstance(message, Frame):
            self.values += sum(block.values.size for block in message.signals)

    def _delivered(self, address: str, error: KafkaError | None, stored: Message) -> None:
        if error is None:
            self.acknowledged += 1
            self._note(address, stored)
            return
        self.failed += 1
        if self._first_error is None:
            self._first_error = error
            self._first_failed = address

    def _note(self, address: str, stored: Message) -> None:
        if self._journal is not None:
            self._journal.write(f"{address}\t{stored.partition()}\t{stored.offset()}\n")

    def _sync_journal(self) -> None:
        if self._journal is not None:
            self._journal.flush()
            os.fsync(self._journal.fileno())

    def _close_journal(self) -> None:
        if self._journal is not None:
            self._sync_journal()
            self._journal.close()
            self._journal = None

    def _require_access(self, error: KafkaError) -> None:
        refused = kafka_clients.refusal(self._settings, error)
        if refused is not None:
            raise refused from None

    def _failure(self) -> OpenOeeError:
        assert self._first_error is not None
        self._require_access(self._first_error)
        if self._first_error.code() in AWAY:
            return self._away(self._first_error)
        if self._first_error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            return too_large(self._first_failed, None)
        return DeliveryFailed(
            f"Kafka at {self._kafka} did not store {self._counts()}: {self._first_error.str()}; "
            f"the first one was {self._first_failed!r}"
        )

    def _away(self, error: KafkaError) -> BrokerUnavailable:
        self._require_access(error)
        lost = f"; {self._counts()} not stored" if self.sent else ""
        return BrokerUnavailable(
            f"Kafka at {self._kafka} does not answer ({error.str()}){lost}. "
            "Start it (`openoee up`) or name another one (--kafka, OPENOEE_KAFKA), then send again"
        )

    def _counts(self) -> str:
        return f"{self.sent - self.acknowledged} of {self.sent} records"

    def _refused(self, error: KafkaError, message: Frame | Control, size: int) -> OpenOeeError:
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            return too_large(address_of(message), size)
        return DeliveryFailed(f"{self._topic}: {error.str()}; the record was {address_of(message)!r}")


def address_of(message: Frame | Control) -> str:
    """Machine, source, epoch and sequence of a frame, tab-separated; a control's source is its id, sequence -1."""
    if isinstance(message, Frame):
        return f"{message.machine}\t{message.source}\t{message.epoch}\t{message.sequence}"
    return f"{message.machine}\tcontrol {message.id}\t{message.issued}\t-1"


def too_large(address: str, size: int | None) -> DeliveryFailed:
    machine, source, _, sequence = address.split("\t")
    length = "" if size is None else f" of {size:,} bytes"
    return DeliveryFailed(
        f"record{length} of machine {machine}, source {source}, sequence {sequence} is larger than the topic takes "
        f"(at most {RECORD_BYTES:,} bytes): close frames sooner (OPENOEE_FRAME_SAMPLES, OPENOEE_FRAME_MS)"
    )


class ProducerHealth:
    """Of one process that produces; `producer` is set as soon as there is one."""

    process = metrics.PRODUCER
    measured: tuple[Histogram, ...] = ()

    def __init__(self) -> None:
        self.producer: TelemetryProducer | None = None

    def unready(self) -> str:
        return "it has not begun to send" if self.producer is None else self.producer.unready()

    def values(self) -> Iterator[Value]:
        if (producer := self.producer) is None:
            return
        settled = producer.acknowledged + producer.failed  # read before what was sent, so that none seems to wait
        for name, number in (
            ("acknowledged_total", producer.acknowledged), ("failed_total", producer.failed),
            ("records_total", producer.sent), ("values_total", producer.values), ("bytes_total", producer.bytes),
            ("waiting_records", max(0, producer.sent - settled)),
        ):  # fmt: skip
            yield Value(f"openoee_producer_{name}", number)
        if (spool := producer.fill()) is not None:
            yield Value("openoee_producer_spool_bytes", spool.used)
            yield Value("openoee_producer_spool_limit_bytes", spool.limit)
            yield Value("openoee_producer_spool_records", spool.records)
