"""A line as processes, for trials: two workers and a sink on a stack of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from confluent_kafka import Consumer, TopicPartition

from pipeline import topics
from pipeline.local.machine import free_port
from pipeline.local.stack import Stack
from pipeline.settings import Settings, load
from pipeline.store.migrate import migrate

ROOT = Path(__file__).resolve().parents[2]
PROCESSES = {"worker-1": "worker", "worker-2": "worker", "sink": "sink"}
READ = {topics.WORKER_GROUP: ("telemetry",),
        topics.SINK_GROUP: ("telemetry", "oee", "intervals", "anomalies", "dead-letters")}  # fmt: skip


@contextmanager
def own_stack(home: Path) -> Iterator[dict[str, str]]:
    """Kafka and the store in `home`, on free ports, with the downloads of the project; yields where, as settings."""
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "lib").exists():
        (ROOT / ".openoee/lib").mkdir(parents=True, exist_ok=True)
        (home / "lib").symlink_to(ROOT / ".openoee/lib")
    placed = {"home": str(home), "kafka": f"127.0.0.1:{free_port()}", "store": f"http://127.0.0.1:{free_port()}"}
    stack = Stack(load(placed, {}))
    stack.up(print)
    try:
        yield placed
    finally:
        stack.stop()


class Line:
    """Two workers and a sink; `with` makes topics and tables, starts them, and ends them with SIGTERM (`codes`)."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.codes: list[int] = []

    def __enter__(self) -> Line:
        topics.ensure(self.settings)
        migrate(self.settings)
        for name in PROCESSES:
            self.start(name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        self.codes = [process.wait(60) for process in self.running.values()]

    def start(self, name: str) -> None:
        """Start a process of PROCESSES; its output goes to `<folder>/<name>.log`."""
        with (self.folder / f"{name}.log").open("a") as out:
            argv = [sys.executable, "-m", "pipeline", PROCESSES[name]]
            self.running[name] = subprocess.Popen(
                argv, env=environment(self.settings), cwd=ROOT, stdout=out, stderr=subprocess.STDOUT
            )

    def kill(self, name: str) -> None:
        """kill -9; RuntimeError when the process had ended by itself."""
        if self.running[name].poll() is not None:
            raise RuntimeError(self._last_words(name))
        self.running[name].kill()
        self.running[name].wait(10)

    def caught_up(self, within_s: float) -> None:
        """Wait until workers and sink have committed everything: no offset is stuck."""
        deadline = time.monotonic() + within_s
        for group, names in READ.items():
            self._wait(lambda group=group, names=names: lag(self.settings, group, names) == 0, deadline, group)

    def _wait(self, condition: Callable[[], bool], deadline: float, what: str) -> None:
        while not condition():
            ended = [name for name, process in self.running.items() if process.poll() is not None]
            if ended:
                raise RuntimeError(self._last_words(ended[0]))
            if time.monotonic() > deadline:
                raise RuntimeError(f"{what} has not caught up: lag {lag(self.settings, what, READ[what])}")
            time.sleep(0.2)

    def _last_words(self, name: str) -> str:
        said = (self.folder / f"{name}.log").read_text().splitlines()[-5:]
        return f"{name} ended with {self.running[name].returncode}: {said}"


def environment(settings: Settings) -> dict[str, str]:
    """The settings as a process of ours reads them."""
    return {**os.environ, **settings.environment()}


def command(settings: Settings, *arguments: str) -> str:
    """Output of an openoee command; raises RuntimeError with it when the command fails."""
    argv = [sys.executable, "-m", "pipeline", *arguments]
    done = subprocess.run(argv, env=environment(settings), cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"openoee {arguments[0]} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def lag(settings: Settings, group: str, names: tuple[str, ...]) -> int:
    """Records of these topics that the group has not committed."""
    consumer = Consumer({"bootstrap.servers": settings["kafka"], "group.id": settings.topic(group), "log_level": 0})
    try:
        behind = 0
        for name in map(settings.topic, names):
            numbers = consumer.list_topics(name, 15).topics[name].partitions
            for mark in consumer.committed([TopicPartition(name, number) for number in numbers], timeout=15):
                behind += consumer.get_watermark_offsets(mark, timeout=15)[1] - max(mark.offset, 0)
        return behind
    finally:
        consumer.close()
