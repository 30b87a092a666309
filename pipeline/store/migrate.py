"""Tables by numbered migrations, applied once each and never changed afterwards; views replaced when they changed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files

from pipeline.errors import StoreRefused, StoreUnavailable
from pipeline.settings import Settings
from pipeline.store import hours, retention
from pipeline.store.client import Store

JOURNAL = """
CREATE TABLE IF NOT EXISTS schema_migrations
(
    number   UInt32,
    name     String,
    checksum String,
    applied  DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree ORDER BY number
COMMENT 'Migrations that were applied'
"""

VIEWS = 0  # number of the journal's row that says which views are there
RETIRED = frozenset({2})  # views were a migration once


@dataclass(frozen=True)
class Migration:
    """A file NNNN_name.sql, or all views: statements that may be run again after having stopped half-way."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return sha256(self.sql.encode()).hexdigest()[:16]

    def statements(self) -> Iterator[str]:
        """The statements, without comments; each ends with `;` at the end of a line."""
        bare = re.sub(r"^\s*--.*\n", "", self.sql, flags=re.M)
        yield from (part.strip() for part in re.split(r";\s*(?:\n|$)", bare) if part.strip())


def migrations() -> list[Migration]:
    """All migrations of this version, by number; the views come last.

    They name the newest of the others and so are made again after it: a view has the columns of the day it was made.
    """
    found = []
    for name, sql in _files("migrations"):
        number, _, rest = name.partition("_")
        found.append(Migration(int(number), rest, sql))
    return [*found, Migration(VIEWS, "views", f"-- after {name}\n{_views()}")]


def _views() -> str:
    """All views, {{name}} replaced by views/parts/name.sql: what several have in common. Parts may have parts."""
    parts = {name: sql.rstrip() for name, sql in _files("views/parts")}
    whole = "\n".join(sql for _, sql in _files("views"))
    while "{{" in whole:
        whole = re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], whole)
    return whole


def _files(folder: str) -> list[tuple[str, str]]:
    """(name, text) of the SQL files of a folder, by name."""
    paths = sorted((files("pipeline.store") / folder).iterdir(), key=lambda path: path.name)
    return [
        (path.name.removesuffix(".sql"), path.read_text(encoding="utf-8"))
        for path in paths
        if path.name.endswith(".sql")
    ]


def migrate(settings: Settings) -> list[Migration]:
    """Create the database, apply what is missing, return it. Safe to run twice, and by several at once.

    Raises StoreUnavailable, StoreRefused (no rights; a newer store; an applied migration that was changed since).
    """
    create(settings)
    store = Store(settings)
    store.command(JOURNAL)
    missing = pending(store)
    for migration in missing:
        apply(store, migration)
    hours.fill(store)
    retention.apply(store, settings)
    store.close()
    return missing


def create(settings: Settings) -> None:
    """Create the database unless it is there. Raises StoreUnavailable, StoreRefused."""
    name = settings["database"]
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise StoreRefused(f"OPENOEE_DATABASE is {name!r}: letters, digits and _ only")
    server = Store(settings, database="default")
    server.command(f"CREATE DATABASE IF NOT EXISTS {name}")
    server.close()


def apply(store: Store, migration: Migration) -> None:
    """Run a migration, and note it in the journal, which must be there."""
    for statement in migration.statements():
        store.command(statement)
    store.command(
        "INSERT INTO schema_migrations (number, name, checksum) VALUES "
        f"({migration.number}, '{migration.name}', '{migration.checksum}')"
    )


def pending(store: Store) -> list[Migration]:
    """Migrations that the store has not seen, and views that differ. Raises StoreRefused when its past is not ours."""
    rows = store.query("SELECT number, name, checksum FROM schema_migrations FINAL ORDER BY number").result_rows
    known = {migration.number: migration for migration in migrations()}
    applied = set()
    for number, name, checksum in rows:
        if number in RETIRED or (number == VIEWS and checksum != known[number].checksum):
            continue
        applied.add(number)
        if number not in known:
            raise StoreRefused(
                f"database {store.database} has migration {number:04}_{name}, which this version does not know:"
                " use the version of openoee that made it, or a newer one"
            )
        if checksum != known[number].checksum:
            raise StoreRefused(
                f"migration {number:04}_{name} was changed after database {store.database} had applied it:"
                " restore the file and put the change into a migration of its own"
            )
    return [migration for migration in known.values() if migration.number not in applied]


def check(store: Store) -> None:
    """Raise StoreUnavailable unless the store has every migration of this version."""
    if not store.query("EXISTS TABLE schema_migrations").result_rows[0][0] or pending(store):
        raise StoreUnavailable(f"database {store.database} at {store.url} is not ready: run `openoee migrate`")
