"""A secure stack in a home of its own, and `openoee` as each of its roles."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
from live_stack import LocalStack
from worker_trial import until

from pipeline.local.secure import as_role
from pipeline.local.stack import Stack
from pipeline.settings import Settings
from pipeline.store.client import Store

MAPPING = """\
adapter: csv
device: press
state: {item: state, values: {run: running, stop: stopped}}
parts: {counters: {total: made}}
signals: {force: force}
"""
FACTORY = """\
version: 1
site: secure
timezone: UTC
machines:
  press: {ideal_cycle_s: 2}
"""


class Home(LocalStack):
    """A secure stack, and `openoee` as one of its roles: a process of its own, environment and all."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.link_downloads()
        self.line = self.settings("", topic_prefix="", database="openoee")
        self.stack = Stack(self.line)
        self.told: list[str] = []
        self.argv: list[str] = []
        self.files: dict[int, Path] = {}
        self.running: list[subprocess.Popen[bytes]] = []

    def variables(self, role: str | None) -> dict[str, str]:
        """The environment of a role, from the file that `up --secure` wrote; None: of somebody without one."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("OPENOEE_")}
        if role is None:
            return own | self.line.environment()
        text = (self.home / "roles" / f"{role}.env").read_text()
        pairs = (line.split("=", 1) for line in text.splitlines())
        return own | {name: value.strip("'") for name, value in pairs}

    def start(self, role: str | None, *arguments: str, **more: str) -> subprocess.Popen[bytes]:
        path = self.home / f"said-{len(self.running)}"
        with path.open("w") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "pipeline", *arguments], env={**self.variables(role), **more}, stdout=out,
                stderr=subprocess.STDOUT, cwd=Path(__file__).parents[2],
            )  # fmt: skip
        self.running.append(process)
        self.files[process.pid] = path
        return process

    def said(self, process: subprocess.Popen[bytes]) -> str:
        """All that it has said so far."""
        return self.files[process.pid].read_text()

    def run(self, role: str | None, *arguments: str, **more: str) -> tuple[int, str]:
        """Exit code and output of a command that ends by itself."""
        process = self.start(role, *arguments, **more)
        code = process.wait(timeout=280)
        self.told.append(self.said(process))
        return code, self.told[-1]

    def end(self, process: subprocess.Popen[bytes]) -> str:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        self.told.append(self.said(process))
        return self.told[-1]

    def role(self, name: str) -> Settings:
        return as_role(self.line, name)

    def begin(self) -> None:
        """`up --secure`, topics, tables, a factory with one machine."""
        factory = self.home / "factory.yaml"
        factory.write_text(FACTORY)
        for role, command in (
            (None, ["up", "--secure"]),
            ("admin", ["topics", "--partitions=2"]),
            ("admin", ["migrate"]),
            ("planner", ["factory", "apply", str(factory)]),
        ):
            code, said = self.run(role, *command)
            assert code == 0, said

    def end_all(self) -> None:
        """End the stack, and what a failed test has left."""
        for process in self.running:
            if process.poll() is None:
                process.kill()
                process.wait()
        self.stop()

    def look(self) -> None:
        """Remember the arguments of every process that there is now."""
        with contextlib.suppress(psutil.Error):
            self.argv += [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]

    def passwords(self) -> list[str]:
        return [
            path.read_text().strip() for path in (self.home / "secrets").iterdir() if not path.name.endswith(".pem")
        ]


def table(folder: Path, lines: int, first: int = 0) -> list[str]:
    """Arguments for `openoee produce`: a machine that runs, a line a second."""
    (folder / "press.yaml").write_text(MAPPING)
    path = folder / f"press-20260302-{first}.csv"
    rows = (f"{1_772_434_800_000 + 1000 * n},run,{n},{n % 7}.5" for n in range(first, first + lines))
    path.write_text("time,state,made,force\n" + "\n".join(rows) + "\n")
    return ["--adapter", "csv", "--mapping", str(folder / "press.yaml"), str(path)]


def rows(home: Home, name: str) -> int:
    store = Store(home.role("reader"))
    with contextlib.closing(store):
        return int(store.query(f"SELECT count() FROM {name}").result_rows[0][0])


def waits_for(home: Home, process: subprocess.Popen[bytes], words: str, within_s: float = 90) -> None:
    until(lambda: words in home.said(process), within_s, f"{words!r}: {home.said(process)[-500:]}")
