"""The audit as the judge of faults: a state that is restored wrongly does not pass it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from live_stack import LiveStack
from sink_trial import SinkProcess
from worker_trial import IGNORE_COVER, Load, Worker, until

from pipeline import topics
from pipeline.audit import Options, audit
from pipeline.audit.report import MISMATCH, PASS
from pipeline.settings import Settings
from pipeline.store.migrate import migrate

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]
KILLS = 4
Start = Callable[..., Worker | SinkProcess]


@pytest.fixture
def line(stack: LiveStack) -> Settings:
    """Topics and tables of their own."""
    settings = stack.settings("audit_faults", partitions=4, session_s=6, snapshot_s=1, provisional_s=1, sink_ms=200)
    topics.ensure(settings)
    migrate(settings)
    return settings


@pytest.fixture
def start(line: Settings, tmp_path: Path) -> Iterator[Start]:
    """Starts a worker or a sink, with its settings; what is left of them ends with the test."""
    started: list[Worker | SinkProcess] = []

    def start_one(kind: type[Worker] | type[SinkProcess], patch: str = "", **more: str) -> Worker | SinkProcess:
        started.append(kind(line, tmp_path / f"{len(started)}.log", patch, **more))
        return started[-1]

    yield start_one
    for one in started:
        if one.process.poll() is None:
            one.end(signal.SIGKILL)


@pytest.fixture
def telemetry(line: Settings) -> Iterator[Load]:
    """A seeded load on the line."""
    load = Load(line, seed=3)
    yield load
    load.end()


def test_a_state_that_is_restored_with_another_offset_does_not(line: Settings, telemetry: Load, start: Start) -> None:
    """The negative control: the worker goes on at the committed offset, with an older state."""
    worker = start(Worker, IGNORE_COVER, snapshot_s="3600")
    sink = start(SinkProcess)
    until(lambda: worker.says("partitions"), 60, "a worker at work")
    sent = telemetry.sent
    until(lambda: telemetry.sent > sent + 1500, 30, "telemetry before the kill")
    assert worker.end(signal.SIGKILL) == -signal.SIGKILL
    worker = start(Worker, IGNORE_COVER, snapshot_s="3600")
    telemetry.end()
    report = audit(line, Options(wait_s=120))
    assert [worker.end(signal.SIGTERM, 30), sink.end(signal.SIGTERM, 30)] == [0, 0]
    verdicts = {check.name: check.verdict for check in report.checks}
    assert verdicts["samples"] == verdicts["events"] == verdicts["counts"] == PASS, list(report.lines())
    assert verdicts["facts"] == MISMATCH, list(report.lines())
