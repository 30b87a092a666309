"""Worked OEE cases: run them through the engine and say where it differs (the format is in docs/oee-cases.md)."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from pipeline.core.calendar import EPOCH, Calendar
from pipeline.core.model import (
    FACTS,
    Context,
    Control,
    Correction,
    CountReading,
    EndOfSource,
    Frame,
    MachineConfig,
    OeeFact,
    Record,
    Shift,
    StateChange,
)
from pipeline.core.oee import line_oee, ratios, summed
from pipeline.core.settings import EngineSettings
from pipeline.errors import FactoryFileError, UsageError
from pipeline.factory_calendar import check_shifts
from pipeline.replay import current, run

Case = Mapping[str, Any]
TOLERANCE = 5e-6
MINUTE, DAY = 60_000, 86_400_000
PERMISSIVE = EngineSettings(lateness_ms=2 * DAY, retention_ms=40 * DAY, max_future_ms=40 * DAY, provisional_ms=1 << 60)


@dataclass(frozen=True)
class Difference:
    """One figure of one case that is not what the case expects."""

    case: str
    where: str
    column: str
    expected: Any
    got: Any

    def __str__(self) -> str:
        return f"{self.case}, {self.where}: {self.column} expected {self.expected}, got {self.got}"


def load(path: Path) -> dict[str, list[Case]]:
    """Cases of a file. Raises UsageError when it cannot be read."""
    try:
        cases = json.loads(path.read_text(encoding="utf-8"))
        return {"aggregate": list(cases.get("aggregate", [])), "events": list(cases.get("events", []))}
    except (OSError, ValueError, AttributeError) as error:
        raise UsageError(f"{path}: cannot be read as a case file ({error}); see docs/oee-cases.md") from None


def verify(cases: Mapping[str, Sequence[Case]]) -> Iterator[tuple[str, list[Difference]]]:
    """(id, differences) of every case; no differences: it passes."""
    for case in cases["aggregate"]:
        yield case["id"], list(_aggregate(case))
    for case in cases["events"]:
        yield case["id"], list(_events(case))


def _aggregate(case: Case) -> Iterator[Difference]:
    parts = case["parts"]  # all times in one unit, whichever: taken as seconds
    facts = dict.fromkeys(FACTS, 0) | {
        "t_ms": round(case.get("t", case["pbt"]) * 1000),
        "pbt_ms": round(case["pbt"] * 1000),
        "apt_ms": round(case["run"] * 1000),
        "total": sum(total for _, total, _ in parts),
        "good": sum(good for _, _, good in parts),
        "ideal_total_us": round(sum(ict * 1e6 * total for ict, total, _ in parts)),
        "ideal_good_us": round(sum(ict * 1e6 * good for ict, _, good in parts)),
    }
    yield from _compare(case, "aggregate", ratios(facts), case["expect"])


def _events(case: Case) -> Iterator[Difference]:
    try:
        configs = _configs(case)
    except FactoryFileError as error:
        if case.get("refused", "\0") not in str(error):
            yield Difference(case["id"], "loading", "refused", case.get("refused"), str(error))
        return
    if "refused" in case:
        yield Difference(case["id"], "loading", "refused", case["refused"], "loaded")
        return
    orders = [list(case["events"])]
    if case.get("shuffle"):
        orders += [random.Random(seed).sample(orders[0], len(orders[0])) for seed in range(20)]
    for events in orders:
        rows = current(run(_records(case, configs, events), PERMISSIVE).facts)
        for window in case["windows"]:
            yield from _window(case, configs, rows, window)


def _configs(case: Case) -> dict[str, MachineConfig]:
    calendar = case["calendar"]
    common: dict[str, Any] = {}
    if calendar != "always":
        shifts = tuple(
            Shift(s["name"], s["start"], s["end"], tuple(s.get("days", range(1, 8)))) for s in calendar["shifts"]
        )
        check_shifts(shifts)
        common = {
            "always": False,
            "timezone": calendar["timezone"],
            "shifts": shifts,
            "planned_down": tuple((_at(p["from"]), _at(p["to"])) for p in calendar.get("planned_down", [])),
            "closed": tuple(calendar.get("closed", [])),
        }
    return {name: _config(machine, common) for name, machine in case["machines"].items()}


def _config(machine: Mapping[str, Any], common: Mapping[str, Any]) -> MachineConfig:
    stale = machine.get("stale_after_s")
    return MachineConfig(
        **common,
        ideal_cycle_us={product: round(s * 1e6) for product, s in machine.get("ideal_cycle_s", {}).items()},
        micro_stop_ms=round(machine.get("micro_stop_s", 0) * 1000),
        stale_after_ms=None if stale is None else round(stale * 1000),
        counter_modulus=machine.get("counter_modulus"),
        profile=machine.get("profile", "iso22400"),
        unknown_as=machine.get("unknown_as", "loss"),
    )


def _records(case: Case, configs: Mapping[str, MachineConfig], events: Sequence[Case]) -> Iterator[Record]:
    """The case as the engine's log: configurations, events in order of arrival, corrections, the end."""
    only = next(iter(configs))
    for name, config in configs.items():
        yield Record(0, Control(name, "config", 0, "case", config))
    times = [_at(event["at"]) for event in events]
    arrived = max(times, default=0)
    bounds = [_bounds(window, configs, only) for window in case["windows"]]
    for name in configs:  # a sign of life opens the machine's windows: what it says of its state is nothing
        opening = min((start for start, _ in bounds), default=arrived)
        yield Record(arrived, Frame(name, "opening", 0, 0, opening))
    for place, (event, at) in enumerate(zip(events, times, strict=True)):
        yield Record(arrived, _frame(event.get("machine", only), event, at, place))
    for correction in case.get("corrections", []):
        body = Correction(
            _at(correction["from"]), _at(correction["to"]), correction.get("state"), correction.get("calendar"),
            None, correction.get("revision", 1),
        )  # fmt: skip
        yield Record(arrived, Control(correction["machine"], "correction", 0, "case", body))
    end = max([arrived, *(end for _, end in bounds)])
    for name in configs:
        yield Record(end, Control(name, "end", 0, "case", EndOfSource("", end)))


def _frame(machine: str, event: Case, at: int, place: int) -> Frame:
    # without a source the order of arrival decides at one instant, and nothing is a repeat
    frame = Frame(machine, event.get("source", ""), 0, event.get("seq", place), at)
    if "state" in event:
        frame.states.append(StateChange(at, event["state"]))
    if "product" in event:
        frame.contexts.append(Context(at, event["product"]))
    for name, cumulative in (("counters", True), ("delta", False)):
        if name in event:
            frame.counts.append(CountReading(at, cumulative, **event[name]))
    return frame


def _window(
    case: Case, configs: Mapping[str, MachineConfig], rows: Sequence[OeeFact], window: Mapping[str, Any]
) -> Iterator[Difference]:
    only = next(iter(configs))
    start, end = _bounds(window, configs, only)
    if "line" in window:
        got: dict[str, Any] = {"oee": _line(case["lines"][window["line"]]["stations"], configs, rows, start, end)}
        yield from _compare(case, f"line {window['line']}", got, window["expect"])
        return
    name = window.get("machine", only)
    inside = [row for row in rows if row.machine == name and start <= row.segment_start and row.segment_end <= end]
    facts = summed(inside)
    covered = facts["t_ms"]
    where = f"{name} {window.get('shift', window.get('from'))}"
    if covered != end - start:
        yield Difference(case["id"], where, "t_ms covered", end - start, covered)
    config = configs[name]
    kpis = {**facts, **ratios(facts, config.profile, config.unknown_as)}
    yield from _compare(case, where, kpis, window["expect"])
    flags = {flag for row in inside for flag in row.flags}
    missing = set(window.get("flags", [])) - flags
    if missing:
        yield Difference(case["id"], where, "flags", sorted(missing), sorted(flags))


def _line(
    stations: Sequence[Sequence[str]],
    configs: Mapping[str, MachineConfig],
    rows: Sequence[OeeFact],
    start: int,
    end: int,
) -> float | None:
    exit_rows = [row for row in rows if row.machine in stations[-1] and start <= row.segment_start < end]
    good: dict[str, int] = {}
    for row in exit_rows:
        good[row.product] = good.get(row.product, 0) + row.good
    pbt = summed(row for row in exit_rows if row.machine == stations[-1][0])["pbt_ms"]
    ideal = [[configs[name].ideal_cycle_us for name in position] for position in stations]
    return line_oee(ideal, good, pbt)


def _bounds(window: Mapping[str, Any], configs: Mapping[str, MachineConfig], only: str) -> tuple[int, int]:
    if "shift" not in window:
        return _at(window["from"]), _at(window["to"])
    day = date.fromisoformat(window["date"]).toordinal() - EPOCH
    return Calendar(configs[window.get("machine", only)]).shift_interval(window["shift"], day)


def _compare(case: Case, where: str, got: Mapping[str, Any], expect: Mapping[str, Any]) -> Iterator[Difference]:
    tolerance = case.get("tol", TOLERANCE)
    for column, value in expect.items():
        mine = got[column]
        exact = value is None or mine is None or isinstance(value, int)
        if (mine != value) if exact else abs(mine - value) > tolerance:
            yield Difference(case["id"], where, column, value, mine)


def _at(text: str) -> int:
    return round(datetime.fromisoformat(text).astimezone(UTC).timestamp() * 1000)
