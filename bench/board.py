"""How a board of 3,000 machines on 300 lines behaves: answers of the store, bytes, and a real browser that scrolls.

    python -m bench.board --home /tmp/board

Rows made by SQL: eight hours of minutes and intervals up to now, an open incident for every 30th machine. "Live" is the
worker's pace: each machine's early row every 10 s, every 50th machine in another state every 2 s. Needs Chromium.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.questions import FACTS, INTERVALS, MACHINES, whole_month
from pipeline.local.machine import free_port
from pipeline.local.store import Store as LocalStore
from pipeline.settings import Settings, load
from pipeline.store.client import Store
from pipeline.store.migrate import migrate

HOURS, ON_LINE, PACE_S, SCROLL_S, LATER = 8, 10, 2.0, 10.0, 100
AT = "%Y-%m-%d %H:%M:%S"
INCIDENTS = """
INSERT INTO incidents (machine, site, line, id, opened, first, last, severity, page, flags, signals, kinds,
                       signal, kind, score, state, product, message, known_at)
SELECT m.machine, m.site, m.line, concat(m.machine, '/1'), {now:DateTime64(3, 'UTC')} - 600,
    {now:DateTime64(3, 'UTC')} - 600, {now:DateTime64(3, 'UTC')}, if(n % 2, 'critical', 'warning'), true, 3,
    ['vibration'], ['limit'], 'vibration', 'limit', 0.9, 'running', 'P1',
    'vibration 7.5 is above 7.0, the limit of the factory file', {now:DateTime64(3, 'UTC')}
FROM (SELECT *, toUInt32(substring(machine, 2)) AS n FROM machines) AS m WHERE n % 30 = 0
"""
PROGRESS = """
INSERT INTO open_hours SELECT machine, {hour:DateTime64(3, 'UTC')}, {hour:DateTime64(3, 'UTC')},
    {now:DateTime64(3, 'UTC')}, {version:Int64} FROM machines
"""
EARLY = """
INSERT INTO oee_facts SELECT * REPLACE (known_at + {step:UInt32} AS known_at, revision + {step:UInt32} AS revision,
    total + {step:UInt32} AS total, good + {step:UInt32} AS good,
    ideal_good_us + 11000000 * {step:UInt32} AS ideal_good_us)
FROM
(
    SELECT * FROM oee_facts
    WHERE window_start = {minute:DateTime64(3, 'UTC')} AND revision = 1
      AND toUInt32(substring(machine, 2)) % 5 = {step:UInt32} % 5
)
"""
CHANGED = """
INSERT INTO intervals (machine, site, area, line, start, end, state, element, shift, shift_date, product, known_at)
SELECT machine, site, area, line, {now:DateTime64(3, 'UTC')}, {now:DateTime64(3, 'UTC')} + 600,
    ['running', 'stopped', 'starved'][{step:UInt32} % 3 + 1], ['apt', 'adet', 'adet'][{step:UInt32} % 3 + 1], 'early',
    toDate({now:DateTime64(3, 'UTC')}), 'P1', {now:DateTime64(3, 'UTC')}
FROM machines WHERE toUInt32(substring(machine, 2)) % 50 = {step:UInt32} % 50
"""
FRAMES = """(ms) => new Promise((told) => {
  let frames = 0, long = 0, down = true;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) long += entry.duration;
  }).observe({ entryTypes: ["longtask"] });
  const began = performance.now();
  const step = (now) => {
    frames += 1;
    const end = document.documentElement.scrollHeight - innerHeight;
    if (scrollY >= end - 1) down = false;
    if (scrollY <= 0) down = true;
    scrollBy({ top: down ? 120 : -120, behavior: "instant" });
    if (now - began < ms) requestAnimationFrame(step);
    else told({ fps: 1000 * frames / (now - began), long_ms: long });
  };
  requestAnimationFrame(step);
})"""
FULL = """(count) => new Promise((told) => {
  const there = () => document.querySelectorAll("main li").length >= count;
  const look = () => (there() ? told(performance.now()) : setTimeout(look, 20));
  look();
})"""
PAINTED = """() => new Promise((told) => new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (entry.name === "first-contentful-paint") told(entry.startTime);
}).observe({ type: "paint", buffered: true }))"""


def make(store: Store, machines: int, now: datetime) -> datetime:
    """All rows up to `now`; returns the newest minute."""
    minute = now.replace(second=0, microsecond=0) - timedelta(minutes=1)
    first = minute - timedelta(minutes=HOURS * 60 - 1)
    lines = ("intDiv(m, 6)", f"intDiv(m, {ON_LINE})")
    store.command(
        FACTS.replace(*lines), {"minutes": HOURS * 60, "first": 0, "count": machines, "day": first.strftime(AT)}
    )
    slots = {"slots": HOURS * 6 + 1, "day": first.strftime(AT), "machines": machines}
    store.command(INTERVALS.replace(*lines), slots)
    made = MACHINES.replace("intDiv(number, 6)", f"intDiv(number, {ON_LINE})").replace(
        "number % 6", f"number % {ON_LINE}"
    )
    store.command(made, {"machines": machines})
    for table, column in (("oee_hours", "window_start"), ("loss_hours", "start")):
        for month in sorted({first.strftime("%Y-%m-01"), minute.strftime("%Y-%m-01")}):
            store.command(whole_month(table, column), {"day": month, "low": "m0000", "high": f"m{machines:04}"})
    hour = minute.replace(minute=0)
    store.command(PROGRESS, {"hour": hour, "now": now, "version": 1})
    store.command(INCIDENTS, {"now": now})
    return minute


class Pace:
    """New rows at the worker's pace, until it is left; `step`: where the one before has ended, or further."""

    def __init__(self, settings: Settings, minute: datetime, step: int = 0) -> None:
        self._settings, self._minute, self._step = settings, minute, step
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Pace:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        step = self._step
        with closing(Store(self._settings, answer_s=60)) as store:
            while not self._over.wait(PACE_S):
                step += 1
                now = datetime.now(UTC)
                store.command(EARLY, {"minute": self._minute, "step": step})
                store.command(CHANGED, {"now": now, "step": step})
                hour = self._minute.replace(minute=0)
                store.command(PROGRESS, {"hour": hour, "now": now, "version": 1 + step})


@contextmanager
def board(settings: Settings) -> Iterator[str]:
    """The board as a process of its own; its address."""
    port = free_port()
    env = {**settings.environment(), "OPENOEE_WEB_PORT": str(port)}
    process = subprocess.Popen([sys.executable, "-m", "pipeline", "web"], env=env, stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{address}/api/me", timeout=5).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        process.wait(20)


def answers(address: str, runs: int) -> dict[str, Any]:
    """/api/board asked anew each time: the median of its time, its bytes, and as gzip sends them."""
    taken, body = [], b""
    for _ in range(runs):
        time.sleep(3 * (taken[-1] if taken else 0) / 1000 + 2)  # the answer before is kept for so long
        began = time.perf_counter()
        with closing(urllib.request.urlopen(f"{address}/api/board", timeout=60)) as answer:
            body = answer.read()
        taken.append((time.perf_counter() - began) * 1000)
    asked = urllib.request.Request(f"{address}/api/board", headers={"Accept-Encoding": "gzip"})
    with closing(urllib.request.urlopen(asked, timeout=60)) as answer:
        sent = len(answer.read())
    return {"board_ms": statistics.median(taken), "board_kb": len(body) / 1e3, "board_sent_kb": sent / 1e3}


def events(address: str, seconds: float) -> dict[str, Any]:
    """Live events: bytes of the first, the mean of the others and of the tiles that they change; as sent."""
    asked = urllib.request.Request(f"{address}/api/live", headers={"Accept-Encoding": "gzip"})
    unpack = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    sizes, tiles, sent, text = [], [], 0, b""
    deadline = time.monotonic() + seconds
    with closing(urllib.request.urlopen(asked, timeout=60)) as stream:
        while time.monotonic() < deadline:
            part = stream.read1(1 << 20)
            sent += len(part)
            text += unpack.decompress(part)
            while (end := text.find(b"\n\n")) >= 0:
                tiles.append(text.count(b'"machine":', 0, end))
                sizes.append(sent)
                text = text[end + 2 :]
    each = [b - a for a, b in pairwise(sizes)]
    changed = {"changed_kb": statistics.fmean(each) / 1e3, "changed_tiles": statistics.fmean(tiles[1:])}
    return {"first_kb": sizes[0] / 1e3, **changed}


def browse(address: str, machines: int, settings: Settings, minute: datetime) -> dict[str, Any]:
    """A browser on the board: until something, and until everything is there; frames while it scrolls."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        page = browser.new_page(viewport={"width": 1920, "height": 1080})
        page.goto(address)
        found = {"first_paint_ms": page.evaluate(PAINTED), "all_tiles_ms": page.evaluate(FULL, machines)}
        quiet = page.evaluate(FRAMES, SCROLL_S * 1000)
        with Pace(settings, minute):
            time.sleep(3 * PACE_S)
            live = page.evaluate(FRAMES, SCROLL_S * 1000)
        browser.close()
    return {
        **found, "fps": quiet["fps"], "long_ms_s": quiet["long_ms"] / SCROLL_S, "live_fps": live["fps"],
        "live_long_ms_s": live["long_ms"] / SCROLL_S,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True, help="folder of a store of its own (some 200 MB)")
    parser.add_argument("--machines", type=int, default=3000, help="a multiple of 10")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    given = parser.parse_args()
    port = free_port()
    name = f"board_{time.time_ns() // 1_000_000}"
    settings = load({"home": str(given.home), "store": f"http://127.0.0.1:{port}", "database": name}, {})
    local = LocalStore(given.home.resolve(), port, settings["store_user"])
    local.start()
    try:
        migrate(settings)
        with closing(Store(settings, answer_s=600)) as store:
            minute = make(store, given.machines, datetime.now(UTC))
            with board(settings) as address:
                found = answers(address, given.runs)
                found |= browse(address, given.machines, settings, minute)
                with Pace(settings, minute, LATER):
                    found |= events(address, 15)
            store.command(f"DROP DATABASE {name}")
    finally:
        local.stop()
    for what, value in found.items():
        print(f"{what:<16} {value:>10.1f}")
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
