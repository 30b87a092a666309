"""The whole line as processes: workers and a sink on a real stack, a simulated plant whose truth is known."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from types import TracebackType

import pyarrow.parquet as pq
from confluent_kafka import Consumer, TopicPartition
from live_stack import environment

from pipeline import compare, topics
from pipeline.local.processes import Supervisor
from pipeline.settings import Settings
from pipeline.store.client import Store
from pipeline.store.migrate import migrate

FINAL = "SELECT count() FROM facts WHERE status != 'provisional' AND window_start <= {until:DateTime64(3, 'UTC')}"
VERBS = {"worker-1": "worker", "worker-2": "worker", "sink": "sink"}


class Line:
    """Two workers and a sink; `with` starts and ends them."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        self.supervisor = Supervisor(folder)

    def __enter__(self) -> Line:
        topics.ensure(self.settings)
        migrate(self.settings)
        for name in VERBS:
            self.start(name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.supervisor.stop_all()

    def start(self, name: str) -> None:
        self.supervisor.spawn(name, [sys.executable, "-m", "pipeline", VERBS[name]], environment(self.settings))

    def kill(self, name: str) -> None:
        """kill -9; AssertionError when the process was gone already."""
        managed = self.supervisor.alive(name)
        assert managed is not None, f"{name} was not running: {self.supervisor.tail(name, 5)}"
        os.kill(managed.pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while self.supervisor.alive(name) is not None:
            assert time.monotonic() < deadline, f"{name} survived kill -9"
            time.sleep(0.01)

    def simulate(self, *arguments: str) -> subprocess.Popen[bytes]:
        """`openoee simulate` with its truth in `<folder>/truth`."""
        command = [sys.executable, "-m", "pipeline", "simulate", "--truth", str(self.folder / "truth"), *arguments]
        return subprocess.Popen(command, env={**os.environ, **environment(self.settings)})

    def equals_truth(self, within_s: float) -> compare.Comparison:
        """Wait until as many rows are final as the truth has, then compare every one."""
        truth = self.folder / "truth" / "oee_facts.parquet"
        expected = pq.read_table(truth, columns=["window_start"]).column("window_start").to_pylist()
        deadline = time.monotonic() + within_s
        with closing(Store(self.settings)) as store:
            while (got := store.query(FINAL, {"until": max(expected)}).result_rows[0][0]) < len(expected):
                for name in VERBS:
                    assert self.supervisor.alive(name), f"{name} has ended: {self.supervisor.tail(name, 5)}"
                assert time.monotonic() < deadline, f"{got} of {len(expected)} rows after {within_s} s"
                time.sleep(0.5)
            self.wait_for_lag(deadline)
            return compare.with_truth(store, truth)

    def wait_for_lag(self, deadline: float) -> None:
        """Wait until worker and sink have committed everything: no offset is stuck."""
        while any(lags := [self._lag(topics.WORKER_GROUP, "telemetry"), *(self._lag(topics.SINK_GROUP, t) for t in
                           ("telemetry", "oee", "intervals", "anomalies", "dead-letters"))]):  # fmt: skip
            assert time.monotonic() < deadline, f"offsets are stuck: {lags}"
            time.sleep(0.5)

    def _lag(self, group: str, topic: str) -> int:
        consumer = Consumer({"bootstrap.servers": self.settings["kafka"], "group.id": self.settings.topic(group)})
        try:
            name = self.settings.topic(topic)
            found = consumer.list_topics(name, timeout=15).topics[name].partitions
            places = consumer.committed([TopicPartition(name, number) for number in found], timeout=15)
            return sum(consumer.get_watermark_offsets(p, timeout=15)[1] - max(p.offset, 0) for p in places)
        finally:
            consumer.close()
