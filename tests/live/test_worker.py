"""The worker on a real Kafka: killed at random and at exact points, stopped, frozen, joined - and no row changes.

The oracle is a batch program: the same engine over the whole log in one go. Every row that the workers ever sent must
be one that it computes, and the rows in force must be the same ones.
"""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest
from worker_trial import IGNORE_COVER, Load, Worker, computed, differences, lag, stored, until

from pipeline import topics
from pipeline.settings import Settings, load

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]
CAUGHT_UP_S = 60
SEED = 7


@pytest.fixture
def line(kafka: str, tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    """Topics of their own for each trial."""
    prefix = f"{request.node.name.split('[')[0]}-{tmp_path.name}-{id(request):x}."
    flags = {
        "kafka": kafka, "topic_prefix": prefix, "home": str(tmp_path), "partitions": 4, "session_s": 6,
        "snapshot_s": 1, "tick_s": 600, "provisional_s": 1,
    }  # fmt: skip
    settings = load(flags, {})
    topics.ensure(settings)
    return settings


def finish(line: Settings, load: Load, workers: list[Worker]) -> list[str]:
    """End the load, let the workers catch up and end; what differs from the batch program."""
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
    until(lambda: worker.says("partitions") or not worker.running, 40, f"{worker.log} joins")
    assert worker.running, worker.log.read_text()
    return worker


def after_some(load: Load, seed: random.Random, most: int = 2500) -> None:
    """Return at a random moment of the load."""
    target = load.sent + seed.randint(200, most)
    until(lambda: load.sent >= target, 60, "the load goes on", 0.01)


def test_two_workers_killed_at_random(line: Settings, tmp_path: Path) -> None:
    seed, load = random.Random(SEED), Load(line, SEED)
    workers = [Worker(line, tmp_path / f"w{n}.log") for n in range(2)]
    for n in range(2, 6):
        victim = joined(seed.choice([worker for worker in workers if worker.running]))
        after_some(load, seed)
        victim.end(signal.SIGKILL)
        workers.append(Worker(line, tmp_path / f"w{n}.log"))
    joined(workers[-1])
    assert finish(line, load, workers) == []


def test_killed_at_every_point(line: Settings, tmp_path: Path) -> None:
    seed, load = random.Random(SEED), Load(line, SEED)
    for point in ("before_send", "after_send", "after_state", "after_commit"):
        worker = Worker(line, tmp_path / f"{point}.log", crash_at=f"{point}:{seed.randint(2, 9)}")
        assert worker.process.wait(60) == -signal.SIGKILL, worker.log.read_text()
    assert finish(line, load, [joined(Worker(line, tmp_path / "last.log"))]) == []


def test_sigterm_saves_and_ends_with_0_in_10_s(line: Settings, tmp_path: Path) -> None:
    seed, load = random.Random(SEED), Load(line, SEED)
    stays = Worker(line, tmp_path / "stays.log")
    for n in range(3):
        worker = joined(Worker(line, tmp_path / f"w{n}.log"))
        after_some(load, seed)
        assert worker.end(signal.SIGTERM, within=10) == 0, worker.log.read_text()
        assert worker.says("stopped")
    assert finish(line, load, [stays]) == []


def test_a_zombie_changes_nothing(line: Settings, tmp_path: Path) -> None:
    seed, load = random.Random(SEED), Load(line, SEED)
    zombie = joined(Worker(line, tmp_path / "zombie.log"))
    after_some(load, seed)
    zombie.process.send_signal(signal.SIGSTOP)
    heir = joined(Worker(line, tmp_path / "heir.log"))
    after_some(load, seed)
    zombie.process.send_signal(signal.SIGCONT)
    after_some(load, seed)
    assert finish(line, load, [zombie, heir]) == []


def test_control_state_and_position_from_two_places(line: Settings, tmp_path: Path) -> None:
    """Ignoring the cover and starting at the commit must be found out, else these trials show nothing."""
    slow = Settings({**line.values, "snapshot_s": 4})
    seed, load = random.Random(SEED), Load(slow, SEED)
    for n in range(2):
        worker = joined(Worker(slow, tmp_path / f"w{n}.log", patch=IGNORE_COVER))
        after_some(load, seed, 4000)
        worker.end(signal.SIGKILL)
    assert finish(slow, load, [Worker(slow, tmp_path / "last.log", patch=IGNORE_COVER)]) != []
