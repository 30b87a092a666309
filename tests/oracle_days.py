"""Days of one machine, plausible and implausible, drawn from dice: the same for hypothesis and for seeded trials."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from oracle_plants import MINUTE, PRODUCTS, SPARED, factory, mild

from pipeline.core.model import (
    STATES,
    Context,
    Control,
    Correction,
    CountReading,
    EndOfSource,
    Frame,
    MachineConfig,
    StateChange,
)

DAY_MS = 1440 * MINUTE
CLOCKS_CHANGE = {
    "Europe/Berlin": ("2026-03-29", "2026-10-25"),
    "America/New_York": ("2026-03-08", "2026-11-01"),
    "Australia/Lord_Howe": ("2026-04-05", "2026-10-04"),
    "UTC": ("2026-02-28", "2026-12-31"),
}
WORDS = ("state", "calendar", "product", "order", "parts", "ideal", "reason")
OFTEN = ("running", "running", "running", "stopped", "stopped", "fault", "fault", "idle", "setup")


@dataclass
class Day:
    """A log in order of arrival, from `start` to `end`, and how the engine is to be set."""

    messages: list[Frame | Control]
    window_ms: int
    lateness_ms: int
    start: int
    end: int

    def told(self) -> dict[str, object]:
        """Everything, as plain values that JSON can hold."""
        listed = [{type(said).__name__: asdict(said)} for said in self.messages]
        return {**asdict(replace(self, messages=[])), "messages": listed}


def day(
    dice: random.Random, most: int = 200, longest_ms: int = 25 * 60 * MINUTE, spared: Collection[str] = SPARED
) -> Day:
    """A day of a machine, or `longest_ms` of it, with up to `most` events; without what is `spared`."""
    zone = dice.choice(tuple(CLOCKS_CHANGE))
    on = date.fromisoformat(dice.choice(CLOCKS_CHANGE[zone]))
    if dice.random() < 0.5:
        on = date(2026, 1, 1) + timedelta(days=dice.randint(0, 364))
    midnight = int(datetime(on.year, on.month, on.day, tzinfo=ZoneInfo(zone)).timestamp()) * 1000
    start = midnight + dice.choice((0, 0, 6 * 60 * MINUTE, dice.randint(0, 6 * 60 * MINUTE)))
    span = min(dice.choice((25 * 60 * MINUTE, DAY_MS, dice.randint(30 * MINUTE, DAY_MS))), longest_ms)
    window = dice.choice((MINUTE, 5 * MINUTE, 15 * MINUTE))
    end = start + span
    if dice.random() < 0.8:
        end -= end % (15 * MINUTE)
    plants = [mild(config, spared) for config in factory(dice, zone, on, start, end)]
    first = plants[0] if plants else MachineConfig()
    times = instants(dice, first, start, end, dice.randint(min(20, most), most))
    plants[1:] = [moved(dice, config, times) for config in plants[1:]]
    frames = said(dice, first, times, start)
    corrections = corrected(dice, times, start, end)
    controls = [Control("m", f"config-{n}", 0, "t", config) for n, config in enumerate(plants)]
    controls += [Control("m", f"correction-{n}", 0, "t", one) for n, one in enumerate(corrections)]
    lateness = 60 * 60 * MINUTE if dice.random() < 0.5 or "restating" in spared else 30_000
    log = arrival(dice, frames, controls, Control("m", "end", 0, "t", EndOfSource("plc", end)), spared)
    return Day(log, window, lateness, start, end)


def moved(dice: random.Random, config: MachineConfig, times: Sequence[int]) -> MachineConfig:
    """The configuration, perhaps from an instant on at which the machine speaks, or soon after it."""
    effective = dice.choice(times) + dice.choice((0, 0, 1, 20_000))
    return replace(config, effective=effective) if dice.random() < 0.5 else config


# What the machine says


def instants(dice: random.Random, config: MachineConfig, start: int, end: int, number: int) -> list[int]:
    """When it speaks: bursts at one instant, lengths about the limits, borders of windows, silences."""
    limits = [config.micro_stop_ms, config.stale_after_ms or 900_000, 60_000]
    pace = max((end - start) // max(number, 1), 1)
    at, found = start, []
    for _ in range(number):
        kind = dice.randint(0, 9)
        if kind < 5:
            at += dice.randint(1, 2 * pace)
        elif kind == 5:
            at += dice.choice(limits) + dice.choice((-1, 0, 1))
        elif kind == 6:
            at += MINUTE - at % MINUTE
        elif kind == 7 and dice.random() < 0.1:
            at += dice.randint(1, 180 * MINUTE)
        elif kind == 8:
            at += dice.randint(0, 3)
        at = max(at, start)
        if at >= end:
            at = dice.randint(start, end - 1)
        found.append(at)
    return sorted(found)


class Counters:
    """Counters of a control that count, stand still, jump, start again and contradict each other."""

    def __init__(self, dice: random.Random, modulus: int | None) -> None:
        self.dice, self.modulus = dice, modulus or 10**6
        self.good, self.reject, self.rework, self.near = dice.randint(0, 1200), dice.randint(0, 50), 0, False
        self.says = dice.choice((("total",), ("good",), ("total", "reject"), ("total", "good"), ("good", "reject"),
                                 ("total", "good", "reject"), ("total", "good", "reject", "rework")))  # fmt: skip

    def read(self, at: int) -> CountReading:
        dice = self.dice
        kind = dice.randint(0, 19)
        self.good += 0 if kind == 0 else dice.randint(0, 9 if kind else 400)
        self.reject += dice.choice((0, 0, 0, 1, 3))
        self.rework += dice.choice((0, 0, 1))
        if self.near:  # where a rollover ends
            self.good, self.reject, self.near = dice.choice((0, 98, 99, 100)), dice.choice((0, 0, 1)), False
        if kind == 1:
            self.good = dice.randint(0, 5)
        if kind == 2:  # where a rollover begins
            self.good, self.reject, self.rework, self.near = dice.randint(897, 903), dice.choice((0, 0, 1)), 0, True
        says = self.says if kind != 3 else dice.choice((("rework",), ("total",), ("total", "good"), ("reject",)))
        values = {"total": self.good + self.reject, "good": self.good, "reject": self.reject, "rework": self.rework}
        if kind == 4:
            values["total"] += dice.randint(-3, 3)
        return CountReading(at, True, **{name: max(values[name], 0) % self.modulus for name in says})


def said(dice: random.Random, config: MachineConfig, times: Sequence[int], start: int) -> list[Frame]:
    """Frames in order of sequence, a few of them older than the one before."""
    counters, sequences, found = Counters(dice, config.counter_modulus), {"plc": 0, "gateway": 0}, []
    wild = dice.random() < 0.3
    counting = dice.choice(("cumulative", "reports", "both"))

    def frame(source: str, at: int) -> Frame:
        found.append(Frame("m", source, 0, sequences[source], at))
        sequences[source] += 1
        return found[-1]

    def opening(at: int) -> None:
        """What a source held when it connected."""
        held = frame("plc", at)
        held.opening = True
        old = at - dice.choice((0, 1, 3 * 60 * MINUTE, DAY_MS))
        held.states.append(StateChange(old, dice.choice(STATES)))
        held.contexts.append(Context(old, dice.choice(PRODUCTS), "O0"))
        if dice.random() < 0.5:
            held.counts.append(counters.read(old))

    if dice.random() < 0.4:
        opening(start)
    for at in times:
        if dice.random() < 0.03:
            at = dice.choice(times)  # told later than what came after it
        source = "plc" if dice.random() < 0.8 else "gateway"
        into = found[-1] if found and found[-1].source == source and dice.random() < 0.2 else frame(source, at)
        if into.opening:
            into = frame(source, at)
        if dice.random() < 0.005:
            opening(at)
        kind = dice.randint(0, 9)
        if kind < 5:
            state = dice.choice(STATES) if wild or dice.random() < 0.15 else dice.choice(OFTEN)
            into.states.append(StateChange(at, state, dice.choice((None, "R1"))))
        elif kind < 8:
            into.counts.append(counters.read(at) if reads(dice, counting) else report(dice, at))
        elif kind == 8:
            product, order = dice.choice((None, *PRODUCTS)), dice.choice((None, None, "O1", "O2"))
            into.contexts.append(Context(at, product, order))
    return found


def reads(dice: random.Random, counting: str) -> bool:
    return counting == "cumulative" or (counting == "both" and dice.random() < 0.5)


def report(dice: random.Random, at: int) -> CountReading:
    good, reject = dice.randint(0, 20), dice.choice((0, 0, 1, 4))
    kind = dice.randint(0, 9)
    if kind < 4:
        return CountReading(at, False, total=good + reject, good=good)
    if kind < 6:
        return CountReading(at, False, good=good)
    if kind < 8:
        return CountReading(at, False, total=good + reject, reject=reject, rework=dice.choice((None, 1)))
    return CountReading(at, False, total=good + reject, good=good, reject=reject + dice.choice((0, 1)))


# What people say, and how it all arrives


def corrected(dice: random.Random, times: Sequence[int], start: int, end: int) -> list[Correction]:
    """Corrections that overlap, replace each other and are withdrawn."""
    found: list[Correction] = []
    for _ in range(dice.choice((0, 0, 1, 3, 8))):
        first = dice.choice(times) if dice.random() < 0.4 else dice.randint(start - 30 * MINUTE, end)
        lasts = dice.choice((1, 30_000, 120_000, dice.randint(1, 40 * MINUTE), dice.randint(1, 6 * 60 * MINUTE)))
        one = Correction(first, first + lasts, revision=dice.randint(1, 3), id=dice.choice(("", "", "x", "y")))
        for what in dice.sample(WORDS, dice.randint(1, 2)):
            one = replace(one, **word(dice, what))
        if one.id and any(one.id == other.id and one.revision <= other.revision for other in found):
            one = replace(one, revision=max(other.revision for other in found) + 1)
        if one.id and dice.random() < 0.2:
            one = replace(one, withdrawn=True)
        found.append(one)
    return found


def word(dice: random.Random, what: str) -> dict[str, object]:
    if what == "parts":
        return {"good": dice.randint(-5, 20), "reject": dice.choice((None, 0, 3)), "rework": dice.choice((None, 2, -1))}
    if what == "ideal":
        return {"ideal_cycle_us": dice.randint(1, 9_000_000)}
    words = {"state": STATES, "calendar": ("planned", "unplanned", "closed"), "product": PRODUCTS}
    return {what: dice.choice(words.get(what, ("R2", "O1", "O9")))}


def arrival(
    dice: random.Random, frames: list[Frame], controls: list[Control], end: Control, spared: Collection[str]
) -> list[Frame | Control]:
    """In order, or in any; some twice; configurations and corrections before, between or behind."""
    told: list[Frame | Control] = list(frames)
    if dice.random() < 0.3:
        dice.shuffle(told)
    for _ in range(dice.choice((0, 0, 3))):
        told.insert(dice.randint(0, len(told)), dice.choice(frames))
    told.append(end)
    place = 0
    for control in controls:  # in their own order
        if dice.random() < 0.4:
            place = dice.randint(place, len(told))
        if isinstance(control.body, MachineConfig) and "restating" in spared:
            place = min(place, next(number for number, other in enumerate(told) if other is end))
        told.insert(place, control)
        place += 1
    return told
