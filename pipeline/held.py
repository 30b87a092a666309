"""The partitions that a worker holds: loaded from the topic `state`, advanced, saved. Knows Kafka, not Faust."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from pipeline import topics
from pipeline.burst_reader import Raw
from pipeline.codec import Codec
from pipeline.core.burst import Burst
from pipeline.core.engine import ENGINE_VERSION, OLDEST_VERSION
from pipeline.core.model import DeadLetter, Record
from pipeline.crash import CrashPoint
from pipeline.errors import AccessRefused, LogHole, RetryError, TopicMismatch
from pipeline.metrics import histogram
from pipeline.partition import Counts, Partition, Share
from pipeline.results import Results
from pipeline.settings import Settings
from pipeline.state import OF_TOPIC, LogReader, Snapshots
from pipeline.topics import Identity

RETRY_S = 1.0
LOOK_S = 2.0
WHOLE_EVERY_S = 60.0  # every bucket gets a new cover this often, so that a start never reads more than this again
log = logging.getLogger("openoee.worker")
T = TypeVar("T")


class Held:
    """The partitions of one worker. The caller sees to it that no two of these calls run at once."""

    def __init__(self, settings: Settings, results: Results, counts: Counts, crash: CrashPoint) -> None:
        self.parts: dict[int, Partition] = {}
        self.batch_s = histogram("openoee_worker_batch_seconds")
        self.snapshot_s = histogram("openoee_worker_snapshot_seconds")
        self._settings, self._results, self._counts, self._crash = settings, results, counts, crash
        self._codec = Codec.agreed(settings.registry)
        self._share = Share(settings.float("dead_letter_share"))
        self._reader = LogReader(settings, self._codec)
        self._source: Identity | None = None  # the topic whose offsets are held
        self._missing = False

    async def keep(self, numbers: set[int]) -> dict[int, Partition]:
        """Hold these partitions and no others; what is held already stays as it is."""
        for number in self.parts.keys() - numbers:
            del self.parts[number]
        await self._load(sorted(numbers - self.parts.keys()))
        return self.parts

    async def owned(self, number: int) -> Partition:
        """The partition, loaded if need be."""
        if number not in self.parts:
            await self._load([number])
        return self.parts[number]

    async def apply(self, part: Partition, rows: Sequence[Raw]) -> None:
        """Fold a batch that follows the last one; hand over its results."""
        if not rows:
            return
        began = time.perf_counter()
        records, letters = await self._decoded(part, rows)
        out = part.fold(rows, records, letters)
        self._crash("before_send")
        await self._results.send(out, part.number)
        self._crash("after_send")
        self.batch_s.observe(time.perf_counter() - began)
        part.moved_at = time.monotonic()

    async def dropped(self, part: Partition, got: int) -> bool:
        """Whether the log holds records between the one wanted and the one got: then they must be read again.

        If it does not, they are gone by retention (counted and alarmed), or never were records (transaction marks).
        """
        first = await self._retried(lambda: self._reader.first_from(part.number, part.next))
        if first is not None and first < got:
            return True
        low, _ = await self._retried(lambda: self._reader.extent(part.number))
        self._skip_lost(part, low, known=True)
        return False

    async def watch(self) -> None:
        """Raise TopicMismatch once `telemetry` is gone, made again or grown: the offsets held mean nothing then."""
        try:
            found = await asyncio.to_thread(topics.identities, self._settings, ["telemetry"], LOOK_S)
        except (RetryError, AccessRefused):  # whoever reads and writes notices, too
            return
        if self._source is None:
            return
        now = found.get("telemetry")
        if now is None and not self._missing:
            self._missing = True  # a broker that has just started may not know everything yet: ask once more
            return
        self._missing = False
        if now != self._source:
            raise _another(self._settings.topic("telemetry"), str(self._source), now)

    async def save_due(self) -> None:
        """Save the partitions whose time has come. Every result so far must be stored."""
        now, pace = time.monotonic(), self._settings.float("snapshot_s")
        for part in self.parts.values():
            if now - part.saved_at >= pace:
                await self._save(part, whole=now - part.whole_at >= WHOLE_EVERY_S)

    async def save_all(self) -> None:
        """Wait until every result is stored, then save what has changed."""
        await self._results.settle()
        for part in self.parts.values():
            await self._save(part, whole=False)

    async def _save(self, part: Partition, whole: bool) -> None:
        began = time.perf_counter()
        mark = ((OF_TOPIC, str(self._source).encode()),)
        records = [record._replace(headers=mark) for record in part.snapshot(whole)]
        await self._results.send(records, part.number)
        await self._results.settle()
        if records:
            self.snapshot_s.observe(time.perf_counter() - began)
        part.saved_at = time.monotonic()
        if whole:
            part.whole_at = part.saved_at
        self._crash("after_state")

    async def _load(self, numbers: Sequence[int]) -> None:
        if not numbers:
            return
        await self._know_source()
        found = await self._retried(lambda: self._reader.states(numbers))
        for other in sorted(self._reader.of_topics - {str(self._source)}):
            raise _another(self._settings.topic("telemetry"), other, self._source)
        if self._reader.garbage:
            log.error("%d records of the topic state are no state: left out", self._reader.garbage)
        extents = await self._retried(lambda: [self._reader.extent(number) for number in numbers])
        for number, (low, high) in zip(numbers, extents, strict=True):
            buckets = self._settings.int("state_buckets")
            snapshots = Snapshots(number, buckets, ENGINE_VERSION, found[number], OLDEST_VERSION)
            if snapshots.newest > high:
                raise LogHole(
                    f"partition {number}: the saved state covers offsets up to {snapshots.newest}, but telemetry ends "
                    f"at {high}: its tail was lost, or the topic was made again. `openoee topics --reset-state` goes "
                    "on with what is there"
                ).at(topic=self._settings.topic("telemetry"), partition=number, offset=high)
            part = Partition(number, self._settings, self._codec, snapshots, self._share, self._counts)
            self._skip_lost(part, low, known=snapshots.found)
            part.moved_at = part.saved_at = part.whole_at = time.monotonic()
            self.parts[number] = part

    async def _know_source(self) -> None:
        name = "telemetry"
        if self._source is None:
            self._source = (await self._retried(lambda: topics.identities(self._settings, [name]))).get(name)
        if self._source is None:
            raise TopicMismatch(f"topic {self._settings.topic(name)} is gone: run `openoee topics --create`")

    def _skip_lost(self, part: Partition, low: int, known: bool) -> None:
        if part.next >= low:
            return
        if known:
            self._counts.lost += low - part.next
            log.error(
                "LOST: partition %d: records %d to %d were deleted before they were read (retention of telemetry)",
                part.number, part.next, low - 1,
                extra={"topic": self._settings.topic("telemetry"), "partition": part.number, "offset": part.next},
            )  # fmt: skip
        part.next = low

    async def _decoded(self, part: Partition, rows: Sequence[Raw]) -> tuple[list[Record | Burst], list[DeadLetter]]:
        while True:
            try:
                return part.decode(rows)
            except RetryError as error:  # only the registry can know this schema, and it is away
                log.warning("%s; trying again", error)
                await asyncio.sleep(RETRY_S)

    async def _retried(self, ask: Callable[[], T]) -> T:
        while True:
            try:
                return await asyncio.to_thread(ask)
            except RetryError as error:
                log.warning("%s; trying again", error)
                await asyncio.sleep(RETRY_S)


def _another(name: str, was: str, now: Identity | None) -> TopicMismatch:
    """`telemetry` is another topic than the one whose offsets the state covers (`was`, as an Identity says it)."""
    if now is None:
        return TopicMismatch(
            f"topic {name} is gone: run `openoee topics --create`, then `openoee topics --reset-state`"
        )
    known, _, partitions = was.rpartition("/")
    if known == now.id:
        return TopicMismatch(
            f"topic {name} has {now.partitions} partitions, it had {partitions}: its machines have moved to others, and"
            " what is saved of them has not. A line that is to grow gets a new prefix (OPENOEE_TOPIC_PREFIX);"
            " `openoee topics --reset-state` goes on here, with windows around the change that may be wrong"
        )
    return TopicMismatch(
        f"topic {name} was made again (now {now.id}; the saved state belongs to {known}): run `openoee topics"
        " --reset-state`, and workers compute what the new topic holds"
    )
