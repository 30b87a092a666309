"""factory.yaml: the plant's machines, lines, calendars, ideal cycle times and limits, checked and resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.codec import FactoryFile
from pipeline.core.model import Control, MachineConfig, SignalConfig
from pipeline.factory_calendar import Calendar, check_shifts, read_calendar, read_zone
from pipeline.factory_dump import changes, dump
from pipeline.yaml_lines import Node, nearest, parse, read

__all__ = ["Factory", "Line", "archive", "changes", "check_shifts", "controls", "dump", "load", "loads"]

VERSION = 1
PROFILES = ("iso22400", "vorne", "smrp")
MACHINE_KEYS = (
    "calendar", "ideal_cycle_s", "micro_stop_s", "stale_after_s", "counter_modulus", "profile", "unknown_as",
    "oee_target", "signals",
)  # fmt: skip
MAX_SECONDS = 10**8


@dataclass(frozen=True)
class Line:
    """A serial line: `stations` in order, each the machines that stand in parallel there."""

    name: str
    stations: tuple[tuple[str, ...], ...]
    area: str = ""
    calendar: Calendar = field(default_factory=Calendar)


@dataclass(frozen=True)
class Factory:
    """One site: its machines with everything resolved (`effective` 0), its lines, and the text of its file if any."""

    site: str
    timezone: str
    machines: Mapping[str, MachineConfig]
    lines: Mapping[str, Line] = field(default_factory=dict)
    text: str = ""

    @classmethod
    def of(cls, site: str, timezone: str, machines: Mapping[str, MachineConfig]) -> Factory:
        """A factory whose lines are those that the machines' `line` and `position` describe."""
        named = {name: replace(config, site=site, timezone=timezone) for name, config in machines.items()}
        lines: dict[str, Line] = {}
        for line in dict.fromkeys(config.line for config in named.values() if config.line):
            members = {name: config for name, config in named.items() if config.line == line}
            places = sorted({config.position for config in members.values()})
            stations = tuple(tuple(n for n, c in members.items() if c.position == place) for place in places)
            last = named[stations[-1][0]]
            lines[line] = Line(line, stations, last.area, Calendar.of(last))
        return cls(site, timezone, named, lines)


def load(path: Path | str) -> Factory:
    """The factory that a file describes.

    Raises FactoryFileError "FILE:LINE: what is wrong; what to do" at the first mistake.
    """
    root = read(path)
    return replace(_factory(root), text=Path(path).read_text(encoding="utf-8-sig"))


def loads(text: str, file: str = "factory.yaml") -> Factory:
    """The factory that a text describes; `file` is named in errors. Raises FactoryFileError as `load` does."""
    return replace(_factory(parse(text, file)), text=text)


def controls(factory: Factory, issued: int, by: str, effective: int = 0) -> list[Control]:
    """One control record per machine: its configuration from `effective` on (UTC ms; 0: always)."""
    return [
        Control(machine, f"factory/{issued}/{machine}", issued, by, replace(config, effective=effective))
        for machine, config in factory.machines.items()
    ]


def archive(factory: Factory, issued: int, by: str, effective: int = 0) -> FactoryFile:
    """The record of topic `factory` that keeps what was applied, when and by whom."""
    return FactoryFile(factory.site, effective, issued, by, factory.text or dump(factory))


def _factory(root: Node) -> Factory:
    top = root.mapping(
        ("version", "site", "timezone", "calendar", "defaults", "areas", "lines", "machines"),
        ("version", "site", "timezone", "machines"),
    )
    if (version := top["version"].text("the version of the format, 1")) != str(VERSION):
        top["version"].fail(f"version {version} of the format is unknown", f"write {VERSION}")
    site, zone = top["site"].text("the name of the site"), read_zone(top["timezone"])
    machines = top["machines"].mapping()
    if not machines:
        top["machines"].fail("there is no machine", "give at least one")
    base = read_calendar(top["calendar"], zone) if "calendar" in top else Calendar()
    areas = _read_areas(top["areas"], zone) if "areas" in top else {}
    lines = _read_lines(top["lines"], zone, base, areas, machines) if "lines" in top else {}
    defaults = top["defaults"].mapping(MACHINE_KEYS) if "defaults" in top else {}
    _with_facts(MachineConfig(), defaults)  # a mistake there is named even when every machine replaces it
    seats = {
        machine: (line, position)
        for line in lines.values()
        for position, station in enumerate(line.stations, 1)
        for machine in station
    }
    configs: dict[str, MachineConfig] = {}
    for name, node in machines.items():
        own = {} if node.empty else node.mapping((*MACHINE_KEYS, "area"))
        line, position = seats.get(name, (None, 0))
        place = MachineConfig(site=site, timezone=zone, position=position, line=line.name if line else "")
        area = _area_of(own, line)
        given = {**defaults, **own}
        above = line.calendar if line else areas.get(area, base)
        calendar = read_calendar(given["calendar"], zone) if "calendar" in given else above
        configs[name] = _with_facts(_with_calendar(replace(place, area=area), calendar), given)
    if "areas" in top:
        _require_used(top["areas"], {config.area for config in configs.values()})
    return Factory(site, zone, configs, lines)


def _area_of(own: Mapping[str, Node], line: Line | None) -> str:
    if "area" not in own:
        return line.area if line else ""
    if line:
        own["area"].fail(f"the machine is on line {line.name}, whose area counts", "give `area` to the line instead")
    return own["area"].text()


def _require_used(areas: Node, used: set[str]) -> None:
    for area, node in areas.mapping().items():
        if area not in used:
            named = used - {""}
            node.fail("no line or machine is in this area", nearest(area, named) if named else "delete it")


def _read_areas(node: Node, zone: str) -> dict[str, Calendar]:
    given = {name: area.mapping(("calendar",), ("calendar",)) for name, area in node.mapping().items()}
    return {name: read_calendar(area["calendar"], zone) for name, area in given.items()}


def _read_lines(
    node: Node, zone: str, base: Calendar, areas: Mapping[str, Calendar], machines: Mapping[str, Node]
) -> dict[str, Line]:
    lines: dict[str, Line] = {}
    seen: dict[str, str] = {}
    for name, entry in node.mapping().items():
        given = entry.mapping(("area", "calendar", "stations"), ("stations",))
        area = given["area"].text() if "area" in given else ""
        calendar = read_calendar(given["calendar"], zone) if "calendar" in given else areas.get(area, base)
        stations = []
        for station in given["stations"].items("machines in serial order"):
            parallel = station.items("machines") if isinstance(station.value, list) else [station]
            if not parallel:
                station.fail("the station has no machine", "name its machines, or delete it")
            stations.append(tuple(_member(machine, name, seen, machines) for machine in parallel))
        if not stations:
            given["stations"].fail("the line has no station", "name its machines in serial order")
        lines[name] = Line(name, tuple(stations), area, calendar)
    return lines


def _member(node: Node, line: str, seen: dict[str, str], machines: Mapping[str, Node]) -> str:
    machine = node.text("the name of a machine")
    if machine not in machines:
        node.fail(f"the machine {machine!r} is not under `machines`", nearest(machine, machines))
    if machine in seen:
        where = "twice on this line" if seen[machine] == line else f"already on line {seen[machine]}"
        node.fail(f"the machine {machine!r} is {where}", "let each machine stand at one place of one line")
    seen[machine] = line
    return machine


def _with_calendar(config: MachineConfig, calendar: Calendar) -> MachineConfig:
    return replace(
        config, always=calendar.always, shifts=calendar.shifts, breaks=calendar.breaks,
        planned_down=calendar.planned_down, closed=calendar.closed,
    )  # fmt: skip


def _with_facts(config: MachineConfig, given: Mapping[str, Node]) -> MachineConfig:
    values: dict[str, Any] = {}
    if "ideal_cycle_s" in given:
        values["ideal_cycle_us"] = _read_cycles(given["ideal_cycle_s"])
    if "micro_stop_s" in given:
        values["micro_stop_ms"] = _scaled(given["micro_stop_s"], 1000, may_be_zero=True)
    if "stale_after_s" in given:
        values["stale_after_ms"] = _scaled(given["stale_after_s"], 1000)
    if "counter_modulus" in given:
        values["counter_modulus"] = given["counter_modulus"].integer(2, 2**63 - 1, "the number at which it rolls over,")
    if "profile" in given:
        values["profile"] = given["profile"].choice(PROFILES)
    if "unknown_as" in given:
        values["unknown_as"] = given["unknown_as"].choice(("loss", "exclude"))
    if "oee_target" in given:
        values["oee_target"] = _read_target(given["oee_target"])
    if "signals" in given:
        values["signals"] = tuple(_read_signal(name, node) for name, node in given["signals"].mapping().items())
    return replace(config, **values)


def _read_cycles(node: Node) -> dict[str, int]:
    if not isinstance(node.value, dict):
        return {"*": _scaled(node, 1_000_000)}
    if not node.value:
        node.fail("no ideal cycle time is given", 'write seconds per part, such as {"*": 12.5}')
    return {product: _scaled(seconds, 1_000_000) for product, seconds in node.value.items()}


def _scaled(node: Node, per_second: int, may_be_zero: bool = False) -> int:
    """Seconds as a whole number of milliseconds (1000) or microseconds (1,000,000)."""
    seconds = node.number("a number of seconds")
    low = "0" if may_be_zero else "above 0"
    if seconds < 0 or (seconds == 0 and not may_be_zero) or seconds > MAX_SECONDS:
        node.fail(f"{node.value} is out of range", f"write seconds from {low} to {MAX_SECONDS}")
    scaled = seconds * per_second
    if scaled != int(scaled):
        unit = "microsecond" if per_second == 1_000_000 else "millisecond"
        node.fail(f"{node.value} s is no whole number of {unit}s", f"round it to {len(str(per_second)) - 1} decimals")
    return int(scaled)


def _read_target(node: Node) -> float:
    if isinstance(node.value, str) and node.value.endswith("%"):
        node.fail(f"{node.value} is not a share from 0 to 1", "write 75% as 0.75")
    target = node.number("a target of OEE from 0 to 1")
    if not 0 <= target <= 1:
        remedy = f"write {(target / 100).normalize():f}" if 1 < target <= 100 else "write it as a share, such as 0.75"
        node.fail(f"the target {target} is not between 0 and 1", remedy)
    return float(target)


def _read_signal(name: str, node: Node) -> SignalConfig:
    if node.empty:
        return SignalConfig(name)
    given = node.mapping(("unit", "low", "high", "flatline_s", "learn"))
    low, high = (float(given[key].number()) if key in given else None for key in ("low", "high"))
    if low is not None and high is not None and low >= high:
        given["high"].fail(f"the limit high ({high:g}) is not above low ({low:g})", "give `high` the larger number")
    return SignalConfig(
        name,
        unit=given["unit"].text("a unit such as mm/s") if "unit" in given else "",
        low=low,
        high=high,
        flatline_ms=_scaled(given["flatline_s"], 1000) if "flatline_s" in given else None,
        learn=given["learn"].boolean() if "learn" in given else True,
    )
