"""The board as a process of its own, and a simulated plant of the last two hours for it to show."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from live_stack import environment
from sql_trial import HOUR

from pipeline import inline
from pipeline.core.plant import Plant
from pipeline.factory import Factory, controls
from pipeline.local.machine import free_port
from pipeline.settings import Settings
from pipeline.store.migrate import migrate


@contextmanager
def served(settings: Settings, **more: str) -> Iterator[str]:
    port = free_port()
    env = {**environment(settings), "OPENOEE_WEB_PORT": str(port), "OPENOEE_WEB_POLL_S": "1", **more}
    process = subprocess.Popen([sys.executable, "-m", "pipeline", "web"], env=env, stdout=subprocess.PIPE)
    address = f"{'https' if 'OPENOEE_WEB_CERT' in more else 'http'}://127.0.0.1:{port}"
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
    """Whether a server is there, were it only to refuse."""
    try:
        return bool(get(f"{address}/api/openapi.json"))
    except urllib.error.HTTPError as refused:
        refused.close()
        return True
    except urllib.error.URLError as error:
        return isinstance(error.reason, ssl.SSLCertVerificationError)


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return bytes(answer.read())


def event(stream: Any) -> tuple[str, Any]:
    name, data = (stream.readline().decode().partition(": ")[2].strip() for _ in range(2))
    stream.readline()
    return name, json.loads(data)


def simulated(settings: Settings, ahead_min: int = 0) -> Settings:
    """Put two hours of a simulated plant of three machines into the settings' database, up to now or beside it."""
    migrate(settings)
    now = time.time_ns() // 1_000_000 + ahead_min * 60_000
    end = now // 60_000 * 60_000
    plant = Plant("lyon", 7, end - 2 * HOUR, 3)
    factory = Factory.of("lyon", plant.habits.timezone, plant.machines)
    inline.run([*controls(factory, now, "test"), *plant.frames(end), *plant.ends(end, now)], settings)
    return settings
