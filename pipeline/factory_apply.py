"""A factory file to the running line: from when on, what changes, a record per machine, the file into the archive."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from pipeline import kafka_clients
from pipeline.archive import keep
from pipeline.codec import Codec, FactoryFile
from pipeline.errors import DeliveryFailed, FactoryFileError, OpenOeeError, TopicMismatch, UsageError
from pipeline.factory import Factory, archive, changes, controls, loads
from pipeline.factory_calendar import MOMENTS, moment_ms
from pipeline.producer import TelemetryProducer
from pipeline.settings import Settings

log = logging.getLogger("openoee.factory")
ANSWER_S = 15.0


def effective_from(said: str | None, now: int, factory: Factory, known: bool, restate: bool) -> int:
    """From when on a file holds (UTC ms, 0: always), as --effective says it; without it a known site's past stays.

    Raises UsageError for what is no moment, and for a known site's past unless it is to be restated.
    """
    text = said or ("now" if known else "always")
    if text == "now":
        return now
    try:
        since = 0 if text == "always" else moment_ms(text, ZoneInfo(factory.timezone))
    except ValueError as error:
        problem = f"--effective {text!r} is no moment in time ({error})"
        raise UsageError(f"{problem}: write now, always, or {MOMENTS}") from None
    if known and since < now and not restate:
        results = f"the results since {iso(since)}" if since else "all results"
        raise UsageError(
            f"--effective {text!r} would rewrite {results} of {len(factory.machines)} machines of {factory.site}, "
            "closed shifts included: add --restate if you want that, or leave --effective out, and it holds from now on"
        )
    return since


def differences(before: FactoryFile | None, factory: Factory) -> list[str]:
    """What differs from the file that was applied last, in sentences; its holidays are those of the year it was in."""
    try:
        return changes(loads(before.text, year=year_of(before.applied)) if before else None, factory)
    except FactoryFileError:  # kept by another version of openoee, whose format this one does not read
        return ["what was applied last cannot be compared: its format is another one"]


def year_of(at_ms: int) -> int:
    """The year (UTC) of an instant."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).year


def iso(at_ms: int) -> str:
    """An instant for a person, UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def apply(factory: Factory, settings: Settings, codec: Codec, issued: int, by: str, effective: int) -> int:
    """Send the factory; returns the number of machines told. Times in UTC ms.

    The archive is written last: what stands there has reached every machine. Raises BrokerUnavailable, TopicMismatch,
    DeliveryFailed; sending the same file again is harmless.
    """
    with TelemetryProducer(settings, codec) as producer:
        for control in controls(factory, issued, by, effective):
            producer.send(control)
        producer.flush()
    record = archive(factory, issued, by, effective)
    keep("factory", record.site, record, settings, codec)
    return len(factory.machines)


def announce(
    producer: TelemetryProducer, factory: Factory, settings: Settings, codec: Codec, issued: int, by: str
) -> int:
    """As `apply`, from always on, ahead of what `producer` sends; with a spool Kafka may be away.

    Then the archive, which serves the next `openoee factory apply` alone, is left out, and that is told.
    """
    if not settings["spool"]:
        return apply(factory, settings, codec, issued, by, 0)
    for control in controls(factory, issued, by, 0):
        producer.send(control)
    producer.settle()
    record = archive(factory, issued, by, 0)
    try:
        keep("factory", record.site, record, settings, codec)
    except DeliveryFailed as error:
        log.warning("the factory file of %s is on its way, but: %s", record.site, error)
    return len(factory.machines)


def last_applied(site: str, settings: Settings, codec: Codec) -> FactoryFile | None:
    """The file that was applied last for a site, None for a new one. Raises BrokerUnavailable, TopicMismatch."""
    topic = settings.topic("factory")
    consumer = Consumer(
        {
            **kafka_clients.common(settings),
            "group.id": settings.topic("openoee-factory"),  # required, never joined: partitions are assigned by hand
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    try:
        return _newest(consumer, topic, site, codec)
    except KafkaException as error:
        raise _mapped(error.args[0], topic, settings) from None
    finally:
        consumer.close()


def _newest(consumer: Consumer, topic: str, site: str, codec: Codec) -> FactoryFile | None:
    deadline = time.monotonic() + ANSWER_S
    _require_leader(consumer, topic, deadline)
    consumer.assign([TopicPartition(topic, 0, 0)])
    newest: FactoryFile | None = None
    while time.monotonic() < deadline:
        record = consumer.poll(1.0)
        if record is None:
            continue
        if record.error() is not None:
            if record.error().code() == KafkaError._PARTITION_EOF:
                return newest
            raise KafkaException(record.error())
        if record.key() == site.encode() and record.value() is not None:
            found = codec.decode(record.value())
            newest = found if isinstance(found, FactoryFile) else newest
    raise KafkaException(KafkaError(KafkaError._TIMED_OUT))


def _require_leader(consumer: Consumer, topic: str, deadline: float) -> None:
    """Fail at once without topic or broker; a topic that was made a moment ago may still be without a leader."""
    while True:
        try:
            consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=ANSWER_S)
            return
        except KafkaException as error:
            electing = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)
            if error.args[0].code() not in electing or time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def _mapped(error: KafkaError, topic: str, settings: Settings) -> OpenOeeError:
    if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION):
        return TopicMismatch(f"Kafka at {settings['kafka']} has no topic {topic}: run `openoee topics --create` first")
    return kafka_clients.failed(settings, error, "start it (`openoee up`) or name another one (--kafka)")
