"""Refused records sent again: as they were, in part, or mended; each recognisable afterwards.

The order of safety: 1. the record goes to `telemetry`, with the address that it had as a header; 2. when Kafka has it,
its letter is written once more, with the new address as a header. Who is stopped in between may do the same again: a
frame counts once by its number, a control by its id.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from pipeline import avro_json, kafka_clients, rows
from pipeline.codec import Codec
from pipeline.core.admission import admit, refused
from pipeline.core.model import Control, DeadLetter, Frame
from pipeline.dead_letters import BY, MENDED, REPLAYED, Address, Choice, Parked, find
from pipeline.errors import BrokerUnavailable, DeliveryFailed, ParkError, UsageError
from pipeline.settings import Access, Settings

ANSWER_S = 30.0
RECORD_BYTES = 8_000_000
AT_ONCE_BYTES = 64 << 20  # letters that are held at once
SOURCE = "replay"  # of what was refused of a frame: its own number has been seen, and would not count again


@dataclass(frozen=True)
class Sendable:
    """What would be sent for a refused record. `unusable`: why it would be refused again; empty: it can be decoded."""

    parked: Parked
    key: bytes | None
    value: bytes
    what: str
    unusable: str = ""
    mended: bool = False


@dataclass(frozen=True)
class Sent:
    """Done: it stands at `to` now."""

    sendable: Sendable
    to: Address


def chunks(parked: Iterable[Parked]) -> Iterator[list[Parked]]:
    """Records that may be held at once, with all their bytes."""
    chunk: list[Parked] = []
    size = 0
    for one in parked:
        if chunk and size + one.size > AT_ONCE_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(one)
        size += one.size
    if chunk:
        yield chunk


def with_bytes(settings: Settings, codec: Codec, chunk: Sequence[Parked]) -> list[Parked]:
    """The same records with their bytes and every reason, oldest first: in the order in which they came."""
    addresses = frozenset(one.address for one in chunk)
    found = find(settings, codec, Choice(addresses=addresses), whole=True)
    return sorted(found.parked, key=lambda one: (one.arrived, one.address))


def forbidden(parked: Parked, settings: Settings) -> str:
    """Why a record must not be sent again; empty when it may."""
    if parked.address.topic != settings.topic("telemetry"):
        return (
            f"{parked.address} is no telemetry: results are made by the worker, and only made again from telemetry."
            " Mend what wrote that record"
        )
    return "" if parked.size else f"{parked.address} holds no bytes: there is nothing to send; --mend can send a record"


def sendable(parked: Parked, codec: Codec, now_ms: int, max_future_ms: int) -> Sendable:
    """What is sent when nothing is mended: the bytes as they were, or the part of a frame that was refused.

    Raises RegistryUnavailable.
    """
    value = parked.value or b""
    try:
        message = rows.read(codec, False, parked.key, value)
    except ParkError as error:
        if error.reason == "no_key":
            named = _message(codec, value)
            return Sendable(parked, named.machine.encode(), value, f"its bytes, with the key {named.machine!r}")
        return Sendable(parked, parked.key, value, "its bytes", f"{error.reason}: {error}")
    assert isinstance(message, Frame | Control)
    if isinstance(message, Control) or not parked.judged:
        return Sendable(parked, parked.key, value, f"its bytes, {_called(message)}")
    rest = refused_part(message, parked)
    _, out = admit(rest, now_ms, max_future_ms)
    left = ", ".join(f"{reason}: {entries} entries" for reason, entries in sorted(out.items()))
    if "too_late" in parked.refusals and not left:
        left = "too_late: what could not change then cannot change now"
    what = f"what was refused of {_called(message)}, as {_called(rest)}"
    return Sendable(parked, rest.machine.encode(), codec.encode(rest), what, left)


def refused_part(frame: Frame, parked: Parked) -> Frame:
    """The refused entries of a frame, under a number of their own: that of the frame has been seen."""
    counted = {refusal.reason: refusal.entries for refusal in parked.refusals.values()}
    return replace(refused(frame, counted), source=SOURCE, epoch=0, sequence=parked.address.offset)


def mended(parked: Parked, document: Any, codec: Codec) -> Sendable:
    """What is sent when somebody has corrected it: the `record` of a document as `show --json` prints it.

    Raises UsageError saying what is wrong with it.
    """
    record = _record_of(document, parked)
    ((name, fields),) = record.items()
    value = avro_json.written(name, fields)
    try:
        message = _message(codec, value)
    except ParkError as error:
        raise UsageError(f"the mended record cannot be used ({error.reason}): {error}") from None
    _check_number(message, parked, codec)
    return Sendable(parked, message.machine.encode(), value, f"mended, {_called(message)}", mended=True)


def document(parked: Parked, codec: Codec, registry: Access) -> dict[str, Any]:
    """Everything that is known of a refused record, for JSON; `record` is what a mended copy begins with."""
    from pipeline.registry import Lookup

    value = parked.value or b""
    found = avro_json.said(value, Lookup(registry) if registry else None)
    whole = {found.name: found.record} if found.name else None
    return {
        "address": str(parked.address), "arrived": parked.arrived, "machine": parked.machine,
        "refusals": [refusal._asdict() for refusal in parked.refusals.values()],
        "replays": [replay._asdict() for replay in parked.replays],
        "key": None if parked.key is None else parked.key.decode(errors="backslashreplace"),
        "key_hex": None if parked.key is None else parked.key.hex(),
        "size": len(value), "value_hex": value.hex(), "fault": found.fault,
        "as_found": whole, "record": _to_mend(parked, codec, found.fault) or whole,
    }  # fmt: skip


class Replayer:
    """Sends, and notes what it sent. Raises BrokerUnavailable, DeliveryFailed; a record may then be sent, not noted."""

    def __init__(self, settings: Settings, codec: Codec, by: str) -> None:
        self._codec, self._by, self._kafka = codec, by, settings["kafka"]
        self._telemetry, self._letters = settings.topic("telemetry"), settings.topic("dead-letters")
        self._failed: list[KafkaError] = []
        self._producer = Producer({
            **kafka_clients.common(settings), "client.id": "openoee-replay", "enable.idempotence": True,
            "acks": "all", "partitioner": "murmur2_random", "message.max.bytes": RECORD_BYTES,
            "delivery.timeout.ms": int(ANSWER_S * 1000),
        })  # fmt: skip

    def send(self, chosen: Sequence[Sendable]) -> list[Sent]:
        """Send these and note them; returns when Kafka has all of it."""
        stood: dict[int, Address] = {}
        for number, one in enumerate(chosen):
            headers = [(REPLAYED, str(one.parked.address).encode())]
            self._produce(self._telemetry, one.key, one.value, headers, into=stood, number=number)
        self._settle("telemetry")
        done = [Sent(one, stood[number]) for number, one in enumerate(chosen)]
        for sent in done:
            self._note(sent)
        self._settle("dead-letters")
        return done

    def _note(self, sent: Sent) -> None:
        """Write the record's letters once more, with what became of it."""
        parked = sent.sendable.parked
        said: Mapping[str, str] = {REPLAYED: str(sent.to), BY: self._by, MENDED: "1" if sent.sendable.mended else ""}
        headers = [(name, value.encode()) for name, value in said.items()]
        for refusal in parked.refusals.values():
            letter = DeadLetter(
                *parked.address, parked.arrived, parked.machine if refusal.judged else None, refusal.reason,
                refusal.detail, refusal.entries, parked.key, parked.value,
            )  # fmt: skip
            value = self._codec.encode(letter)
            self._produce(self._letters, parked.key or b"", value, headers, partition=parked.partition)

    def _produce(
        self, topic: str, key: bytes | None, value: bytes, headers: list[tuple[str, bytes]], partition: int = -1,
        into: dict[int, Address] | None = None, number: int = 0,
    ) -> None:  # fmt: skip
        def delivered(error: KafkaError | None, message: Any) -> None:
            if error is not None:
                self._failed.append(error)
            elif into is not None:
                into[number] = Address(message.topic(), message.partition(), message.offset())

        while True:
            try:
                self._producer.produce(topic, value, key, partition, delivered, headers=headers)
                break
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                raise DeliveryFailed(f"{topic} does not take {len(value):,} bytes: {error.args[0].str()}") from None
        self._producer.poll(0)

    def _settle(self, what: str) -> None:
        if self._producer.flush(ANSWER_S + 5) and not self._failed:
            raise BrokerUnavailable(f"Kafka at {self._kafka} does not answer: what was sent to {what} may be there")
        if self._failed:
            raise DeliveryFailed(
                f"Kafka at {self._kafka} did not store every record for {what} ({self._failed[0].str()});"
                " do the same again: what was stored counts once"
            )


def _record_of(document: Any, parked: Parked) -> dict[str, Any]:
    """The record in a document as `show --json` prints it. Raises UsageError."""
    if isinstance(document, list) and len(document) == 1:
        (document,) = document
    if not isinstance(document, dict) or "record" not in document:
        raise UsageError(
            "the file of --mend has no `record`: edit what `openoee dead-letters show ADDRESS --json` says"
        )
    if document.get("address") != str(parked.address):
        raise UsageError(f"the file of --mend is about {document.get('address')}, not {parked.address}")
    record = document["record"]
    if not isinstance(record, dict) or len(record) != 1:
        raise UsageError('the `record` of --mend must be {"Frame": {...}} or {"Control": {...}}')
    return record


def _check_number(message: Frame | Control, parked: Parked, codec: Codec) -> None:
    """A frame under the number of one that the worker has seen would count as a repeat of it. Raises UsageError."""
    if not parked.judged or not isinstance(message, Frame):
        return
    before = _message(codec, parked.value or b"")
    if isinstance(before, Frame) and _number(before) == _number(message):
        raise UsageError(
            f"the worker has seen frame {message.sequence} of {message.source}, and would take this one for a repeat:"
            " leave source, epoch and sequence as `show --json` says them"
        )


def _to_mend(parked: Parked, codec: Codec, fault: str) -> dict[str, Any] | None:
    """The refused part of a frame that could be decoded, as JSON; None for everything else."""
    if not parked.judged or fault:
        return None
    message = _message(codec, parked.value or b"")
    if not isinstance(message, Frame):
        return None
    return {"Frame": avro_json.said(codec.encode(refused_part(message, parked))).record}


def _message(codec: Codec, value: bytes) -> Frame | Control:
    """The record in these bytes, whatever its key. Raises ParkError."""
    message = codec.decode(value)
    if not isinstance(message, Frame | Control):
        raise ParkError(f"a {type(message).__name__} is no telemetry")
    return message


def _number(frame: Frame) -> tuple[str, str, int, int]:
    return frame.machine, frame.source, frame.epoch, frame.sequence


def _called(message: Frame | Control) -> str:
    if isinstance(message, Frame):
        return f"frame {message.sequence} of {message.source}"
    return f"control {message.id}"
