"""`openoee demo` as a newcomer runs it: with Kafka, a second time, and on a machine without Java."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_stack import LocalStack, share_downloads

from pipeline.local.machine import free_port

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]


class Shell:
    """Runs openoee commands on a home and ports of its own."""

    def __init__(self, home: Path) -> None:
        self.placed = LocalStack(home)
        share_downloads(home)
        values = self.placed.settings("demo", web_port=free_port())
        self.board = f"http://127.0.0.1:{values['web_port']}"
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
        *_, words = done.stdout.partition(f"The plant runs on live, as site {site}.\n")
        assert words.split()[0] == f"{shell.board}/?site={site}"
        tiles = json.loads(urllib.request.urlopen(f"{shell.board}/api/board?site={site}", timeout=20).read())[
            "machines"
        ]
        assert len(tiles) == 12
        assert any(not tile["stale"] for tile in tiles)
        assert "The simulator planted no anomaly" in done.stdout  # none in a plant's first hour
        page = shell.placed.home / "demo" / site / "report.html"
        assert "Put in by the simulator" in page.read_text()
        assert str(page) in done.stdout
    running = shell.run("status").stdout
    assert all(f"{name} " in running for name in ("kafka", "store", "plant", "board", "sink", "worker-1", "worker-2"))
    assert shell.run("stop").returncode == 0
    assert shell.run("status").returncode == 1


def test_programs_get_one_document_and_the_truth_can_be_held_against_the_store_again(shell: Shell) -> None:
    done = shell.run("demo", "--hours", "4", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["held_against_truth"]["differences"] == 0
    assert told["held_against_truth"]["rows"] > 1000
    assert told["total"]["total"] == sum(row["total"] for row in told["machines"])
    planted = told["found"]["planted"]
    ids = {row["id"] for row in told["incidents"]}
    assert planted
    assert {row["incident"] for row in planted} <= ids | {None}
    again = json.loads(shell.run("report", "--site", told["site"], "--truth", told["folder"], "--json").stdout)
    assert [(row["machine"], row["first"], row["what"]) for row in again["found"]["planted"]] == [
        (row["machine"], row["first"], row["what"]) for row in planted
    ]
    assert again["end"] == told["end"]
    one = next(row for row in again["incidents"])
    story = json.loads(shell.run("incidents", "show", one["id"], "--json").stdout)
    assert story["incident"]["id"] == one["id"]
    assert len(story["flags"]) == story["incident"]["flags"]
    said = shell.run("incidents", "show", one["id"]).stdout
    assert said.startswith(f"{one['id']}: {one['severity']}, ")
    stops = json.loads(shell.run("query", "stops", "--site", told["site"], "--limit", "3", "--json").stdout)
    assert [row["minutes"] for row in stops] == sorted((row["minutes"] for row in stops), reverse=True)
    assert shell.run("incidents", "show", "nobody/1").returncode == 2
    assert json.loads(shell.run("stop", "--json").stdout)["stopped"]


def test_without_java_it_says_so_first_and_last_and_goes_on_without_a_free_port(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    with socket.create_server(("127.0.0.1", int(shell.board.rpartition(":")[2]))):
        done = shell.run("demo", "--hours", "1", PATH=str(tmp_path / "bin"))
    assert done.returncode == 0, done.stderr
    assert "No board: port" in done.stderr
    assert shell.board not in done.stdout
    assert "Kafka: not run" in done.stderr.splitlines()[0]
    assert "Kafka: not run" in done.stdout.splitlines()[-1]
    assert "rows equal the truth in every integer column" in done.stdout
    assert "first difference" not in done.stdout
