"""When a simulated machine works: its calendar, kept as people keep it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from pipeline.core.model import MachineConfig
from pipeline.core.plant_calendar import DAY_MS, Span, planned_stops, shifts, united, without
from pipeline.core.plant_layout import MachineDesign
from pipeline.core.plant_reports import FAR

MINUTE_MS = 60_000
BREAK_LIMIT_MS = 100 * MINUTE_MS
PLANNED_LIMIT_MS = 4 * 3_600_000


class Window(NamedTuple):
    """The machine works in [start, end); before it (since the last window) it is in `before`."""

    start: int
    end: int
    before: str


def duty(design: MachineDesign, rng: random.Random, start: int) -> Iterator[Window]:
    """When the machine works: its calendar, but late, early or over time now and then. Without end."""
    if design.config.always:
        yield Window(start, FAR, "idle")
        return
    last = start
    for begin, end, pause, next_begin in _planned(design.config, start):
        if end <= last:
            continue
        begin = max(begin, last)
        if begin > last:
            late = rng.random()
            early = min((begin - last) // 2, rng.randrange(60_000, 480_000))
            shift = rng.randrange(1000, 360_000) if late < 0.5 else -early if late > 0.94 else 0
            begin = min(begin + shift, end - 1000)
        gap = next_begin - end
        over = rng.random()
        if over < 0.16:
            end += rng.randrange(1000, max(2000, min(gap, 25 * MINUTE_MS)))
        elif over < 0.3:
            end = max(begin + 1000, end - rng.randrange(1000, 240_000))
        before = design.off_state if pause is None or pause >= PLANNED_LIMIT_MS else design.break_state
        yield Window(begin, end, "maintenance" if pause and BREAK_LIMIT_MS < pause < PLANNED_LIMIT_MS else before)
        last = end


def _planned(config: MachineConfig, start: int) -> Iterator[tuple[int, int, int | None, int]]:
    """Planned work: start, end, length of the pause before it, start of the next one."""
    waiting: list[Span] = []
    at, previous = start, None
    while True:
        until = at + 10 * DAY_MS
        spans = [(max(shift.start, at), min(shift.end, until)) for shift in shifts(config, at, until)]
        waiting = united(waiting + without(united(spans), planned_stops(config, at, until)))
        while len(waiting) > 1:
            begin, end = waiting.pop(0)
            yield begin, end, None if previous is None else begin - previous, waiting[0][0]
            previous = end
        at = until
