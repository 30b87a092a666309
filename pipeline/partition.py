"""One partition of `telemetry` in a worker: records in, result records out, and the state to save. No Kafka, no Faust.

The same calls in the same order give the same results: what leaves here depends on the log alone.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter

import numpy as np

from pipeline.burst_reader import BurstReader, Raw
from pipeline.codec import Codec, Message
from pipeline.core.burst import Burst
from pipeline.core.engine import Engine
from pipeline.core.model import Control, DeadLetter, Emitted, Frame, Record, SignalBlock, StateChange
from pipeline.errors import ParkError, TooManyDeadLetters, UndecodableRecord
from pipeline.results import Outgoing
from pipeline.settings import Settings
from pipeline.state import Snapshots, pack, state_key, unpack

SHARE_OF = 1000  # records over which the share of undecodable ones is taken


@dataclass(slots=True)
class Counts:
    """What a worker has done since it started; printed and compared, never decided on."""

    records: int = 0
    facts: Counter[str] = field(default_factory=Counter)  # by status
    intervals: int = 0
    anomalies: int = 0
    incidents: int = 0
    dead_letters: Counter[str] = field(default_factory=Counter)  # by reason
    ticks: int = 0
    snapshots: int = 0
    snapshot_bytes: int = 0
    detector_s: float = field(default=0.0, repr=False)
    lost: int = 0  # records that were gone from the log before they were read
    sought_back: int = 0  # holes that Faust left and the log filled


class Share:
    """Stops the line when too large a share of the last 1,000 records is undecodable: then the input is wrong."""

    def __init__(self, most: float) -> None:
        self.most = most
        self._bad: deque[int] = deque()  # numbers of the undecodable ones among the last 1,000
        self._count = 0

    def count(self, good: int) -> None:
        """Count so many records that can be used."""
        self._count += good
        while self._bad and self._bad[0] <= self._count - SHARE_OF:
            self._bad.popleft()

    def count_bad(self, letter: DeadLetter) -> None:
        """Count one that cannot. Raises TooManyDeadLetters."""
        self.count(1)
        self._bad.append(self._count)
        if self._count >= SHARE_OF and len(self._bad) > self.most * SHARE_OF:
            raise TooManyDeadLetters(
                f"{len(self._bad)} of the last {SHARE_OF:,} records of {letter.topic} cannot be used, the last one at "
                f"partition {letter.partition}, offset {letter.offset} ({letter.reason}: {letter.detail}). Look at the "
                "topic dead-letters, mend the sender; OPENOEE_DEAD_LETTER_SHARE=1 lets the worker pass"
            ).at(topic=letter.topic, partition=letter.partition, offset=letter.offset)


class Partition:
    """Engine and position of one partition; both move together in `fold`, so they always agree."""

    def __init__(
        self, number: int, settings: Settings, codec: Codec, snapshots: Snapshots, share: Share, counts: Counts
    ) -> None:
        self.number = number
        self.engine = Engine(settings.engine(), time.perf_counter)
        self.snapshots = snapshots
        self.next = snapshots.start
        self.moved_at = self.saved_at = self.whole_at = 0.0  # by the caller's monotonic clock
        self._topic = settings.topic("telemetry")
        self._codec, self._share, self._counts = codec, share, counts
        self._bursts = BurstReader(codec.frame_headers)
        snapshots.restore(self.engine)
        self.engine.changed.clear()

    def decode(self, rows: Sequence[Raw]) -> tuple[list[Record | Burst], list[DeadLetter]]:
        """Records that are still to be applied, those of each machine in order, and those that cannot be used.

        Changes nothing. Raises RegistryUnavailable: then call again later.
        """
        if rows and rows[0].offset < max(self.next, self.snapshots.newest):
            rows = [row for row in rows if row.offset >= self.next and not self._held(row)]
        records: list[Record | Burst] = []
        letters: list[DeadLetter] = []
        for row in self._bursts.split(rows, self.number):
            if isinstance(row, Burst):
                records.append(row)
                continue
            try:
                message = self._message(row)
            except ParkError as error:
                letters.append(self._letter(row, error))
                continue
            records.append(Record(row.timestamp, message, self.number, row.offset))
            if isinstance(message, Frame):
                self._bursts.learn(row, message)
        return records, sorted(letters, key=attrgetter("offset"))

    def fold(
        self, rows: Sequence[Raw], records: Sequence[Record | Burst], letters: Sequence[DeadLetter]
    ) -> list[Outgoing]:
        """Apply what `decode` made of these rows; the results to send. Raises TooManyDeadLetters."""
        counted = 0
        for letter in letters:  # in the order of the log: a batch may hold more records than the share is taken of
            place = bisect_left(rows, letter.offset, key=attrgetter("offset"))
            self._share.count(place - counted)
            self._share.count_bad(letter)
            counted = place + 1
        self._share.count(len(rows) - counted)
        emitted = self.engine.fold(records)
        raw = {row.offset: row for row in rows} if emitted.dead_letters else {}
        found = [replace(letter, topic=self._topic, key=raw[letter.offset].key, value=raw[letter.offset].value)
                 for letter in emitted.dead_letters]  # fmt: skip
        emitted.dead_letters = [*letters, *found]
        self.next = max(self.next, rows[-1].offset + 1)
        self._counts.records += len(rows)
        self._counts.detector_s += emitted.detector_s
        return self.outgoing(emitted)

    def outgoing(self, emitted: Emitted) -> list[Outgoing]:
        """Result records of what the engine emitted; keyed by machine, dead letters as they were found."""
        encode = self._codec.encode
        out = [Outgoing("oee", fact.machine.encode(), encode(fact)) for fact in emitted.facts]
        out += [Outgoing("intervals", row.machine.encode(), encode(row)) for row in emitted.intervals]
        out += [Outgoing("anomalies", row.machine.encode(), encode(row)) for row in emitted.anomalies]
        out += [Outgoing("incidents", row.machine.encode(), encode(row)) for row in emitted.incidents]
        out += [Outgoing("dead-letters", letter.key or b"", encode(letter)) for letter in emitted.dead_letters]
        counts = self._counts
        counts.facts.update(map(attrgetter("status"), emitted.facts))
        counts.intervals += len(emitted.intervals)
        counts.anomalies += len(emitted.anomalies)
        counts.incidents += len(emitted.incidents)
        counts.dead_letters.update(map(attrgetter("reason"), emitted.dead_letters))
        return out

    def ticks(self, now_ms: int, every_ms: int) -> list[Outgoing]:
        """Tick records for the live machines that have been silent for so long; they go into the log, like data."""
        due = self.engine.ticks(now_ms, every_ms)
        self._counts.ticks += len(due)
        return [Outgoing("telemetry", control.machine.encode(), self._codec.encode(control)) for control in due]

    def snapshot(self, whole: bool) -> list[Outgoing]:
        """State records to save; everything folded so far must be stored before they are sent."""
        records = self.snapshots.renew(self.engine, self.next, whole)
        saved = [Outgoing("state", state_key(record), self._codec.encode(record)) for record in records]
        self._counts.snapshots += len(saved)
        self._counts.snapshot_bytes += sum(len(record.value) for record in saved)
        return saved

    def _held(self, row: Raw) -> bool:
        """Whether the saved state of the record's machine has this record already."""
        return row.offset < self.snapshots.newest and row.offset < self.snapshots.cover(row.key or b"")

    def _message(self, row: Raw) -> Frame | Control:
        message: Message = self._codec.decode(row.value)
        if not isinstance(message, Frame | Control):
            raise UndecodableRecord(f"a {type(message).__name__} is no telemetry", "invalid")
        if row.key is None:
            raise UndecodableRecord(f"no key, expected {message.machine!r}", "no_key")
        if row.key != message.machine.encode():
            raise UndecodableRecord(f"key {row.key[:80]!r} is not the machine {message.machine!r}", "invalid")
        return message

    def _letter(self, row: Raw, error: ParkError) -> DeadLetter:
        return DeadLetter(
            self._topic, self.number, row.offset, row.timestamp, None, error.reason, str(error), 0, row.key, row.value
        )


def warm_up(settings: Settings, codec: Codec) -> None:
    """Fold a made-up machine, so that what is compiled at first use is compiled before a group waits for it."""
    minute, engine = 60_000, Engine(settings.engine())
    for k in range(6):
        at = k * minute + 1_700_000_000_000
        signals = [SignalBlock(at + np.arange(3) * 1000, ["a", "b"], np.full((2, 3), float(k)))]
        frame = Frame("warm-up", "warm-up", 0, k, at, states=[StateChange(at, "running")], signals=signals)
        message = codec.decode(codec.encode(frame))
        assert isinstance(message, Frame)
        engine.fold([Record(at, message)])
        restored = Engine(settings.engine())
        restored.restore("warm-up", unpack(pack(engine.snapshot("warm-up"))))
        engine = restored
