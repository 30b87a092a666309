"""What the store must hold of a job once everything is written: every value once, whatever was sent late or twice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.speed.job import Job


@dataclass(frozen=True)
class Held:
    """Telemetry as a count and a sum; values have two decimals, so that the sum of hundredths is exact."""

    values: int
    hundredths: int


def held_by(job: Job) -> Held:
    """The truth of the generator.

    >>> held_by(Job(seconds=120, machines=2)).values
    4800
    """
    total = sum(int(np.rint(life.values() * 100).astype(np.int64).sum()) for life in job.lives)
    return Held(job.values, total)
