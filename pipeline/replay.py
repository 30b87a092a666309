"""The engine in memory: no Kafka, no store; what `openoee replay`, `openoee verify` and the tests use."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

from pipeline.core.admission import extents
from pipeline.core.engine import Engine, EngineSettings
from pipeline.core.model import Anomaly, Control, Emitted, EndOfSource, Frame, Incident, Interval, OeeFact, Record, Tick

Row = TypeVar("Row", OeeFact, Interval, Anomaly, Incident)


def run(messages: Iterable[Frame | Control | Record], settings: EngineSettings, chunk: int = 500) -> Emitted:
    """Fold messages in order of arrival; returns every row ever emitted (see `current`).

    A bare message arrives at its own newest event time; a Record brings its arrival time along. Memory grows with the
    rows, not with the messages.
    """
    engine, emitted = Engine(settings), Emitted()
    for part in chunked(as_records(messages), chunk):
        made = engine.fold(part)
        emitted.facts += made.facts
        emitted.intervals += made.intervals
        emitted.anomalies += made.anomalies
        emitted.incidents += made.incidents
        emitted.dead_letters += made.dead_letters
    return emitted


def as_records(messages: Iterable[Frame | Control | Record]) -> Iterator[Record]:
    """Records with arrival times for messages that come from files, not from a log."""
    arrived = 0
    for message in messages:
        if isinstance(message, Record):
            yield message
        else:
            arrived = max(arrived, _newest(message))
            yield Record(arrived, message)


def _newest(message: Frame | Control) -> int:
    if isinstance(message, Frame):
        return max(last for _, last in extents(message))
    return message.body.at if isinstance(message.body, Tick | EndOfSource) else 0


def chunked(records: Iterable[Record], size: int) -> Iterator[list[Record]]:
    """Lists of up to `size` records, in order."""
    iterator = iter(records)
    while part := list(islice(iterator, size)):
        yield part


def key(row: OeeFact | Interval | Anomaly | Incident) -> Hashable:
    """What makes a row the same row in a later version."""
    if isinstance(row, OeeFact):
        return row.machine, row.window_start, row.segment_start
    if isinstance(row, Interval):
        return row.machine, row.start
    if isinstance(row, Incident):
        return row.machine, row.opened
    return row.machine, row.signal, row.kind, row.first


def current(rows: Iterable[Row]) -> list[Row]:
    """The rows in force: the highest `known_at` of each key, without those that a later version removed."""
    newest: dict[Hashable, Row] = {}
    for row in rows:
        known = newest.get(key(row))
        if known is None or row.known_at >= known.known_at:
            newest[key(row)] = row
    return [row for _, row in sorted(newest.items()) if not _removed(row)]


def _removed(row: OeeFact | Interval | Anomaly | Incident) -> bool:
    if isinstance(row, OeeFact):
        return row.segment_start == row.segment_end
    return isinstance(row, Interval) and row.start == row.end
