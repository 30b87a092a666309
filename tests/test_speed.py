"""A guard against becoming slow: the worker's own work against a fixed loop, as a ratio in one process.

The loop decodes the same records with fastavro and adds the values up; nothing more. The bounds are a third or more
above what was measured (docs/performance.md), so that only a real loss of speed goes through them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # bench is no part of the package

from test_partition import Row

from bench.speed.answers import avro_reader
from bench.speed.job import T0, Job
from pipeline.codec import Codec
from pipeline.core.engine import ENGINE_VERSION
from pipeline.core.model import Control, MachineConfig
from pipeline.partition import Counts, Partition, Share, warm_up
from pipeline.settings import load
from pipeline.state import Snapshots

CODEC = Codec()
ROUNDS = 3  # the fastest counts: whatever else the machine does can only slow a round down
BATCH = 4_000


def log(job: Job, samples: int) -> list[Row]:
    """The job as it comes live: each record arrives when it is sent."""
    config = MachineConfig(site="bench", ideal_cycle_us={"*": 2_000_000})
    said = [(T0, life.name, CODEC.encode(Control(life.name, "config", T0, "t", config))) for life in job.lives]
    said += [(record.at, record.machine, record.value) for record in job.sent(samples)]
    return [Row(offset, at, machine.encode(), value) for offset, (at, machine, value) in enumerate(said)]


def fastest(work: Callable[[], None]) -> float:
    """CPU seconds of the fastest round."""
    found = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return min(found)


def fold(rows: list[Row], detect: int) -> None:
    settings = load({"detect": detect}, {})
    part = Partition(0, settings, CODEC, Snapshots(0, 4, ENGINE_VERSION), Share(0.5), Counts())
    for first in range(0, len(rows), BATCH):
        batch = rows[first : first + BATCH]
        part.fold(batch, *part.decode(batch))


@pytest.mark.parametrize(
    ("samples", "seconds", "detect", "most"),
    [(1, 900, 0, 2.2), (1, 900, 1, 3.5), (200, 6000, 0, 1.5), (200, 6000, 1, 5.0)],
)
def test_the_worker_against_a_loop_that_only_decodes(samples: int, seconds: int, detect: int, most: float) -> None:
    rows, read = log(Job(seconds, machines=20), samples), avro_reader()
    warm_up(load({}, {}), CODEC)
    frames = [row.value for row in rows[20:]]

    def loop() -> None:
        for value in frames:
            sum(read(value)["signals"][0]["values"])

    ratio = fastest(lambda: fold(rows, detect)) / fastest(loop)
    print(f"{samples} samples, detect {detect}: {ratio:.2f} of the loop")
    assert ratio < most
