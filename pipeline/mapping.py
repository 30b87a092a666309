"""Mapping files: what the items of one kind of machine mean, as YAML (docs/adapters.md describes every key)."""

from __future__ import annotations

from collections.abc import Container
from collections.abc import Mapping as Map
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pipeline.core.model import STATES
from pipeline.state_tables import PACKML_MODES, TABLES, Words, packml_in_modes
from pipeline.yaml_lines import Node, read

SEVERITIES = ("normal", "info", "warning", "fault", "unavailable")
ANY = "*"
COUNTERS = ("total", "good", "reject", "rework")
CONTEXTS = ("product", "order", "program")


class Override(NamedTuple):
    """Where every item of `when` has one of its values, the machine is in `state`, whatever the state's item says.

    `reason` None: the word of the state's item.
    """

    when: Map[str, Container[str]]
    state: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class StateRule:
    """Item whose values are the machine's states, its values' meaning, and the overrides, first match first."""

    item: str
    values: Map[str, str]
    overrides: tuple[Override, ...] = ()


@dataclass(frozen=True, slots=True)
class CycleRule:
    """A part is made where the item goes from running (through hold) to an end value.

    `through` are values that interrupt the view of a cycle without ending it. Counted are cycles that ran for at
    least `min_running_ms`, while every item of `when` has one of its values and none of `unless` has.
    """

    item: str
    running: frozenset[str]
    hold: frozenset[str] = frozenset()
    through: frozenset[str] = frozenset()
    end: frozenset[str] = frozenset()
    when: Map[str, frozenset[str]] = field(default_factory=dict)
    unless: Map[str, frozenset[str]] = field(default_factory=dict)
    min_running_ms: int = 0


class Signal(NamedTuple):
    """Item -> signal(s): several names take the numbers of one entry apart; unit None: as the device file says."""

    names: tuple[str, ...]
    unit: str | None = None
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Mapping:
    """One mapping file. `events` holds (kind, severity by native level) per item."""

    file: str
    adapter: str
    device: str
    machine: str
    timezone: str = "UTC"
    state: StateRule | None = None
    cycle: CycleRule | None = None
    counters: Map[str, str] = field(default_factory=dict)
    context: Map[str, tuple[str, ...]] = field(default_factory=dict)
    signals: Map[str, Signal] = field(default_factory=dict)
    conditions: frozenset[str] = frozenset()
    severities: Map[str, str] = field(default_factory=dict)
    messages: Map[str, str] = field(default_factory=dict)
    ignore: frozenset[str] = frozenset()
    lines: Map[str, int] = field(default_factory=dict)  # first line of the file that names an item

    @property
    def watched(self) -> frozenset[str]:
        """Items whose value decides about states."""
        if self.state is None:
            return frozenset()
        return frozenset({self.state.item}.union(*(override.when for override in self.state.overrides)))

    @property
    def remembered(self) -> frozenset[str]:
        """Items whose value decides about parts."""
        return frozenset() if self.cycle is None else frozenset({self.cycle.item, *self.cycle.when, *self.cycle.unless})


KEYS = (
    "adapter", "device", "machine", "timezone", "state", "parts", "context", "signals", "conditions", "messages",
    "ignore",
)  # fmt: skip


def load(path: Path | str) -> Mapping:
    """The mapping file. Raises FactoryFileError that names file, line and remedy."""
    root = read(path)
    keys = root.mapping(KEYS, ("adapter", "device"))
    device = keys["device"].text("the device's name")
    items = _Items()
    state = _state(keys["state"], items) if "state" in keys else None
    cycle, counters = _parts(keys["parts"], items) if "parts" in keys else (None, {})
    conditions, severities = _conditions(keys["conditions"], items) if "conditions" in keys else (frozenset(), {})
    mapping = Mapping(
        file=str(path),
        adapter=keys["adapter"].text("the adapter's name"),
        device=device,
        machine=keys["machine"].text("the machine's name") if "machine" in keys else device,
        timezone=_zone(keys["timezone"]) if "timezone" in keys else "UTC",
        state=state,
        cycle=cycle,
        counters=counters,
        context=_context(keys["context"], items) if "context" in keys else {},
        signals=_signals(keys["signals"], items) if "signals" in keys else {},
        conditions=conditions,
        severities=severities,
        messages=_messages(keys["messages"], items) if "messages" in keys else {},
        ignore=frozenset(map(items.name, _list(keys["ignore"], "items") if "ignore" in keys else [])),
        lines=items.lines,
    )
    for item in mapping.ignore - {ANY}:
        if item in items.used:
            keys["ignore"].fail(f"{item!r} is used and ignored", "delete it here, or where it is used")
    return mapping


class _Items:
    """Notes where each item is named."""

    def __init__(self) -> None:
        self.lines: dict[str, int] = {}
        self.used: set[str] = set()

    def name(self, node: Node, use: bool = False) -> str:
        return self.key(node.text("an item's name"), node.line, use)

    def key(self, item: str, line: int, use: bool = True) -> str:
        self.lines.setdefault(item, line)
        if use:
            self.used.add(item)
        return item


def _list(node: Node, what: str) -> list[Node]:
    """One entry, or a list of them."""
    return [node] if isinstance(node.value, str) else node.items(what)


def _words(node: Node, what: str = "values") -> frozenset[str]:
    return frozenset(entry.text("a value of the item") for entry in _list(node, what))


def _zone(node: Node) -> str:
    import zoneinfo

    name = node.text("a time zone")
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        node.fail(f"there is no time zone {name!r}", "write an IANA name such as Europe/Paris or UTC")
    return name


def _state(node: Node, items: _Items) -> StateRule:
    keys = node.mapping(("item", "table", "mode", "values", "overrides"), ("item",))
    if not keys.keys() & {"values", "table"}:
        node.fail("the key `values` is missing", "add `values: ...`, or name a table of states: `table: ...`")
    item = items.name(keys["item"], use=True)
    words: dict[str, Words] = {}  # of the items whose values are words of a table
    of_modes: list[Override] = []
    if "table" in keys:
        words[item] = TABLES[keys["table"].choice(TABLES)]
    if "mode" in keys:
        mode = _mode(keys, item, items)
        words[mode] = PACKML_MODES
        of_modes = [Override(when, state, None) for when, state in packml_in_modes(item, mode)]
    values = _values(keys["values"], words.get(item)) if "values" in keys else words[item]
    overrides = []
    for entry in keys["overrides"].items("overrides") if "overrides" in keys else []:
        parts = entry.mapping(("when", "state", "reason"), ("when", "state"))
        when = _when(parts["when"], items)
        reason = parts["reason"].text("a reason") if "reason" in parts else ", ".join(sorted(when))
        tabled = {name: words[name].only(said) if name in words else said for name, said in when.items()}
        overrides.append(Override(tabled, parts["state"].choice(STATES), reason))
    return StateRule(item, values, (*overrides, *of_modes))


def _values(node: Node, table: Words | None) -> Map[str, str]:
    """The state of each value, put over those of the table, of whose words none may stand here twice."""
    values = {value: meaning.choice(STATES) for value, meaning in node.mapping().items()}
    if table is None:
        return values
    seen: dict[str, str] = {}
    for value in values:
        first = seen.setdefault(table.plain(value), value)
        if first != value:
            node.fail(f"{value!r} and {first!r} are one word of the table", "delete one of them", node.keys[value])
    return table.changed(values)


def _mode(keys: Map[str, Node], item: str, items: _Items) -> str:
    """The item with PackML's unit mode."""
    node = keys["mode"]
    if "table" not in keys or keys["table"].text() != "packml":
        node.fail("unit modes belong to the table `packml`", "delete `mode`, or write `table: packml`")
    mode = items.name(node, use=True)
    if mode == item:
        node.fail(f"{mode!r} is the item of the state", "name the item of the unit mode, or delete `mode`")
    return mode


def _when(node: Node, items: _Items) -> dict[str, frozenset[str]]:
    when = {items.key(item, value.line): _words(value) for item, value in node.mapping().items()}
    if not when:
        node.fail("no item is named", "write `{item: value}`")
    return when


def _parts(node: Node, items: _Items) -> tuple[CycleRule | None, dict[str, str]]:
    keys = node.mapping(("counters", "cycle"))
    if len(keys) != 1:
        node.fail("parts come from counters or from the end of cycles", "write one of `counters` and `cycle`")
    if "counters" in keys:
        counters = keys["counters"].mapping(COUNTERS)
        return None, {items.name(value, use=True): kind for kind, value in counters.items()}
    known = ("item", "running", "hold", "through", "end", "when", "unless", "min_running_s")
    cycle = keys["cycle"].mapping(known, ("item", "running", "end"))
    sets = {name: _words(cycle[name]) for name in ("running", "hold", "through", "end") if name in cycle}
    seen: dict[str, str] = {}
    for name, words in sets.items():
        for word in words:
            if word in seen:
                cycle[name].fail(f"{word!r} stands under `{seen[word]}` too", "delete one of them")
            seen[word] = name
    least = cycle["min_running_s"].number("a number of seconds") if "min_running_s" in cycle else 0
    if least < 0:
        cycle["min_running_s"].fail("a time cannot be negative", "write seconds from 0")
    rule = CycleRule(
        items.name(cycle["item"], use=True),
        **sets,
        when=_when(cycle["when"], items) if "when" in cycle else {},
        unless=_when(cycle["unless"], items) if "unless" in cycle else {},
        min_running_ms=int(least * 1000),
    )
    return rule, {}


def _context(node: Node, items: _Items) -> dict[str, tuple[str, ...]]:
    """Item -> what it says (one item may be both program and product)."""
    context: dict[str, tuple[str, ...]] = {}
    for kind, value in node.mapping(CONTEXTS).items():
        item = items.name(value, use=True)
        context[item] = (*context.get(item, ()), kind)
    return context


def _signals(node: Node, items: _Items) -> dict[str, Signal]:
    signals: dict[str, Signal] = {}
    names: dict[str, int] = {}
    for item, value in node.mapping().items():
        items.key(item, value.line)
        signal = Signal((value.text("the signal's name"),)) if isinstance(value.value, str) else _signal(value)
        for name in signal.names:
            if name in names:
                value.fail(f"the signal {name!r} stands here twice, first in line {names[name]}", "rename one")
            names[name] = value.line
        signals[item] = signal
    return signals


def _signal(node: Node) -> Signal:
    keys = node.mapping(("name", "unit", "scale"), ("name",))
    names = tuple(entry.text("the signal's name") for entry in _list(keys["name"], "signal names"))
    if not names:
        keys["name"].fail("no signal is named", "write a name")
    scale = float(keys["scale"].number()) if "scale" in keys else 1.0
    return Signal(names, keys["unit"].text("a unit") if "unit" in keys else None, scale)


def _conditions(node: Node, items: _Items) -> tuple[frozenset[str], dict[str, str]]:
    keys = node.mapping(("items", "severity"), ("items", "severity"))
    severities = {level: value.choice(SEVERITIES) for level, value in keys["severity"].mapping().items()}
    if not severities:
        keys["severity"].fail("no level is named", "write such as `{Warning: warning, Fault: fault}`")
    return frozenset(items.name(entry, use=True) for entry in _list(keys["items"], "condition items")), severities


def _messages(node: Node, items: _Items) -> dict[str, str]:
    return {items.key(item, value.line): value.choice(SEVERITIES) for item, value in node.mapping().items()}
