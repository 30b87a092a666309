"""What the sink's trials need: a load whose rows are known, sink processes, and what the store holds of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition
from live_stack import environment
from worker_trial import asked, until

from pipeline import topics
from pipeline.codec import Codec
from pipeline.core.model import (
    Anomaly,
    Control,
    CountReading,
    DeadLetter,
    Frame,
    Interval,
    MachineConfig,
    MachineEvent,
    OeeFact,
    SignalBlock,
    StateChange,
)
from pipeline.settings import Settings
from pipeline.sink import TOPICS
from pipeline.store.client import Store

RUN_COMMAND = "from pipeline.cli import main; main()"
NO_TOKENS = "from pipeline.sink import Sink; Sink.__init__.__defaults__ = (False, False); "
OTHER_GROUP = "from pipeline import group; group.SINK_GROUP = 'by-mistake'; "
DAY = 20_514  # 2026-03-02
T0 = 1_772_434_800_000  # 2026-03-02T07:00:00Z
COLUMNS = {
    "telemetry": "machine, signal, toUnixTimestamp64Milli(ts), value",
    "events": "machine, toUnixTimestamp64Milli(ts), kind, severity, code, text, sequence, entry",
    "counts": "machine, toUnixTimestamp64Milli(ts), cumulative, total, good, reject, rework, sequence",
    "machines": "machine, site, line, position, ideal_cycle_us",
    "oee_revisions": "machine, toUnixTimestamp64Milli(window_start), apt_ms, good, toUnixTimestamp64Milli(known_at)",
    "oee_facts": "machine, toUnixTimestamp64Milli(window_start), apt_ms, good, toUnixTimestamp64Milli(known_at)",
    "intervals": "machine, toUnixTimestamp64Milli(start), toUnixTimestamp64Milli(end), state",
    "anomalies": "machine, signal, kind, toUnixTimestamp64Milli(first), score, message",
    "dead_letters": "topic, partition, offset, reason, hex(value)",
}
Rows = dict[str, Counter[tuple[Any, ...]]]


class Load:
    """Records for every topic, and the rows that the store must hold of them."""

    def __init__(self, settings: Settings, seed: int = 7) -> None:
        self.want: Rows = {name: Counter() for name in COLUMNS}
        self._random = np.random.default_rng(seed)
        self._settings, self._codec = settings, Codec()
        self._facts: dict[tuple[str, int], tuple[Any, ...]] = {}
        self._producer = Producer({
            "bootstrap.servers": settings["kafka"], "partitioner": "murmur2_random", "acks": "all", "log_level": 0,
        })  # fmt: skip

    def send(self, steps: range, machines: int = 12) -> None:
        """Send records for these steps of 10 s and wait until Kafka has them."""
        for step in steps:
            for number in range(machines):
                self._step(f"machine-{number}", step)
            self._producer.poll(0)
        assert self._producer.flush(30) == 0
        self.want["oee_facts"] = Counter(self._facts.values())

    def raw(self, topic: str, value: bytes, key: bytes | None, reason: str) -> None:
        """Send bytes that the sink must park for this reason."""
        reports: list[Any] = []
        self._producer.produce(
            self._settings.topic(topic), value, key, 0, on_delivery=lambda _error, record: reports.append(record)
        )
        assert self._producer.flush(30) == 0
        row = (self._settings.topic(topic), 0, reports[0].offset(), reason, value.hex().upper())
        self.want["dead_letters"][row] += 1

    def _step(self, machine: str, step: int) -> None:
        at = T0 + step * 10_000
        frame = self._frame(machine, step, at)
        self._put("telemetry", machine, frame)
        if step == 0:
            config = MachineConfig(site="lyon", line="L1", position=1, ideal_cycle_us={"*": 12_500_000})
            self._put("telemetry", machine, Control(machine, f"c-{machine}", T0, "trial", config))
            self.want["machines"][machine, "lyon", "L1", 1, (("*", 12_500_000),)] += 1
        if step % 6 == 0:
            for version in range(3):
                self._fact(machine, at, version)
            self._put("intervals", machine, Interval(
                machine, "lyon", "", "L1", at, at + 60_000, "running", "apt", None, False, False, False, "", "early",
                DAY, "A", "", at + 60_000,
            ))  # fmt: skip
            self.want["intervals"][machine, at, at + 60_000, "running"] += 1
        if step % 20 == 0:
            score = float(self._random.random())
            self._put("anomalies", machine, Anomaly(
                machine, "lyon", "L1", "load", "spike", "ewma", 1, at, at, score, 1.0, None, None, None, "warning",
                "running", "A", "much", at,
            ))  # fmt: skip
            self.want["anomalies"][machine, "load", "spike", at, score, "much"] += 1
            if machine == "machine-0":
                letter = DeadLetter("elsewhere", 1, step, at, machine, "too_late", "far too late", 1, b"k", b"value")
                self._put("dead-letters", machine, letter)
                self.want["dead_letters"]["elsewhere", 1, step, "too_late", b"value".hex().upper()] += 1

    def _frame(self, machine: str, step: int, at: int) -> Frame:
        times = at + np.arange(5, dtype=np.int64) * 2000
        values = np.round(self._random.normal(10, 1, (3, 5)), 2)
        values[1, 2] = np.nan  # not sampled
        names = ["load", "speed", "temperature"]
        for name, row in zip(names, values, strict=True):
            for instant, value in zip(times, row, strict=True):
                if not np.isnan(value):
                    self.want["telemetry"][machine, name, int(instant), float(value)] += 1
        self.want["events"][machine, at, "state", "", "running", "auto", step, 0] += 1
        self.want["events"][machine, at, "alarm", "fault", "E7", "door öffen ⚙", step, 1] += 1
        self.want["counts"][machine, at, True, step, None, 0, None, step] += 1
        return Frame(
            machine, "trial", 0, step, at,
            states=[StateChange(at, "running", "auto")], counts=[CountReading(at, True, step, None, 0)],
            events=[MachineEvent(at, "alarm", "fault", "E7", "door öffen ⚙")],
            signals=[SignalBlock(times, names, values)],
        )  # fmt: skip

    def _fact(self, machine: str, at: int, version: int) -> None:
        apt = int(self._random.integers(0, 60_001))
        self._put("oee", machine, OeeFact(
            machine, "lyon", "", "L1", at, at + 60_000, at, at + 60_000, "early", DAY, DAY, "A", "", t_ms=60_000,
            pbt_ms=60_000, apt_ms=apt, adet_ms=60_000 - apt, good=version, known_at=at + 60_000 + version,
        ))  # fmt: skip
        row = (machine, at, apt, version, at + 60_000 + version)
        self.want["oee_revisions"][row] += 1
        self._facts[machine, at] = row

    def _put(self, topic: str, machine: str, message: Any) -> None:
        self._producer.produce(self._settings.topic(topic), self._codec.encode(message), machine.encode())


class SinkProcess:
    """One `openoee sink`; `patch` is code to run in it first."""

    def __init__(self, settings: Settings, log: Path, patch: str = "", **more: str) -> None:
        self.log = log
        values = {**environment(settings), **{"OPENOEE_" + name.upper(): value for name, value in more.items()}}
        with log.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", patch + RUN_COMMAND, "sink"],
                env={**os.environ, **values}, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def says(self, words: str) -> bool:
        return words in self.log.read_text()

    def end(self, how: signal.Signals = signal.SIGTERM, within: float = 10.0) -> int:
        self.process.send_signal(how)
        return self.process.wait(within)


def lag(settings: Settings, group: str = topics.SINK_GROUP) -> int:
    """Records that the group has not committed."""
    consumer = Consumer({
        "bootstrap.servers": settings["kafka"], "group.id": settings.topic(group), "enable.auto.commit": False,
        "log_level": 0,
    })  # fmt: skip
    try:
        behind = 0
        for name in TOPICS:
            full = settings.topic(name)
            parts = [TopicPartition(full, number) for number in consumer.list_topics(full, 15).topics[full].partitions]
            for mark in asked(lambda parts=parts: consumer.committed(parts, timeout=15)):
                place = TopicPartition(full, mark.partition)
                low, high = asked(lambda place=place: consumer.get_watermark_offsets(place, timeout=15))
                behind += high - (low if mark.offset < 0 else mark.offset)
        return behind
    finally:
        consumer.close()


def drained(settings: Settings, sink: SinkProcess, group: str = topics.SINK_GROUP) -> None:
    """Return when everything is committed."""
    until(lambda: lag(settings, group) == 0 or sink.process.poll() is not None, 60, f"lag 0; {sink.log}", 0.2)
    assert sink.process.poll() is None, sink.log.read_text()


def held(settings: Settings, final: bool = False) -> Rows:
    """The rows that the store holds, repeated ones repeatedly; `final`: one per key."""
    store = Store(settings)
    found: Rows = {}
    for table, columns in COLUMNS.items():
        word = "FINAL" if final or table == "oee_facts" else ""
        rows = store.query(f"SELECT {columns} FROM {table} {word}").result_rows
        found[table] = Counter(
            tuple(tuple(sorted(cell.items())) if isinstance(cell, dict) else cell for cell in row) for row in rows
        )
    store.close()
    return found


def wrong(found: Rows, want: Rows) -> dict[str, str]:
    """Tables that differ, with how many rows are missing and how many too many."""
    return {
        name: f"{(want[name] - found[name]).total()} missing, {(found[name] - want[name]).total()} too many"
        for name in COLUMNS
        if found[name] != want[name]
    }
