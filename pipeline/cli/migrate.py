"""`openoee migrate`: tables and views of the store."""

from __future__ import annotations

import click

from pipeline.cli.answer import answer, json_option
from pipeline.settings import load, options


@click.command(epilog="Example:  openoee migrate --store http://127.0.0.1:8123 --database openoee")
@json_option
@options("store", "store_user", "store_password_file", "database", "home")
def command(as_json: bool, **flags: str | None) -> None:
    """Create or upgrade the tables and views of the store. Running it again changes nothing."""
    from pipeline.store.migrate import migrate, migrations

    settings = load(flags)
    applied = migrate(settings)
    names = [f"{migration.number:04} {migration.name}" for migration in applied]
    lines = [f"applied {name}" for name in names]
    lines = lines or [f"{settings['database']} is up to date: {len(migrations())} migrations"]
    answer({"database": settings["database"], "applied": names, "migrations": len(migrations())}, lines, as_json)
