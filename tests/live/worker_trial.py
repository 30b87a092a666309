"""What the worker's fault trials need: telemetry under load, worker processes, and the log and results read back."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from pipeline import topics
from pipeline.codec import Codec
from pipeline.core.model import (
    Control,
    CountReading,
    EndOfSource,
    Frame,
    MachineConfig,
    MachineEvent,
    Record,
    SignalBlock,
    StateChange,
)  # fmt: skip
from pipeline.producer import TelemetryProducer
from pipeline.replay import current, run
from pipeline.settings import Settings

T0 = 1_700_000_000_000  # event time of the first frame; long past, so nothing is in the future
STEP_MS = 5_000
END_WITHIN_S = 120.0
STATES = ("running", "running", "running", "idle", "stopped", "fault", "setup")
RESULTS = {"oee": "facts", "intervals": "intervals", "anomalies": "anomalies"}
RUN_COMMAND = "from pipeline.cli import main; main()"
IGNORE_COVER = """
from confluent_kafka import Consumer, TopicPartition
from pipeline import held, topics
load = held.Held._load

async def from_committed(self, numbers):
    await load(self, numbers)
    group = {"bootstrap.servers": self._settings["kafka"], "group.id": self._settings.topic(topics.WORKER_GROUP)}
    consumer = Consumer(group)
    for at in consumer.committed([TopicPartition(self._settings.topic("telemetry"), n) for n in numbers], timeout=20):
        if at.offset > self.parts[at.partition].next:
            self.parts[at.partition].next, self.parts[at.partition].snapshots.newest = at.offset, 0
    consumer.close()

held.Held._load = from_committed
"""  # what Kafka's own way would be: state from one place, position from another


def until(condition: Callable[[], Any], seconds: float, what: str, every: float = 0.05) -> Any:
    """The condition's first true value; AssertionError when it is not true in time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(every)
    return value


def asked(ask: Callable[[], Any]) -> Any:
    """The answer of a broker that may still be choosing leaders and coordinators."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return ask()
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


class Load:
    """Seeded telemetry of some machines, produced from a thread until `end`: a few frames late, a few repeated.

    `journal` gets every record that Kafka acknowledged. `repeats`: the share of frames that are sent twice.
    """

    def __init__(
        self, settings: Settings, seed: int, machines: int = 16, frames_per_s: int = 300, journal: Path | None = None,
        repeats: float = 0.01,
    ) -> None:  # fmt: skip
        self.settings, self.machines, self.frames_per_s = settings, machines, frames_per_s
        self.journal, self.repeats = journal, repeats
        self.random = random.Random(seed)
        self.sent = 0  # so far; after `end` all of them are acknowledged
        self._stop = threading.Event()
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop; every source says that it has ended, so that all windows become final."""
        self._stop.set()
        self._thread.join(END_WITHIN_S)
        assert not self._thread.is_alive(), "Kafka has not taken the last records"
        if self.error is not None:
            raise self.error

    def abandon(self) -> None:
        """Stop, whatever comes of it."""
        self._stop.set()
        self._thread.join(END_WITHIN_S)

    def _run(self) -> None:
        try:
            with TelemetryProducer(self.settings, Codec(), self.journal) as producer:
                self._produce(producer)
            assert producer.acknowledged == producer.sent
            self.sent = producer.sent
        except BaseException as error:
            self.error = error

    def _produce(self, producer: TelemetryProducer) -> None:
        for m in range(self.machines):
            config = MachineConfig(site="trial", ideal_cycle_us={"*": 2_500_000}, micro_stop_ms=20_000)
            producer.send(Control(f"m{m}", f"config-{m}", T0, "trial", config))
        held: list[tuple[int, Frame]] = []
        step, began = 0, time.monotonic()
        while not self._stop.is_set():
            for m in range(self.machines):
                frame = self._frame(m, step)
                if self.random.random() < 0.03:
                    held.append((step + self.random.randint(1, 20), frame))  # late, some beyond the lateness
                    continue
                producer.send(frame)
                if self.random.random() < self.repeats:
                    producer.send(frame)
            for due, frame in [late for late in held if late[0] <= step]:
                producer.send(frame)
                held.remove((due, frame))
            step += 1
            self.sent = producer.sent
            self._stop.wait(max(0.0, began + step * self.machines / self.frames_per_s - time.monotonic()))
        for _, frame in held:
            producer.send(frame)
        for m in range(self.machines):
            at = T0 + step * STEP_MS
            producer.send(Control(f"m{m}", f"end-{m}", at, "trial", EndOfSource("plc", at)))

    def _frame(self, m: int, step: int) -> Frame:
        at, pick = T0 + step * STEP_MS, self.random.random
        frame = Frame(f"m{m}", "plc", 1, step, at)
        if step == 0 or pick() < 0.2:
            frame.states.append(StateChange(at, self.random.choice(STATES)))
        if pick() < 0.5:
            frame.counts.append(CountReading(at + 1000, True, total=step * 2, good=step * 2 - step // 10))
        if pick() < 0.02:
            frame.events.append(MachineEvent(at, "alarm", "warning", "E1", "door"))
        times = at + np.array([0, 2500])
        load = np.array([[self.random.gauss(50, 2) + 40 * (pick() < 0.002), 50]])
        frame.signals.append(SignalBlock(times, ["load"], load))
        return frame


class Worker:
    """One `openoee worker` process; `patch` is code to run in it first."""

    def __init__(self, settings: Settings, log: Path, patch: str = "", **more: str) -> None:
        self.log = log
        values = {"OPENOEE_" + name.upper(): str(value) for name, value in settings.values.items()}
        environment = {**os.environ, **values, **{"OPENOEE_" + name.upper(): value for name, value in more.items()}}
        with log.open("w") as out:
            command = [sys.executable, "-c", patch + RUN_COMMAND, "worker"]
            self.process = subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT)

    def says(self, words: str) -> bool:
        return words in self.log.read_text()

    def end(self, how: signal.Signals, within: float = 15.0) -> int:
        self.process.send_signal(how)
        return self.process.wait(within)

    @property
    def running(self) -> bool:
        return self.process.poll() is None


def folded(settings: Settings) -> int:
    """Records of `telemetry` that are committed as folded."""
    return sum(position for position, _ in _positions(settings))


def lag(settings: Settings) -> int:
    """Records of `telemetry` that are not committed as folded."""
    return sum(end - position for position, end in _positions(settings))


def _positions(settings: Settings) -> list[tuple[int, int]]:
    """(committed, end) of every partition."""
    consumer = _consumer(settings, settings.topic(topics.WORKER_GROUP))
    try:
        wanted = _partitions(consumer, settings.topic("telemetry"))
        ends = {at.partition: asked(lambda at=at: consumer.get_watermark_offsets(at, timeout=15))[1] for at in wanted}
        marks = asked(lambda: consumer.committed(wanted, timeout=15))
        return [(max(at.offset, 0), ends[at.partition]) for at in marks]
    finally:
        consumer.close()


def read(settings: Settings, topic: str) -> Iterator[Any]:
    """Every message of a topic as it is now."""
    consumer = _consumer(settings, "trial-reader")
    try:
        partitions = _partitions(consumer, settings.topic(topic))
        consumer.assign(partitions)
        ended = 0
        while ended < len(partitions):
            message = consumer.poll(15)
            assert message is not None, f"Kafka does not answer while {topic} is read"
            if message.error() is None:
                yield message
            else:
                assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
                ended += 1
    finally:
        consumer.close()


def put(
    settings: Settings, topic: str, records: Sequence[tuple[bytes | None, bytes | None]], partition: int = 0
) -> None:
    """Records as they are, whatever they are, into one partition."""
    producer = Producer({"bootstrap.servers": settings["kafka"], "log_level": 0})
    for key, value in records:
        producer.produce(settings.topic(topic), value, key, partition)
    assert producer.flush(15) == 0


def delete_until(settings: Settings, topic: str, partition: int, offset: int) -> None:
    """Let the broker forget the records before this offset, as retention does."""
    admin = AdminClient({"bootstrap.servers": settings["kafka"], "log_level": 0})
    for done in admin.delete_records([TopicPartition(settings.topic(topic), partition, offset)]).values():
        done.result(15)


def stored(settings: Settings) -> dict[str, list[Any]]:
    """Every result row that the workers sent, by the names of Emitted."""
    codec = Codec()
    return {name: [codec.decode(row.value()) for row in read(settings, topic)] for topic, name in RESULTS.items()}


def computed(settings: Settings) -> tuple[int, dict[str, list[Any]]]:
    """Number of records in the log, and the rows that a batch program makes of it in one go."""
    codec = Codec()
    by_machine: dict[str, list[Record]] = {}
    for message in read(settings, "telemetry"):
        record = codec.decode(message.value())
        arrived = message.timestamp()[1]
        by_machine.setdefault(record.machine, []).append(Record(arrived, record, message.partition(), message.offset()))
    emitted = run((record for records in by_machine.values() for record in records), settings.engine())
    rows = {name: getattr(emitted, name) for name in RESULTS.values()}
    return sum(map(len, by_machine.values())), rows


def differences(got: dict[str, list[Any]], want: dict[str, list[Any]]) -> list[str]:
    """Current rows that differ, and rows that were sent with two contents under one version."""
    found = []
    for name in RESULTS.values():
        have, need = current(got[name]), current(want[name])
        found += [f"{name}: missing or other: {row}" for row in need if row not in have][:3] if have != need else []
        found += [f"{name}: too much: {row}" for row in have if row not in need][:3] if have != need else []
        known = {repr(row) for row in want[name]}
        found += [f"{name}: never computed: {row}" for row in got[name] if repr(row) not in known][:3]
    return found


def _consumer(settings: Settings, group: str) -> Consumer:
    return Consumer({
        "bootstrap.servers": settings["kafka"], "group.id": group, "enable.auto.commit": False,
        "enable.partition.eof": True, "auto.offset.reset": "earliest", "log_level": 0,
    })  # fmt: skip


def _partitions(consumer: Consumer, topic: str) -> list[TopicPartition]:
    found = consumer.list_topics(topic, timeout=15).topics[topic].partitions
    return [TopicPartition(topic, number, OFFSET_BEGINNING) for number in sorted(found)]
