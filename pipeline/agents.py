"""The Faust app: telemetry in, results and saved state out. `openoee worker`, or `faust -A pipeline.agents worker`.

Order of safety, per partition:

    1  fold a batch that follows the last one; hand its results to Kafka
    2  now and then wait until all of them are stored, then save the state with the offset that it covers, and wait
    3  commit what is stored, as a lag marker only

A partition starts at the cover of its saved state. Whatever is not saved is read and sent again, with the same keys
and versions: a kill at any instant, a zombie or a second worker on the same partition change no row.
docs/faust.md tells why neither Faust's tables nor its acknowledgements are used.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import time
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import faust
import mode
from faust.types import TP

from pipeline import topics
from pipeline.burst_reader import Raw
from pipeline.codec import Codec
from pipeline.crash import CrashPoint
from pipeline.errors import OpenOeeError
from pipeline.held import Held
from pipeline.partition import Counts, Partition, warm_up
from pipeline.results import Results
from pipeline.settings import Settings, load
from pipeline.transport import Transport, credentials
from pipeline.worker_health import Look, WorkerHealth

STEP_S = 0.1  # of CPU: who waits for a stretch of folding waits no longer
LEAST_STEP, FIRST_STEP, MOST_STEP = 10, 250, 8_000  # records
TEND_S = 1.0
WATCH_S = 5.0
ALONE_S = 20.0
STUCK_S = 3.0  # records are there and none came for so long: Faust has dropped them, ask for them again
DRAIN_WITHIN_S = 5.0
LEAVE_WITHIN_S = 3.5
TELL_EVERY_S = 30.0
log = logging.getLogger("openoee.worker")
SERVICES = ("faust", "mode", "pipeline")  # loggers of Faust's services; those in our modules are named after these


class Pace:
    """How many records to fold at a stretch, so that a stretch takes about STEP_S whatever the records hold."""

    def __init__(self) -> None:
        self.records = FIRST_STEP

    def took(self, records: int, seconds: float) -> None:
        """So many records took so many seconds of CPU. Grows slowly, shrinks at once."""
        fitting = int(records * STEP_S / max(seconds, 1e-6))
        if fitting < self.records or records == self.records:
            self.records = min(max(fitting, LEAST_STEP), 2 * self.records, MOST_STEP)


class Line:
    """One worker process: its partitions, their results, its place in the group."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.counts = Counts()
        self.failure: BaseException | None = None
        self.draining = False
        self.app = self._app()
        self._results = Results(settings)
        self._crash = CrashPoint(settings["crash_at"])
        self._held = Held(settings, self._results, self.counts, self._crash)
        self.health = WorkerHealth(self.counts, self._held, self._results)
        self._pace = Pace()
        self._told = (time.monotonic(), 0)
        self._settled_at = time.monotonic()
        self._lock = asyncio.Lock()  # held while a partition is changed or saved, never while Faust is asked

    def prepare(self) -> None:
        """Compile, wait for Kafka; raises TopicMismatch when the topics are not as the line needs them."""
        log.info("preparing: the first start on a machine compiles the detectors")
        warm_up(self.settings, Codec())
        topics.await_shape(self.settings, log)

    async def take(self, tp: TP, rows: Sequence[Raw]) -> None:
        """Apply one fetched batch, or ask for the records that Faust left out before it.

        In small steps, so that a rebalance, a tick or the end of the process never waits for a long batch.
        """
        first = 0
        while first < len(rows):
            step = rows[first : first + self._pace.records]
            began = time.thread_time()
            if not await self._step(tp, step):
                return
            self._pace.took(len(step), time.thread_time() - began)
            first += len(step)
            await asyncio.sleep(0)

    async def _step(self, tp: TP, rows: Sequence[Raw]) -> bool:
        async with self._lock:
            if self.draining or self.failure or tp not in self.app.consumer.assignment():
                return False
            part = await self._held.owned(tp.partition)
            hole = rows[0].offset > part.next and await self._held.dropped(part, rows[0].offset)
            if not hole:
                await self._held.apply(part, [row for row in rows if row.offset >= part.next])
                return True
        self.counts.sought_back += 1
        log.info(
            "partition %d: want %d, got %d: reading again", tp.partition, part.next, rows[0].offset,
            extra={"topic": tp.topic, "partition": tp.partition, "offset": part.next},
        )  # fmt: skip
        await self.app.consumer.seek_wait({tp: part.next})
        return False

    async def tend(self) -> None:
        """Once a second: settle, save, commit, tick, and wake a partition that Faust has forgotten."""
        if self.draining or self.failure or self.app.rebalancing:
            return
        async with self._lock:
            await self._results.settle()
            await self._held.save_due()
            marks = self._marks()
            await self._tick()
        await self.app.consumer.mark(marks)
        self._crash("after_commit")
        self._watch()
        await self._wake()
        self._tell()

    async def starts(self, assigned: set[TP]) -> Mapping[TP, int]:
        """Where the partitions of this assignment begin; the state of new ones is loaded, that of lost ones dropped."""
        async with self._lock:
            try:
                parts = await self._held.keep({tp.partition for tp in assigned})
            except OpenOeeError as error:  # raised within Faust, which would end without saying why
                self.fail(error)
                raise
            log.info("partitions %s", ", ".join(f"{n} from {p.next}" for n, p in sorted(parts.items())) or "none")
            return {tp: parts[tp.partition].next for tp in assigned}

    async def drain(self) -> None:
        """Store and save everything folded so far; gives up after some seconds when Kafka is away."""
        if self.failure:
            return
        try:
            async with asyncio.timeout(DRAIN_WITHIN_S), self._lock:
                await self._held.save_all()
                marks = self._marks()
            await self.app.consumer.mark(marks)
        except TimeoutError:
            log.warning("Kafka is away: state not saved; the next worker reads the same records again")

    async def stop(self) -> None:
        """The process is told to end: drain, take nothing more, and wait only so long for Faust to leave the group."""
        self.health.ending = self.health.ending or "it is told to end"
        self.draining = True
        await self.drain()
        asyncio.get_running_loop().call_later(LEAVE_WITHIN_S, os._exit, getattr(self.failure, "exit_code", 0))
        log.info("stopped: %s", self.counts)

    def fail(self, error: BaseException) -> None:
        """Nothing may be saved any more: the process ends with this error."""
        if self.failure is None:
            self.failure = error
            self.health.ending = f"it cannot go on: {error}"
            if isinstance(error, OpenOeeError):
                log.error("%s", error, extra=dict(error.place))
                for services in SERVICES:  # the reason is said; what else breaks on the way out is no news
                    logging.getLogger(services).setLevel(logging.CRITICAL + 1)

    def run(self) -> int:
        """Run until the process is told to end, or cannot go on; the exit code."""
        self.prepare()
        self.app.finalize()
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)  # millions of short-lived values, none of them in cycles
        worker = faust.Worker(self.app, quiet=True, override_logging=False, redirect_stdouts=False)
        worker.spinner = None
        try:
            worker.execute_from_commandline()
        except SystemExit as end:
            code = int(end.code or 0)
        return code if self.failure is None else getattr(self.failure, "exit_code", 1)

    def _app(self) -> Any:
        settings = self.settings
        settings.home.mkdir(parents=True, exist_ok=True)  # Faust makes its own folder in it, but no more
        app = faust.App(
            settings.topic(topics.WORKER_GROUP),
            broker=[f"kafka://{server.strip()}" for server in settings["kafka"].split(",")],
            broker_credentials=credentials(settings),
            store="memory://",
            datadir=str(settings.home / "faust"),
            web_bind="127.0.0.1",
            topic_allow_declare=False,
            topic_disable_leader=True,
            agent_supervisor=mode.CrashingSupervisor,  # an exception ends the process
            stream_wait_empty=False,  # what is not saved is read again: nothing to wait for
            stream_buffer_maxsize=4,  # batches
            broker_max_poll_records=10_000,
            consumer_max_fetch_size=8 << 20,
            broker_session_timeout=settings.float("session_s"),
            broker_heartbeat_interval=min(3.0, settings.float("session_s") / 4),
            broker_commit_livelock_soft_timeout=1e9,
            stream_processing_timeout=1e9,
        )
        app.boot_strategy.enable_web = False  # stronger than `faust worker --with-web`, which is its default
        app.transport = Transport(app.conf.broker_consumer, app, self.starts, lambda: settings.kafka_password)
        source = app.topic(settings.topic("telemetry"), key_serializer="raw", value_serializer="raw")

        @app.agent(source, name="pipeline.agents.fold")  # type: ignore[untyped-decorator]
        async def fold(stream: Any) -> None:
            stream.enable_acks = False  # Faust neither acknowledges nor commits anything
            async for event in stream.events():
                await self._guarded(self.take(event.message.tp, event.value))

        @app.timer(TEND_S, name="pipeline.agents.tend")  # type: ignore[untyped-decorator]
        async def tend() -> None:
            await self._guarded(self.tend())

        @app.timer(TEND_S, name="pipeline.agents.look")  # type: ignore[untyped-decorator]
        async def look() -> None:
            with suppress(Exception):  # a rebalance may begin meanwhile; the endpoint tells when looks stay away
                self._look()

        @app.timer(WATCH_S, name="pipeline.agents.watch")  # type: ignore[untyped-decorator]
        async def watch() -> None:
            await self._guarded(self._held.watch())

        async def revoked(*_: Any, **__: Any) -> None:
            await self._guarded(self.drain())

        async def shutdown(*_: Any, **__: Any) -> None:
            await self._guarded(self.stop())

        def started(*_: Any, **__: Any) -> None:
            self.prepare()

        self._receivers = (revoked, shutdown, started)  # Faust's signals hold them weakly
        app.on_partitions_revoked.connect(revoked)
        app.on_before_shutdown.connect(shutdown)
        app.on_worker_init.connect(started)
        return app

    async def _guarded(self, work: Awaitable[None]) -> None:
        try:
            await work
        except BaseException as error:  # even a cancelled fold has left state and position at odds
            if not (self.draining and isinstance(error, asyncio.CancelledError)):
                self.fail(error)
            raise

    def _marks(self) -> dict[TP, int]:
        telemetry = self.settings.topic("telemetry")
        return {TP(telemetry, number): part.next for number, part in self._held.parts.items()}

    def _behind(self, part: Partition) -> int | None:
        """Records of the log that are not folded yet; None: not known."""
        tp = TP(self.settings.topic("telemetry"), part.number)
        if not self.app.consumer.settled() or tp not in self.app.consumer.assignment():
            return None
        end = self.app.consumer.highwater(tp)
        return None if end is None else max(0, end - part.next)

    def _look(self) -> None:
        """Once a second, whatever `tend` waits for: what the endpoint tells of this worker."""
        consumer = self.app.consumer
        settled = not self.app.rebalancing and consumer.settled() and consumer.reached()
        dealt = {tp.partition for tp in consumer.assignment()}
        behind = {number: self._behind(part) for number, part in self._held.parts.items()} if settled else {}
        known = {number: records for number, records in behind.items() if records is not None}
        self.health.note(Look(settled, tuple(sorted(dealt - self._held.parts.keys())), known))

    async def _tick(self) -> None:
        every = self.settings.int("tick_s") * 1000
        for part in self._held.parts.values():
            if self._behind(part) == 0:
                await self._results.send(part.ticks(int(time.time() * 1000), every), part.number)

    def _watch(self) -> None:
        now = time.monotonic()
        if self.app.consumer.settled():
            self._settled_at = now
        elif now - self._settled_at > ALONE_S:
            log.warning("out of the group for %.0f s: Kafka is away, or it rebalances", now - self._settled_at)
            self._settled_at = now

    async def _wake(self) -> None:
        now = time.monotonic()
        for number, part in list(self._held.parts.items()):
            if self._behind(part) and now - part.moved_at > STUCK_S:
                part.moved_at = now
                await self.app.consumer.seek_wait({TP(self.settings.topic("telemetry"), number): part.next})

    def _tell(self) -> None:
        at, records = self._told
        now = time.monotonic()
        if now - at >= TELL_EVERY_S:
            self._told = (now, self.counts.records)
            if self.counts.records > records:
                lag = sum(self._behind(part) or 0 for part in self._held.parts.values())
                pace = (self.counts.records - records) / (now - at)
                log.info("%.0f records/s, %d behind: %s", pace, lag, self.counts)


def __getattr__(name: str) -> Any:
    """`app`, made once when `faust -A pipeline.agents` asks for it: settings from the environment."""
    if name != "app":
        raise AttributeError(name)
    return globals().setdefault("app", Line(load()).app)
