"""What the factory file says of a machine: its place, its calendar level by level, ideal cycle times, limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Shift:
    """A shift or break that recurs on local dates; `end` not after `start` means the next date. days: 1 = Monday."""

    name: str
    start: str
    end: str
    days: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7)


@dataclass(frozen=True, slots=True)
class CalendarException:
    """On the local dates `first` to `last` these shifts and breaks take the place of the usual ones of their level."""

    first: str
    last: str
    shifts: tuple[Shift, ...] = ()
    breaks: tuple[Shift, ...] = ()


@dataclass(frozen=True, slots=True)
class CalendarLevel:
    """What one level of the hierarchy says of time. `always`: planned busy at every instant."""

    level: str
    always: bool = False
    shifts: tuple[Shift, ...] = ()
    breaks: tuple[Shift, ...] = ()
    planned_down: tuple[tuple[int, int], ...] = ()
    closed: tuple[str, ...] = ()
    exceptions: tuple[CalendarException, ...] = ()


RICH = "rich"
DETECTORS = ("default", RICH)
RICH_SIGNALS = 8  # of one machine: each takes 84 KB of memory, and as much of the machine's snapshot


@dataclass(frozen=True, slots=True)
class SignalConfig:
    """What the factory file knows of a signal; limits in the signal's unit.

    `spc`: nelson, western_electric, or empty: no control chart. A point is the mean of `spc_every_ms` of running, a
    multiple of a minute; 0: every sample is one. The first `spc_points` from `spc_since` (ms) on are its base.
    `detector`: one of DETECTORS.
    """

    name: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    flatline_ms: int | None = None
    learn: bool = True
    spc: str = ""
    spc_every_ms: int = 60_000
    spc_points: int = 100
    spc_since: int = 0
    detector: str = "default"


@dataclass(frozen=True, slots=True)
class MachineConfig:
    """What the factory file says of a machine from `effective` on (avro/control.avsc, MachineConfig).

    `always`, `shifts`, `planned_down`, `breaks`, `closed` and `exceptions` are the calendar of the lowest level that
    has one, `calendar_level`; `above` are those of the levels over it, lowest first. `watch_cycle`, `watch_relations`:
    whether cycle times, and relations between signals, are watched.
    """

    effective: int = 0
    site: str = ""
    area: str = ""
    line: str = ""
    position: int = 0
    timezone: str = "UTC"
    always: bool = True
    shifts: tuple[Shift, ...] = ()
    planned_down: tuple[tuple[int, int], ...] = ()
    breaks: tuple[Shift, ...] = ()
    closed: tuple[str, ...] = ()
    ideal_cycle_us: Mapping[str, int] = field(default_factory=dict)
    micro_stop_ms: int = 0
    stale_after_ms: int | None = None
    counter_modulus: int | None = None
    profile: str = "iso22400"
    unknown_as: str = "loss"
    oee_target: float | None = None
    signals: tuple[SignalConfig, ...] = ()
    enterprise: str = ""
    calendar_level: str = "machine"
    exceptions: tuple[CalendarException, ...] = ()
    above: tuple[CalendarLevel, ...] = ()
    units_per_cycle: Mapping[str, int] = field(default_factory=dict)
    count_split: str = ""
    watch_cycle: bool = True
    watch_relations: bool = True
