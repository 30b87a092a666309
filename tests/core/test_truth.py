"""What the simulator tells of a plant that goes on: nothing that the future may still change."""

from __future__ import annotations

from datetime import UTC, datetime

from pipeline.core.model import OeeFact
from pipeline.core.plant import Plant
from pipeline.core.plant_layout import Habits
from pipeline.core.truth import decided_until, plant_facts
from pipeline.replay import key

MINUTE = 60_000
START = int(datetime(2026, 3, 2, 5, tzinfo=UTC).timestamp() * 1000)


def differing(before: list[OeeFact], after: list[OeeFact]) -> list[OeeFact]:
    known = {key(row): row for row in after}
    return [row for row in before if row.segment_end == known[key(row)].segment_end and row != known[key(row)]]


def test_the_truth_of_a_plant_that_goes_on_stays_true() -> None:
    plant = Plant("s", 3, START, 12, habits=Habits(signal_period_ms=60_000))
    for _ in plant.frames(START + 150 * MINUTE):
        pass
    whole = plant_facts(plant, START + 150 * MINUTE)
    changed = cut = 0
    for at in range(START + 30 * MINUTE, START + 120 * MINUTE, MINUTE):
        until = decided_until(plant, at)
        assert at - 10 * MINUTE < until <= at
        assert differing(plant_facts(plant, until), whole) == []
        cut += until < at
        changed += bool(differing(plant_facts(plant, at), whole))
    assert 0 < changed <= cut < 90  # told up to `at`, some of it would have been wrong
