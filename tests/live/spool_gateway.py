"""A gateway for trials of the spool: a seeded load until SIGTERM, and its own account of what was taken.

python spool_gateway.py EPOCH ACCOUNT      settings from the environment
"""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable

import numpy as np

from pipeline.codec import Codec
from pipeline.core.model import Frame, SignalBlock, StateChange
from pipeline.settings import load
from pipeline.spooled import SpooledProducer

MACHINES = 5
FRAMES_PER_S = 2_000
T0 = 1_700_000_000_000


def load_of(epoch: int) -> Callable[[int], Frame]:
    """Frames of about 2 kB, turn by turn of every machine; a source that starts again counts anew in another epoch."""
    rng = random.Random(epoch)

    def frame(number: int) -> Frame:
        sequence, machine = divmod(number, MACHINES)
        at = T0 + sequence * 1_000
        times = at + np.arange(rng.randint(100, 300))
        values = np.array([[rng.random() for _ in times]])
        states = [StateChange(at, "running")] if sequence == 0 else []
        return Frame(
            f"m{machine}", "plc", epoch, sequence, at, states=states, signals=[SignalBlock(times, ["x"], values)]
        )

    return frame


def main(epoch: int, account: str) -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    frame, number, began = load_of(epoch), 0, time.monotonic()
    taken = os.open(account, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with SpooledProducer(load(), Codec()) as producer:
        while not stop.is_set():
            one = frame(number)
            producer.send(one)
            os.write(taken, f"{one.machine} {one.epoch} {one.sequence}\n".encode())
            number += 1
            stop.wait(max(0.0, began + number / FRAMES_PER_S - time.monotonic()))
    assert producer.acknowledged == producer.sent == number
    sys.stderr.write(f"{number} sent, {producer.earlier} of before\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
