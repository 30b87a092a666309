"""One message per incident to a webhook.

The order of safety: 1. POST, until the receiver takes or refuses it, 2. its notice is stored in the topic `notices`,
3. the offset is committed. Whoever is given partitions reads `notices` to its end first. A kill -9 between 1 and 2
leaves no trace of the POST: the receiver then sees the same `Idempotency-Key` again, and drops it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from pipeline import kafka_clients, notices
from pipeline.codec import Codec, Notice
from pipeline.core.model import Incident
from pipeline.crash import CrashPoint
from pipeline.errors import ParkError, RetryError
from pipeline.notify_health import NotifyHealth
from pipeline.settings import Settings
from pipeline.topics import NOTIFY_GROUP
from pipeline.webhook import Webhook

POLL_S = 0.2
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 60.0
TOO_OLD_MS = 24 * 3_600_000  # a topic that is read again pages nobody
OPENED, CLOSED = "opened", "closed"
SENT, REFUSED = "sent", "refused"
TOLD = (
    "id", "machine", "site", "line", "opened", "first", "last", "closed", "severity", "flags", "signals", "kinds",
    "signal", "kind", "score", "state", "product", "message",
)  # fmt: skip
log = logging.getLogger("openoee.notify")


class Notifier:
    """A member of the group that sends; `closed`: a second message when an incident that was sent is over.

    Raises SettingError without a webhook, and what the topics raise.
    """

    def __init__(self, settings: Settings, stop: Callable[[], bool], closed: bool = False) -> None:
        self.health = NotifyHealth()
        self._settings, self._stop, self._closed = settings, stop, closed
        self._webhook = Webhook(settings["webhook"], settings.webhook_token)
        self._codec = Codec.agreed(settings.registry)
        self._notices = notices.Notices(settings, self._codec)
        self._done: dict[str, str] = {}
        self._held: list[Message] = []
        self._dealt = False  # partitions were given to us, and `notices` was not read since
        self._crash = CrashPoint(settings["crash_at"])
        self._consumer = Consumer({
            **kafka_clients.common(settings), "group.id": settings.topic(NOTIFY_GROUP), "client.id": "openoee-notify",
            "enable.auto.commit": False, "auto.offset.reset": "earliest",
            "partition.assignment.strategy": "range", "session.timeout.ms": settings.int("session_s") * 1000,
        })  # fmt: skip
        self._consumer.subscribe([settings.topic("incidents")], on_assign=self._on_assign, on_revoke=self._on_revoke)

    def run(self) -> None:
        """Send until told to stop. A message that is being tried then stays uncommitted: the next start sends it."""
        try:
            while not self._stop():
                message = self._held.pop(0) if self._held else self._consumer.poll(POLL_S)
                if message is None:
                    continue
                if message.error() is not None:
                    self._heard(message.error())
                elif self._ready() and self._handle(message):
                    self._commit(message)
        finally:
            self.health.joined = False
            self._consumer.close()

    def _ready(self) -> bool:
        """Read `notices` to the end after partitions were dealt out; False: told to stop meanwhile."""
        while self._dealt and not self._stop():
            self._dealt = False
            try:
                self._done = notices.read(self._settings, self._codec)
            except RetryError as error:
                self._dealt = True
                log.warning("%s; trying again", error)
                time.sleep(FIRST_PAUSE_S)
        return not self._stop()

    def _handle(self, message: Message) -> bool:
        """True: this record needs no more; False: left uncommitted, somebody reads it again."""
        try:
            incident = self._codec.decode(message.value())
        except ParkError as error:  # the sink parks it where people look
            log.warning(
                "passed over: %s/%d offset %d: %s", message.topic(), message.partition(), message.offset(), error
            )
            return True
        if not isinstance(incident, Incident):
            return True
        return all(self._tell(incident, what) for what in self._due(incident))

    def _due(self, incident: Incident) -> list[str]:
        opened = incident.page and not incident.muted and f"{incident.id}/{OPENED}" not in self._done
        sent = opened or self._done.get(f"{incident.id}/{OPENED}") == SENT
        over = self._closed and incident.closed is not None and sent and f"{incident.id}/{CLOSED}" not in self._done
        return [OPENED] * opened + [CLOSED] * over

    def _tell(self, incident: Incident, what: str) -> bool:
        message: dict[str, Any] = {"what": what, **{name: getattr(incident, name) for name in TOLD}}
        key, attempts, pause = f"{incident.id}/{what}", 0, FIRST_PAUSE_S
        while time.time_ns() // 1_000_000 - incident.last < TOO_OLD_MS:
            answer = self._webhook.post(message, key)
            attempts += 1
            if not answer.again:
                break
            self.health.waits(answer.why)
            log.warning("%s: %s; trying again in %.1f s", key, answer.why, pause)
            if not self._idle(pause):
                return False
            pause = min(2 * pause, LONGEST_PAUSE_S)
        else:
            self.health.answered()
            log.info("%s: not sent, its last flag is older than 24 h", key)
            return True
        self.health.answered()
        self._crash("after_post")
        outcome = SENT if answer.taken else REFUSED
        if not answer.taken:
            log.error("%s: refused, not sent again: %s", key, answer.why)
        at = time.time_ns() // 1_000_000
        notice = Notice(incident.id, incident.machine, what, outcome, answer.status, attempts, at)
        if not self._notices.keep(notice, self._stop):
            log.warning("%s: its notice is not stored, the next start sends the same again", key)
            return False
        self._done[key] = outcome
        self.health.messages[what, outcome] += 1
        return True

    def _idle(self, seconds: float) -> bool:
        """Stay in the group for a while; False when told to stop or when partitions were dealt out again."""
        paused = self._consumer.assignment()
        self._consumer.pause(paused)
        deadline = time.monotonic() + seconds
        try:
            while (left := deadline - time.monotonic()) > 0 and not self._stop() and not self._dealt:
                message = self._consumer.poll(min(left, POLL_S))
                if message is not None:
                    self._held.append(message)
        finally:
            self._consumer.resume(paused)
        return not self._stop() and not self._dealt and self.health.joined

    def _commit(self, message: Message) -> None:
        try:
            self._consumer.commit(message=message, asynchronous=False)
        except KafkaException as error:  # a later one covers it; whoever reads it again finds its notice
            log.warning("Kafka does not take a commit (%s): going on", error.args[0].str())

    def _heard(self, error: KafkaError) -> None:
        refused = kafka_clients.refusal(self._settings, error)
        if refused is not None:
            raise refused
        log.warning("Kafka: %s", error.str())

    def _on_assign(self, _: Consumer, __: list[TopicPartition]) -> None:
        self._held.clear()
        self._dealt = self.health.joined = True

    def _on_revoke(self, _: Consumer, __: list[TopicPartition]) -> None:
        self._held.clear()
        self.health.joined = False
