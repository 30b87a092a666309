"""Machines of factory.yaml: cycle times, limits, counters and signals, read and checked."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from pipeline.core.calendar import LONGEST_CYCLE_US, MOST_UNITS
from pipeline.core.machine_config import DETECTORS, RICH, RICH_SIGNALS
from pipeline.core.model import MachineConfig, SignalConfig
from pipeline.factory_calendar import read_instant
from pipeline.yaml_lines import Node

PROFILES = ("iso22400", "vorne", "smrp")
SPLITS = ("none", "proportional")
MACHINE_KEYS = (
    "calendar", "ideal_cycle_s", "units_per_cycle", "split", "micro_stop_s", "stale_after_s", "counter_modulus",
    "profile", "unknown_as", "oee_target", "signals", "watch_cycle", "watch_relations",
)  # fmt: skip
CHART_KEYS = ("spc", "spc_every_s", "spc_points", "spc_since")
CHARTS = ("nelson", "western_electric")
MAX_CHART_S = 86_400
MAX_NAME = 200
LOOK_ALIKES = str.maketrans("авекмнорстухѕіјԁԛԝαβεζηικμνορτυχ", "abekmhopctyxsijdqwabezhikmnoptyx")  # Cyrillic, Greek
MAX_SECONDS = 10**8
MAX_CYCLE_S = LONGEST_CYCLE_US // 1_000_000
SECONDS = {  # of a unit that is written, in small letters
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), "0.001"),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), "60"),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), "3600"), **dict.fromkeys(("d", "day", "days"), "86400"),
}  # fmt: skip


def names(node: Node) -> dict[str, Node]:
    """The entries of a mapping by names of the user's own, none of which a person could take for another."""
    seen: dict[str, str] = {}
    for name in node.mapping():
        if len(name) > MAX_NAME:
            node.fail(f"the name {name[:40]!r} ... is too long", f"use 1 to {MAX_NAME} characters", node.keys[name])
        looks = unicodedata.normalize("NFKC", name).casefold().translate(LOOK_ALIKES)
        if looks in seen:
            where = f"in line {node.keys[seen[looks]]}"
            problem = f"the names {name!a} and {seen[looks]!a} {where} look alike"
            node.fail(problem, "rename one, so that nobody takes one for the other", node.keys[name])
        seen[looks] = name
    return node.mapping()


def with_facts(config: MachineConfig, given: Mapping[str, Node]) -> MachineConfig:
    """The configuration with what is written of a machine, its calendar aside."""
    values: dict[str, Any] = {}
    if "ideal_cycle_s" in given:
        values["ideal_cycle_us"] = _read_cycles(given["ideal_cycle_s"])
    if "units_per_cycle" in given:
        values["units_per_cycle"] = _read_units(given["units_per_cycle"])
    if "split" in given:
        split = given["split"].choice(SPLITS)
        values["count_split"] = "" if split == "none" else split
    if "micro_stop_s" in given:
        values["micro_stop_ms"] = _scaled(given["micro_stop_s"], 1000, may_be_zero=True)
    if "stale_after_s" in given:
        values["stale_after_ms"] = _scaled(given["stale_after_s"], 1000)
    if "counter_modulus" in given:
        values["counter_modulus"] = given["counter_modulus"].integer(2, 2**63 - 1, "the number at which it rolls over")
    if "profile" in given:
        values["profile"] = given["profile"].choice(PROFILES)
    if "unknown_as" in given:
        values["unknown_as"] = given["unknown_as"].choice(("loss", "exclude"))
    if "oee_target" in given:
        values["oee_target"] = _read_target(given["oee_target"])
    if "signals" in given:
        values["signals"] = _read_signals(given["signals"], ZoneInfo(config.timezone))
    values |= {key: given[key].boolean() for key in ("watch_cycle", "watch_relations") if key in given}
    return replace(config, **values)


def _read_cycles(node: Node) -> dict[str, int]:
    if not isinstance(node.value, dict):
        return {"*": _scaled(node, 1_000_000, most=MAX_CYCLE_S)}
    if not node.value:
        node.fail("no ideal cycle time is given", 'write seconds per part, such as {"*": 12.5}')
    return {product: _scaled(seconds, 1_000_000, most=MAX_CYCLE_S) for product, seconds in node.value.items()}


def _read_units(node: Node) -> dict[str, int]:
    what = "a number of parts per cycle"
    if not isinstance(node.value, dict):
        return {"*": node.integer(1, MOST_UNITS, what)}
    if not node.value:
        node.fail("no number of parts is given", 'write parts per cycle, such as {"*": 2}')
    return {product: units.integer(1, MOST_UNITS, what) for product, units in node.value.items()}


def _scaled(node: Node, per_second: int, may_be_zero: bool = False, most: int = MAX_SECONDS) -> int:
    """Seconds as a whole number of milliseconds (1000) or microseconds (1,000,000)."""
    seconds = node.number("a number of seconds", SECONDS)
    low = "0" if may_be_zero else "above 0"
    if seconds < 0 or (seconds == 0 and not may_be_zero) or seconds > most:
        node.fail(f"{node.value} is out of range", f"write seconds from {low} to {most}")
    scaled = seconds * per_second
    if scaled != int(scaled):
        unit = "microsecond" if per_second == 1_000_000 else "millisecond"
        node.fail(f"{node.value} s is no whole number of {unit}s", f"round it to {len(str(per_second)) - 1} decimals")
    return int(scaled)


def _read_target(node: Node) -> float:
    text = node.text("a target of OEE from 0 to 1")
    if percent := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(?:%|percent|per cent|pct)", text):
        example = Decimal(percent[1]) if Decimal(percent[1]) <= 100 else Decimal(75)
        node.fail(f"{text} is not a share from 0 to 1", f"write {example}% as {_share(example)}")
    target = node.number("a target of OEE from 0 to 1")
    if not 0 <= target <= 1:
        meant = f"write {_share(target)}" if 10 <= target <= 100 else "write a share from 0 to 1, such as 0.75"
        node.fail(f"the target {target} is not between 0 and 1", meant)
    return float(target)


def _share(percent: Decimal) -> str:
    return f"{(percent / 100).normalize():f}"


def _read_signals(node: Node, zone: ZoneInfo) -> tuple[SignalConfig, ...]:
    signals = tuple(_read_signal(name, one, zone) for name, one in node.mapping().items())
    rich = [signal.name for signal in signals if signal.detector == RICH]
    if len(rich) > RICH_SIGNALS:
        problem = f"{len(rich)} signals of one machine ask for the rich detector"
        node.mapping()[rich[RICH_SIGNALS]].fail(problem, f"choose the {RICH_SIGNALS} that matter most")
    return signals


def _read_signal(name: str, node: Node, zone: ZoneInfo) -> SignalConfig:
    if node.empty:
        return SignalConfig(name)
    given = node.mapping(("unit", "low", "high", "flatline_s", "learn", "detector", *CHART_KEYS))
    low, high = (float(given[key].number()) if key in given else None for key in ("low", "high"))
    if low is not None and high is not None and low >= high:
        given["high"].fail(f"the limit high ({high:g}) is not above low ({low:g})", "give `high` the larger number")
    learn = given["learn"].boolean() if "learn" in given else True
    detector = given["detector"].choice(DETECTORS) if "detector" in given else DETECTORS[0]
    if detector == RICH and not learn:
        given["detector"].fail("the rich detector has to learn", "leave out `learn: false`, or `detector`")
    return SignalConfig(
        name,
        unit=given["unit"].text("a unit such as mm/s") if "unit" in given else "",
        low=low,
        high=high,
        flatline_ms=_scaled(given["flatline_s"], 1000) if "flatline_s" in given else None,
        learn=learn,
        detector=detector,
        **_read_chart(given, zone),
    )


def _read_chart(given: Mapping[str, Node], zone: ZoneInfo) -> dict[str, Any]:
    """What is written of a signal's control chart."""
    values: dict[str, Any] = {}
    for key in CHART_KEYS[1:]:
        if key in given and "spc" not in given:
            given[key].fail(
                f"`{key}` without a control chart", "write `spc: nelson` or `spc: western_electric` as well"
            )
    if "spc" in given:
        values["spc"] = given["spc"].choice(CHARTS)
    if "spc_every_s" in given:
        every = values["spc_every_ms"] = _scaled(given["spc_every_s"], 1000, may_be_zero=True, most=MAX_CHART_S)
        if every % 60_000:
            given["spc_every_s"].fail("a point is the mean of whole minutes", "write 60, 120 ...; 0: of single samples")
    if "spc_points" in given:
        values["spc_points"] = given["spc_points"].integer(20, 10_000, "a number of points, such as 100")
    if "spc_since" in given:
        values["spc_since"] = read_instant(given["spc_since"], zone)
    return values
