"""`openoee query`: ready questions and SQL of your own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pipeline.settings import load, options

if TYPE_CHECKING:
    from pipeline.queries import Answer


@click.command(
    epilog="Examples:  openoee query machines --site lyon --from 2026-03-02 --to 2026-03-03   |   "
    'openoee query --sql "SELECT count() FROM telemetry" --format csv'
)
@click.argument("name", required=False)
@click.option("--sql", "statement", help="SQL of your own instead of a ready question.")
@click.option("--site", help="Only this site.")
@click.option("--line", help="Only this line.")
@click.option("--machine", help="Only this machine.")
@click.option("--signal", help="Only this signal.")
@click.option("--profile", help="Profile of the ratios: iso22400, vorne or smrp.")
@click.option("--level", help="Level of the figures: machine, line, area, site, enterprise.  [default: site]")
@click.option("--from", "start", help="From this instant on, as 2026-03-02T06:00 (UTC) or with an offset.")
@click.option("--to", "end", help="Up to this instant.")
@click.option("--before", help="Start of the period to compare with.  [default: the one right before]")
@click.option("--before-to", "before_end", help="Its end.  [default: as long as the period asked about]")
@click.option("--at", help="As known at this instant.")
@click.option("--limit", type=click.IntRange(1), help="At most so many rows (default 50).")
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
@options("store", "store_user", "store_password_file", "database", "home")
def command(name: str | None, statement: str | None, form: str, **given: Any) -> None:
    """Ask the store a ready question by NAME, or your own SQL. Without either: list the questions."""
    from pipeline import queries
    from pipeline.errors import UsageError
    from pipeline.store.client import Store

    values = {key: str(given.pop(key)) for key in queries.DEFAULTS if given.get(key) is not None}
    for key in queries.DEFAULTS:
        given.pop(key, None)
    if name and statement:
        raise UsageError("either a ready question or --sql, not both")
    if name is None and statement is None:
        listed = [(q.name, q.title, " ".join(_flag(key) for key in q.parameters)) for q in queries.QUESTIONS]
        show(queries.Answer(("question", "what it answers", "options"), listed), form)
        return
    store = Store(load(given))
    if statement:
        show(queries.sql(store, statement, values), form)
    else:
        show(queries.ask(store, str(name), values), form)


def _flag(key: str) -> str:
    return {"start": "--from", "end": "--to", "before_end": "--before-to"}.get(key, f"--{key}")


def show(answer: Answer, form: str) -> None:
    """Print an answer: table (for a terminal, plain columns when piped), json (one array) or csv."""
    import csv
    import sys

    from pipeline.report import document, plain

    if form == "json":
        click.echo(document(answer.dicts()))
    elif form == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow(answer.columns)
        writer.writerows([["" if cell is None else plain(cell) for cell in row] for row in answer.rows])
    elif not answer.rows:
        click.echo("no rows")
    else:
        from pipeline.report import console, table

        console().print(table(answer.columns, [[plain(cell) for cell in row] for row in answer.rows]))
