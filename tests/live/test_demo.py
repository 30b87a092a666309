"""`openoee demo` as a newcomer runs it: with Kafka, a second time, and on a machine without Java."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_stack import LocalStack, share_downloads

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]


class Shell:
    """Runs openoee commands on a home and ports of its own."""

    def __init__(self, home: Path) -> None:
        self.placed = LocalStack(home)
        share_downloads(home)
        values = self.placed.settings("demo")
        self.environment = {**os.environ, **values.environment()}

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "pipeline", *arguments]
        return subprocess.run(argv, env={**self.environment, **more}, capture_output=True, text=True, timeout=240)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    yield made
    made.placed.stop()


def test_twice_in_a_row_each_with_figures_of_its_own(shell: Shell) -> None:
    for site in ("demo-1", "demo-2"):
        done = shell.run("demo", "--hours", "1")
        assert done.returncode == 0, done.stderr
        assert f"Site {site}" in done.stdout
        assert "rows equal the truth in every integer column" in done.stdout
        assert "first difference" not in done.stdout
        assert f"The plant runs on live, as site {site}." in done.stdout
    running = shell.run("status").stdout
    assert all(f"{name} " in running for name in ("kafka", "store", "plant", "sink", "worker-1", "worker-2"))
    assert shell.run("stop").returncode == 0
    assert shell.run("status").returncode == 1


def test_without_java_it_says_so_first_and_last(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    done = shell.run("demo", "--hours", "1", PATH=str(tmp_path / "bin"))
    assert done.returncode == 0, done.stderr
    assert "Kafka: not run" in done.stderr.splitlines()[0]
    assert "Kafka: not run" in done.stdout.splitlines()[-1]
    assert "rows equal the truth in every integer column" in done.stdout
    assert "first difference" not in done.stdout
