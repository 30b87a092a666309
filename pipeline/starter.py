"""The first factory.yaml and mapping files of a plant, written from a few answers (`openoee init`)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.adapters.probe import Seen
from pipeline.errors import UsageError

SHIFT = re.compile(r"(.+?)\s+(\d{1,2}:\d\d)\s*-\s*(\d{1,2}:\d\d)(?:\s+([a-z]{3})(?:\s*-\s*([a-z]{3}))?)?")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
RANGE = re.compile(r"(-?[\d.]*?)\.\.(-?[\d.]*)")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")

STATE_ITEMS = ("state", "execution", "status", "machinestate", "statecurrent", "mode")
PARTS = {
    "total": ("total", "count", "counter", "parts", "made", "produced", "pieces", "partcount", "partcountact"),
    "good": ("good", "goodparts", "goodcount", "ok"),
    "reject": ("reject", "rejects", "scrap", "bad", "nok"),
    "rework": ("rework",),
}
CONTEXT = {
    "product": ("product", "article", "material", "partnumber", "partno"),
    "order": ("order", "job", "workorder", "ordernumber"),
    "program": ("program",),
}
STATES = (  # the first that fits wins
    ("planned_stop", "planned|break|pause"), ("maintenance", "maint|service"), ("setup", "setup|changeover|setting"),
    ("fault", "fault|alarm|error|fail|emergency|estop|abort|breakdown"), ("starved", "starv|nomaterial|suspend"),
    ("blocked", "block|full"), ("stopped", "stop|jam|halt|hold|held|interrupt|feedhold"),
    ("running", "run|active|auto|exec|produc|work|busy|^on$|^1$"), ("idle", "idle|ready|standby|wait|complete|^0$"),
    ("off", "off|powerdown"),
)  # fmt: skip
ANY_STATES = ("running", "setup", "idle", "off", "fault", "stopped", "starved", "blocked", "maintenance")


@dataclass(frozen=True)
class Signal:
    """A signal with its unit and engineering limits; empty where there are none."""

    name: str
    unit: str = ""
    low: str = ""
    high: str = ""


@dataclass(frozen=True)
class Plant:
    """What was answered. `lines`: stations in serial order, each a machine or several side by side."""

    site: str
    timezone: str
    shifts: tuple[str, ...]  # as YAML
    lines: Mapping[str, Sequence[Sequence[str]]]
    single: Sequence[str]
    cycles: Mapping[str, str]  # seconds per part by machine
    signals: Sequence[Signal] = field(default=())

    @property
    def machines(self) -> list[str]:
        on_lines = [name for stations in self.lines.values() for station in stations for name in station]
        return [*on_lines, *self.single]


def parse(site: str, timezone: str, shifts: str, lines: str, cycles: str, signals: str) -> Plant:
    """The plant of these answers. Raises UsageError that names the answer and how to write it."""
    on_lines, single = _lines(lines)
    plant = Plant(site.strip(), timezone.strip(), _shifts(shifts), on_lines, single, {}, _signals(signals))
    if not plant.machines:
        raise UsageError("no machine is named: write such as `L1: cut, paint; saw`")
    cycle = _cycles(cycles, plant.machines)
    return Plant(plant.site, plant.timezone, plant.shifts, on_lines, single, cycle, plant.signals)


def _parts(text: str, mark: str = ";") -> list[str]:
    return [part.strip() for part in text.split(mark) if part.strip()]


def _shifts(text: str) -> tuple[str, ...]:
    if text.strip().lower() in ("", "always", "none"):
        return ()
    out = []
    for part in _parts(text):
        found = SHIFT.fullmatch(part.lower() if part.islower() else part)
        if found is None or any(day and day not in DAYS for day in found.group(4, 5)):
            raise UsageError(f"{part!r} is no shift: write such as `early 06:00-14:00 mon-fri; late 14:00-22:00`")
        name, start, end, first, last = found.groups()
        days = ""
        if first:
            begin, finish = DAYS.index(first), DAYS.index(last or first)
            week = [*range(begin, 7), *range(7)]
            days = f", days: [{', '.join(DAYS[day] for day in week[: (finish - begin) % 7 + 1])}]"
        out.append(f"{{name: {quoted(name)}, start: {start.zfill(5)}, end: {end.zfill(5)}{days}}}")
    return tuple(out)


def _lines(text: str) -> tuple[dict[str, list[list[str]]], list[str]]:
    lines: dict[str, list[list[str]]] = {}
    single: list[str] = []
    for part in _parts(text):
        name, colon, machines = part.partition(":")
        stations = [_parts(station, "|") for station in _parts(machines if colon else part, ",")]
        if colon:
            lines[name.strip()] = stations
        else:
            single += [machine for station in stations for machine in station]
    return lines, single


def _cycles(text: str, machines: Sequence[str]) -> dict[str, str]:
    out: dict[str, str] = {}
    if text.strip().lower() == "none":
        return out
    for part in _parts(text.replace(",", ";")):
        name, equals, seconds = (word.strip() for word in part.rpartition("="))
        if not NUMBER.fullmatch(seconds) or (equals and name not in machines):
            raise UsageError(f"{part!r} is no cycle time of {', '.join(machines)}: write such as `cut=12.5; paint=14`")
        out |= {name: seconds} if equals else dict.fromkeys(machines, seconds)
    return out


def _signals(text: str) -> list[Signal]:
    if text.strip().lower() in ("", "none"):
        return []
    out = []
    for part in _parts(text):
        name, *rest = part.split()
        limits = RANGE.fullmatch(rest.pop()) if rest and ".." in rest[-1] else None
        if len(rest) > 1 or (limits is None and ".." in part):
            raise UsageError(f"{part!r} is no signal: write such as `temperature Cel ..90; force kN 0..50; load %`")
        low, high = limits.groups() if limits else ("", "")
        out.append(Signal(name, rest[0] if rest else "", low, high))
    return out


def factory_yaml(plant: Plant) -> str:
    """The text of factory.yaml."""
    out = [
        "# What openoee has to know of this site; every key: docs/factory.md. Check it: openoee factory check FILE",
        "version: 1", f"site: {quoted(plant.site)}", f"timezone: {plant.timezone}", "",
    ]  # fmt: skip
    if plant.shifts:
        out += ["calendar:", "  shifts:", *(f"    - {shift}" for shift in plant.shifts), ""]
    out += ["defaults:", "  micro_stop_s: 120   # stops up to two minutes are micro-stops"]
    if plant.signals:
        out += ["  signals:", *(f"    {quoted(one.name)}: {_limits(one)}" for one in plant.signals)]
    if plant.lines:
        out += ["", "lines:"]
        for name, stations in plant.lines.items():
            shown = ", ".join(_station(station) for station in stations)
            out += [f"  {quoted(name)}: {{stations: [{shown}]}}"]
    out += ["", "machines:"]
    for name in plant.machines:
        seconds = plant.cycles.get(name)
        says = f"{{ideal_cycle_s: {seconds}}}" if seconds else "{}   # without ideal_cycle_s: no performance, no OEE"
        out.append(f"  {quoted(name)}: {says}")
    return "\n".join(out) + "\n"


def _station(names: Sequence[str]) -> str:
    shown = ", ".join(map(quoted, names))
    return shown if len(names) == 1 else f"[{shown}]"


def _limits(signal: Signal) -> str:
    keys = {"unit": quoted(signal.unit) if signal.unit else "", "low": signal.low, "high": signal.high}
    return "{" + ", ".join(f"{key}: {value}" for key, value in keys.items() if value) + "}"


def mapping_yaml(adapter: str, machine: str, items: Mapping[str, Seen], signals: Iterable[Signal] = ()) -> str:
    """The text of a machine's mapping file, from what its items look like; without any: a form to be filled in."""
    out = [f"# What the items of {machine} mean; every key: docs/adapters.md.", f"adapter: {adapter}",
           f"device: {quoted(machine)}   # its files' names begin so", ""]  # fmt: skip
    if not items:
        states = ", ".join(f"{state}: {state}" for state in ANY_STATES)
        named = ", ".join(f"{quoted(one.name)}: {quoted(one.name)}" for one in signals)
        return "\n".join([*out, "# No file was looked at: put in the names of your own columns or items.",
            f"state: {{item: state, values: {{{states}}}}}",
            "parts: {counters: {total: total, reject: reject}}",
            "context: {product: product, order: order}", f"signals: {{{named}}}"]) + "\n"  # fmt: skip
    left = dict(items)
    conditions = [name for name, seen in items.items() if seen.condition]
    state = next((name for word in STATE_ITEMS for name in items if plain(name) == word), None)
    parts, context = _named(items, PARTS), _named(items, CONTEXT)
    if state == "execution" and not any(len(items[name].values) > 1 for name in parts.values()):
        parts = {}  # a counter that nobody uses
    for name in (state, *conditions, *parts.values(), *context.values()):
        left.pop(name or "", None)
    out += _state(state, items)
    if parts:
        out.append(f"parts: {{counters: {_flow(parts)}}}   # cumulative counters")
    elif state == "execution":
        out.append("parts:   # no counter that counts was found: a part is a cycle that came to its end")
        out.append("  cycle: {item: execution, running: ACTIVE, hold: [INTERRUPTED, FEED_HOLD, PROGRAM_STOPPED],"
                   " end: [READY, PROGRAM_COMPLETED]}")  # fmt: skip
    if context:
        out.append(f"context: {_flow(context)}")
    if numbers := [name for name, seen in left.items() if seen.numeric]:
        out += ["signals:", *(f"  {quoted(name)}: {quoted(name)}" for name in numbers)]
    if conditions:
        shown = ", ".join(map(quoted, conditions))
        out.append(f"conditions: {{items: [{shown}], severity: {{Normal: normal, Warning: warning, Fault: fault}}}}")
    if rest := [name for name in left if name not in numbers]:
        out.append(f"ignore: [{', '.join(map(quoted, rest))}]")
    return "\n".join(out) + "\n"


def _named(items: Iterable[str], table: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Meaning -> the first item whose name says so."""
    found = {}
    for meaning, words in table.items():
        match = next((name for word in words for name in items if plain(name) == word), None)
        if match:
            found[meaning] = match
    return found


def _state(item: str | None, items: Mapping[str, Seen]) -> list[str]:
    if item is None:
        return ["# No item is known that says what the machine does: name it, or all its time is unknown.",
                "# state: {item: ..., values: {...: running, ...: stopped}}"]  # fmt: skip
    if item == "execution":
        return ["state: {item: execution, table: mtconnect}"]
    out = ["state:", f"  item: {quoted(item)}", "  values:"]
    for value in items[item].values:
        state = state_of(value)
        out.append(f"    {quoted(value)}: {state}" + ("   # what does it mean?" if state == "unknown" else ""))
    return out


def state_of(value: str) -> str:
    """The state that a machine's word most likely means; unknown where none suggests itself."""
    word = plain(value)
    return next((state for state, pattern in STATES if re.search(pattern, word)), "unknown")


def plain(name: str) -> str:
    """A name without case and marks."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _flow(values: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{key}: {quoted(value)}" for key, value in values.items()) + "}"


def quoted(text: str) -> str:
    """Text as YAML reads it back: bare where that is safe."""
    return text if re.fullmatch(r"[A-Za-z0-9_][\w./-]*", text) else json.dumps(text, ensure_ascii=False)
