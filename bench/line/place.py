"""A Kafka and a store for the whole line, and its processes on them; nothing of it stays."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from bench.ending import end_with_parent
from bench.speed.broker import PARTITIONS, Broker, started
from bench.speed.job import Job
from bench.speed.measure import contend
from pipeline import topics
from pipeline.local.machine import free_port
from pipeline.local.store import NAME as STORE
from pipeline.local.store import Store as LocalStore
from pipeline.settings import Settings, load
from pipeline.store.migrate import migrate

ANSWER_S = 30.0
LOOK_EVERY_S = 0.1
USER = "openoee"
CALM_S, CALM_SHARE = 2, 0.15  # seconds in a row, of a core each
RUN = "from pipeline.cli import main; main()"


@dataclass
class Place:
    """The broker and the store, and their processes; `log` takes what the line's processes say."""

    broker: Broker
    store: LocalStore
    log: Path

    def line(self, name: str, **more: str | float) -> Settings:
        """Settings of a line of its own, its topics and tables made."""
        placed = {
            "kafka": self.broker.bootstrap, "home": str(self.store.home), "topic_prefix": f"{name}.",
            "store": f"http://127.0.0.1:{self.store.port}", "database": name, "partitions": PARTITIONS,
            "tick_s": 86_400,  # a topic that ends is not a machine that has fallen silent
        }  # fmt: skip
        settings = load({**placed, **more}, {})
        topics.ensure(settings)
        migrate(settings)
        return settings

    def fill(self, line: Settings, job: Job, samples: int) -> int:
        """The machines of a job and all that they send; number of frames."""
        self.broker.configure(line.topic("telemetry"), job)
        return self.broker.send(job, samples, [line.topic("telemetry")])

    def drop(self, line: Settings) -> None:
        """The line's telemetry is needed no longer."""
        self.broker.drop([line.topic("telemetry")])

    def store_process(self) -> psutil.Process:
        found = self.store.supervisor.alive(STORE)
        if found is None:
            raise RuntimeError("the store has ended")
        return psutil.Process(found.pid)


@contextlib.contextmanager
def whole(report: Callable[[str], None], log: Path) -> Iterator[Place]:
    """A broker and a store that live as long as the block."""
    with started(report) as broker:
        home = broker.home / "line"
        home.mkdir()
        store = LocalStore(home, free_port(), USER)
        try:
            store.start()
            yield Place(broker, store, log)
        finally:
            store.stop()


@contextlib.contextmanager
def running(
    line: Settings, command: str, log: Path, pinned: bool = True, count: int = 1
) -> Iterator[list[psutil.Process]]:
    """Processes of one kind (`worker`, `sink`); on the contenders' core when pinned. They end with the block."""
    environment = {**os.environ, **line.environment()}
    processes = []
    with log.open("ab") as output:
        for _ in range(count):
            processes.append(subprocess.Popen(
                [sys.executable, "-c", RUN, command], env=environment, stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, preexec_fn=contend if pinned else end_with_parent,
            ))  # fmt: skip
    try:
        yield [psutil.Process(process.pid) for process in processes]
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Progress:
    """How far a group has come with some topics of a line."""

    def __init__(self, line: Settings, group: str, names: Sequence[str]) -> None:
        self._consumer = Consumer({
            "bootstrap.servers": line["kafka"], "group.id": line.topic(group), "enable.auto.commit": False,
            "log_level": 0,
        })  # fmt: skip
        self._partitions = [
            TopicPartition(line.topic(name), number)
            for name in names
            for number in self._consumer.list_topics(line.topic(name), ANSWER_S).topics[line.topic(name)].partitions
        ]

    def behind(self) -> int:
        """Records that are not committed."""
        ends = {
            (one.topic, one.partition): self._consumer.get_watermark_offsets(one, ANSWER_S)[1]
            for one in self._partitions
        }
        done = self._committed()
        return sum(ends[one.topic, one.partition] - max(one.offset, 0) for one in done)

    def _committed(self) -> list[TopicPartition]:
        deadline = time.monotonic() + ANSWER_S
        while True:
            try:
                found: list[TopicPartition] = self._consumer.committed(self._partitions, ANSWER_S)
                return found
            except KafkaException:  # a broker that has just started has no coordinator yet
                if time.monotonic() > deadline:
                    raise
                time.sleep(LOOK_EVERY_S)

    def through(self, processes: Sequence[psutil.Process], within_s: float) -> None:
        """Return when nothing is behind. Raises RuntimeError when a process ends, or when it takes too long."""
        deadline = time.monotonic() + within_s
        while self.behind():
            if any(process.status() == psutil.STATUS_ZOMBIE for process in processes):
                raise RuntimeError("a process of the line has ended; see the log")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.behind():,} records behind after {within_s:.0f} s")
            time.sleep(LOOK_EVERY_S)

    def close(self) -> None:
        self._consumer.close()


def joined(line: Settings, group: str, members: int, within_s: float) -> None:
    """Return when the partitions of telemetry are dealt out among so many members. Raises RuntimeError if not in time.

    Who comes first gets all of them and gives some away later: only then do members share the work.
    """
    admin = AdminClient({"bootstrap.servers": line["kafka"], "log_level": 0})
    name, topic, deadline = line.topic(group), line.topic("telemetry"), time.monotonic() + within_s
    while True:
        try:
            found = admin.describe_consumer_groups([name])[name].result(ANSWER_S)
            shares = [sum(one.topic == topic for one in member.assignment.topic_partitions) for member in found.members]
        except KafkaException:  # nobody has come yet
            shares = []
        if len(shares) == members and min(shares) == PARTITIONS // members and sum(shares) == PARTITIONS:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"{name}: partitions of {topic} are dealt out as {shares} after {within_s:.0f} s")
        time.sleep(LOOK_EVERY_S)


def settled(processes: Sequence[psutil.Process], within_s: float) -> None:
    """Return when they have had next to nothing to do for some seconds, or the time is over."""
    deadline, before, calm = time.monotonic() + within_s, cpu_s(processes), 0
    while calm < CALM_S and time.monotonic() < deadline:
        time.sleep(1.0)
        now = cpu_s(processes)
        calm = calm + 1 if now - before < CALM_SHARE * len(processes) else 0
        before = now


@contextlib.contextmanager
def held(processes: Sequence[psutil.Process]) -> Iterator[None]:
    """Processes do nothing while the block lasts; some seconds, or their group believes that they are gone."""
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


@contextlib.contextmanager
def kept_to(process: psutil.Process, core: int) -> Iterator[None]:
    """All threads of a process that runs on one core while the block lasts; does nothing where the system cannot."""
    cores = os.sched_getaffinity(process.pid) if hasattr(os, "sched_getaffinity") else set()
    if core not in cores:
        yield
        return
    _bind(process, {core})
    try:
        yield
    finally:
        _bind(process, cores)


def _bind(process: psutil.Process, cores: set[int]) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        for thread in process.threads():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(thread.id, cores)


def cpu_s(processes: Sequence[psutil.Process]) -> float:
    """CPU seconds of processes so far, user and system."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def resident_mib(processes: Sequence[psutil.Process]) -> float:
    return sum(process.memory_info().rss for process in processes) / 2**20
