"""The store into a folder, while the line goes on; through ClickHouse's HTTP interface alone, reading only.

The order of safety:
  1. the offsets up to which the sink has written everything are noted; a batch under way counts as not written,
  2. the tables are read, each row once (FINAL), partition by partition,
  3. the manifest is written.
What the sink writes between 1 and 3 may or may not be in the backup. It is read again after a restore, and rows are
keyed and versioned, so it makes no difference, but for what the sink keeps for itself:
  open_hours      says which hours need not be summed again: read first, so that it never says more than the sums do
  touched_hours   a note that lives for one batch: left out
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pipeline import __version__, backup_files
from pipeline.backup_files import Manifest, Pace, Piece, Tell
from pipeline.errors import StoreUnavailable
from pipeline.settings import Settings
from pipeline.sink import TOPICS
from pipeline.sink_offsets import Mark, SinkGroup
from pipeline.store import migrate
from pipeline.store.client import Store

LOG = logging.getLogger("openoee.backup")
ANSWER_S = 600.0
TRIES, PAUSE_S = 3, 2.0
FIRST = "open_hours"
LEFT_OUT = {"touched_hours": "a note of the sink to itself", "schema_migrations": "stands in the manifest"}
T = TypeVar("T")

TABLES = """
SELECT name, engine FROM system.tables WHERE database = currentDatabase() AND engine NOT LIKE '%View' ORDER BY name
"""
PARTITIONS = """
SELECT DISTINCT partition_id FROM system.parts
WHERE database = currentDatabase() AND table = {table:String} AND active ORDER BY partition_id
"""


def backup(settings: Settings, folder: Path, tell: Tell) -> Manifest:
    """Write a backup of the line's database into a folder that is empty or not there yet.

    Raises UsageError, BackupUnusable (the disk), StoreUnavailable, StoreRefused, BrokerUnavailable, TopicMismatch.
    """
    taken = _now()
    with closing(Store(settings, answer_s=ANSWER_S)) as store:
        migrations = applied(store)
        backup_files.prepare(folder)
        offsets = noted(settings)  # 1
        kept, left_out = tables(store)
        pace, pieces = Pace(tell), list[Piece]()
        for table, engine in kept:  # 2
            for partition in partitions(store, table):
                pieces.append(_piece(store, folder, table, engine, partition, tell))
            rows = sum(piece.rows for piece in pieces if piece.table == table)
            pace.tell(f"{table}: {rows:,} rows")
        version = str(store.query("SELECT version()").result_rows[0][0])
    manifest = Manifest(
        __version__, settings["database"], taken, _now(), version, migrations, offsets,
        [piece for piece in pieces if piece.rows], left_out,
    )  # fmt: skip
    manifest.write(folder)  # 3
    return manifest


def noted(settings: Settings) -> list[Mark]:
    """Up to where the sink has written everything."""
    group = SinkGroup(settings, TOPICS)
    try:
        return group.marks()
    finally:
        group.close()


def applied(store: Store) -> list[tuple[int, str, str]]:
    """Number, name and checksum of every migration of the store.

    Raises StoreUnavailable when there is none, StoreRefused when they are of a newer version.
    """
    if not store.query("EXISTS TABLE schema_migrations").result_rows[0][0]:
        raise StoreUnavailable(f"database {store.database} at {store.url} holds no tables: run `openoee migrate`")
    migrate.pending(store)
    sql = "SELECT number, name, checksum FROM schema_migrations FINAL ORDER BY number"
    return [(int(number), str(name), str(mark)) for number, name, mark in store.query(sql).result_rows]


def tables(store: Store) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """(name, engine) of the tables to keep, in the order in which they are read; what is left out, and why."""
    ours = made_by_migrations()
    kept, left_out = [], {}
    for name, engine in store.query(TABLES).result_rows:
        if name in LEFT_OUT:
            left_out[name] = LEFT_OUT[name]
        elif name not in ours:
            left_out[name] = "no table of openoee"
        else:
            kept.append((str(name), str(engine)))
    return sorted(kept, key=lambda table: (table[0] != FIRST, table)), left_out


def made_by_migrations() -> set[str]:
    """Names of the tables that migrations create."""
    made = "\n".join(migration.sql for migration in migrate.migrations() if migration.number != migrate.VIEWS)
    return set(re.findall(r"^CREATE TABLE IF NOT EXISTS (\w+)", made, re.M))


def partitions(store: Store, table: str) -> list[str]:
    """Names of a table's partitions; `all` where it has none."""
    return [str(name) for (name,) in store.query(PARTITIONS, {"table": table}).result_rows]


def selection(what: str, table: str, final: bool, partition: str) -> str:
    """SQL for the rows of a partition, each once."""
    return f"SELECT {what} FROM `{table}`{' FINAL' if final else ''} WHERE _partition_id = '{partition}'"


def tried(call: Callable[[], T]) -> T:
    """Call; a store that is away or busy is asked again a few times. For what may be done twice."""
    for left in range(TRIES - 1, -1, -1):
        try:
            return call()
        except StoreUnavailable as error:
            if not left:
                raise
            LOG.warning("%s; trying again", error)
            time.sleep(PAUSE_S)
    raise AssertionError("unreachable")


def _piece(store: Store, folder: Path, table: str, engine: str, partition: str, tell: Tell) -> Piece:
    sql = selection("*", table, "Replacing" in engine, partition)

    def chunks() -> Iterator[bytes]:
        return store.stream(sql, "Native")

    piece = tried(lambda: backup_files.keep(folder, table, partition, chunks(), tell))
    if not piece.rows:  # times to live took them meanwhile
        (folder / piece.file).unlink()
    return piece


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
