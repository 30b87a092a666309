"""What people and systems know better: corrections, sent into the log of each machine that they concern."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from zoneinfo import ZoneInfo

from pipeline import archive
from pipeline.codec import Codec
from pipeline.core.admission import is_sensible
from pipeline.core.model import Control, Correction
from pipeline.errors import UsageError
from pipeline.factory_calendar import MOMENTS, moment_ms
from pipeline.producer import TelemetryProducer
from pipeline.queries import ask
from pipeline.settings import Settings
from pipeline.store.client import Store

POLL_S = 0.1


@dataclass(frozen=True)
class Place:
    """A machine as the factory file has it."""

    machine: str
    site: str
    line: str
    timezone: str


@dataclass(frozen=True)
class Effect:
    """What came of corrections: rows that were restated, and why any of them was refused (by machine)."""

    facts: int
    intervals: int
    refused: Mapping[str, str]
    seen: bool


def places(store: Store, machines: Sequence[str], line: str = "", site: str = "") -> list[Place]:
    """The machines that are named, or all of a line or site. Raises UsageError when one is unknown or none found."""
    known = [Place(row["machine"], row["site"], row["line"], row["timezone"]) for row in ask(store, "factory").dicts()]
    missing = set(machines) - {place.machine for place in known}
    if missing:
        from pipeline.yaml_lines import nearest

        one = min(missing)
        raise UsageError(f"no factory file names the machine {one!r}; {nearest(one, [p.machine for p in known])}")
    found = [
        place
        for place in known
        if place.machine in machines
        or (
            not machines
            and (line or site)
            and place.line == (line or place.line)
            and place.site == (site or place.site)
        )
    ]
    if not found:
        raise UsageError("which machines? name them, or a line or site that has any (--line, --site)")
    return found


def moment(text: str, place: Place) -> int:
    """UTC ms of a moment; without an offset it is local time of the machine's site. Raises UsageError."""
    try:
        return moment_ms(text.strip(), ZoneInfo(place.timezone))
    except ValueError as error:
        raise UsageError(f"{text!r} is no moment in time ({error}): write {MOMENTS}") from None


def stop_at(store: Store, place: Place, at: int) -> tuple[int, int]:
    """Start and end of the stop, or of the state that is none, in which an instant lies. Raises UsageError."""
    sql = (
        "SELECT toUnixTimestamp64Milli(min(start)), toUnixTimestamp64Milli(max(until)) FROM timeline"
        " WHERE machine = {machine:String} AND coalesce(stop, start) IN"
        " (SELECT coalesce(stop, start) FROM timeline WHERE machine = {machine:String}"
        "  AND toUnixTimestamp64Milli(start) <= {at:Int64} AND toUnixTimestamp64Milli(until) > {at:Int64})"
        " HAVING count() > 0"
    )
    rows = store.query(sql, {"machine": place.machine, "at": at}).result_rows
    if not rows:
        raise UsageError(
            f"nothing is known of {place.machine} at that moment; `openoee query timeline` shows its stops"
        )
    return int(rows[0][0]), int(rows[0][1])


def fresh(place: Place, correction: Correction) -> tuple[str, Correction]:
    """(machine, correction) under a name of its own. Raises UsageError when it says nothing that can be."""
    named = replace(correction, id=correction.id or f"{place.machine}/{uuid.uuid4().hex[:8]}")
    if not is_sensible(named):
        raise UsageError(
            "this correction says nothing that can be: its end must come after its start, and it must say something"
        )
    return place.machine, named


def withdrawal(store: Store, ident: str) -> tuple[str, Correction]:
    """(machine, correction) that takes back the one of that name. Raises UsageError when there is none in force."""
    rows = ask(store, "corrections").dicts()
    known = next((row for row in rows if row["id"] == ident), None)
    if known is None:
        raise UsageError(f"no correction {ident!r} is in force; `openoee correct list` shows them")
    start, end = (round(known[name].timestamp() * 1000) for name in ("start", "end"))
    return known["machine"], Correction(start, end, revision=known["revision"] + 1, id=ident, withdrawn=True)


def send(
    corrections: Iterable[tuple[str, Correction]], settings: Settings, codec: Codec, by: str, note: str = ""
) -> int:
    """Into each machine's log, then into the archive; returns when it was issued (ms). `note`: why, for people.

    Raises BrokerUnavailable, TopicMismatch, DeliveryFailed; sending the same again is harmless.
    """
    issued = time.time_ns() // 1_000_000
    controls = [
        Control(machine, f"{correction.id}/{correction.revision}", issued, by, correction, note)
        for machine, correction in corrections
    ]
    with TelemetryProducer(settings, codec) as producer:
        for control in controls:
            producer.send(control)
        producer.flush()
    for control in controls:
        archive.keep("corrections", control.machine, control, settings, codec)
    return issued


def effect(store: Store, sent: Sequence[tuple[str, Correction]], issued: int, patience_s: float) -> Effect:
    """Wait until the store shows what came of corrections, or for so long."""
    machines = [machine for machine, _ in sent]
    deadline = time.monotonic() + patience_s
    while True:
        values: dict[str, Any] = {"machines": machines, "issued": issued, "ids": [c.id for _, c in sent]}
        facts, intervals, told = store.query(EFFECT, values).result_rows[0]
        refused = {
            machine: detail
            for machine, detail in store.query(REFUSED, values).result_rows
            if any(f"correction {one.id} " in detail for _, one in sent)
        }
        seen = told >= len(sent) and (facts or intervals or refused)
        if seen or time.monotonic() > deadline:
            return Effect(facts, intervals, refused, bool(seen))
        time.sleep(POLL_S)


EFFECT = """
SELECT
    (SELECT count() FROM facts WHERE machine IN {machines:Array(String)} AND reason = 'correction'
       AND toUnixTimestamp64Milli(known_at) >= {issued:Int64}),
    (SELECT count() FROM timeline WHERE machine IN {machines:Array(String)}
       AND toUnixTimestamp64Milli(known_at) >= {issued:Int64}),
    (SELECT uniqExact(id) FROM corrections WHERE id IN {ids:Array(String)}
       AND toUnixTimestamp64Milli(issued) >= {issued:Int64})
"""
REFUSED = """
SELECT machine, detail FROM parked
WHERE machine IN {machines:Array(String)} AND toUnixTimestamp64Milli(arrived) >= {issued:Int64}
"""
