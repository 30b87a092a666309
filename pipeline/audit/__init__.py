"""The store against its source, the log of telemetry: offsets, what the machines said, what follows from it, refusals.

Partition by partition the log is read once, as rows that the store must hold: those that the sink makes of the frames,
and those that the engine computes from all of them in one go. Sums of row hashes by machine and hour are compared with
the store's; where they differ the rows themselves are. Nothing is written anywhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from pipeline import audit_queries as queries
from pipeline.audit import positions as at
from pipeline.audit.log import Reading
from pipeline.audit.partition import Audited, Scope
from pipeline.audit.positions import Position
from pipeline.audit.report import Check, Difference, Report, told
from pipeline.audit_queries import COMPUTED, LETTERS, SAID, Compared
from pipeline.codec import Codec
from pipeline.errors import OpenOeeError, SettingError, UsageError
from pipeline.rows import LAST_MS, YEAR_2000
from pipeline.settings import Settings
from pipeline.store import migrate
from pipeline.store.client import Store

ANSWER_S = 600.0  # a question may sum a whole partition
TABLES = (*SAID, *COMPUTED)
DAY_MS = 86_400_000


@dataclass(frozen=True)
class Options:
    """What is asked: [start, end) ms of event time, one machine or all, how long to wait for worker and sink."""

    start: int = YEAR_2000
    end: int = LAST_MS
    machine: str = ""
    wait_s: float = 0.0
    most: int = 20


def audit(settings: Settings, options: Options, tell: Callable[[str], Any] = print) -> Report:
    """Compare. What keeps it from comparing, Kafka or the store being away for one, is a reason for UNVERIFIED.

    Raises UsageError, SettingError.
    """
    report = Report([Check("offsets")])
    try:
        with closing(Store(settings, answer_s=ANSWER_S)) as store:
            _audit(settings, options, store, report, tell)
    except (UsageError, SettingError):
        raise
    except OpenOeeError as error:
        for check in report.checks[1:] or report.checks:
            check.unverified.append(str(error))
    return report


def _audit(settings: Settings, options: Options, store: Store, report: Report, tell: Callable[[str], Any]) -> None:
    migrate.check(store)
    codec = Codec.agreed(settings.registry)
    report.positions = at.positions(settings, codec, options.wait_s)
    offsets = at.check(report.positions, settings.topic)
    checks = {one.table: Check(one.name) for one in TABLES}
    report.checks = [offsets, *checks.values()]
    if offsets.unverified:
        for check in checks.values():
            check.unverified.append("not compared: " + "; ".join(offsets.unverified))
        return
    scope = Scope(options.start, options.end, options.machine, options.most, _kept(settings))
    read: list[Audited] = []
    for position in report.positions:
        if position.topic == "telemetry":
            tell(f"partition {position.partition}: {position.high - position.low:,} records")
            part = Audited(_reading(settings, codec, position, options.machine), store, scope)
            part.read()
            for one in TABLES:
                _compare(one, part, checks[one.table])
            part.forget()
            read.append(part)
    _frames([part.reading for part in read], offsets, checks[queries.SAMPLES.table])
    if not options.machine:
        _strangers(store, read, scope, checks)
    if not any(check.rows or check.differences for check in checks.values()):
        offsets.unverified.append("the log holds nothing of what was asked about")


def _reading(settings: Settings, codec: Codec, position: Position, machine: str) -> Reading:
    lost = position.low > 0
    start, end = position.low, position.high
    return Reading(settings, codec, position.partition, start, end, machine, lost=lost, computes=not lost)


def _compare(one: Compared, part: Audited, check: Check) -> None:
    """Compare one table of one partition, as far as its log goes."""
    reading = part.reading
    gone = f"partition {reading.partition}: Kafka no longer has offsets 0 to {reading.start - 1:,}"
    if reading.lost and one in COMPUTED:
        check.unverified.append(f"{gone}: what follows from them cannot be computed again")
    elif reading.lost and part.scope.start <= part.unsure:
        until = min(part.unsure, part.scope.end)
        check.unverified.append(f"{gone}: the time from {told('ts', part.scope.start)} to {told('ts', until)}")
    if one in SAID or one is LETTERS or reading.computes:
        part.compare(one, check)


def _frames(read: Sequence[Reading], offsets: Check, samples: Check) -> None:
    """What there is to say of the frames as records; a machine has one partition."""
    homes: dict[str, int] = {}
    for reading in read:
        for machine in sorted(reading.machines):
            home = homes.setdefault(machine, reading.partition)
            if home != reading.partition:
                text = f"is in partitions {home} and {reading.partition}: partitions were added"
                key = {"machine": machine}
                offsets.differences.append(Difference("offsets", key, "partition", home, reading.partition, text))
    counts = ((reading.frames, reading.repeated, reading.gaps) for reading in read)
    frames, repeated, gaps = (sum(column) for column in zip(*counts, strict=True))
    samples.said = f"{frames:,} frames, {repeated:,} of them repeated, {gaps:,} gaps in their numbers"


def _strangers(store: Store, read: Sequence[Audited], scope: Scope, checks: Mapping[str, Check]) -> None:
    """Machines that the store has and the log has not."""
    known = set[str]().union(*(part.reading.machines for part in read))
    found = {one: queries.machines(store, one, scope.start, scope.end) for one in TABLES if one is not LETTERS}
    if any(machines.keys() - known for machines in found.values()):
        known |= set[str]().union(*(part.newcomers() for part in read))
    unsure = max(part.unsure for part in read)
    for one, machines in found.items():
        check = checks[one.table]
        for machine in sorted(machines.keys() - known):
            rows, first, last = machines[machine]
            if first <= unsure:
                check.unverified.append(f"machine {machine}: {rows:,} rows; Kafka no longer has all that was said")
            elif len(check.differences) < scope.most:
                text = f"{rows:,} rows in the store, and the source does not know the machine"
                key = {"machine": machine, "first": first, "last": last}
                check.differences.append(Difference(check.name, key, "", 0, rows, text))


def _kept(settings: Settings) -> dict[str, int]:
    """By table, from when on the store keeps its rows."""
    now = int(time.time() * 1000)
    days = {one.table: settings.int(one.kept) if one.kept else 0 for one in TABLES}
    return {table: now - count * DAY_MS if count else 0 for table, count in days.items()}
