"""From the producer's hand to an answer in SQL: how long a sample takes while 50,000 of them come every second."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
from confluent_kafka import Producer

from bench.line.place import Place, cpu_s, running
from pipeline.codec import Codec
from pipeline.core.model import Frame, SignalBlock, StateChange
from pipeline.settings import Settings
from pipeline.store.client import Store

MACHINES, SIGNALS, SAMPLES = 250, 20, 10  # frames of 10 samples, one a second and machine: 50,000 values a second
WATCHED = 10  # machines whose newest sample is asked for
LOOK_EVERY_S = 0.02
SETTLE_S = 10.0  # of the start are not counted
NEWEST = """
SELECT machine, toUnixTimestamp64Milli(max(ts)) FROM telemetry
WHERE machine IN {machines:Array(String)} AND ts >= fromUnixTimestamp64Milli({since:Int64}) GROUP BY machine
"""


class Plant:
    """Sends frames at an even pace; remembers when each frame of the watched machines was handed over."""

    def __init__(self, line: Settings) -> None:
        self.handed: dict[str, list[tuple[int, float]]] = {name(k): [] for k in range(WATCHED)}
        self._topic = line.topic("telemetry")
        self._producer = Producer({
            "bootstrap.servers": line["kafka"], "partitioner": "murmur2_random", "enable.idempotence": True,
            "compression.type": "lz4", "linger.ms": 5, "log_level": 0,
        })  # fmt: skip
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join()
        self._producer.flush(30)

    def _send(self) -> None:
        codec, rng = Codec(), np.random.default_rng(1)
        epoch, names = int(time.time() * 1000), [f"signal_{k:02d}" for k in range(SIGNALS)]
        began, number = time.monotonic(), 0
        while not self._over.is_set():
            due = began + number / MACHINES
            time.sleep(max(0.0, due - time.monotonic()))
            k, sequence = number % MACHINES, number // MACHINES
            now = int(time.time() * 1000)
            at = now - np.arange(SAMPLES, dtype=np.int64)[::-1] * (1000 // SAMPLES)
            frame = Frame(name(k), "gateway", epoch, sequence, now)
            frame.signals.append(SignalBlock(at, names, np.round(rng.normal(50, 1, (SIGNALS, SAMPLES)), 2)))
            if sequence % 300 == 0:
                frame.states.append(StateChange(now, "running"))
            self._producer.produce(self._topic, codec.encode(frame), name(k))
            self._producer.poll(0)
            if k < WATCHED:
                self.handed[name(k)].append((now, time.monotonic()))
            number += 1


def name(k: int) -> str:
    return f"machine-{k:03d}"


def measure(place: Place, seconds: float, report: Callable[[str], None]) -> dict[str, Any]:
    """Run plant, worker and sink for so long on all cores; latency in s of every frame of the watched machines."""
    line = place.line("latency")
    plant, seen = Plant(line), dict[str, list[tuple[float, int]]]()
    report(f"latency: {MACHINES * SIGNALS * SAMPLES:,} values/s for {seconds:.0f} s")
    with ExitStack() as stack:
        processes = [
            stack.enter_context(running(line, what, place.log, pinned=False))[0] for what in ("worker", "sink")
        ]
        stack.callback(plant.end)
        plant.start()
        store, began = Store(line), time.monotonic()
        asked = {"machines": list(plant.handed)}
        used = cpu_s(processes), cpu_s([place.store_process()])
        while time.monotonic() < began + seconds + SETTLE_S:
            since = int(time.time() * 1000) - 20_000
            for machine, newest in store.query(NEWEST, {**asked, "since": since}).result_rows:
                seen.setdefault(machine, []).append((time.monotonic(), newest))
            time.sleep(LOOK_EVERY_S)
        store.close()
        used = cpu_s(processes) - used[0], cpu_s([place.store_process()]) - used[1]
    found = [
        late
        for machine, handed in plant.handed.items()
        for late in latencies([one for one in handed if one[1] > began + SETTLE_S], seen.get(machine, []))
    ]
    return {
        "values_per_s": MACHINES * SIGNALS * SAMPLES, "seconds": seconds, "frames": len(found),
        **{f"p{p}_s": float(np.percentile(found, p)) for p in (50, 95, 99)}, "most_s": max(found),
        "line_cores": used[0] / (seconds + SETTLE_S), "store_cores": used[1] / (seconds + SETTLE_S),
        "all": [round(late, 4) for late in found],
    }  # fmt: skip


def latencies(handed: Sequence[tuple[int, float]], seen: Sequence[tuple[float, int]]) -> list[float]:
    """Seconds from when each instant was handed over (instant in ms, clock) to the first look that saw it.

    `seen` are looks in order: clock, newest instant then. What no look saw is left out.

    >>> latencies([(1000, 5.0), (2000, 6.0)], [(5.1, 0), (5.5, 1000), (7.0, 2000)])
    [0.5, 1.0]
    """
    newest = [instant for _, instant in seen]
    found = []
    for instant, clock in handed:
        place = bisect_right(newest, instant - 1)
        if place < len(seen):
            found.append(seen[place][0] - clock)
    return found
