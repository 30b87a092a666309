"""A factory back into YAML."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import yaml

from pipeline.core.model import CalendarException, MachineConfig, Shift, SignalConfig
from pipeline.factory_levels import ALWAYS, Calendar
from pipeline.reasons import tree

if TYPE_CHECKING:
    from pipeline.factory import Factory


def dump(factory: Factory) -> str:
    """The factory as YAML that `loads` reads back to equal machines, lines and reasons.

    Defaults and holidays are written out.
    """
    enterprise, site, areas = ({name: _calendar_value(one) for name, one in _of(factory, level).items()}
                               for level in ("enterprise", "site", "area"))  # fmt: skip
    value: dict[str, Any] = {"version": 1}
    if enterprise:
        value["enterprise"] = {"name": factory.enterprise, "calendar": enterprise[factory.enterprise]}
    elif factory.enterprise:
        value["enterprise"] = factory.enterprise
    value |= {"site": factory.site, "timezone": factory.timezone}
    value |= {"calendar": site[factory.site]} if site else {}
    value |= {"areas": {name: {"calendar": calendar} for name, calendar in areas.items()}} if areas else {}
    value |= {"lines": _lines_value(factory)} if factory.lines else {}
    value["machines"] = {name: _machine_value(name, config, factory) for name, config in factory.machines.items()}
    value |= {"reasons": tree(factory.reasons)} if factory.reasons else {}
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)


def _of(factory: Factory, level: str) -> dict[str, Calendar]:
    return {name: calendar for (at, name), calendar in factory.calendars.items() if at == level}


def _lines_value(factory: Factory) -> dict[str, dict[str, Any]]:
    calendars = _of(factory, "line")
    return {
        line.name: {"stations": [list(station) for station in line.stations]}
        | ({"area": line.area} if line.area else {})
        | ({"calendar": _calendar_value(calendars[line.name])} if line.name in calendars else {})
        for line in factory.lines.values()
    }


def _calendar_value(calendar: Calendar) -> str | dict[str, Any]:
    if calendar == ALWAYS:
        return "always"
    value: dict[str, Any] = {} if calendar.inherit else {"inherit": False}
    value |= _shifts_value(calendar)
    if calendar.planned_down:
        value["planned_down"] = [{"from": _instant(start), "to": _instant(end)} for start, end in calendar.planned_down]
    value |= {"closed": list(calendar.closed)} if calendar.closed else {}
    if calendar.exceptions:
        value["exceptions"] = [{"from": one.first, "to": one.last} | _shifts_value(one) for one in calendar.exceptions]
    return value or {"inherit": True}


def _shifts_value(of: Calendar | CalendarException) -> dict[str, Any]:
    lists = {"shifts": of.shifts, "breaks": of.breaks}
    return {key: [_shift_value(shift) for shift in shifts] for key, shifts in lists.items() if shifts}


def _shift_value(shift: Shift) -> dict[str, Any]:
    days = {"days": list(shift.days)} if shift.days != Shift("", "", "").days else {}
    return {"name": shift.name, "start": shift.start, "end": shift.end} | days


def _instant(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{at_ms % 1000:03d}Z"


def _machine_value(name: str, config: MachineConfig, factory: Factory) -> dict[str, Any]:
    value: dict[str, Any] = {"area": config.area} if config.area and not config.line else {}
    if ("machine", name) in factory.calendars:
        value["calendar"] = _calendar_value(factory.calendars["machine", name])
    if config.ideal_cycle_us:
        value["ideal_cycle_s"] = {product: _seconds(us, 1_000_000) for product, us in config.ideal_cycle_us.items()}
    value |= {"units_per_cycle": dict(config.units_per_cycle)} if config.units_per_cycle else {}
    value |= {"split": config.count_split} if config.count_split else {}
    value |= {"micro_stop_s": _seconds(config.micro_stop_ms, 1000)} if config.micro_stop_ms else {}
    value |= {"stale_after_s": _seconds(config.stale_after_ms, 1000)} if config.stale_after_ms else {}
    plain: dict[str, Any] = {"counter_modulus": config.counter_modulus, "oee_target": config.oee_target}
    plain |= {"profile": config.profile, "unknown_as": config.unknown_as}
    plain |= {"watch_cycle": config.watch_cycle, "watch_relations": config.watch_relations}
    value |= {key: it for key, it in plain.items() if it is not None and it != getattr(MachineConfig(), key)}
    if config.signals:
        value["signals"] = {signal.name: _signal_value(signal) for signal in config.signals}
    return value


def _signal_value(signal: SignalConfig) -> dict[str, Any]:
    value: dict[str, Any] = {"unit": signal.unit, "low": signal.low, "high": signal.high}
    value["flatline_s"] = None if signal.flatline_ms is None else _seconds(signal.flatline_ms, 1000)
    value |= {"spc": signal.spc} | (_chart_value(signal) if signal.spc else {})
    value |= {} if signal.learn else {"learn": False}
    value |= {} if signal.detector == SignalConfig("").detector else {"detector": signal.detector}
    return {key: it for key, it in value.items() if it not in (None, "")}


def _chart_value(signal: SignalConfig) -> dict[str, Any]:
    usual = SignalConfig("")
    value: dict[str, Any] = {}
    if signal.spc_every_ms != usual.spc_every_ms:
        value["spc_every_s"] = _seconds(signal.spc_every_ms, 1000)
    if signal.spc_points != usual.spc_points:
        value["spc_points"] = signal.spc_points
    return value | ({"spc_since": _instant(signal.spc_since)} if signal.spc_since else {})


def _seconds(ticks: int, per_second: int) -> int | float:
    exact = Decimal(ticks) / per_second
    return int(exact) if exact == int(exact) else float(exact)
