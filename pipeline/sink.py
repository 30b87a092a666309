"""Records of the line into the store, each once.

The order of safety, for each batch:
  1. its plan (the offsets that it holds) is committed beside the offsets at which it begins,
  2. its rows are inserted, table by table, with a token that names topics, partitions and offsets,
     and the hours that they touch are summed again,
  3. the offsets at which it ends are committed.
Whoever finds a plan cuts the very same batch again, and the store drops what it has taken under that token.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import NamedTuple

from confluent_kafka import Message as KafkaMessage

from pipeline import topics
from pipeline.burst_reader import BurstReader
from pipeline.codec import Codec, Message
from pipeline.core.burst import Burst
from pipeline.core.model import DeadLetter, Frame
from pipeline.crash import CrashPoint
from pipeline.errors import AccessRefused, BrokerUnavailable, ParkError, RetryError, TopicMismatch
from pipeline.group import Group, Rebalanced, Stopping
from pipeline.plan import Place, Plan, cut, records
from pipeline.rows import Rows, read, weight
from pipeline.settings import Settings
from pipeline.sink_health import Counts, SinkHealth
from pipeline.store import migrate
from pipeline.store.client import Store
from pipeline.store.hours import Touched

TOPICS = ("telemetry", "oee", "intervals", "anomalies", "incidents", "dead-letters", "factory")
POLL_S = 0.2
WATCH_S, LOOK_S = 5.0, 2.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0
log = logging.getLogger("openoee.sink")


class Taken(NamedTuple):
    """A record as it came; also as `burst_reader.Raw`."""

    place: Place
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    raw: KafkaMessage


class Sink:
    """One group member and one connection to the store.

    `stop` is asked often; `tokens` False leaves out the guard against repeated inserts, for trials that must then fail.
    """

    def __init__(
        self, settings: Settings, stop: Callable[[], bool], accept_loss: bool = False, tokens: bool = True
    ) -> None:
        self.counts = Counts()
        self._stop, self._accept_loss, self._tokens = stop, accept_loss, tokens
        self._rows, self._bytes = settings.int("sink_rows"), settings.int("sink_mb") << 20
        self._age_s = settings.int("sink_ms") / 1000
        self._max_future_ms = settings.engine().max_future_ms
        self._codec = Codec.agreed(settings.registry)
        self._bursts = BurstReader(self._codec.frame_headers)
        self._store = Store(settings)
        self._settings = settings
        self._sources: dict[str, topics.Identity] = {}
        self._watched = 0.0
        self._crash = CrashPoint(settings["crash_at"])
        self._group = Group(settings, TOPICS, stop, accept_loss)
        self.health = SinkHealth(self.counts, self._group)

    def run(self) -> None:
        """Write until told to stop; then finish the batch at hand and leave. Raises StopError when it cannot go on."""
        ready = False
        try:
            while not self._stop():
                try:
                    if not ready:
                        self._with_store(lambda: migrate.check(self._store))
                        ready = True
                    self._watch()
                    self._finish()
                    self._write(self._gather())
                except Rebalanced:
                    log.info("partitions dealt out again: now %d", len(self._group.share.positions))
        except Stopping:
            log.warning("stopped before a batch was finished; the next start finishes it")
        finally:
            self.health.ending = "it ends"
            self._group.close()
            self._store.close()

    def _watch(self) -> None:
        """Now and then see whether a topic was made again: positions in it would then skip records without a word."""
        if time.monotonic() - self._watched < WATCH_S:
            return
        self._watched = time.monotonic()
        try:
            found = topics.identities(self._settings, TOPICS, LOOK_S)
        except (RetryError, AccessRefused):  # the group waits for that, and says so
            return
        other = [name for name, known in self._sources.items() if name in found and found[name].id != known.id]
        if other:
            names = ", ".join(map(self._settings.topic, other))
            raise TopicMismatch(
                f"made again while the sink ran: {names}. Start it again: it reads them from their start"
            )
        self._sources |= found

    def _gather(self) -> list[Taken]:
        """Records, until there are enough rows or bytes or the first of them is old enough."""
        batch: list[Taken] = []
        rows = size = 0
        deadline = 0.0
        while not self._stop():
            left = deadline - time.monotonic() if batch else POLL_S
            if left <= 0:
                break
            found = self._group.next(left)
            for done, raw in enumerate(found, 1):
                batch.append(self._taken(raw))
                rows += weight(batch[-1].place[0] != "telemetry", len(raw))
                size += len(raw)
                if rows >= self._rows or size >= self._bytes:
                    self._group.give_back(found[done:])
                    return batch
            if batch and not deadline:
                deadline = time.monotonic() + self._age_s
        return batch

    def _taken(self, raw: KafkaMessage) -> Taken:
        return Taken(self._group.place(raw), raw.offset(), raw.timestamp()[1], raw.key(), raw.value(), raw)

    def _read(self, batch: list[Taken]) -> list[tuple[int, Message | Burst]]:
        """What records in order of place and offset say, each with its arrival; frames that can be, as bursts.

        Whatever this sink has seen before, the same records give the same rows in the same order (see Rows.add).
        """
        found: list[tuple[int, Message | Burst]] = []
        for place, group in groupby(batch, key=attrgetter("place")):
            said: list[tuple[int, int, Message | Burst]] = []
            rows = list(group)
            for one in self._bursts.split(rows, place[1]) if place[0] == "telemetry" else rows:
                if isinstance(one, Burst):
                    said.append((one.offsets[0], 0, one))
                    continue
                message = self._message(one)
                said.append((one.offset, one.timestamp, message))
                if isinstance(message, Frame):
                    self._bursts.learn(one, message)
            found += [(arrived, message) for _, arrived, message in sorted(said, key=itemgetter(0))]
        return found

    def _message(self, taken: Taken) -> Message:
        while True:
            try:
                return read(self._codec, taken.place[0] != "telemetry", taken.key, taken.value)
            except ParkError as error:
                self.counts.parked[error.reason] += 1
                place = {"topic": taken.raw.topic(), "partition": taken.place[1], "offset": taken.offset}
                log.warning("parked: %s/%d offset %d: %s", *place.values(), error, extra=place)
                return DeadLetter(
                    taken.raw.topic(), taken.place[1], taken.offset, taken.timestamp, None, error.reason, str(error), 0,
                    taken.key, taken.value,
                )  # fmt: skip
            except RetryError as error:
                self._wait(error, FIRST_PAUSE_S)

    def _write(self, batch: list[Taken]) -> None:
        if not batch:
            return
        began = time.perf_counter()
        ranges: dict[Place, tuple[int, int]] = {}
        for taken in batch:
            first = ranges[taken.place][0] if taken.place in ranges else taken.offset
            ranges[taken.place] = (first, taken.offset + 1)
        plan = cut(ranges)
        self._group.give_back([taken.raw for taken in batch if taken.place not in plan.ranges])
        batch = [taken for taken in batch if taken.place in plan.ranges]
        self._group.commit({place: first for place, (first, _) in plan.ranges.items()}, plan.text())  # 1
        self._insert(plan, batch)  # 2
        self._group.commit({place: end for place, (_, end) in plan.ranges.items()})  # 3
        self.health.batch_s.observe(time.perf_counter() - began)
        self._crash("after_commit")

    def _finish(self) -> None:
        """Write the batches again that somebody planned and did not finish."""
        share = self._group.share
        self._group.commit(share.accepted)
        share.accepted.clear()
        while share.unfinished:
            plan = share.unfinished[0]
            self._insert(plan, [self._taken(raw) for raw in self._again(plan)])
            mine = [place for place, first in share.committed.items() if plan.ranges.get(place, (-1, 0))[0] == first]
            self._group.commit({place: plan.ranges[place][1] for place in mine})
            share.unfinished.pop(0)
            self.counts.repeated += 1

    def _again(self, plan: Plan) -> list[KafkaMessage]:
        while True:
            try:
                return records(plan, self._group.full, self._group.reach, self._accept_loss)
            except BrokerUnavailable as error:
                self._wait(error, FIRST_PAUSE_S)

    def _insert(self, plan: Plan, batch: list[Taken]) -> None:
        batch.sort(key=attrgetter("place", "offset"))
        token = plan.token(taken.raw for taken in batch) if self._tokens else None
        rows, touched = Rows(self._max_future_ms), Touched()
        for arrived, message in self._read(batch):
            rows.add(arrived, message)
            touched.add(message)
        self._crash("before_insert")
        inserted: dict[str, int] = {}
        for name, table in rows.tables():
            self._with_store(partial(self._store.insert, name, table, token))
            inserted[name] = table.num_rows
            self._crash("during")
        self._with_store(partial(touched.settle, self._store, plan.text()))
        self._crash("after_insert")
        self.counts.batches += 1
        self.counts.records += len(batch)
        self.counts.rows.update(inserted)

    def _with_store(self, call: Callable[[], None]) -> None:
        """Call until the store has answered."""
        pause = FIRST_PAUSE_S
        while True:
            try:
                call()
                return self.health.answered()
            except RetryError as error:
                self._wait(error, pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)

    def _wait(self, error: RetryError, pause: float) -> None:
        """Stay in the group and take nothing while the other side is away."""
        if self._stop():
            raise Stopping
        self.health.waits(error)
        self._group.tell(f"waiting: {error}")
        self._group.idle(pause)
