"""Plants for the days of the oracle: calendars of every level, configurations that follow each other."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import date, timedelta

from pipeline.core.model import CalendarException, CalendarLevel, MachineConfig, Shift

MINUTE = 60_000
PRODUCTS = ("A", "B", "C", "Z")
# What the engine does not yet do as the rules say (tests/core/test_oracle.py shows each): left out of the days unless
# they are asked for, so that anything new is found.
SPARED = frozenset({"short staleness"})


def clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def arcs(dice: random.Random, cuts: Sequence[int], prefix: str, share: float) -> tuple[Shift, ...]:
    """Some of the stretches between cuts of the clock; the last one runs over midnight."""
    found = []
    for place, cut in enumerate(cuts):
        days = tuple(dice.sample(range(1, 8), dice.randint(4, 7))) if dice.random() < 0.2 else tuple(range(1, 8))
        end = cuts[(place + 1) % len(cuts)]
        if dice.random() < share:
            found.append(Shift(f"{prefix}{place}", clock(cut), clock(end), tuple(sorted(days))))
    return tuple(found)


def level(dice: random.Random, name: str, on: date, start: int, end: int) -> CalendarLevel:
    """A calendar of one level, its shifts apart from each other, its planned stops not."""
    number = dice.randint(1, 4)
    cuts = sorted({dice.choice((0, 90, 120, 150, 360, 840, 1320, 5 * dice.randint(0, 287))) for _ in range(number)})
    nearby = [(on + timedelta(days=n)).isoformat() for n in (-1, 0, 1)]
    exceptions = ()
    if dice.random() < 0.2:
        first, last = sorted((dice.choice(nearby), dice.choice(nearby)))
        exceptions = (CalendarException(first, last, arcs(dice, cuts, f"{name}-x", 0.6), breaks(dice)),)
    always = dice.random() < 0.25
    if always:  # the other shifts must not meet the whole days beside them
        exceptions = tuple(replace(one, shifts=arcs(dice, [0, *cuts[1:]], f"{name}-x", 0.6)) for one in exceptions)
    stops = []
    for _ in range(dice.choice((0, 0, 1, 3))):
        at = dice.randint(start - 60 * MINUTE, end)
        stops.append((at, at + dice.randint(1, 180 * MINUTE)))
    closed = tuple(one for one in nearby if dice.random() < 0.08)
    shifts = () if always else arcs(dice, cuts, f"{name}-", 0.8)
    return CalendarLevel(name, always, shifts, breaks(dice), tuple(stops), closed, exceptions)


def breaks(dice: random.Random) -> tuple[Shift, ...]:
    """Recurring planned stops, overlapping if it so happens."""
    found = []
    for place in range(dice.choice((0, 0, 1, 2, 4))):
        at = dice.choice((0, 145, 1430, dice.randint(0, 1439)))
        found.append(Shift(f"break{place}", clock(at), clock((at + dice.choice((5, 15, 30, 90))) % 1440)))
    return tuple(found)


def factory(dice: random.Random, zone: str, on: date, start: int, end: int) -> list[MachineConfig]:
    """One configuration, or several that follow each other."""
    if dice.random() < 0.03:
        return []
    names = [name for name in ("machine", "line", "area", "site", "enterprise") if dice.random() < 0.4] or ["site"]
    if dice.random() < 0.5:
        names = names[:1]
    found: list[MachineConfig] = []
    for number in range(dice.choice((1, 1, 1, 2, 3))):
        own, *above = (level(dice, name, on, start, end) for name in names)
        if number and dice.random() < 0.5:  # the same plant, but for some of its figures
            config = found[-1]
        else:
            config = MachineConfig(
                always=own.always, shifts=own.shifts, planned_down=own.planned_down, breaks=own.breaks,
                closed=own.closed, exceptions=own.exceptions, calendar_level=own.level, above=tuple(above),
                timezone=zone, site="s", area=dice.choice(("", "hall")), line=dice.choice(("", "l1", "l1")),
            )  # fmt: skip
        if not number and dice.random() < 0.3:
            config = MachineConfig(timezone=zone, line=config.line, site="s")
        effective = dice.choice((dice.randint(start, end), found[-1].effective or start)) if number else 0
        found.append(figures(dice, replace(config, effective=effective)))
    return found


def mild(config: MachineConfig, spared: Collection[str]) -> MachineConfig:
    """The configuration without what is spared."""
    if "short staleness" in spared and config.stale_after_ms is not None:
        return replace(config, stale_after_ms=max(config.stale_after_ms, MINUTE))
    return config


def figures(dice: random.Random, config: MachineConfig) -> MachineConfig:
    ideal = {product: dice.randint(1, 90_000_000) for product in (*PRODUCTS[:3], "*") if dice.random() < 0.6}
    units = {product: dice.randint(1, 12) for product in (*PRODUCTS[:2], "*") if dice.random() < 0.5}
    return replace(
        config, ideal_cycle_us=ideal, units_per_cycle=units if dice.random() < 0.3 else {},
        micro_stop_ms=dice.choice((0, 30_000, 120_000, 600_000)),
        stale_after_ms=dice.choice((None, 20_000, 60_000, 300_000, 1_200_000, 3_600_000)),
        counter_modulus=dice.choice((None, None, 1000, 65_536)),
        count_split="proportional" if dice.random() < 0.25 else "",
        profile=dice.choice(("iso22400", "vorne", "smrp")), unknown_as=dice.choice(("loss", "exclude")),
    )  # fmt: skip
