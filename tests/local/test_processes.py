"""Processes in the background are found again, told from strangers with the same pid, and ended for certain."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.errors import StackError
from pipeline.local import processes
from pipeline.local.processes import Supervisor

WAITS = [sys.executable, "-c", "import time; print('ready', flush=True); time.sleep(600)"]
DEAF = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)",
]


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path)
    yield made
    made.stop_all()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_found_again_by_another_supervisor_and_ended(supervisor: Supervisor) -> None:
    started = supervisor.spawn("plant", WAITS)
    other = Supervisor(supervisor.home)
    assert other.alive("plant") == started
    with pytest.raises(StackError, match=f"plant runs already .process {started.pid}."):
        other.spawn("plant", WAITS)
    assert other.stop("plant")
    assert not psutil.pid_exists(started.pid)
    assert supervisor.alive("plant") is None
    assert not supervisor.stop("plant")


def test_output_and_environment(supervisor: Supervisor) -> None:
    supervisor.spawn("says", [sys.executable, "-c", "import os; print(os.environ['WORD'])"], {"WORD": "hello"})
    until(lambda: supervisor.alive("says") is None)
    assert supervisor.tail("says") == ["hello"]


def test_stale_pid_file_of_a_dead_process(supervisor: Supervisor) -> None:
    started = supervisor.spawn("worker-1", WAITS)
    os.kill(started.pid, signal.SIGKILL)
    until(lambda: Supervisor(supervisor.home).alive("worker-1") is None)
    assert not (supervisor.run / "worker-1.json").exists()
    assert supervisor.spawn("worker-1", WAITS).pid != started.pid


def test_a_stranger_with_the_same_pid_is_left_alone(supervisor: Supervisor) -> None:
    stranger = subprocess.Popen(WAITS, stdout=subprocess.DEVNULL)
    started = supervisor.spawn("sink", WAITS)
    file = supervisor.run / "sink.json"
    old = json.loads(file.read_text())
    supervisor.stop("sink")
    file.write_text(json.dumps({**old, "pid": stranger.pid, "started": old["started"] - 3600}))
    assert supervisor.alive("sink") is None
    supervisor.stop_all()
    assert stranger.poll() is None
    assert not psutil.pid_exists(started.pid)
    stranger.kill()
    stranger.wait()


def test_damaged_pid_file_is_stale(supervisor: Supervisor) -> None:
    supervisor.run.mkdir(parents=True)
    (supervisor.run / "store.json").write_text('{"name": "sto')
    assert supervisor.alive("store") is None
    assert supervisor.all() == []


def test_a_stopped_process_is_ended(supervisor: Supervisor) -> None:
    started = supervisor.spawn("worker-1", WAITS)
    os.kill(started.pid, signal.SIGSTOP)
    began = time.monotonic()
    assert supervisor.stop_all() == ["worker-1"]
    assert time.monotonic() - began < processes.GRACE_S
    assert not psutil.pid_exists(started.pid)


def test_a_deaf_process_is_killed(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "GRACE_S", 0.5)
    started = supervisor.spawn("sink", DEAF)
    until(lambda: supervisor.tail("sink") == ["ready"])
    assert supervisor.stop("sink")
    assert not psutil.pid_exists(started.pid)


def test_layers_end_in_reverse(supervisor: Supervisor) -> None:
    for name, layer in (("kafka-1", 0), ("store", 0), ("registry", 1), ("worker-1", 9)):
        supervisor.spawn(name, WAITS, layer=layer)
    assert [managed.name for managed in supervisor.all()] == ["kafka-1", "store", "registry", "worker-1"]
    assert supervisor.stop_all() == ["worker-1", "registry", "kafka-1", "store"]
