"""A simulated plant's hours in a real store, through the engine in one process: data for reports and dashboards."""

from __future__ import annotations

from itertools import chain

from pipeline import inline
from pipeline.core.plant import Plant
from pipeline.core.plant_layout import Habits
from pipeline.factory import Factory, controls
from pipeline.settings import Settings
from pipeline.store.migrate import migrate

SITE, START, HOUR = "lyon", 1_772_438_400_000, 3_600_000  # 2026-03-02T08:00Z, a Monday


def fill(
    settings: Settings, hours: float = 2.0, seed: int = 7, machines: int = 12, habits: Habits | None = None
) -> int:
    """Migrates the database, stores that many hours of a plant from START on; returns their end in ms."""
    migrate(settings)
    end = START + round(hours * HOUR)
    plant = Plant(SITE, seed, START, machines, habits=habits or Habits("UTC"))
    factory = Factory.of(SITE, "UTC", plant.machines)
    inline.run(chain(controls(factory, START, "test"), plant.frames(end), plant.ends(end, end)), settings)
    return end
