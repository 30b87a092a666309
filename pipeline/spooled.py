"""Machines to Kafka through a spool: a record is on disk before it is sent, and stays there until Kafka has it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType

from confluent_kafka import KafkaError, KafkaException, Message

from pipeline import spool_files
from pipeline.core.model import Control, Frame
from pipeline.errors import BrokerUnavailable, DeliveryFailed, OpenOeeError, SpoolFull, SpoolUnusable
from pipeline.producer import POLL_EVERY, RECORD_BYTES, Encoder, TelemetryProducer, address_of, too_large
from pipeline.settings import Settings
from pipeline.spool import Fill, Place, Spool

log = logging.getLogger("openoee.spool")
LONGEST_S = 2_000_000.0  # three weeks: the client gives no record up, for one given up would come after its successors
WIRE_BYTES = 1_000  # what Kafka's format adds to key and value, at most
FLIGHT_RECORDS, FLIGHT_BYTES = 50_000, 32_000_000  # within what the client queues, so it never refuses for want of room
BATCH = 1_000
BUSY_S, IDLE_S = 0.0005, 0.02
STALL_S = 10.0  # without an acknowledgement for so long Kafka counts as out of reach
AGAIN_S, REFUSED_AGAIN_S = 1.0, 0.1
REMIND_S = 60.0
PURGE_S = 5.0
REFUSED = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG, KafkaError.INVALID_RECORD}  # by what is in them


@dataclass(slots=True)
class _Sent:
    """A record on its way to Kafka; one that is damaged (`records` 0) is only passed over in its turn."""

    place: Place
    size: int
    records: int = 1
    stored: bool = False


def open_producer(
    settings: Settings, codec: Encoder, journal: Path | None = None, give_up: Callable[[], bool] = lambda: False
) -> TelemetryProducer:
    """The producer of a source: through a spool where the settings name one."""
    if settings["spool"]:
        return SpooledProducer(settings, codec, journal, give_up=give_up)
    return TelemetryProducer(settings, codec, journal)


class SpooledProducer(TelemetryProducer):
    """A TelemetryProducer with the settings' spool between the caller and Kafka; a context manager, one caller.

    1 `send` writes the record to the spool: from then on it survives this process. 2 It is handed to Kafka in the order
    of `send`, at once or when its turn comes: first what an earlier process left. 3 What Kafka has acknowledged without
    a gap leaves the spool. After any error the client is made anew and everything from the gap on is sent again, so
    records of a machine never overtake each other; the repeats have equal numbers and count once.

    Entering needs no broker. When the spool is full `send` waits, unless `give_up` says true: then it raises SpoolFull,
    and the record was not taken. A source that cannot wait gives `lambda: True`. `flush` gives up after `timeout_s`
    without an acknowledgement; what is not stored by then stays in the spool.
    """

    def __init__(
        self,
        settings: Settings,
        codec: Encoder,
        journal: Path | None = None,
        timeout_s: float = 120.0,
        give_up: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(settings, codec, journal, LONGEST_S)
        self.earlier = self.refused = 0  # records of before that are stored now; records set aside
        self._settings = settings
        self._timeout_s = timeout_s
        self._give_up = give_up
        self._sync_s = settings.int("spool_sync_ms") / 1000 or 1.0
        durable = not settings.int("spool_sync_ms")
        self.spool = Spool(Path(settings["spool"]), settings.int("spool_mb") << 20, durable)
        self._synced = self._progress = time.monotonic()
        self._reminded = self._not_before = 0.0
        self._flight: deque[_Sent] = deque()
        self._flying = 0
        self._most = FLIGHT_RECORDS
        self._fault: tuple[KafkaError, _Sent, bytes] | None = None
        self._stalled = False
        self._broken: OpenOeeError | None = None
        self._lock = threading.Condition()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)

    def __enter__(self) -> SpooledProducer:
        self.spool.open(self._topic)
        try:
            self._reach()
            self._open_journal()
        except BaseException:
            self.spool.close()
            raise
        self._progress = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.flush()
        finally:
            self._over.set()
            self._thread.join()
            with self._lock:
                self._producer.flush(AGAIN_S)
                self._take_in()
                self._producer.purge()
                self._close_journal()
                self.spool.close()

    def send(self, message: Frame | Control) -> None:
        """Takes one record: when this returns, no kill loses it. Waits while the spool is full.

        Raises DeliveryFailed (too large), SpoolFull (see above), SpoolUnusable (the disk fails).
        """
        body = self._codec.encode(message)
        key, address = message.machine.encode(), address_of(message)
        if len(key) + len(body) > RECORD_BYTES - WIRE_BYTES:
            raise too_large(address, len(body))
        with self._lock:
            self._check()
            level, place = self._keep(key, address.encode(), body)
            self._count(message, body)
            if level and self._room():
                self.spool.take(place)
                self._post(place, key, address.encode(), body)
            if self.sent % POLL_EVERY == 0:
                self._turn(4 * POLL_EVERY)  # what waits leaves faster than new records come

    def flush(self, within_s: float | None = None) -> None:
        """Returns when everything sent, and everything found in the spool, is stored by Kafka.

        Raises BrokerUnavailable when it is not `within_s`, or (None) when nothing was stored for the time-out: it stays
        in the spool. Raises DeliveryFailed when Kafka refused records for good, which were set aside.
        """
        began = time.monotonic()
        patience = self._timeout_s if within_s is None else within_s
        with self._lock:
            while not self.spool.drained:
                self._check()
                if time.monotonic() - (began if within_s is not None else max(began, self._progress)) > patience:
                    raise self._left()
                self._lock.wait(IDLE_S)
            self._sync_journal()
        if self.refused:
            raise DeliveryFailed(f"Kafka refused {self.refused} records: their bytes are in {self.spool.folder}")

    def settle(self) -> None:
        """Returns when everything sent is safe from a power cut, in Kafka or in the spool."""
        with self._lock:
            self._check()
            paths = self.spool.unsynced()
        spool_files.sync(paths)

    def fill(self) -> Fill:
        return self.spool.fill

    def serve(self) -> None:
        """Nothing to do here; raises what went wrong in the background."""
        self._check()

    # The spool's side

    def _reach(self) -> None:
        if self.spool.left_over:
            log.info("spool %s: %s records of before are sent first", self.spool.folder, f"{self.spool.left_over:,}")
        try:
            self._require_topic()
        except BrokerUnavailable:
            log.warning(
                "Kafka at %s does not answer: going on, records wait in the spool %s", self._kafka, self.spool.folder
            )

    def _keep(self, key: bytes, address: bytes, body: bytes) -> tuple[bool, Place]:
        """Where the record stands in the spool, and whether all before it has been sent."""
        while True:
            level = self.spool.level
            try:
                return level, self.spool.append(key, address, body)
            except SpoolFull as error:
                self._wait_for_room(error)

    def _wait_for_room(self, error: SpoolFull) -> None:
        if self._give_up():
            raise SpoolFull(f"{error}: this record was not taken, {self.spool.records:,} wait for Kafka") from None
        if time.monotonic() - self._reminded > REMIND_S:
            self._reminded = time.monotonic()
            log.warning("%s: the source waits until Kafka has taken records", error)
        self._lock.wait(IDLE_S)
        self._check()

    def _check(self) -> None:
        if self._broken is not None:
            raise self._broken

    def _left(self) -> BrokerUnavailable:
        return BrokerUnavailable(
            f"Kafka at {self._kafka} has not acknowledged {self.spool.records:,} records; they are safe in the spool "
            f"{self.spool.folder} and are sent first by the next producer that is given it"
        )

    # Kafka's side; `_lock` is held

    def _room(self) -> bool:
        """Whether Kafka may be given another record now."""
        return (
            len(self._flight) < self._most
            and self._flying < FLIGHT_BYTES
            and self._fault is None
            and (not self._not_before or time.monotonic() > self._not_before)
        )

    def _post(self, place: Place, key: bytes, address: bytes, body: bytes) -> None:
        sent = _Sent(place, len(body))
        self._flight.append(sent)
        self._flying += sent.size
        came = partial(self._came, sent, address)
        try:
            self._producer.produce(self._topic, value=body, key=key, on_delivery=came)
        except BufferError:
            self._fault = (KafkaError(KafkaError._QUEUE_FULL), sent, address)
        except KafkaException as error:
            self._fault = (error.args[0], sent, address)

    def _came(self, sent: _Sent, address: bytes, error: KafkaError | None, stored: Message) -> None:
        if error is None:
            sent.stored = True
            self._note(address.decode(), stored)
        elif self._fault is None:
            self._fault = (error, sent, address)

    def _turn(self, most: int) -> bool:
        """Takes in what Kafka says and gives it up to so many records of the spool; whether there is more to give."""
        self._producer.poll(0)
        self._take_in()
        if self._fault is not None:
            self._begin_again(*self._fault)
        for _ in range(most):
            found = self.spool.read() if self._room() else None
            if found is None:
                return False
            place, entry = found
            if entry is None:
                self._flight.append(_Sent(place, 0, 0, True))
            else:
                self._post(place, entry.key, entry.address, entry.value)
        return True

    def _take_in(self) -> None:
        """What is stored without a gap leaves the spool."""
        place, records = None, 0
        while self._flight and self._flight[0].stored:
            sent = self._flight.popleft()
            place, records = sent.place, records + sent.records
            self._flying -= sent.size
        if place is not None:
            self._not_before = 0.0
            if not self._flight:
                self._most = min(FLIGHT_RECORDS, 2 * self._most)
            self._pass(place, records)

    def _pass(self, place: Place, records: int) -> None:
        self.spool.acknowledge(place, records)
        self.earlier += (old := min(records, self.spool.left_over - self.earlier))
        self.acknowledged += records - old
        self._progress = time.monotonic()
        if self._stalled:
            self._stalled = False
            log.info("Kafka at %s takes records again, %s wait", self._kafka, f"{self.spool.records:,}")
        self._lock.notify_all()

    def _begin_again(self, error: KafkaError, sent: _Sent, address: bytes) -> None:
        """A new client for what is not acknowledged; fewer records at a time, until a refused one stands alone."""
        self._producer.purge()
        self._producer.flush(PURGE_S)
        self._take_in()
        refused = error.code() in REFUSED
        alone = len(self._flight) == 1 and self._flight[0] is sent
        self._most = max(1, len(self._flight) // 2) if refused else 1
        self._not_before = time.monotonic() + (REFUSED_AGAIN_S if refused else AGAIN_S)
        self._flight.clear()
        self._flying, self._fault = 0, None
        self._producer = TelemetryProducer(self._settings, self._codec, None, LONGEST_S)._producer
        self.spool.rewind()
        if alone and refused:
            self._set_aside(error, address)
        elif time.monotonic() - self._reminded > REMIND_S:
            self._reminded = time.monotonic()
            log.warning("%s: %s; sending again from there", self._topic, error.str())

    def _set_aside(self, error: KafkaError, address: bytes) -> None:
        found = self.spool.read()
        assert found is not None
        place, entry = found
        assert entry is not None
        self.spool.set_aside(place, entry, f"Kafka refuses the record {address.decode()!r} ({error.str()})")
        self.refused += 1
        self.spool.acknowledge(place, 1)

    # In the background

    def _run(self) -> None:
        pause = IDLE_S
        try:
            while not self._over.wait(pause):
                with self._lock:
                    busy = self._turn(BATCH)
                    self._watch()
                    paths = self._due()
                spool_files.sync(paths)
                pause = BUSY_S if busy else IDLE_S
        except OpenOeeError as error:
            self._broken = error
        except Exception as error:  # whatever it is: the caller must hear of it
            self._broken = SpoolUnusable(f"the spool {self.spool.folder} stopped: {type(error).__name__} {error}")

    def _watch(self) -> None:
        now = time.monotonic()
        if self.spool.drained:
            self._progress = now
        elif now - self._progress > STALL_S and not self._stalled:
            self._stalled = True
            log.warning(
                "Kafka at %s has taken nothing for %d s: %s records wait in the spool %s (%.1f %% full)",
                self._kafka, STALL_S, f"{self.spool.records:,}", self.spool.folder,
                100 * self.spool.used / self.spool.limit,
            )  # fmt: skip

    def _due(self) -> list[Path]:
        """At its pace: how far Kafka is, and the files that the disk should write."""
        now = time.monotonic()
        if now - self._synced < self._sync_s:
            return []
        self._synced = now
        self.spool.save_position()
        return self.spool.unsynced()
