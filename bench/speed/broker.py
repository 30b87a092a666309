"""A real Kafka for the benchmark, in a folder of its own, and the topics of the job in it."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from bench.ending import home_prefix, sweep
from bench.speed.job import SIGNALS, T0, Job, Sent, Truth
from pipeline import topics
from pipeline.codec import Codec
from pipeline.core.model import Control, MachineConfig
from pipeline.local.kafka import Kafka
from pipeline.local.machine import free_port
from pipeline.settings import Settings, load

PROJECT = Path(__file__).parents[2]
PLACE = PROJECT / ".openoee" / "bench"
PARTITIONS = 4
ANSWER_S = 30.0
VALUES_PER_S = 200 * len(SIGNALS)


@dataclass(frozen=True)
class Source:
    """A topic with the job in frames of up to `samples` samples."""

    name: str
    job: Job
    samples: int

    @classmethod
    def of_values(cls, values: int, samples: int) -> Source:
        """About so many values, but some windows at least that everybody must have closed."""
        return cls(f"frames-{samples}", Job.of_values(max(values, (samples + 300) * VALUES_PER_S)), samples)

    @cached_property
    def truth(self) -> Truth:
        """What every answer is held against: the windows that all contenders must have closed."""
        until = self.job.checked_until(self.samples)
        return {key: facts for key, facts in self.job.truth().items() if key[1] + 60_000 <= until}


class Broker:
    """One Kafka node, and what the benchmark puts into it."""

    def __init__(self, home: Path, kafka: Kafka) -> None:
        self.home, self._kafka = home, kafka
        self.bootstrap = kafka.bootstrap()
        self._admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})

    def create(self, name: str) -> str:
        """A topic like the source of the job: four partitions, kept for ever."""
        topic = NewTopic(name, PARTITIONS, 1, config={"retention.ms": "-1", "max.message.bytes": str(4 << 20)})
        self._admin.create_topics([topic])[name].result(ANSWER_S)
        return name

    def drop(self, names: Sequence[str]) -> None:
        for answer in self._admin.delete_topics(list(names)).values():
            answer.result(ANSWER_S)

    def line(self, name: str, detect: bool) -> Settings:
        """Settings of a line of our own, with or without anomaly detection; its topics made."""
        placed = {"kafka": self.bootstrap, "home": str(self.home / "line"), "topic_prefix": f"{name}."}
        silent = {"tick_s": 86_400}  # a topic that ends is not a machine that has fallen silent
        settings = load({**placed, "partitions": PARTITIONS, "detect": int(detect), **silent}, {})
        topics.ensure(settings)
        return settings

    def fill(self, source: Source, others: Sequence[str] = ()) -> int:
        """Write the job into the source's topic and others, the same records in the same order; number of frames."""
        self.create(source.name)
        return self.send(source.job, source.samples, [source.name, *others])

    def send(self, job: Job, samples: int, topics: Sequence[str]) -> int:
        """Write a job into topics, the same records in the same order; each arrives when it is sent. Frames."""
        return self.write(job.sent(samples), topics)

    def write(self, records: Iterable[Sent], topics: Sequence[str]) -> int:
        """Write records into topics, the same in the same order; number of records."""
        producer, frames = self._producer(), 0
        for record in records:
            frames += 1
            for topic in topics:
                _produce(producer, topic, record.machine, record.value, record.at)
        _flush(producer)
        return frames

    def configure(self, topic: str, job: Job) -> None:
        """Tell the line whose telemetry this is of its machines: planned around the clock."""
        producer, codec = self._producer(), Codec()
        config = MachineConfig(site="bench", ideal_cycle_us={"*": 2_000_000})
        for life in job.lives:
            control = Control(life.name, f"config-{life.name}", T0, "bench", config)
            _produce(producer, topic, life.name, codec.encode(control), T0)
        _flush(producer)

    def _producer(self) -> Producer:
        return Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "compression.type": "lz4",
                "linger.ms": 20,
                "batch.size": 1_000_000,
                "message.max.bytes": 4_000_000,
                "queue.buffering.max.kbytes": 128 << 10,
                "log_level": 0,  # the broker goes before the client does
            }
        )


@contextlib.contextmanager
def started(report: Callable[[str], None]) -> Iterator[Broker]:
    """A broker that runs as long as the block does; nothing of it stays."""
    PLACE.mkdir(parents=True, exist_ok=True)
    if swept := sweep(PLACE):
        report(f"ended what an earlier run had left: {', '.join(swept)}")
    home = Path(tempfile.mkdtemp(prefix=home_prefix(), dir=PLACE))
    downloads = PROJECT / ".openoee" / "lib"
    downloads.mkdir(parents=True, exist_ok=True)
    (home / "lib").symlink_to(downloads)
    kafka = Kafka(home, free_port(2))
    try:
        kafka.start(1, report)
        yield Broker(home, kafka)
    finally:
        kafka.stop()
        shutil.rmtree(home, ignore_errors=True)


def keep_to(core: int) -> None:
    """Bind this process, and what it starts, to one core; does nothing where the system cannot."""
    if hasattr(os, "sched_setaffinity") and core in os.sched_getaffinity(0):
        os.sched_setaffinity(0, {core})


def _produce(producer: Producer, topic: str, machine: str, value: bytes, at: int) -> None:
    while True:
        try:
            producer.produce(topic, value, machine, timestamp=at)
            producer.poll(0)
            return
        except BufferError:
            producer.poll(0.1)


def _flush(producer: Producer) -> None:
    if left := producer.flush(120):
        raise RuntimeError(f"the broker did not take {left} records")
