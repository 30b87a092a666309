"""The board as a process of its own on a real store: figures, changes while watched, a store that is away."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from live_stack import LiveStack, environment
from sql_trial import HOUR, put, told

from pipeline import inline
from pipeline.core.model import Anomaly
from pipeline.core.plant import Plant
from pipeline.errors import SettingError
from pipeline.factory import Factory, controls
from pipeline.local.machine import free_port
from pipeline.settings import Settings, load
from pipeline.store.client import Store
from pipeline.store.migrate import migrate
from pipeline.web.app import serve

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]


@contextmanager
def served(settings: Settings, **more: str) -> Iterator[str]:
    port = free_port()
    env = {**environment(settings), "OPENOEE_WEB_PORT": str(port), "OPENOEE_WEB_POLL_S": "1", **more}
    process = subprocess.Popen([sys.executable, "-m", "pipeline", "web"], env=env, stdout=subprocess.PIPE)
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 30
        while not answers(address):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        process.communicate(timeout=20)


def answers(address: str) -> bool:
    try:
        return bool(get(f"{address}/api/openapi.json"))
    except urllib.error.URLError:
        return False


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return bytes(answer.read())


def event(stream: Any) -> tuple[str, Any]:
    name, data = (stream.readline().decode().partition(": ")[2].strip() for _ in range(2))
    stream.readline()
    return name, json.loads(data)


@pytest.fixture(scope="module")
def settings(stack: LiveStack) -> Settings:
    """The last two hours of a simulated plant, up to now."""
    settings = stack.settings("board")
    migrate(settings)
    now = time.time_ns() // 1_000_000
    end = now // 60_000 * 60_000
    plant = Plant("lyon", 7, end - 2 * HOUR, 3)
    factory = Factory.of("lyon", plant.habits.timezone, plant.machines)
    inline.run([*controls(factory, now, "test"), *plant.frames(end), *plant.ends(end, now)], settings)
    return settings


def test_figures_are_those_of_the_views_and_a_flag_comes_while_it_is_watched(settings: Settings) -> None:
    now = time.time_ns() // 1_000_000
    with served(settings) as address, closing(Store(settings)) as store:
        machines = json.loads(get(f"{address}/api/board?site=lyon"))["machines"]
        assert len(machines) == 3
        kept = {
            row["machine"]: row for row in told(store, "SELECT machine, sum(good) AS good FROM facts GROUP BY machine")
        }
        for row in machines:
            assert row["state"]["since"] < row["state"]["until"] <= now
            assert row["shift"] is None or 0 <= row["shift"]["good"] <= kept[row["machine"]]["good"]
        assert json.loads(get(f"{address}/api/board?site=nowhere"))["machines"] == []
        page = get(address).decode()
        assert "/static/board.js" in page
        assert b"EventSource" in get(f"{address}/static/board.js")
        with urllib.request.urlopen(f"{address}/api/live?site=lyon", timeout=20) as stream:
            name, body = event(stream)
            assert (name, len(body["machines"])) == ("board", 3)
            one = machines[0]["machine"]
            put(store, Anomaly(
                one, "lyon", "L1", "vibration", "limit", "limit", 1, now - 1000, now, 0.9, 7.5, 2.0, None, 7.0,
                "critical", "running", "A", "vibration is high", now,
            ))  # fmt: skip
            deadline = time.monotonic() + 20
            while not any((row["flag"] or {}).get("message") == "vibration is high" for row in body["machines"]):
                assert time.monotonic() < deadline
                name, body = event(stream)
                assert name == "changed"


def test_a_store_that_is_away_is_said_and_nothing_old_is_shown(settings: Settings) -> None:
    with served(settings, OPENOEE_STORE=f"http://127.0.0.1:{free_port()}") as address:
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(f"{address}/api/board")
        assert refused.value.code == 503
        body = json.loads(refused.value.read())
        assert "does not answer" in body["error"]
        assert set(body) == {"error", "since"}


def test_other_names_are_not_served(settings: Settings) -> None:
    with served(settings) as address:
        request = urllib.request.Request(f"{address}/api/board", headers={"Host": "plant.example"})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=20)
        assert refused.value.code == 421
        refused.value.close()


def test_it_is_not_served_to_others() -> None:
    with pytest.raises(SettingError, match="asks for no password"):
        serve(load({"web_host": "0.0.0.0"}, {}))
