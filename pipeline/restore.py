"""A backup into an empty database, and the sink set back to where the backup ends: it fills in what is missing.

The order of safety:
  1. every file is read and compared with its checksum; nobody is in the sink's group; the database is empty,
  2. the tables are made as they were (the migrations of the backup, without the views), filled, and counted,
  3. the sink's offsets are set to those of the manifest, as far as the log still has them,
  4. the rest of the migrations is applied, the views last.
A sink waits while views are missing. So there is no moment at which one could go on from where another store stood.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.backup import ANSWER_S, selection, tried
from pipeline.backup_files import Manifest, Pace, Piece, Tell, pieces_of
from pipeline.errors import BackupUnusable, OpenOeeError, StoreRefused, UsageError
from pipeline.settings import Settings
from pipeline.sink import TOPICS
from pipeline.sink_offsets import Back, SinkGroup, losses
from pipeline.store import migrate
from pipeline.store.client import Store

LOST = 3  # exit code: restored, and something is gone for good
TABLES = "SELECT count() FROM system.tables WHERE database = {name:String}"
ENGINE = "SELECT engine FROM system.tables WHERE database = currentDatabase() AND name = {table:String}"


@dataclass
class Restored:
    """What was done. `back`: where the sink goes on, empty when its offsets were left alone."""

    database: str
    manifest: Manifest
    rows: int = 0
    back: list[Back] = field(default_factory=list)
    migrated: list[str] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """Offsets that are gone for good, as far as they can be counted."""
        return sum(one.gone or 0 for one in self.back)

    @property
    def exit_code(self) -> int:
        return LOST if losses(self.back) else 0

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "database": self.database, "rows": self.rows, "taken": self.manifest.taken, "migrated": self.migrated,
            "offsets": [asdict(one) for one in self.back], "lost": self.lost,
            "lost_unknown": any(one.gone is None for one in self.back),
        }  # fmt: skip


def restore(settings: Settings, folder: Path, into: str, finish: bool, tell: Tell) -> Restored:
    """Restore; `finish`: the rows are there already, only the rest is to be done.

    `into`: name of the database, empty for that of the settings. The sink's offsets belong to the latter alone: with
    another name they stay as they are. Raises UsageError, BackupUnusable, StopError, StoreRefused, StoreUnavailable,
    BrokerUnavailable, TopicMismatch.
    """
    manifest = Manifest.read(folder)
    check_version(manifest)
    target = Settings({**settings.values, "database": into or settings["database"]})
    done = Restored(target["database"], manifest)
    with _group(settings, target) as group, closing(Store(target, answer_s=ANSWER_S)) as store:
        if group is not None:
            group.check_empty()
            group.back(manifest.offsets)  # the topics are there
        if not finish:
            check_empty(target)
            manifest.check(folder, tell)  # 1
            with _told(target["database"]):
                _fill(target, store, manifest, folder, tell)  # 2
                done.rows = _counted(store, manifest)
        elif _views_missing(store):
            done.rows = _counted(store, manifest)
        if group is not None:
            done.back = _set_back(group, manifest, target["database"])  # 3
    done.migrated = [migration.name for migration in migrate.migrate(target)]  # 4
    return done


def check_version(manifest: Manifest) -> None:
    """Raise BackupUnusable unless this version can make the tables of the backup."""
    known = {migration.number: migration for migration in migrate.migrations()}
    for number, name, mark in manifest.migrations:
        if number in migrate.RETIRED or number == migrate.VIEWS:
            continue
        if number not in known:
            raise BackupUnusable(
                f"the backup is of openoee {manifest.version} and has migration {number:04}_{name}, which this version"
                " does not know: restore it with that version or a newer one"
            )
        if known[number].checksum != mark:
            raise BackupUnusable(f"migration {number:04}_{name} is not the one that the backup was made with")


def check_empty(target: Settings) -> None:
    """Raise UsageError when the database holds any table."""
    name = target["database"]
    with closing(Store(target, database="default")) as store:
        (count,) = store.query(TABLES, {"name": name}).result_rows[0]
    if count:
        raise UsageError(
            f"database {name} at {target['store']} is not empty ({count} tables and views): restore into another one"
            " (--into NAME), or drop it first, when all of it may go"
        )


@contextmanager
def _group(settings: Settings, target: Settings) -> Iterator[SinkGroup | None]:
    """The sink's group, when it is its database that is restored."""
    if target["database"] != settings["database"]:
        yield None
        return
    group = SinkGroup(settings, TOPICS)
    try:
        yield group
    finally:
        group.close()


@contextmanager
def _told(database: str) -> Iterator[None]:
    """Errors say that the database is not whole."""
    try:
        yield
    except OpenOeeError as error:
        text = f"{error}. Database {database} is incomplete: drop it, then restore again"
        raise type(error)(text) from None


def _fill(target: Settings, store: Store, manifest: Manifest, folder: Path, tell: Tell) -> None:
    """Make the tables as they were, and put every file into its own."""
    migrate.create(target)
    store.command(migrate.JOURNAL)
    known = {migration.number: migration for migration in migrate.migrations()}
    for number, _, _ in manifest.migrations:
        if number in known and number != migrate.VIEWS:
            migrate.apply(store, known[number])
    pace, written, total = Pace(tell), 0, sum(piece.bytes for piece in manifest.pieces)
    for piece in manifest.pieces:
        pace.tell(f"{piece.file}: {piece.rows:,} rows; {written / 1e6:,.0f} of {total / 1e6:,.0f} MB are done")
        tried(lambda piece=piece: _insert(store, piece, folder))  # type: ignore[misc]
        written += piece.bytes


def _insert(store: Store, piece: Piece, folder: Path) -> None:
    store.insert_stream(piece.table, pieces_of(folder / piece.file), "Native", "zstd")


def _counted(store: Store, manifest: Manifest) -> int:
    """Rows in the store, which are those of the manifest. Raises StoreRefused."""
    total = 0
    for piece in manifest.pieces:
        ((engine,),) = store.query(ENGINE, {"table": piece.table}).result_rows
        sql = selection("count()", piece.table, "Replacing" in engine, piece.partition)
        ((rows,),) = store.query(sql).result_rows
        if rows != piece.rows:
            raise StoreRefused(
                f"table {piece.table}, partition {piece.partition}: {rows:,} rows are in the store, {piece.rows:,} in"
                f" {piece.file}"
            )
        total += rows
    return total


def _views_missing(store: Store) -> bool:
    return any(migration.number == migrate.VIEWS for migration in migrate.pending(store))


def _set_back(group: SinkGroup, manifest: Manifest, database: str) -> list[Back]:
    places = group.back(manifest.offsets)
    try:
        group.check_empty()
        group.set(places)
    except OpenOeeError as error:
        raise type(error)(
            f"{error}. The rows are in database {database}, but the sink's offsets are not set back: when no sink runs"
            " any more, run the same command with --finish"
        ) from None
    return places
