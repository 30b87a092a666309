"""The real worker as a contender: `openoee worker` on a line of its own, from telemetry to facts in Kafka."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
from confluent_kafka import Consumer, TopicPartition

from bench.speed.job import Truth
from bench.speed.log import ANSWER_S, batches
from bench.speed.measure import Spent, contend
from pipeline import topics
from pipeline.codec import Codec
from pipeline.core.model import OeeFact
from pipeline.replay import current
from pipeline.settings import Settings

LOOK_EVERY_S = 0.1
RUN = "from pipeline.cli import main; main()"


def spend(settings: Settings, log: Path, within_s: float) -> Spent:
    """Run a worker until everything in `telemetry` is folded and its results are stored.

    It ends by the clock when its last result is stored, which the broker's stamp on it tells; its CPU is taken when it
    has said in Kafka that it is through, which it does once a second.
    """
    environment = {**os.environ, **settings.environment()}
    began, began_at = time.monotonic(), time.time()
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, "worker"], env=environment, stdin=subprocess.DEVNULL, stdout=output,
            stderr=output, preexec_fn=contend,
        )  # fmt: skip
    try:
        error, cpu, peak = _watch(process, settings, began + within_s)
        return Spent(_last_result(settings) / 1000 - began_at, cpu, peak, error)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def facts(settings: Settings) -> Truth:
    """Running ms, stopped ms and parts by machine and window, from the rows in force of the topic of facts."""
    codec, rows = Codec(), list[OeeFact]()
    for messages in batches(settings["kafka"], settings.topic("oee")):
        rows += [fact for message in messages if isinstance(fact := codec.decode(message.value()), OeeFact)]
    found: Truth = {}
    for fact in current(rows):
        if fact.status != "provisional":
            run_ms, stopped_ms, parts = found.get((fact.machine, fact.window_start), (0, 0, 0))
            made = (run_ms + fact.apt_ms, stopped_ms + fact.adet_ms, parts + fact.total)
            found[fact.machine, fact.window_start] = made
    return found


def _watch(process: subprocess.Popen[bytes], settings: Settings, deadline: float) -> tuple[str, float, float]:
    """Why it did not get through (empty: it did), CPU seconds, MiB at the peak."""
    asked = {"bootstrap.servers": settings["kafka"], "group.id": settings.topic(topics.WORKER_GROUP)}
    consumer, telemetry = Consumer(asked), settings.topic("telemetry")
    partitions = [
        TopicPartition(telemetry, number) for number in consumer.list_topics(telemetry).topics[telemetry].partitions
    ]
    ends = {one.partition: consumer.get_watermark_offsets(one, ANSWER_S)[1] for one in partitions}
    seen, cpu, peak = psutil.Process(process.pid), 0.0, 0.0
    try:
        while True:
            if process.poll() is not None:
                return f"exit {process.returncode}", cpu, peak
            used = seen.cpu_times()
            cpu, peak = used.user + used.system, max(peak, seen.memory_info().rss / 2**20)
            if all(one.offset >= ends[one.partition] for one in consumer.committed(partitions, ANSWER_S)):
                return "", cpu, peak
            if time.monotonic() > deadline:
                return "not in time", cpu, peak
            time.sleep(LOOK_EVERY_S)
    finally:
        consumer.close()


def _last_result(settings: Settings) -> int:
    """When the broker stored the last fact or flag, ms."""
    stored = 0
    for name in ("oee", "intervals", "anomalies"):
        for messages in batches(settings["kafka"], settings.topic(name)):
            stored = max(stored, max(message.timestamp()[1] for message in messages))
    return stored
