"""factory.yaml: the plant's machines, lines, calendars, ideal cycle times, limits and reasons, checked and resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.codec import FactoryFile
from pipeline.core.model import Control, MachineConfig
from pipeline.factory_calendar import check_shifts
from pipeline.factory_changes import changes
from pipeline.factory_dump import dump
from pipeline.factory_holidays import this_year
from pipeline.factory_levels import Calendar, Key, keys_of, place, read_calendar, shared
from pipeline.factory_machine import MACHINE_KEYS, names, with_facts
from pipeline.factory_zones import read_zone
from pipeline.reasons import VERSION, Reason, read_reasons
from pipeline.yaml_lines import Node, nearest, parse, read

__all__ = ["Calendar", "Factory", "Line", "archive", "changes", "check_shifts", "controls", "dump", "load", "loads"]

TOP_KEYS = (
    "version", "enterprise", "site", "timezone", "calendar", "defaults", "areas", "lines", "machines", "reasons",
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A serial line: `stations` in order, each the machines that stand in parallel there."""

    name: str
    stations: tuple[tuple[str, ...], ...]
    area: str = ""


@dataclass(frozen=True)
class Factory:
    """One site: its machines with everything resolved (`effective` 0), its lines, and the text of its file if any.

    `calendars` are those that are written, by level and name: ("site", "lyon"), ("line", "L1"), ("machine", "cut").
    """

    site: str
    timezone: str
    machines: Mapping[str, MachineConfig]
    lines: Mapping[str, Line] = field(default_factory=dict)
    text: str = ""
    enterprise: str = ""
    calendars: Mapping[Key, Calendar] = field(default_factory=dict)
    reasons: tuple[Reason, ...] = ()

    @classmethod
    def of(cls, site: str, timezone: str, machines: Mapping[str, MachineConfig]) -> Factory:
        """A factory whose lines are those that the machines' `line` and `position` describe.

        A calendar that machines have of their own becomes the site's where the first of them has it.
        """
        named, calendars = shared(
            site, {name: replace(c, site=site, timezone=timezone) for name, c in machines.items()}
        )
        lines: dict[str, Line] = {}
        for line in dict.fromkeys(config.line for config in named.values() if config.line):
            members = {name: config for name, config in named.items() if config.line == line}
            places = sorted({config.position for config in members.values()})
            stations = tuple(tuple(n for n, c in members.items() if c.position == place) for place in places)
            lines[line] = Line(line, stations, named[stations[-1][0]].area)
        enterprise = next((config.enterprise for config in named.values() if config.enterprise), "")
        return cls(site, timezone, named, lines, enterprise=enterprise, calendars=calendars)


def load(path: Path | str, year: int | None = None) -> Factory:
    """The factory that a file describes. `year` is the current one (None: that of the clock), for its holidays.

    Raises FactoryFileError "FILE:LINE: what is wrong; what to do" at the first mistake.
    """
    root = read(path)
    return replace(_factory(root, year or this_year()), text=Path(path).read_text(encoding="utf-8-sig"))


def loads(text: str, file: str = "factory.yaml", year: int | None = None) -> Factory:
    """The factory that a text describes; `file` is named in errors. Raises FactoryFileError as `load` does."""
    return replace(_factory(parse(text, file), year or this_year()), text=text)


def controls(factory: Factory, issued: int, by: str, effective: int = 0) -> list[Control]:
    """One control record per machine: its configuration from `effective` on (UTC ms; 0: always)."""
    return [
        Control(machine, f"factory/{issued}/{machine}", issued, by, replace(config, effective=effective))
        for machine, config in factory.machines.items()
    ]


def archive(factory: Factory, issued: int, by: str, effective: int = 0) -> FactoryFile:
    """The record of topic `factory` that keeps what was applied, when and by whom."""
    return FactoryFile(factory.site, effective, issued, by, factory.text or dump(factory))


def _factory(root: Node, year: int) -> Factory:
    top = root.mapping(TOP_KEYS, ("version", "site", "timezone", "machines"))
    if (version := top["version"].text("the version of the format, 1")) != str(VERSION):
        top["version"].fail(f"version {version} of the format is unknown", f"write {VERSION}")
    site, zone = top["site"].text("the name of the site"), read_zone(top["timezone"])
    enterprise, written = _read_enterprise(top["enterprise"]) if "enterprise" in top else ("", {})
    machines = names(top["machines"])
    if not machines:
        top["machines"].fail("there is no machine", "give at least one")
    written |= {("site", site): top["calendar"]} if "calendar" in top else {}
    areas = names(top["areas"]) if "areas" in top else {}
    written |= {("area", name): area.mapping(("calendar",), ("calendar",))["calendar"] for name, area in areas.items()}
    lines = _read_lines(top["lines"], machines, written) if "lines" in top else {}
    calendars = {key: read_calendar(node, zone, year) for key, node in written.items()}
    defaults = top["defaults"].mapping(MACHINE_KEYS) if "defaults" in top else {}
    with_facts(MachineConfig(), defaults)  # a mistake there is named even when every machine replaces it
    base, configs = MachineConfig(site=site, timezone=zone, enterprise=enterprise), dict[str, MachineConfig]()
    for name, config in _seated(base, machines, lines).items():
        given = {**defaults, **_own(machines[name])}
        if "calendar" in given:
            calendars["machine", name] = read_calendar(given["calendar"], zone, year)
        keys = keys_of(name, config.line, config.area, site, enterprise)
        configs[name] = place(with_facts(config, given), [(key[0], calendars[key]) for key in keys if key in calendars])
    _require_used(areas, {config.area for config in configs.values()})
    reasons = read_reasons(top["reasons"]) if "reasons" in top else ()
    return Factory(site, zone, configs, lines, "", enterprise, calendars, reasons)


def _own(machine: Node) -> dict[str, Node]:
    return {} if machine.empty else machine.mapping((*MACHINE_KEYS, "area"))


def _seated(base: MachineConfig, machines: Mapping[str, Node], lines: Mapping[str, Line]) -> dict[str, MachineConfig]:
    """Every machine at its place of a line or none, and in its area."""
    seats = {
        machine: (line, position)
        for line in lines.values()
        for position, station in enumerate(line.stations, 1)
        for machine in station
    }
    seated = {}
    for name, node in machines.items():
        line, position = seats.get(name, (None, 0))
        area = _area_of(_own(node), line)
        seated[name] = replace(base, line=line.name if line else "", position=position, area=area)
    return seated


def _read_enterprise(node: Node) -> tuple[str, dict[Key, Node]]:
    if not isinstance(node.value, dict):
        return node.text("the name of the enterprise"), {}
    given = node.mapping(("name", "calendar"), ("name",))
    name = given["name"].text("the name of the enterprise")
    return name, {("enterprise", name): given["calendar"]} if "calendar" in given else {}


def _area_of(own: Mapping[str, Node], line: Line | None) -> str:
    if "area" not in own:
        return line.area if line else ""
    if line:
        own["area"].fail(f"the machine is on line {line.name}, whose area counts", "give `area` to the line instead")
    return own["area"].text()


def _require_used(areas: Mapping[str, Node], used: set[str]) -> None:
    for area, node in areas.items():
        if area not in used:
            named = used - {""}
            node.fail("no line or machine is in this area", nearest(area, named) if named else "delete it")


def _read_lines(node: Node, machines: Mapping[str, Node], written: dict[Key, Node]) -> dict[str, Line]:
    """The lines; their calendars are added to those that are written."""
    lines: dict[str, Line] = {}
    seen: dict[str, str] = {}
    for name, entry in names(node).items():
        given = entry.mapping(("area", "calendar", "stations"), ("stations",))
        area = given["area"].text() if "area" in given else ""
        written |= {("line", name): given["calendar"]} if "calendar" in given else {}
        stations = []
        for station in given["stations"].items("machines in serial order"):
            parallel = station.items("machines") if isinstance(station.value, list) else [station]
            if not parallel:
                station.fail("the station has no machine", "name its machines, or delete it")
            stations.append(tuple(_member(machine, name, seen, machines) for machine in parallel))
        if not stations:
            given["stations"].fail("the line has no station", "name its machines in serial order")
        lines[name] = Line(name, tuple(stations), area)
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
