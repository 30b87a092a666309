"""Processes in the background: started detached, found again by pid and start time, ended for certain."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from pipeline.errors import StackError

GRACE_S = 10.0
KEPT_LOG_BYTES = 20 * 2**20
START_TOLERANCE_S = 5.0  # the kernel counts from boot, so a clock that is set moves what it tells a little

_CHILDREN: dict[int, subprocess.Popen[bytes]] = {}  # this process's own, which it must reap


@dataclass(frozen=True)
class Managed:
    """One process of the stack, as its pid file tells it; a lower `layer` is started first and ended last."""

    name: str
    pid: int
    started: float
    layer: int
    argv: list[str]
    log: str


class Supervisor:
    """Starts, finds and ends the processes of one home; several supervisors of one home agree through its pid files."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.run = home / "run"
        self.logs = home / "logs"

    def spawn(self, name: str, argv: Sequence[str], env: Mapping[str, str] | None = None, layer: int = 9) -> Managed:
        """Start a process in a session of its own, its output in `<home>/logs/<name>.log`.

        `env` is added to the present environment. Raises StackError when a process of that name runs already.
        """
        running = self.alive(name)
        if running:
            raise StackError(f"{name} runs already (process {running.pid}); `openoee stop` ends it")
        for folder in (self.run, self.logs):
            folder.mkdir(parents=True, exist_ok=True)
        log = self.logs / f"{name}.log"
        if log.exists() and log.stat().st_size > KEPT_LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
        with log.open("ab") as output:
            child = subprocess.Popen(
                list(argv), env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        _CHILDREN[child.pid] = child
        try:
            managed = Managed(name, child.pid, _start_time(child.pid) or time.time(), layer, list(argv), str(log))
            fresh = self._pid_file(name).with_suffix(".new")
            fresh.write_text(json.dumps(asdict(managed), indent=1))
            fresh.replace(self._pid_file(name))
        except BaseException:  # never leave a process that nobody can find
            child.kill()
            raise
        return managed

    def alive(self, name: str) -> Managed | None:
        """The running process of that name; None, and its stale pid file removed, when there is none."""
        path = self._pid_file(name)
        try:
            managed = Managed(**json.loads(path.read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            path.unlink(missing_ok=True)
            return None
        if self._runs(managed):
            return managed
        path.unlink(missing_ok=True)
        return None

    def all(self) -> list[Managed]:
        """Every running process of this home, in the order in which they are started."""
        for child in _CHILDREN.values():
            child.poll()  # another supervisor may have ended it: reap it
        names = sorted(path.stem for path in self.run.glob("*.json"))
        found = [managed for name in names if (managed := self.alive(name))]
        return sorted(found, key=lambda managed: (managed.layer, managed.name))

    def stop(self, name: str) -> bool:
        """End one process: SIGTERM, then SIGKILL after 10 s. Returns whether it ran."""
        managed = self.alive(name)
        if managed:
            self._end([managed])
        return managed is not None

    def stop_all(self) -> list[str]:
        """End every process, the last layer first. Returns their names."""
        ended: list[str] = []
        running = self.all()
        for layer in sorted({managed.layer for managed in running}, reverse=True):
            together = [managed for managed in running if managed.layer == layer]
            self._end(together)
            ended += [managed.name for managed in together]
        return ended

    def tail(self, name: str, lines: int = 200) -> list[str]:
        """The last lines of a process's log."""
        try:
            with (self.logs / f"{name}.log").open("rb") as handle:
                handle.seek(max(0, handle.seek(0, os.SEEK_END) - 200_000))
                return handle.read().decode(errors="replace").splitlines()[-lines:]
        except FileNotFoundError:
            return []

    def _pid_file(self, name: str) -> Path:
        return self.run / f"{name}.json"

    def _runs(self, managed: Managed) -> bool:
        child = _CHILDREN.get(managed.pid)
        if child is not None:
            return child.poll() is None  # this also reaps it
        started = _start_time(managed.pid)
        return started is not None and abs(started - managed.started) <= START_TOLERANCE_S

    def _end(self, together: Iterable[Managed]) -> None:
        waiting = list(together)
        for managed in waiting:
            _signal(managed, signal.SIGTERM)
            _signal(managed, signal.SIGCONT)  # a stopped process sees the SIGTERM only when it goes on
        waiting = self._wait(waiting, GRACE_S)
        for managed in waiting:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(managed.pid, signal.SIGKILL)
        for managed in self._wait(waiting, GRACE_S):
            raise StackError(f"{managed.name} (process {managed.pid}) cannot be ended, not even with SIGKILL")

    def _wait(self, together: list[Managed], seconds: float) -> list[Managed]:
        deadline = time.monotonic() + seconds
        while (left := [managed for managed in together if self._runs(managed)]) and time.monotonic() < deadline:
            time.sleep(0.02)
        for managed in together:
            if managed not in left:
                self._pid_file(managed.name).unlink(missing_ok=True)
        return left


def _signal(managed: Managed, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(managed.pid, number)


def _start_time(pid: int) -> float | None:
    """When the process started, in seconds since 1970; None when there is none or it is a zombie."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None
