"""Incidents, and what people say of them, as plain values. Times are UTC milliseconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Incident:
    """Flags of one machine that touch each other (avro/incident.avsc); its identity is machine and `opened`.

    `closed` None: it goes on. `page`: its flags that are not muted are worth a message. `signal`, `kind`, `score`,
    `state`, `product` and `message` are those of the worst flag.
    """

    machine: str
    site: str
    line: str
    id: str
    opened: int
    first: int
    last: int
    closed: int | None
    severity: str
    page: bool
    muted: bool
    flags: int
    signals: list[str]
    kinds: list[str]
    signal: str
    kind: str
    score: float
    state: str
    product: str
    message: str
    acknowledged: int | None = None
    acknowledged_by: str = ""
    note: str = ""
    known_at: int = 0


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Somebody has seen the incident of this id; who and when stands in the control record."""

    incident: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Mute:
    """Until `until` nobody wants a message of flags of this machine; empty `signal` or `kind`: of any.

    A later mute of the same id takes its place, or lifts it.
    """

    id: str
    until: int
    signal: str = ""
    kind: str = ""
    why: str = ""
    lifted: bool = False
