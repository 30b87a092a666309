"""A factory back into YAML, and what differs between two of them."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import yaml

from pipeline.core.model import MachineConfig, Shift, SignalConfig
from pipeline.factory_calendar import Calendar

if TYPE_CHECKING:
    from pipeline.factory import Factory


def dump(factory: Factory) -> str:
    """The factory as YAML that `loads` reads back to equal machines and lines; areas and defaults are written out."""
    base = Calendar.of(next(iter(factory.machines.values())))
    lines: dict[str, dict[str, Any]] = {
        line.name: {"stations": [list(station) for station in line.stations]}
        | ({"area": line.area} if line.area else {})
        | ({"calendar": _calendar_value(line.calendar)} if line.calendar != base else {})
        for line in factory.lines.values()
    }
    machines = {name: _machine_value(config, factory, base) for name, config in factory.machines.items()}
    value: dict[str, Any] = {
        "version": 1,
        "site": factory.site,
        "timezone": factory.timezone,
        "calendar": _calendar_value(base),
    }
    value |= {"lines": lines} if lines else {}
    return yaml.safe_dump(value | {"machines": machines}, sort_keys=False, allow_unicode=True, width=120)


def _calendar_value(calendar: Calendar) -> str | dict[str, Any]:
    if calendar == Calendar():
        return "always"
    value: dict[str, Any] = {}
    for key, shifts in (("shifts", calendar.shifts), ("breaks", calendar.breaks)):
        if shifts:
            value[key] = [_shift_value(shift) for shift in shifts]
    if calendar.planned_down:
        value["planned_down"] = [{"from": _instant(start), "to": _instant(end)} for start, end in calendar.planned_down]
    return value | ({"closed": list(calendar.closed)} if calendar.closed else {})


def _shift_value(shift: Shift) -> dict[str, Any]:
    days = {"days": list(shift.days)} if shift.days != Shift("", "", "").days else {}
    return {"name": shift.name, "start": shift.start, "end": shift.end} | days


def _instant(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{at_ms % 1000:03d}Z"


def _machine_value(config: MachineConfig, factory: Factory, base: Calendar) -> dict[str, Any]:
    line = factory.lines.get(config.line)
    above = line.calendar if line else base
    value: dict[str, Any] = {"area": config.area} if config.area and not line else {}
    if Calendar.of(config) != above:
        value["calendar"] = _calendar_value(Calendar.of(config))
    if config.ideal_cycle_us:
        value["ideal_cycle_s"] = {product: _seconds(us, 1_000_000) for product, us in config.ideal_cycle_us.items()}
    value |= {"micro_stop_s": _seconds(config.micro_stop_ms, 1000)} if config.micro_stop_ms else {}
    value |= {"stale_after_s": _seconds(config.stale_after_ms, 1000)} if config.stale_after_ms else {}
    plain: dict[str, Any] = {"counter_modulus": config.counter_modulus, "oee_target": config.oee_target}
    plain |= {"profile": config.profile, "unknown_as": config.unknown_as}
    value |= {key: it for key, it in plain.items() if it is not None and it != getattr(MachineConfig(), key)}
    if config.signals:
        value["signals"] = {signal.name: _signal_value(signal) for signal in config.signals}
    return value


def _signal_value(signal: SignalConfig) -> dict[str, Any]:
    value: dict[str, Any] = {"unit": signal.unit, "low": signal.low, "high": signal.high}
    value["flatline_s"] = None if signal.flatline_ms is None else _seconds(signal.flatline_ms, 1000)
    return {key: it for key, it in value.items() if it not in (None, "")} | ({} if signal.learn else {"learn": False})


def _seconds(ticks: int, per_second: int) -> int | float:
    exact = Decimal(ticks) / per_second
    return int(exact) if exact == int(exact) else float(exact)


def changes(before: Factory | None, after: Factory) -> list[str]:
    """What differs between two factory files, a sentence per machine and key; `before` None: nothing was known."""
    known = before.machines if before else {}
    found = [
        f"{name}: gone from the file; what was last said of it stays" for name in known if name not in after.machines
    ]
    for name, config in after.machines.items():
        if name not in known:
            found.append(f"{name}: new")
            continue
        for key in (item.name for item in fields(config)):
            old, new = getattr(known[name], key), getattr(config, key)
            found += [f"{name}: {key}: {old} -> {new}"] if old != new else []
    return found
