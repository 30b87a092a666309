"""Worked OEE cases: their files, their keys, and what a case says to factory.yaml and to the engine's log."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import reduce
from math import gcd
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
    Record,
    StateChange,
)
from pipeline.core.oee import ratios
from pipeline.errors import UsageError
from pipeline.factory import Factory, loads

Case = Mapping[str, Any]
SUITE = Path(__file__).parent / "conformance"
SECOND, MINUTE = 1_000, 60_000
COLUMNS = frozenset({*FACTS, *ratios(dict.fromkeys(FACTS, 0)), "oee_null"})
LINE_COLUMNS = frozenset({"oee", "oee_null", "pbt_ms", "total", "good", "external_ms"})
SAYS = ("state", "counters", "delta", "product", "order")

# key -> its keys in turn; () any value; a leading `!`: it has to be there
SHIFT: dict[str, Any] = {"!name": (), "!start": (), "!end": (), "days": ()}
BREAK: dict[str, Any] = {"name": (), "!start": (), "!end": (), "days": ()}
STRETCH: dict[str, Any] = {"!from": (), "!to": ()}
CALENDAR: dict[str, Any] = {
    "timezone": (), "shifts": [SHIFT], "breaks": [BREAK], "planned_down": [STRETCH], "closed": (),
    "exceptions": [{"on": (), "from": (), "to": (), "shifts": [SHIFT], "breaks": [BREAK]}], "inherit": (),
}  # fmt: skip
COUNTERS: dict[str, Any] = {"total": (), "good": (), "reject": (), "rework": ()}
ABOUT: dict[str, Any] = {"!id": (), "!source": (), "why": (), "tol": ()}
AGGREGATE: dict[str, Any] = {**ABOUT, "!pbt": (), "!run": (), "t": (), "!parts": (), "!expect": ()}
EVENTS: dict[str, Any] = {
    **ABOUT,
    "!machines": {"*": {
        "ideal_cycle_s": (), "micro_stop_s": (), "stale_after_s": (), "counter_modulus": (), "profile": (),
        "unknown_as": (), "units_per_cycle": (), "split": (), "calendar": CALENDAR,
    }},
    "calendar": CALENDAR,
    "lines": {"*": {"!stations": (), "calendar": CALENDAR}},
    "!events": [{
        "machine": (), "!at": (), "state": (), "reason": (), "counters": COUNTERS, "delta": COUNTERS, "product": (),
        "order": (), "source": (), "seq": (),
    }],
    "corrections": [{
        "machine": (), **STRETCH, "revision": (), "id": (), "withdrawn": (), "state": (), "calendar": (), "reason": (),
        "product": (), "order": (), "good": (), "reject": (), "rework": (), "ideal_cycle_s": (),
    }],
    "windows": [{
        "machine": (), "line": (), "from": (), "to": (), "shift": (), "date": (), "product": (), "order": (),
        "!expect": (), "flags": (),
    }],
    "shuffle": (), "refused": (),
}  # fmt: skip


@dataclass(frozen=True)
class CaseFile:
    """The cases of one file; its name without the ending is their theme."""

    path: Path
    aggregate: Sequence[Case]
    events: Sequence[Case]

    @property
    def theme(self) -> str:
        return self.path.stem

    @property
    def cases(self) -> list[Case]:
        return [*self.aggregate, *self.events]

    def only(self, pattern: str) -> CaseFile:
        """The cases whose id contains the pattern."""
        kept = ([case for case in cases if pattern in case["id"]] for cases in (self.aggregate, self.events))
        return CaseFile(self.path, *kept)


@dataclass(frozen=True)
class Window:
    """A window of a case: of a machine or a line, [start, end) in ms, and what is expected there."""

    machine: str
    line: str
    start: int
    end: int
    said: Mapping[str, Any]

    def __str__(self) -> str:
        beginning = f"{self.said['date']} {self.said['shift']}" if "shift" in self.said else self.said["from"]
        parts = [f"{name} {self.said[name]}" for name in ("product", "order") if name in self.said]
        return " ".join([f"line {self.line}" if self.line else self.machine, beginning, *parts])


def suite() -> list[Path]:
    """The files of the suite that is shipped."""
    return sorted(SUITE.glob("*.json"))


def load(path: Path) -> CaseFile:
    """The cases of a file. Raises UsageError when it cannot be read, or has keys that mean nothing."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        kinds = {kind: list(found.get(kind, [])) for kind in ("aggregate", "events")}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UsageError(f"{path}: cannot be read as a case file ({error}); see docs/oee-cases.md") from None
    _check(found, {"about": (), "aggregate": (), "events": ()}, f"{path}")
    seen: set[str] = set()
    for kind, keys in (("aggregate", AGGREGATE), ("events", EVENTS)):
        for place, case in enumerate(kinds[kind], 1):
            name = case.get("id", f"{kind}[{place}]") if isinstance(case, dict) else f"{kind}[{place}]"
            _check(case, keys, f"{path}: {name}")
            _check_case(case, seen, f"{path}: {name}")
    return CaseFile(path, kinds["aggregate"], kinds["events"])


def _check(value: Any, keys: Any, where: str) -> None:
    """Raise UsageError at the first key that is missing, or that means nothing."""
    if isinstance(keys, list):
        for place, entry in enumerate(_typed(value, list, where), 1):
            _check(entry, keys[0], f"{where}[{place}]")
    elif keys and not (keys is CALENDAR and value == "always"):
        for key in _typed(value, dict, where):
            inner = keys.get(key, keys.get(f"!{key}", keys.get("*")))
            if inner is None:
                _refuse(where, f"the key {key!r} means nothing here")
            _check(value[key], inner, f"{where}.{key}")
        for key in keys:
            if key.startswith("!") and key[1:] not in value:
                _refuse(where, f"the key {key[1:]!r} is missing")


def _check_case(case: Case, seen: set[str], where: str) -> None:
    if case["id"] in seen:
        _refuse(where, "a case with this id stands above")
    seen.add(case["id"])
    numbers = [case[name] for name in ("pbt", "run", "t", "tol") if name in case]
    numbers += [number for part in case.get("parts", []) for number in _typed(part, list, f"{where}.parts")]
    if not all(isinstance(number, int | float) for number in numbers) or any(
        len(p) != 3 for p in case.get("parts", [])
    ):
        _refuse(where, "give numbers, and parts as [ideal cycle time, total, good]")
    if "pbt" not in case and ("refused" in case) == ("windows" in case):
        _refuse(where, "give either `windows` or `refused`")
    for place, event in enumerate(case.get("events", []), 1):
        said = {key for key in SAYS if key in event}
        if len(said) != 1 and said != {"product", "order"}:
            _refuse(f"{where}.events[{place}]", f"give one of {', '.join(SAYS)} (product and order may stand together)")
        if not all(type(parts) is int for name in ("counters", "delta") for parts in event.get(name, {}).values()):
            _refuse(f"{where}.events[{place}]", "parts are whole numbers")
    for place, window in enumerate(case.get("windows", [case] if "expect" in case else []), 1):
        known = LINE_COLUMNS if "line" in window else COLUMNS
        unknown = sorted(set(_typed(window["expect"], dict, where)) - known)
        if unknown:
            _refuse(f"{where}.windows[{place}]", f"{', '.join(unknown)}: no column that a case can expect here")
        if window is not case and not ({"from", "to"} <= window.keys()) ^ ({"shift", "date"} <= window.keys()):
            _refuse(f"{where}.windows[{place}]", "give either `from` and `to`, or `shift` and `date`")


def _typed(value: Any, kind: type, where: str) -> Any:
    if not isinstance(value, kind):
        _refuse(where, f"this has to be {'an object' if kind is dict else 'a list'}")
    return value


def _refuse(where: str, problem: str) -> None:
    raise UsageError(f"{where}: {problem}; see docs/oee-cases.md")


def factory(case: Case, site: str = "case", prefix: str = "") -> Factory:
    """The factory of an event case, read as factory.yaml is read; `prefix` stands before every machine's name.

    Raises FactoryFileError where the file would be refused.
    """
    calendar = case.get("calendar")
    zone = calendar.get("timezone", "UTC") if isinstance(calendar, dict) else "UTC"
    machines = {prefix + name: _with_calendar(machine) for name, machine in case["machines"].items()}
    lines = {
        name: {**_with_calendar(line), "stations": [[prefix + one for one in place] for place in line["stations"]]}
        for name, line in case.get("lines", {}).items()
    }
    said = {"version": 1, "site": site, "timezone": zone, "machines": machines, **({"lines": lines} if lines else {})}
    return loads(json.dumps({**said, **_with_calendar({"calendar": calendar})}, ensure_ascii=False), case["id"])


def _with_calendar(said: Mapping[str, Any]) -> dict[str, Any]:
    """An entry with its calendar as factory.yaml has it: the zone stands at the site."""
    kept = dict(said)
    calendar = kept.pop("calendar", None)
    if isinstance(calendar, dict):
        calendar = {key: value for key, value in calendar.items() if key != "timezone"}
    return {**kept, "calendar": calendar} if calendar else kept


def windows(case: Case, configs: Mapping[str, MachineConfig], prefix: str = "") -> list[Window]:
    """The windows of a case, with instants for shifts. Raises UsageError for a shift that is not there."""
    found = []
    only = next(iter(case["machines"]))
    for said in case["windows"]:
        machine, line = said.get("machine", only), said.get("line", "")
        if "line" in said:
            machine = case["lines"][line]["stations"][-1][0]
        start, end = _bounds(case, said, configs.get(prefix + machine, MachineConfig()))
        found.append(Window(machine, line, start, end, said))
    return found


def _bounds(case: Case, window: Mapping[str, Any], config: MachineConfig) -> tuple[int, int]:
    if "shift" not in window:
        return instant(window["from"]), instant(window["to"])
    day = date.fromisoformat(window["date"]).toordinal() - EPOCH
    try:
        return Calendar(config).shift_interval(window["shift"], day)
    except KeyError:
        raise UsageError(
            f"{case['id']}: no shift {window['shift']!r} starts on {window['date']}; see docs/oee-cases.md"
        ) from None


def window_ms(found: Sequence[Window]) -> int:
    """The longest length of a fact's window, up to a minute, on whose borders all windows of the case begin and end.

    A minute where that would be less than a second: then the case asks for more than rows can answer.
    """
    common = reduce(gcd, (border for window in found for border in (window.start, window.end)), MINUTE)
    return common if common >= SECOND else MINUTE


def records(
    case: Case, configs: Mapping[str, MachineConfig], found: Sequence[Window], events: Sequence[Case], prefix: str = ""
) -> Iterator[Record]:
    """The case as the engine's log: configurations, events in the order of arrival given, corrections, the end."""
    only = next(iter(case["machines"]))
    for name, config in configs.items():
        yield Record(0, Control(name, "config", 0, "case", config))
    said = [(prefix + event.get("machine", only), instant(event["at"]), event) for event in events]
    end = max([*(at for _, at, _ in said), *(window.end for window in found)], default=0)
    names = dict.fromkeys([*configs, *(machine for machine, _, _ in said)])
    for name in names:  # who says nothing before the first window needs a sign of life to open it
        opening = min((window.start for window in found), default=end)
        if all(at > opening for machine, at, _ in said if machine == name):
            yield Record(end, Frame(name, "opening", 0, 0, opening))
    for place, (machine, at, event) in enumerate(said):
        yield Record(end, _frame(machine, event, at, place))
    for place, correction in enumerate(case.get("corrections", [])):
        machine = prefix + correction.get("machine", only)
        yield Record(end, Control(machine, f"correction/{place}", 0, "case", _correction(correction, place)))
    for name in names:
        yield Record(end, Control(name, "end", 0, "case", EndOfSource("", end)))


def _frame(machine: str, event: Case, at: int, place: int) -> Frame:
    # without a source the order of arrival decides at one instant, and nothing is a repeat
    frame = Frame(machine, event.get("source", ""), 0, event.get("seq", place), at)
    if "state" in event:
        frame.states.append(StateChange(at, event["state"], event.get("reason")))
    if "product" in event or "order" in event:
        frame.contexts.append(Context(at, event.get("product"), event.get("order")))
    for name, cumulative in (("counters", True), ("delta", False)):
        if name in event:
            frame.counts.append(CountReading(at, cumulative, **event[name]))
    return frame


def _correction(said: Mapping[str, Any], place: int) -> Correction:
    named = ("state", "calendar", "reason", "product", "order", "good", "reject", "rework")
    ideal = said.get("ideal_cycle_s")
    return Correction(
        start=instant(said["from"]),
        end=instant(said["to"]),
        revision=said.get("revision", 1),
        id=said.get("id", f"correction-{place}"),
        withdrawn=said.get("withdrawn", False),
        ideal_cycle_us=None if ideal is None else round(ideal * 1e6),
        **{name: said[name] for name in named if name in said},
    )


def instant(text: str) -> int:
    """UTC milliseconds of an ISO 8601 moment with an offset. Raises UsageError."""
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            raise ValueError("no offset")
        return round(at.astimezone(UTC).timestamp() * 1000)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{text!r} is no moment such as 2026-03-02T10:00:00Z ({error})") from None
