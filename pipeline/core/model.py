"""The records that flow through the line, as plain values. Times are UTC milliseconds, intervals half-open."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.core.incident_model import Acknowledge, Incident, Mute
from pipeline.core.machine_config import CalendarException, CalendarLevel, MachineConfig, Shift, SignalConfig

__all__ = [
    "FACTS", "STATES", "Acknowledge", "Anomaly", "CalendarException", "CalendarLevel", "Context", "Control",
    "Correction", "CountReading", "DeadLetter", "Emitted", "EndOfSource", "Frame", "Incident", "Interval",
    "MachineConfig", "MachineEvent", "Mute", "OeeFact", "Record", "Shift", "SignalBlock", "SignalConfig",
    "StateChange", "Tick",
]  # fmt: skip

STATES = (
    "running", "setup", "idle", "off", "fault", "stopped", "starved", "blocked", "maintenance", "planned_stop",
    "unknown",
)  # fmt: skip


class StateChange(NamedTuple):
    """From `at` on the machine is in `state`."""

    at: int
    state: str
    reason: str | None = None


class CountReading(NamedTuple):
    """Counters read at `at` (cumulative), or parts made since the last report (not cumulative); None: not said."""

    at: int
    cumulative: bool
    total: int | None = None
    good: int | None = None
    reject: int | None = None
    rework: int | None = None


class Context(NamedTuple):
    """From `at` on the machine works on this; None leaves what was said before."""

    at: int
    product: str | None = None
    order: str | None = None
    program: str | None = None
    planned: int | None = None  # parts that the order asks for, where the order is said


class MachineEvent(NamedTuple):
    """An alarm, condition or message of the machine."""

    at: int
    kind: str
    severity: str
    code: str = ""
    text: str = ""


@dataclass(slots=True)
class SignalBlock:
    """Signals sampled at the same instants.

    `at` is int64 [n] in ms, `values` float64 [len(names), n] in the signals' units; NaN means not sampled.
    """

    at: NDArray[np.int64]
    names: list[str]
    values: NDArray[np.float64]
    units: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Frame:
    """Telemetry of one machine over one stretch of time (avro/frame.avsc)."""

    machine: str
    source: str
    epoch: int
    sequence: int
    sent: int
    opening: bool = False
    states: list[StateChange] = field(default_factory=list)
    counts: list[CountReading] = field(default_factory=list)
    contexts: list[Context] = field(default_factory=list)
    events: list[MachineEvent] = field(default_factory=list)
    signals: list[SignalBlock] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Correction:
    """A person or system says what really happened in [start, end); what is None stays as it was.

    Parts (`good`, `reject`, `rework`) are added at `start`, negative ones taken away. `id` names the correction, so
    that a later one with the same id and a higher revision takes its place, or withdraws it. Where corrections overlap,
    the highest revision wins, of equal ones the later in the log.
    """

    start: int
    end: int
    state: str | None = None
    calendar: str | None = None
    reason: str | None = None
    revision: int = 1
    product: str | None = None
    order: str | None = None
    good: int | None = None
    reject: int | None = None
    rework: int | None = None
    ideal_cycle_us: int | None = None
    id: str = ""
    withdrawn: bool = False


@dataclass(frozen=True, slots=True)
class Tick:
    """It is now `at` for a machine that is silent."""

    at: int


@dataclass(frozen=True, slots=True)
class EndOfSource:
    """The source has said everything up to `at`."""

    source: str
    at: int


@dataclass(frozen=True, slots=True)
class Control:
    """A word to one machine's engine, in order with its telemetry (avro/control.avsc)."""

    machine: str
    id: str
    issued: int
    by: str
    body: MachineConfig | Correction | Tick | EndOfSource | Acknowledge | Mute
    note: str = ""  # for people; the engine does not look at it


class Record(NamedTuple):
    """One decoded record of a partition: its arrival time by the log, and where it stands."""

    arrived: int
    message: Frame | Control
    partition: int = 0
    offset: int = -1


FACTS = (
    "t_ms", "nonwork_ms", "pdot_ms", "pbt_ms", "apt_ms", "aust_ms", "adet_ms", "adot_ms", "unknown_ms",
    "micro_stop_ms", "external_ms", "overtime_ms", "failures", "repair_ms", "stops", "micro_stops",
    "total", "good", "reject", "rework", "ideal_total_us", "ideal_good_us", "no_ideal_total", "line_pbt_ms",
)  # fmt: skip


@dataclass(slots=True)
class OeeFact:
    """Facts of one machine, window and segment (avro/oee_fact.avsc). Dates are days since 1970-01-01."""

    machine: str
    site: str
    area: str
    line: str
    window_start: int
    window_end: int
    segment_start: int
    segment_end: int
    shift: str
    shift_date: int
    local_date: int
    product: str
    order: str
    t_ms: int = 0
    nonwork_ms: int = 0
    pdot_ms: int = 0
    pbt_ms: int = 0
    apt_ms: int = 0
    aust_ms: int = 0
    adet_ms: int = 0
    adot_ms: int = 0
    unknown_ms: int = 0
    micro_stop_ms: int = 0
    external_ms: int = 0
    overtime_ms: int = 0
    failures: int = 0
    repair_ms: int = 0
    stops: int = 0
    micro_stops: int = 0
    total: int = 0
    good: int = 0
    reject: int = 0
    rework: int = 0
    ideal_total_us: int = 0
    ideal_good_us: int = 0
    no_ideal_total: int = 0
    line_pbt_ms: int = 0
    flags: list[str] = field(default_factory=list)
    profile: str = "iso22400"
    unknown_as: str = "loss"
    status: str = "final"
    revision: int = 1
    reason: str = ""
    known_at: int = 0


@dataclass(slots=True)
class Interval:
    """One stretch in one state and one element of time (avro/interval.avsc)."""

    machine: str
    site: str
    area: str
    line: str
    start: int
    end: int | None
    state: str
    element: str
    stop: int | None
    micro: bool
    external: bool
    overtime: bool
    reason: str
    shift: str
    shift_date: int
    product: str
    order: str
    known_at: int = 0


@dataclass(slots=True)
class Anomaly:
    """A flag (avro/anomaly.avsc); its identity is machine, signal, kind and first."""

    machine: str
    site: str
    line: str
    signal: str
    kind: str
    detector: str
    detector_version: int
    first: int
    last: int
    score: float
    value: float | None
    expected: float | None
    expected_low: float | None
    expected_high: float | None
    severity: str
    state: str
    product: str
    message: str
    known_at: int = 0


@dataclass(slots=True)
class DeadLetter:
    """A record, or entries of it, that could not be used (avro/dead_letter.avsc). The engine leaves key and value to
    its caller, who has the raw bytes."""

    topic: str
    partition: int
    offset: int
    arrived: int
    machine: str | None
    reason: str
    detail: str
    entries: int = 0
    key: bytes | None = None
    value: bytes | None = None


@dataclass(slots=True)
class Emitted:
    """What a fold gives: rows for the topics oee, intervals, anomalies, incidents and dead-letters, in order per
    machine.

    `detector_s`: seconds that the detectors took, by the clock that the engine was given.
    """

    facts: list[OeeFact] = field(default_factory=list)
    intervals: list[Interval] = field(default_factory=list)
    anomalies: list[Anomaly] = field(default_factory=list)
    incidents: list[Incident] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    detector_s: float = 0.0
