"""The worker on a real Kafka: two of them killed at random, stopped, their log and state gone - and no row changes.

The oracle is a batch program: the same engine over the whole log in one go. Every row that the workers ever sent must
be one that it computes, and the rows in force must be the same ones.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from live_stack import LiveStack
from worker_trial import (
    IGNORE_COVER,
    T0,
    Load,
    Worker,
    computed,
    delete_until,
    differences,
    folded,
    lag,
    put,
    stored,
    until,
)

from pipeline import topics
from pipeline.codec import Codec
from pipeline.core.model import Frame, StateChange
from pipeline.settings import Settings

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]
ENOUGH = 3000  # frames
CAUGHT_UP_S = 120
JOIN_S = 120  # the first worker on a machine compiles the detectors
SEED = 7


Start = Callable[..., Worker]


@pytest.fixture
def line(stack: LiveStack) -> Settings:
    """Topics of their own for each trial; a short session, so that a dead worker is noticed soon."""
    settings = stack.settings("worker", partitions=4, session_s=6, snapshot_s=1, tick_s=600, provisional_s=1)
    topics.ensure(settings)
    return settings


@pytest.fixture
def start(line: Settings, tmp_path: Path) -> Iterator[Start]:
    """Starts workers of this line by name; what is left of them ends with the test."""
    started: list[Worker] = []

    def start_one(name: str, settings: Settings = line, patch: str = "", **more: str) -> Worker:
        started.append(Worker(settings, tmp_path / f"{name}.log", patch, **more))
        return started[-1]

    yield start_one
    for worker in started:
        if worker.running:
            worker.end(signal.SIGKILL)


@pytest.fixture
def telemetry(line: Settings) -> Iterator[Load]:
    """A seeded load on the line."""
    load = Load(line, SEED)
    yield load
    load.end()


def finish(line: Settings, load: Load, workers: list[Worker]) -> list[str]:
    """End the load, let the workers catch up and end; what differs from the batch program."""
    until(lambda: load.sent >= ENOUGH, 60, "the load is big enough to show something")
    load.end()
    until(lambda: lag(line) == 0, CAUGHT_UP_S, f"lag 0; logs in {[str(worker.log) for worker in workers]}", 0.3)
    for worker in workers:
        if worker.running:
            assert worker.end(signal.SIGTERM) == 0, worker.log.read_text()
    records, want = computed(line)
    assert records == load.sent
    assert len(want["facts"]) > 200, "the load was too small to show anything"
    return differences(stored(line), want)


def joined(worker: Worker) -> Worker:
    """The worker, once it has partitions."""
    until(lambda: worker.says("partitions") or not worker.running, JOIN_S, f"{worker.log} joins")
    assert worker.running, worker.log.read_text()
    return worker


def after_some(load: Load, seed: random.Random, most: int = 900) -> None:
    """Return at a random moment of the load."""
    target = load.sent + seed.randint(100, most)
    until(lambda: load.sent >= target, 60, "the load goes on", 0.01)


def test_two_workers_killed_at_random(line: Settings, telemetry: Load, start: Start) -> None:
    seed = random.Random(SEED)
    workers = [start("w0"), start("w1")]
    for n in range(2, 6):
        victim = joined(seed.choice([worker for worker in workers if worker.running]))
        after_some(telemetry, seed)
        victim.end(signal.SIGKILL)
        workers.append(start(f"w{n}"))
    joined(workers[-1])
    assert finish(line, telemetry, workers) == []


def test_sigterm_saves_and_ends_with_0_in_10_s(line: Settings, telemetry: Load, start: Start) -> None:
    seed, stays = random.Random(SEED), start("stays")
    for n in range(3):
        worker = joined(start(f"w{n}"))
        after_some(telemetry, seed)
        assert worker.end(signal.SIGTERM, within=10) == 0, worker.log.read_text()
        assert worker.says("stopped")
    assert finish(line, telemetry, [stays]) == []


def test_control_state_and_position_from_two_places(line: Settings, telemetry: Load, start: Start) -> None:
    """Ignoring the cover and starting at the commit must be found out, else these trials show nothing."""
    rare = Settings({**line.values, "snapshot_s": 600})
    worker = joined(start("w0", rare, IGNORE_COVER))
    until(lambda: folded(line) > 500, CAUGHT_UP_S, "positions are committed, state is not saved")
    worker.end(signal.SIGKILL)
    assert finish(line, telemetry, [start("last", rare, IGNORE_COVER)]) != []


def test_lost_records_are_alarmed_and_garbage_in_the_state_is_left_out(line: Settings, start: Start) -> None:
    """offsets of partition 0:  0 folded and saved | 1, 2 deleted unread | 3 folded by the next worker"""
    codec = Codec()
    frames = [codec.encode(Frame("m1", "plc", 1, n, T0, states=[StateChange(T0 + n, "running")])) for n in range(4)]
    first = joined(start("first"))
    put(line, "telemetry", [(b"m1", frames[0])])
    until(lambda: lag(line) == 0, CAUGHT_UP_S, "the first record is folded")
    assert first.end(signal.SIGTERM) == 0
    put(line, "telemetry", [(b"m1", frame) for frame in frames[1:3]])
    put(line, "state", [(b"0/4/0", b"garbage")])
    delete_until(line, "telemetry", 0, 3)
    put(line, "telemetry", [(b"m1", frames[3])])
    second = joined(start("second"))
    until(lambda: lag(line) == 0, CAUGHT_UP_S, "the last record is folded")
    assert second.says("LOST: partition 0: records 1 to 2 were deleted before they were read")
    assert second.says("1 records of the topic state are no state")
    assert second.end(signal.SIGTERM) == 0
    assert second.says("records=1,")
    assert second.says("lost=2,")


def test_missing_topics_are_named(stack: LiveStack, tmp_path: Path) -> None:
    worker = Worker(stack.settings("bare"), tmp_path / "bare.log")
    assert worker.process.wait(JOIN_S) == 1
    assert "openoee topics" in worker.log.read_text().splitlines()[-1]
