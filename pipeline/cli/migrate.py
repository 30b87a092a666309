"""`openoee migrate`: tables and views of the store."""

from __future__ import annotations

import click

from pipeline.settings import load, options


@click.command(epilog="Example:  openoee migrate --store http://127.0.0.1:8123 --database openoee")
@options("store", "store_user", "store_password_file", "database", "home")
def command(**flags: str | None) -> None:
    """Create or upgrade the tables and views of the store. Running it again changes nothing."""
    from pipeline.store.migrate import migrate, migrations

    settings = load(flags)
    applied = migrate(settings)
    for migration in applied:
        click.echo(f"applied {migration.number:04} {migration.name}")
    if not applied:
        click.echo(f"{settings['database']} is up to date: {len(migrations())} migrations")
