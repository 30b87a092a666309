"""One round of one fault: a line of its own, what runs on it, and the oracle that judges what is left in the store."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from book import NotSeen, Wrong
from places import Place
from sink_trial import SinkProcess
from worker_trial import Load, Worker, read, until

from pipeline import topics
from pipeline.audit import Options, audit
from pipeline.audit.report import MISMATCH, PASS
from pipeline.codec import Codec
from pipeline.core.model import Frame
from pipeline.settings import Settings
from pipeline.store.client import Store
from pipeline.store.migrate import migrate

JOIN_S = 120.0
CAUGHT_UP_S = 180.0
LINE: dict[str, str | int | float] = {
    "partitions": 4, "session_s": 6, "snapshot_s": 1, "provisional_s": 1, "sink_ms": 200,
}  # fmt: skip


class Trial:
    """A line with topics and tables of its own, its processes, its load.

    The oracle is the log: every acknowledged record is in it (the producer's journal says where), and the audit
    compares every row of the store with what a batch program makes of it.
    """

    def __init__(self, place: Place, folder: Path, seed: int, **more: str | int | float) -> None:
        self.place, self.folder, self.seed = place, folder, seed
        self.chance = random.Random(seed)
        self.seen: list[str] = []
        self.processes: list[Worker | SinkProcess] = []
        self.loads: list[Load] = []
        self.settings = place.settings("faults", **{**LINE, "kafka": place.bootstrap, **more})
        self.journal = folder / "journal.tsv"

    def open(self) -> None:
        """Make topics and tables."""
        topics.ensure(self.settings)
        migrate(self.settings)

    def close(self) -> None:
        """Kill what is left, and let the place work again."""
        for one in self.processes:
            if one.process.poll() is None:
                one.process.send_signal(signal.SIGCONT)
                one.end(signal.SIGKILL)
        for load in self.loads:
            load.abandon()
        for way in (self.place.through, self.place.slow_store):
            way.pass_on()

    def saw(self, what: str) -> None:
        """Evidence that the fault happened."""
        self.seen.append(" ".join(what.replace(f"{self.folder}/", "").split()))

    def with_settings(self, **more: str | int | float) -> Settings:
        """The line's settings, some of them changed."""
        return Settings({**self.settings.values, **more})

    def worker(self, patch: str = "", settings: Settings | None = None, **more: str) -> Worker:
        """A worker that has partitions."""
        worker = self.start_worker(patch, settings, **more)
        until(lambda: worker.says("partitions ") or not worker.running, JOIN_S, f"{worker.log} joins")
        if not worker.running:
            raise Wrong(f"the worker ended: {last_line(worker)}")
        return worker

    def start_worker(self, patch: str = "", settings: Settings | None = None, **more: str) -> Worker:
        worker = Worker(settings or self.settings, self._log("worker"), patch, **more)
        self.processes.append(worker)
        return worker

    def sink(self, patch: str = "", settings: Settings | None = None, **more: str) -> SinkProcess:
        """A sink; it may not have joined yet."""
        sink = SinkProcess(settings or self.settings, self._log("sink"), patch, **more)
        self.processes.append(sink)
        return sink

    def load(self, settings: Settings | None = None, **more: Any) -> Load:
        """Seeded telemetry, from now on."""
        load = Load(settings or self.settings, self.seed, journal=self.journal, **more)
        self.loads.append(load)
        return load

    def after(self, load: Load, fewest: int = 100, most: int = 900) -> None:
        """Return at a random moment of the load."""
        target = load.sent + self.chance.randint(fewest, most)
        until(lambda: load.sent >= target or load.error, 120, "the load goes on", 0.01)
        if load.error is not None:
            raise Wrong(f"the producer gave up: {load.error}")

    def finish(self, load: Load | None = None, least: int = 3000) -> None:
        """End the load, wait for worker and sink, end them; raises Wrong when anything differs from the log."""
        if load is not None:
            until(lambda: load.sent >= least, 120, "the load is big enough to show something")
            load.end()
        self.judge()
        self.end_processes()

    def judge(self) -> None:
        """Compare the store with the log, the log with the journal."""
        report = audit(self.settings, Options(wait_s=CAUGHT_UP_S), lambda _: None)
        for one in self.processes:
            if one.process.poll() not in (None, 0, -signal.SIGKILL):
                raise Wrong(f"{one.log.name} ended with {one.process.poll()}: {last_line(one)}")
        if report.verdict == MISMATCH:
            raise Wrong(next(line for line in report.lines() if "MISMATCH" in line) + first(report))
        if report.verdict != PASS:
            raise NotSeen("; ".join(report.lines()))
        self.compare_journal()

    def compare_journal(self) -> None:
        """Every acknowledged record is in the log where Kafka said that it is."""
        if not self.journal.exists():
            return
        codec = Codec()
        there = {
            (one.partition(), one.offset()): message
            for one in read(self.settings, "telemetry")
            if isinstance(message := codec.decode(one.value()), Frame)
        }
        rows = [line.split("\t") for line in self.journal.read_text().splitlines()[1:]]
        for machine, source, epoch, sequence, partition, offset in rows:
            if sequence == "-1":
                continue
            frame = there.get((int(partition), int(offset)))
            if frame is None or (frame.machine, frame.source, frame.epoch, frame.sequence) != (
                machine, source, int(epoch), int(sequence),
            ):  # fmt: skip
                raise Wrong(f"{machine} {source} {sequence} was acknowledged and is not at {partition}/{offset}")
        if not rows:
            raise NotSeen("nothing was acknowledged")

    def end_processes(self, within: float = 20.0) -> None:
        """SIGTERM to everything that runs; each must end with 0."""
        for one in self.processes:
            if one.process.poll() is None and (code := one.end(signal.SIGTERM, within)):
                raise Wrong(f"{one.log.name} ended with {code}: {last_line(one)}")

    def environment(self) -> dict[str, str]:
        """The line's settings for a command of ours."""
        return {**os.environ, **self.settings.environment()}

    def copies(self) -> int:
        """Frames that are in the log more than once."""
        codec = Codec()
        found: Counter[tuple[str, str, int, int]] = Counter()
        for one in read(self.settings, "telemetry"):
            message = codec.decode(one.value())
            if isinstance(message, Frame):
                found[message.machine, message.source, message.epoch, message.sequence] += 1
        return sum(count - 1 for count in found.values())

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of the line's database."""
        store = Store(self.settings)
        try:
            return list(store.query(sql).result_rows)
        finally:
            store.close()

    def command(self, sql: str) -> None:
        """A statement in the line's database."""
        store = Store(self.settings)
        try:
            store.command(sql)
        finally:
            store.close()

    def _log(self, kind: str) -> Path:
        return self.folder / f"{kind}-{len(self.processes)}.log"


def stops(one: Worker | SinkProcess, words: str, within: float = 60.0) -> None:
    """The process ends by itself, not with 0, and its last line holds these words, once and without a traceback."""
    until(lambda: one.process.poll() is not None, within, f"{one.log} ends by itself")
    text = one.log.read_text()
    if one.process.poll() in (0, -signal.SIGKILL) or words not in text or "Traceback" in text:
        raise Wrong(f"{one.log.name} ended with {one.process.poll()}, expected {words!r}: {last_line(one)}")


def last_line(one: Worker | SinkProcess) -> str:
    return (one.log.read_text().splitlines() or ["it said nothing"])[-1]


def says(one: Worker | SinkProcess, words: str, within: float = 60.0) -> None:
    """The process says these words. Raises Wrong."""
    expect(lambda: one.says(words), within, f"{one.log.name} says {words!r}; its last: ", one)


def expect(condition: Callable[[], Any], within: float, what: str, one: Worker | SinkProcess | None = None) -> None:
    """As `until`, but what does not come is a fault of the line, not of the trial."""
    try:
        until(condition, within, what)
    except AssertionError as error:
        raise Wrong(f"{error} {last_line(one) if one else ''}") from None


def first(report: Any) -> str:
    """The first difference of an audit."""
    found = [str(difference) for check in report.checks for difference in check.differences]
    return f": {found[0]}" if found else ""
