"""The line in one process, for a machine without Kafka: the same engine, the same rows, the same store."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing

from pipeline.codec import Message
from pipeline.core.engine import Engine
from pipeline.core.model import Control, Emitted, Frame, Record
from pipeline.replay import as_records, chunked
from pipeline.rows import Rows
from pipeline.settings import Settings
from pipeline.store.client import Store
from pipeline.store.hours import Touched

BATCH = 500  # records


def run(messages: Iterable[Frame | Control], settings: Settings) -> int:
    """Fold messages in order of arrival and store them with what follows from them; returns how many rows.

    Nothing is guarded against a crash half-way: that is what Kafka is for. Raises StoreUnavailable, StoreRefused.
    """
    engine, stored = Engine(settings.engine()), 0
    with closing(Store(settings)) as store:
        for number, batch in enumerate(chunked(as_records(messages), BATCH)):
            stored += _store(store, settings, batch, engine.fold(batch), f"inline/{batch[0].arrived}/{number}")
    return stored


def _store(store: Store, settings: Settings, batch: list[Record], emitted: Emitted, name: str) -> int:
    rows, touched = Rows(settings.engine().max_future_ms), Touched()
    for record in batch:
        rows.add(record.arrived, record.message)
    results: list[Message] = [
        *emitted.facts, *emitted.intervals, *emitted.anomalies, *emitted.incidents, *emitted.dead_letters,
    ]  # fmt: skip
    for result in results:
        rows.add(0, result)
        touched.add(result)
    for table_name, table in rows.tables():
        store.insert(table_name, table, None)
    touched.settle(store, name)
    return rows.count
