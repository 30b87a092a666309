"""The topic `dead-letters`, read: which records were refused and why, and which of them were sent again.

What was sent again is noted in the same topic: the same letter once more, with the header `openoee-replayed`. To the
store a letter that comes twice is one row, so nobody else has to know of it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from pipeline import kafka_clients, topics
from pipeline.codec import Codec
from pipeline.core.model import DeadLetter
from pipeline.errors import BrokerUnavailable, ParkError, TopicMismatch, UsageError
from pipeline.settings import Settings

ANSWER_S, POLL_S = 20.0, 0.1
RECORDS = 500
MARGIN_MS = 60_000  # a letter is written after its record; clocks of brokers may differ by so much
REPLAYED = "openoee-replayed"  # on the new record: the address that it had; on the note: the address that it has now
BY, MENDED = "openoee-by", "openoee-mended"
REASONS = (
    "undecodable", "unknown_schema", "no_key", "invalid", "future", "before_2000", "too_late", "too_large",
)  # fmt: skip


class Address(NamedTuple):
    """Where a refused record stands: full name of its topic, partition, offset."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


class Replay(NamedTuple):
    """A record was sent again at `at` (ms), and stands at `to` since."""

    at: int
    to: str
    by: str
    mended: bool


class Refusal(NamedTuple):
    """Why; `entries`: how many of the record's entries it concerns, 0 for all of it. `judged`: by the engine."""

    reason: str
    detail: str
    entries: int
    judged: bool


@dataclass(slots=True)
class Parked:
    """A refused record with its letters, one per reason. `machine` is as far as the letter or the key tells.

    `partition`: of its letters in `dead-letters`; `value`: only when it was asked for.
    """

    address: Address
    arrived: int
    machine: str
    size: int
    partition: int
    key: bytes | None
    value: bytes | None = None
    refusals: dict[str, Refusal] = field(default_factory=dict)
    replays: list[Replay] = field(default_factory=list)

    @property
    def judged(self) -> bool:
        """Whether the engine refused it: then it could be decoded, and a frame's number counts as seen."""
        return any(refusal.judged for refusal in self.refusals.values())


@dataclass(frozen=True)
class Choice:
    """Which letters are meant; empty: all. `topic` and addresses have full names; [start, end) ms of arrival."""

    machine: str = ""
    reason: str = ""
    topic: str = ""
    start: int = 0
    end: int = 1 << 62
    addresses: frozenset[Address] = frozenset()

    def takes(self, letter: DeadLetter) -> bool:
        return (
            self.start <= letter.arrived < self.end
            and self.reason in ("", letter.reason)
            and self.topic in ("", letter.topic)
            and self.machine in ("", machine(letter))
            and (not self.addresses or place(letter) in self.addresses)
        )


@dataclass
class Found:
    """Newest first. `count`: how many records were meant, of which there may be fewer here.

    `unreadable`: records of the topic that are no letters.
    """

    parked: list[Parked] = field(default_factory=list)
    count: int = 0
    unreadable: int = 0


@dataclass
class Group:
    """Records of one reason (machine, topic, day): how many, when the first and the last arrived (ms), replayed."""

    name: str
    count: int = 0
    replayed: int = 0
    first: int = 1 << 62
    last: int = 0


def place(letter: DeadLetter) -> Address:
    """The address of the letter's record."""
    return Address(letter.topic, letter.partition, letter.offset)


def machine(letter: DeadLetter) -> str:
    """The letter's machine; where nobody could read it, the record's key."""
    return letter.machine if letter.machine is not None else (letter.key or b"").decode(errors="backslashreplace")


def address(text: str, settings: Settings) -> Address:
    """An address as `list` prints it; the topic may be called by its short name. Raises UsageError."""
    found = re.fullmatch(r"([^/]+)/(\d+)/(\d+)", text.strip())
    if found is None:
        raise UsageError(f"{text!r} is no address: write topic/partition/offset as `openoee dead-letters list` does")
    return Address(topic(found[1], settings), int(found[2]), int(found[3]))


def topic(name: str, settings: Settings) -> str:
    """Full name of a topic of the line, given in full or in short."""
    return settings.topic(name) if name in topics.BY_NAME else name


def find(settings: Settings, codec: Codec, choice: Choice, limit: int | None = None, whole: bool = False) -> Found:
    """The refused records that are meant, the newest `limit` of them; `whole`: with their bytes.

    Memory: the records that are returned, and some hundred bytes for every other one that is meant.
    Raises BrokerUnavailable, TopicMismatch.
    """
    found, kept, known = Found(), dict[Address, Parked](), set[Address]()
    notes: dict[Address, list[Replay]] = {}
    for message, letter in letters(settings, codec, choice.start, found):
        where = place(letter)
        note = replay_of(message)
        if note is not None:
            notes.setdefault(where, []).append(note)
        if choice.takes(letter):
            known.add(where)
            _keep(kept, where, message, letter, whole)
            if limit is not None and len(kept) > 2 * limit + RECORDS:
                kept = {parked.address: parked for parked in _newest(kept, limit)}
    found.count, found.parked = len(known), _newest(kept, limit)
    for parked in found.parked:
        parked.replays = notes.get(parked.address, [])
    return found


def groups(settings: Settings, codec: Codec, choice: Choice, by: str) -> tuple[list[Group], int]:
    """Refused records by `reason`, `machine`, `topic` or `day`, the largest group first; how many are no letters.

    A record that was refused for two reasons counts for both.
    """
    found, made = Found(), dict[str, Group]()
    known, sent = set[tuple[str, Address]](), set[Address]()
    for message, letter in letters(settings, codec, choice.start, found):
        if not choice.takes(letter):
            continue
        where, name = place(letter), _group(letter, by)
        if replay_of(message) is not None:
            sent.add(where)
        if (name, where) not in known:
            known.add((name, where))
            group = made.setdefault(name, Group(name))
            group.count += 1
            group.first, group.last = min(group.first, letter.arrived), max(group.last, letter.arrived)
    for name, where in known:
        made[name].replayed += where in sent
    return sorted(made.values(), key=lambda group: (-group.count, group.name)), found.unreadable


def letters(settings: Settings, codec: Codec, since: int, found: Found) -> Iterator[tuple[Any, DeadLetter]]:
    """Every letter that the topic holds now of records that arrived since then (ms); counts what is none."""
    for message in read(settings, "dead-letters", since - MARGIN_MS):
        try:
            letter = codec.decode(message.value())
        except ParkError:
            found.unreadable += 1
            continue
        if isinstance(letter, DeadLetter):
            yield message, letter
        else:
            found.unreadable += 1


def replay_of(message: Any) -> Replay | None:
    """What a letter notes of a replay; None when it is a letter as the worker wrote it."""
    headers = {name: value or b"" for name, value in message.headers() or []}
    if REPLAYED not in headers:
        return None
    said = {name: headers.get(name, b"").decode(errors="replace") for name in (REPLAYED, BY, MENDED)}
    return Replay(int(message.timestamp()[1]), said[REPLAYED], said[BY], bool(said[MENDED]))


def read(settings: Settings, name: str, since: int) -> Iterator[Any]:
    """Records of a topic (short name) that were written since then (ms), up to where it ends now."""
    full = settings.topic(name)
    consumer = Consumer({
        **kafka_clients.common(settings), "group.id": "openoee-dead-letters", "enable.auto.commit": False,
        "enable.partition.eof": True, "auto.offset.reset": "earliest", "fetch.wait.max.ms": 10,
    })  # fmt: skip
    try:
        places = _starts(consumer, full, since)
        consumer.assign(places)
        waiting, patience = {at.partition for at in places}, time.monotonic() + ANSWER_S
        while waiting:
            batch = consumer.consume(RECORDS, POLL_S)  # it waits so long for the last of them
            if batch:
                patience = time.monotonic() + ANSWER_S
            elif time.monotonic() > patience:
                raise BrokerUnavailable(f"Kafka at {settings['kafka']} does not hand out the records of {full}")
            for message in batch:
                if message.error() is None:
                    yield message
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    waiting.discard(message.partition())
                else:
                    raise BrokerUnavailable(f"Kafka at {settings['kafka']}, {full}: {message.error().str()}")
    except KafkaException as error:
        raise BrokerUnavailable(
            f"Kafka at {settings['kafka']} does not answer ({error.args[0].str()}): check OPENOEE_KAFKA, or start the"
            " local stack: `openoee up`"
        ) from None
    finally:
        consumer.close()


def told(at: int) -> str:
    """An instant [ms] for people."""
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _starts(consumer: Any, full: str, since: int) -> list[Any]:
    about = consumer.list_topics(full, ANSWER_S).topics[full]
    if about.error is not None:
        raise TopicMismatch(f"topic {full}: {about.error.str()}: run `openoee topics --create`")
    if since <= 0:
        return [TopicPartition(full, number, OFFSET_BEGINNING) for number in about.partitions]
    wanted = [TopicPartition(full, number, since) for number in about.partitions]
    return list(consumer.offsets_for_times(wanted, ANSWER_S))


def _keep(kept: dict[Address, Parked], where: Address, message: Any, letter: DeadLetter, whole: bool) -> None:
    parked = kept.get(where)
    if parked is None:
        size, value = len(letter.value or b""), letter.value if whole else None
        parked = Parked(where, letter.arrived, machine(letter), size, message.partition(), letter.key, value)
        kept[where] = parked
    judged = letter.machine is not None
    parked.refusals[letter.reason] = Refusal(letter.reason, letter.detail, letter.entries, judged)


def _newest(kept: Mapping[Address, Parked], limit: int | None) -> list[Parked]:
    ordered: Sequence[Parked] = sorted(kept.values(), key=lambda one: (one.arrived, one.address), reverse=True)
    return list(ordered[:limit])


def _group(letter: DeadLetter, by: str) -> str:
    if by == "machine":
        return machine(letter)
    if by == "day":
        return told(letter.arrived)[:10]
    return letter.topic if by == "topic" else letter.reason
