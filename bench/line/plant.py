"""A plant that sends at an even pace, and remembers when it handed over which instant of which machine."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left

import numpy as np
from confluent_kafka import Producer

from pipeline.codec import Codec
from pipeline.core.model import Frame, SignalBlock, StateChange
from pipeline.settings import Settings

MACHINES, SIGNALS, SAMPLES = 250, 20, 10  # frames of 10 samples, one a second and machine: 50,000 values a second
NAMES = [f"signal_{k:02d}" for k in range(SIGNALS)]
STATE_EVERY = 300  # frames


class Plant:
    """One thread that makes, encodes and sends frames; `behind_s` is the most that it was behind its own pace."""

    def __init__(self, line: Settings) -> None:
        self.handed: dict[str, list[tuple[int, float]]] = {name(k): [] for k in range(MACHINES)}
        self.behind_s = 0.0
        self._topic = line.topic("telemetry")
        self._producer = Producer({
            "bootstrap.servers": line["kafka"], "partitioner": "murmur2_random", "enable.idempotence": True,
            "compression.type": "lz4", "linger.ms": 5, "log_level": 0,
        })  # fmt: skip
        self._over = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Stop sending. Raises what the thread has died of."""
        self._over.set()
        self._thread.join()
        self._producer.flush(30)
        if self._error is not None:
            raise self._error

    def pace(self, since: float, until: float) -> float:
        """Values a second that were handed over between two readings of the clock."""
        frames = sum(since <= clock < until for handed in self.handed.values() for _, clock in handed)
        return frames * SIGNALS * SAMPLES / (until - since)

    def _run(self) -> None:
        try:
            self._send()
        except BaseException as error:
            self._error = error

    def _send(self) -> None:
        codec, rng = Codec(), np.random.default_rng(1)
        epoch, began, number = int(time.time() * 1000), time.monotonic(), 0
        while not self._over.is_set():
            due = due_s(number)
            wait = began + due - time.monotonic()
            self.behind_s = max(self.behind_s, -wait)
            time.sleep(max(0.0, wait))
            k, sequence = number % MACHINES, number // MACHINES
            now = int(time.time() * 1000)
            at = now - np.arange(SAMPLES, dtype=np.int64)[::-1] * (1000 // SAMPLES)
            frame = Frame(name(k), "gateway", epoch, sequence, now)
            frame.signals.append(SignalBlock(at, NAMES, np.round(rng.normal(50, 1, (SIGNALS, SAMPLES)), 2)))
            if sequence % STATE_EVERY == 0:
                frame.states.append(StateChange(now, "running"))
            self._producer.produce(self._topic, codec.encode(frame), name(k))
            self.handed[name(k)].append((now, time.monotonic()))
            self._producer.poll(0)
            number += 1


def name(k: int) -> str:
    return f"machine-{k:03d}"


def due_s(number: int) -> float:
    """When a frame is due, in s from the first: each machine once a second, spread evenly.

    >>> [due_s(number) for number in (0, 1, 250, 375)]
    [0.0, 0.004, 1.0, 1.5]
    """
    return number / MACHINES


def closing(handed: list[tuple[int, float]], window_ms: int, lateness_ms: int) -> list[tuple[int, float]]:
    """Each window that a machine's frames close (its start) with the clock of the frame that closes it.

    `handed` are (newest instant in ms, clock) in order; a window is closed by the first frame that reaches its end and
    the lateness beyond.

    >>> closing([(59_000, 1.0), (89_000, 2.0), (90_500, 3.0), (91_500, 4.0)], 60_000, 30_000)
    [(0, 3.0)]
    """
    if not handed:
        return []
    instants = [instant for instant, _ in handed]
    found = []
    for start in range(instants[0] - instants[0] % window_ms, instants[-1], window_ms):
        place = bisect_left(instants, start + window_ms + lateness_ms)
        if place < len(handed):
            found.append((start, handed[place][1]))
    return found
