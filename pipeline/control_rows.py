"""What control records say, to the rows that fastavro speaks and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from operator import attrgetter, itemgetter
from typing import Any

from pipeline.core.model import (
    Acknowledge,
    CalendarException,
    CalendarLevel,
    Control,
    Correction,
    EndOfSource,
    MachineConfig,
    Mute,
    Shift,
    SignalConfig,
    Tick,
)
from pipeline.limits import check_name, check_number, check_short, check_size

Row = dict[str, Any]


def flat(kind: type) -> tuple[Callable[[Any], Row], Callable[[Row], Any]]:
    """Converters of a dataclass whose fields are the record's."""
    names = [field.name for field in fields(kind)]
    if len(names) == 1:
        only = names[0]
        return lambda value: {only: getattr(value, only)}, lambda row: kind(row[only])
    read, pick = attrgetter(*names), itemgetter(*names)
    return lambda value: dict(zip(names, read(value), strict=True)), lambda row: kind(*pick(row))


_correction_row, _correction = flat(Correction)
_shift_row, _shift = flat(Shift)
_signal_row, _signal = flat(SignalConfig)
_config_row, _config_plain = flat(MachineConfig)


def _spans_row(spans: tuple[tuple[int, int], ...]) -> list[Row]:
    return [{"start": start, "end": end} for start, end in spans]


def _calendar_row(level: MachineConfig | CalendarLevel | CalendarException) -> Row:
    """The fields of a calendar, of those that this record has."""
    row: Row = {name: [_shift_row(shift) for shift in getattr(level, name)] for name in ("shifts", "breaks")}
    if not isinstance(level, CalendarException):
        row |= {"planned_down": _spans_row(level.planned_down), "closed": list(level.closed)}
        row["exceptions"] = [{"first": one.first, "last": one.last, **_calendar_row(one)} for one in level.exceptions]
    return row


def _calendar(row: Row) -> Row:
    def shifts(rows: list[Row]) -> tuple[Shift, ...]:
        return tuple(Shift(part["name"], part["start"], part["end"], tuple(part["days"])) for part in rows)

    found: Row = {name: shifts(row[name]) for name in ("shifts", "breaks")}
    if "exceptions" in row:
        found["planned_down"] = tuple((span["start"], span["end"]) for span in row["planned_down"])
        found["closed"] = tuple(row["closed"])
        found["exceptions"] = tuple(
            CalendarException(one["first"], one["last"], **_calendar(one)) for one in row["exceptions"]
        )
    return found


def _machine_config_row(config: MachineConfig) -> Row:
    row = _config_row(config) | _calendar_row(config)
    row["signals"] = [_signal_row(signal) for signal in config.signals]
    row["above"] = [{"level": one.level, "always": one.always, **_calendar_row(one)} for one in config.above]
    return row | {name: dict(getattr(config, name)) for name in ("ideal_cycle_us", "units_per_cycle")}


def _machine_config(row: Row) -> MachineConfig:
    parts = {
        "signals": tuple(_signal(signal) for signal in row["signals"]),
        "above": tuple(CalendarLevel(one["level"], one["always"], **_calendar(one)) for one in row["above"]),
    }
    config: MachineConfig = _config_plain({**row, **_calendar(row), **parts})
    return config


BODIES: dict[str, tuple[type, Callable[[Any], Row], Callable[[Row], Any]]] = {
    "org.openoee.MachineConfig": (MachineConfig, _machine_config_row, _machine_config),
    "org.openoee.Correction": (Correction, _correction_row, _correction),
    "org.openoee.Tick": (Tick, *flat(Tick)),
    "org.openoee.EndOfSource": (EndOfSource, *flat(EndOfSource)),
}
_NAMES = {kind: name for name, (kind, _, _) in BODIES.items()}
# What readers of before do not know stands in a field of its own, beside a body that says nothing.
_BESIDE: dict[str, tuple[type, Callable[[Any], Row], Callable[[Row], Any]]] = {
    "acknowledge": (Acknowledge, *flat(Acknowledge)),
    "mute": (Mute, *flat(Mute)),
}
_NOTHING = ("org.openoee.Tick", {"at": 0})


def control_row(control: Control) -> Row:
    """Raises ParkError, KeyError."""
    check_name("machine name", control.machine)
    row: Row = {"machine": control.machine, "id": control.id, "issued": control.issued, "by": control.by}
    row["note"] = control.note
    kind = type(control.body)
    if kind in _NAMES:
        said = BODIES[_NAMES[kind]][1](control.body)
        row["body"] = (_NAMES[kind], said)
    else:
        name, to_row = next((name, to_row) for name, (known, to_row, _) in _BESIDE.items() if known is kind)
        said = row[name] = to_row(control.body)
        row["body"] = _NOTHING
    check_size((control.id, control.by, control.note, said))
    return row


def control(row: Row) -> Control:
    """Raises ParkError."""
    check_name("machine name", row["machine"])
    name, said = row["body"]
    read = BODIES[name][2]
    for beside, (_, _, from_row) in _BESIDE.items():
        if row.get(beside) is not None:
            said, read = row[beside][1], from_row
            for name in ("id", "signal", "kind"):  # remembered with every mute
                check_short(said.get(name, ""))
    check_number("time", row["issued"])
    note = row.get("note", "")  # records of before have none
    check_size((row["id"], row["by"], note, said))
    for number in said.values():
        if type(number) is int:
            check_number("number", number)
    return Control(row["machine"], row["id"], row["issued"], row["by"], read(said), note)
