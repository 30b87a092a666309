"""What stands in the simulated plant: lines, machines, products, calendars, and how each machine reports."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from pipeline.core.model import MachineConfig, Shift, SignalConfig

MACHINES_PER_LINE = 6
HOUR_MS = 3_600_000
WEEKDAYS, SIX_DAYS = (1, 2, 3, 4, 5), (1, 2, 3, 4, 5, 6)
THREE_SHIFTS = (
    Shift("early", "06:00", "14:00"),
    Shift("late", "14:00", "22:00"),
    Shift("night", "22:00", "06:00", WEEKDAYS),
)
TWO_SHIFTS = (Shift("day", "06:30", "14:45"), Shift("evening", "14:45", "23:00", SIX_DAYS))
THREE_BREAKS = (
    Shift("breakfast", "09:00", "09:15"),
    Shift("lunch", "11:30", "12:00"),
    Shift("dinner", "18:00", "18:30"),
    Shift("midnight", "02:00", "02:30"),
)
TWO_BREAKS = (Shift("lunch", "11:00", "11:30"), Shift("dinner", "18:30", "19:00"))

ZONES = (  # one for (nearly) every hour of the day: `awake_zone` finds the one where a shift has just ended
    "Pacific/Auckland", "Pacific/Guadalcanal", "Australia/Brisbane", "Asia/Tokyo", "Asia/Shanghai", "Asia/Bangkok",
    "Asia/Dhaka", "Asia/Karachi", "Asia/Dubai", "Europe/Istanbul", "Africa/Johannesburg", "Africa/Lagos",
    "Africa/Accra", "Atlantic/Cape_Verde", "America/Noronha", "America/Sao_Paulo", "America/Santiago", "America/Lima",
    "America/Costa_Rica", "America/Phoenix", "Pacific/Pitcairn", "Pacific/Gambier", "Pacific/Honolulu",
    "Pacific/Pago_Pago",
)  # fmt: skip


def awake_zone(now: int) -> str:
    """An IANA zone where it is about 14:00 at `now` (ms): the eight hours before it are a whole early shift."""
    moment = datetime.fromtimestamp(now / 1000, UTC)

    def minutes_off(zone: str) -> int:
        local = moment.astimezone(ZoneInfo(zone))
        return abs(local.hour * 60 + local.minute - (14 * 60 + 20))

    return min(ZONES, key=minutes_off)


class SignalDesign(NamedTuple):
    """One signal: its levels (unit of the signal) when the machine runs, is set up, waits and is off, and its noise."""

    name: str
    unit: str
    running: float
    setup: float
    waiting: float
    off: float
    noise: float
    quiet: float
    wear: float = 0.0
    lag_ms: int = 0
    low: float | None = None
    high: float | None = None


MACHINING = (
    SignalDesign("spindle_load", "%", 52, 14, 2.5, 0.4, 2.4, 0.15, 6, low=-5, high=110),
    SignalDesign("vibration", "mm/s", 2.1, 0.5, 0.16, 0.05, 0.14, 0.012, 1.6, low=-1, high=9),
    SignalDesign("temperature", "Cel", 57, 38, 29, 21, 0.18, 0.12, 5, 720_000, low=0, high=95),
    SignalDesign("power", "kW", 13.5, 4.2, 1.3, 0.08, 0.42, 0.02, 1.1, low=-1, high=40),
)
PROCESS = (
    SignalDesign("pressure", "bar", 6.2, 4.0, 5.6, 0.3, 0.07, 0.02, -0.5, low=-1, high=12),
    SignalDesign("flow", "L/min", 24, 3, 1.1, 0.1, 0.6, 0.03, -2, low=-2, high=60),
    SignalDesign("temperature", "Cel", 61, 55, 52, 22, 0.2, 0.15, 3, 900_000, low=0, high=95),
    SignalDesign("power", "kW", 8.4, 2.9, 1.9, 0.06, 0.25, 0.02, 0.6, low=-1, high=40),
)
STATIONS = (  # name, serial position, factor on the product's cycle, signals
    ("saw", 1, 0.92, MACHINING),
    ("mill-1", 2, 1.78, MACHINING),
    ("mill-2", 2, 1.86, MACHINING),
    ("washer", 3, 0.86, PROCESS),
    ("grinder", 4, 0.97, MACHINING),
    ("tester", 5, 0.82, PROCESS),
)


class Reporting(NamedTuple):
    """How a machine tells its parts: which counters, as readings or as parts since the last report, how often.

    period_ms 0: with every part.
    """

    cumulative: bool
    counters: tuple[str, ...]
    period_ms: int


REPORTING = (
    Reporting(True, ("total", "good", "reject", "rework"), 10_000),
    Reporting(False, ("good", "reject"), 0),
    Reporting(True, ("total", "reject"), 30_000),
    Reporting(False, ("total", "good"), 20_000),
    Reporting(True, ("total",), 5_000),
    Reporting(True, ("total", "good"), 0),
)


class Product(NamedTuple):
    """A product: its name, the line's ideal cycle in ms, and what it asks of the machines (factor on signals)."""

    name: str
    cycle_ms: int
    load: float


class Order(NamedTuple):
    """So many parts of one product."""

    name: str
    product: Product
    quantity: int


@dataclass(frozen=True, slots=True)
class MachineDesign:
    """A machine as it is (the factory file knows only `config`): pace, reliability, habits, reporting.

    `key` is its place in the plant, the same on every site: what its chance depends on.
    """

    name: str
    key: str
    config: MachineConfig
    signals: tuple[SignalDesign, ...]
    reporting: Reporting
    cycle_factor: float
    slowness: float
    run_mean_ms: float
    scrap: float
    break_state: str
    off_state: str
    counter_start: int


@dataclass(frozen=True, slots=True)
class LineDesign:
    """Machines in serial order (those of equal `config.position` in parallel) and what they make."""

    name: str
    machines: tuple[MachineDesign, ...]
    products: tuple[Product, ...]
    seed: str = ""

    def orders(self) -> Iterator[Order]:
        """Orders without end, the same for the same seed."""
        rng = random.Random(f"{self.seed}/orders")
        number = rng.randrange(1000, 9000)
        last = ""
        while True:
            product = rng.choice([p for p in self.products if p.name != last or rng.random() < 0.2])
            last = product.name
            number += 1
            yield Order(f"{self.name}-{number}", product, rng.randint(120, 480))


@dataclass(frozen=True, slots=True)
class Habits:
    """What a plant may be asked to do besides the usual. `always`: no calendar. `no_ideal`: one product of a line has
    no ideal cycle time. `pace`: factor on how often machines stop. stale_after_ms, micro_stop_ms: of every machine.
    """

    timezone: str = "Europe/Berlin"
    always: bool = False
    no_ideal: bool = False
    pace: float = 1.0
    stale_after_ms: int | None = 300_000
    micro_stop_ms: int = 120_000
    anomaly_mean_ms: int = 6 * HOUR_MS
    anomaly_free_ms: int = HOUR_MS
    signal_period_ms: int = 1000
    counter_modulus: int = 10_000


def layout(site: str, seed: int, machines: int, start: int, habits: Habits) -> list[LineDesign]:
    """The lines of a plant of so many machines, six to a line (the last one may be shorter)."""
    lines = []
    for number, first in enumerate(range(0, machines, MACHINES_PER_LINE)):
        name = f"L{number + 1}"
        rng = random.Random(f"{seed}/{name}")
        products = tuple(
            Product(f"P{number + 1}{letter}", rng.randrange(18_000, 40_000, 100), round(rng.uniform(0.85, 1.15), 3))
            for letter in "ABC"
        )
        stations = STATIONS[: min(MACHINES_PER_LINE, machines - first)]
        designs = tuple(
            _machine(site, name, station, number, index, products, seed, start, habits)
            for index, station in enumerate(stations)
        )
        lines.append(LineDesign(name, designs, products, f"{seed}/{name}"))
    return lines


def _machine(
    site: str,
    line: str,
    station: tuple[str, int, float, tuple[SignalDesign, ...]],
    line_number: int,
    index: int,
    products: tuple[Product, ...],
    seed: int,
    start: int,
    habits: Habits,
) -> MachineDesign:
    label, position, factor, signals = station
    name = f"{site}-{line}-{label}"
    rng = random.Random(f"{seed}/{line}/{label}")
    reporting = REPORTING[(index + 2 * line_number) % len(REPORTING)]
    ideal = {product.name: round(product.cycle_ms * factor) * 1000 for product in products}
    if habits.no_ideal and index == 0:
        del ideal[products[0].name]
    elif index % 2:
        ideal["*"] = ideal.pop(products[-1].name)
    down_start = start // HOUR_MS * HOUR_MS + rng.randrange(20, 110) * HOUR_MS
    three = line_number % 2 == 0
    config = MachineConfig(
        site=site,
        area="machining" if three else "finishing",
        line=line,
        position=position,
        timezone=habits.timezone,
        always=habits.always,
        shifts=() if habits.always else (THREE_SHIFTS if three else TWO_SHIFTS),
        breaks=() if habits.always else (THREE_BREAKS if three else TWO_BREAKS),
        planned_down=() if habits.always else ((down_start, down_start + 2 * HOUR_MS),),
        ideal_cycle_us=ideal,
        micro_stop_ms=habits.micro_stop_ms,
        stale_after_ms=habits.stale_after_ms,
        counter_modulus=habits.counter_modulus if reporting.cumulative and index == 0 else None,
        oee_target=0.7,
        signals=tuple(SignalConfig(s.name, s.unit, s.low, s.high, 600_000) for s in signals),
    )
    return MachineDesign(
        name, f"{line}/{label}", config, signals, reporting, factor,
        slowness=rng.uniform(0.02, 0.09),
        run_mean_ms=rng.uniform(10, 22) * 60_000 / habits.pace,
        scrap=rng.uniform(0.006, 0.025),
        break_state=rng.choice(["planned_stop", "idle"]),
        off_state=rng.choice(["off", "off", "idle"]),
        counter_start=rng.randrange(9_700, 9_900) if index == 0 else rng.randrange(100_000),
    )  # fmt: skip
