"""The exact OEE facts of a simulated plant, by plain interval arithmetic on what its machines reported.

Slow, obvious and written without the engine, its calendar or its timeline, so that both can be compared.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from pipeline.core.model import MachineConfig, OeeFact
from pipeline.core.plant import Plant
from pipeline.core.plant_calendar import day_number, local_date, midnights, planned_stops, shifts
from pipeline.core.plant_reports import MachineLog, Made

STOPPED = ("stopped", "fault")


class Halt(NamedTuple):
    """One logical stop: `stopped` and `fault` in a row; `end` None when it still goes on."""

    start: int
    end: int | None


class Change(NamedTuple):
    """From `at` on: state or product or whatever it is."""

    at: int
    value: str


def plant_facts(plant: Plant, until: int, window_ms: int = 60_000) -> list[OeeFact]:
    """Facts of every machine up to the window border at or before `until`, in order of machine and time."""
    rows: list[OeeFact] = []
    for name, config in plant.machines.items():
        rows += machine_facts(name, config, plant.logs[name], until, window_ms)
    return rows


def decided_until(plant: Plant, at: int) -> int:
    """Up to when the plant's facts stay as they are however it goes on from `at`: the start of the first stop that goes
    on and may yet prove to be a micro-stop; `at` itself without one."""
    undecided = [at]
    for name, config in plant.machines.items():
        told = plant.logs[name].states
        halts = _halts(_changes((change.at, change.state) for change in told if change.at < at))
        if halts and halts[-1].end is None and at - halts[-1].start <= config.micro_stop_ms:
            undecided.append(halts[-1].start)
    return min(undecided)


def machine_facts(name: str, config: MachineConfig, log: MachineLog, until: int, window_ms: int) -> list[OeeFact]:
    """Facts of one machine, from the window of its first message on."""
    if log.first_message is None:
        return []
    start = log.first_message // window_ms * window_ms
    end = until // window_ms * window_ms
    if start >= end:
        return []
    days = _Days(config, start, end)
    states = _changes((change.at, change.state) for change in log.states if change.at < until)
    products = _changes((c.at, c.product or "") for c in log.contexts if c.product is not None)
    orders = _changes((c.at, c.order or "") for c in log.contexts if c.order is not None)
    rows = _segments(name, config, days, products, orders, start, end, window_ms)
    starts = [row.segment_start for row in rows]
    unknown = _unknown(log, config.stale_after_ms, end)
    halts = _halts(states)
    _add_times(rows, starts, config, days, states, unknown, halts)
    _add_occurrences(rows, starts, config, states, halts)
    for made in log.made:
        if start <= made.at < end:
            _add_parts(rows[_holder(starts, made.at)], made, config)
    return rows


class _Days:
    """Local days, shifts and planned stops of one machine over [start, end)."""

    def __init__(self, config: MachineConfig, start: int, end: int) -> None:
        self.start, self.end, self.always = start, end, config.always
        self.zone = ZoneInfo(config.timezone)
        self.shifts = [] if config.always else shifts(config, start, end)
        self.stops = planned_stops(config, start, end)
        self.midnights = midnights(start, end, self.zone)

    def cuts(self) -> set[int]:
        """Where shift or local day changes."""
        return {at for shift in self.shifts for at in (shift.start, shift.end)} | set(self.midnights)

    def shift(self, at: int) -> tuple[str, int]:
        """Name and date of the shift at an instant; outside every shift "" and the local date."""
        index = bisect_right(self.shifts, at, key=lambda shift: shift.start) - 1
        if index >= 0 and at < self.shifts[index].end:
            return self.shifts[index].name, self.shifts[index].day
        return "", self.day(at)

    def day(self, at: int) -> int:
        return day_number(local_date(at, self.zone))

    def work(self, at: int) -> str:
        """nonwork, pdot or pbt, by the calendar alone."""
        if not self.always:
            index = bisect_right(self.shifts, at, key=lambda shift: shift.start) - 1
            if index < 0 or at >= self.shifts[index].end:
                return "nonwork"
        return "pdot" if _inside(self.stops, at) else "pbt"


def _segments(
    name: str, config: MachineConfig, days: _Days, products: list[Change], orders: list[Change],
    start: int, end: int, window_ms: int,
) -> list[OeeFact]:  # fmt: skip
    borders = set(range(start, end + 1, window_ms)) | days.cuts()
    borders |= {change.at for changes in (products, orders) for change in changes}
    rows = []
    for low, high in pairwise(sorted(at for at in borders if start <= at <= end)):
        window = low // window_ms * window_ms
        rows.append(
            OeeFact(
                name, config.site, config.area, config.line, window, window + window_ms, low, high,
                *days.shift(low), days.day(low), _value(products, low), _value(orders, low), t_ms=high - low,
                profile=config.profile, unknown_as=config.unknown_as,
            )
        )  # fmt: skip
    return rows


def _add_times(
    rows: list[OeeFact], starts: list[int], config: MachineConfig, days: _Days, states: list[Change],
    unknown: list[tuple[int, int]], halts: list[Halt],
) -> None:  # fmt: skip
    """Cuts time wherever anything changes, and gives each piece to the first rule that fits it."""
    borders = set(starts) | {days.end} | {change.at for change in states}
    borders |= {at for span in (*days.stops, *unknown) for at in span}
    for low, high in pairwise(sorted(at for at in borders if days.start <= at <= days.end)):
        row, length = rows[_holder(starts, low)], high - low
        state, dark, work = _value(states, low), _inside(unknown, low), days.work(low)
        if state == "running" and not dark:
            row.apt_ms += length
            row.overtime_ms += length if work != "pbt" else 0
        elif work == "nonwork":
            row.nonwork_ms += length
        elif work == "pdot" or (state == "planned_stop" and not dark):
            row.pdot_ms += length
        elif dark:
            row.unknown_ms += length
        elif state == "setup":
            row.aust_ms += length
        elif state in ("idle", "off"):
            row.adot_ms += length
        else:
            row.adet_ms += length
            row.external_ms += length if state in ("starved", "blocked") else 0
            if state in STOPPED:
                micro = _micro(halts[_holder_of(halts, low)], config)
                row.micro_stop_ms += length if micro else 0
                row.repair_ms += length if state == "fault" and not micro else 0
    for row in rows:
        row.pbt_ms = row.apt_ms + row.aust_ms + row.adet_ms + row.adot_ms + row.unknown_ms
        row.line_pbt_ms = row.pbt_ms if config.line else 0  # no line of the plant has a calendar of its own


def _add_occurrences(
    rows: list[OeeFact], starts: list[int], config: MachineConfig, states: list[Change], halts: list[Halt]
) -> None:
    begin, end = starts[0], rows[-1].segment_end
    for halt in halts:
        if begin <= halt.start < end:
            row = rows[_holder(starts, halt.start)]
            row.stops += 1
            row.micro_stops += 1 if _micro(halt, config) else 0
    for change in states:
        if change.value != "fault" or not begin <= change.at < end:
            continue
        if not _micro(halts[_holder_of(halts, change.at)], config):
            rows[_holder(starts, change.at)].failures += 1


def _add_parts(row: OeeFact, made: Made, config: MachineConfig) -> None:
    row.total += made.total
    row.good += made.good
    row.reject += made.reject
    row.rework += made.rework
    ideal = config.ideal_cycle_us.get(row.product, config.ideal_cycle_us.get("*"))
    if ideal is None:
        row.no_ideal_total += made.total
    else:
        row.ideal_total_us += ideal * made.total
        row.ideal_good_us += ideal * made.good


def _unknown(log: MachineLog, stale_after_ms: int | None, end: int) -> list[tuple[int, int]]:
    """Before the first state, and from stale_after on in a silence; disjoint, in order."""
    first = log.states[0].at if log.states else end
    spans = [(-(1 << 62), first)]
    if stale_after_ms is None or log.last_message is None:
        return spans
    for last, following in (*log.silences, (log.last_message, 1 << 62)):
        if last >= first:
            spans.append((last + stale_after_ms, following))
    return spans


def _halts(states: list[Change]) -> list[Halt]:
    halts: list[Halt] = []
    stopped = False
    for change in states:
        if change.value in STOPPED and not stopped:
            halts.append(Halt(change.at, None))
        elif change.value not in STOPPED and stopped:
            halts[-1] = Halt(halts[-1].start, change.at)
        stopped = change.value in STOPPED
    return halts


def _micro(halt: Halt, config: MachineConfig) -> bool:
    return halt.end is not None and halt.end - halt.start <= config.micro_stop_ms


def _changes(entries: Iterable[tuple[int, str]]) -> list[Change]:
    """In order, without those that say what held already."""
    changes: list[Change] = []
    for at, value in entries:
        if not changes or changes[-1].value != value:
            changes.append(Change(at, value))
    return changes


def _value(changes: Sequence[Change], at: int) -> str:
    index = bisect_right(changes, at, key=lambda change: change.at) - 1
    return changes[index].value if index >= 0 else ""


def _inside(spans: Sequence[tuple[int, int]], at: int) -> bool:
    index = bisect_right(spans, at, key=lambda span: span[0]) - 1
    return index >= 0 and at < spans[index][1]


def _holder(starts: list[int], at: int) -> int:
    return bisect_right(starts, at) - 1


def _holder_of(halts: list[Halt], at: int) -> int:
    return bisect_left(halts, at + 1, key=lambda halt: halt.start) - 1
