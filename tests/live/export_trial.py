"""Simulated hours as a log: what arrived when, late data, repeats and corrections included, into a real store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from pipeline import inline
from pipeline.core.model import Control, Correction, Frame, Record, SignalBlock
from pipeline.core.plant import Plant
from pipeline.core.plant_dirt import Dirt, disturb
from pipeline.core.plant_layout import Habits
from pipeline.factory import Factory, controls
from pipeline.replay import as_records
from pipeline.settings import Settings
from pipeline.store.migrate import migrate

T0 = 1_772_434_800_000  # 2026-03-02T07:00:00Z
MINUTE, HOUR = 60_000, 3_600_000
UNDERWAY_MS = 700  # from the machine to the log
FRAME_MS = 5_000


def log(
    hours: float, machines: int = 3, dirt: Dirt | None = None, seed: int = 11, said: Iterable[Record] = (),
    habits: Habits | None = None,
) -> list[Record]:  # fmt: skip
    """Every record with its arrival, in its order. `said`: records of people, put in by their arrival."""
    plant = Plant("lyon", seed, T0, machines, habits=habits or Habits(signal_period_ms=5_000), dirt=dirt or Dirt())
    factory = Factory.of("lyon", plant.habits.timezone, plant.machines)
    end = T0 + round(hours * HOUR)
    frames = disturb(plant.frames(end, FRAME_MS), plant.dirt, seed)
    found = [
        Record(one.arrived + UNDERWAY_MS, one.message) for one in as_records([*controls(factory, T0, "test"), *frames])
    ]
    first = [one._replace(arrived=T0) for one in found if isinstance(one.message, Control)]
    rest = [one for one in found if isinstance(one.message, Frame)]
    return [*first, *sorted([*rest, *said], key=lambda one: one.arrived)]


def correction(machine: str, arrived: int, body: Correction) -> Record:
    return Record(arrived, Control(machine, body.id, arrived, "ann", body))


def raised(records: Iterable[Record], machine: str, signal: str, start: int, end: int, by: float) -> Iterator[Record]:
    """The records, with so much more (unit of the signal) in the samples of [start, end) (ms)."""

    def block(one: SignalBlock) -> SignalBlock:
        rows, samples = np.array([name == signal for name in one.names]), (one.at >= start) & (one.at < end)
        return replace(one, values=one.values + by * np.outer(rows, samples))

    for record in records:
        frame = record.message
        if isinstance(frame, Frame) and frame.machine == machine:
            frame = replace(frame, signals=[block(one) for one in frame.signals])
        yield record._replace(message=frame)


def up_to(records: Iterable[Record], arrived: int) -> Iterator[Record]:
    return (one for one in records if one.arrived <= arrived)


def load(settings: Settings, records: Iterable[Record]) -> None:
    """Records and what follows from them, into a new database."""
    migrate(settings)
    inline.run(records, settings)
