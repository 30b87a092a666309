"""`openoee report`: the figures of a site."""

from __future__ import annotations

import click

from pipeline.settings import load, options


@click.command(epilog="Example:  openoee report --site lyon --from 2026-03-02T06:00 --to 2026-03-02T14:00")
@click.option("--site", default="", help="The site; default: the one that was heard of last.")
@click.option("--from", "start", help="From this instant on, as 2026-03-02T06:00 (UTC) or with an offset.")
@click.option("--to", "end", help="Up to this instant; default: all that is known.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
@options("store", "store_user", "store_password_file", "database", "home")
def command(site: str, start: str | None, end: str | None, as_json: bool, **flags: str | None) -> None:
    """Print OEE, A, P and Q of machines and lines with their coverage, where the time went, and anomalies."""
    from datetime import UTC, datetime

    from pipeline import report
    from pipeline.queries import instant
    from pipeline.store.client import Store

    def milliseconds(text: str | None) -> int | None:
        if text is None:
            return None
        return round(datetime.fromisoformat(instant(text)).replace(tzinfo=UTC).timestamp() * 1000)

    found = report.gather(Store(load(flags)), site, milliseconds(start), milliseconds(end))
    if as_json:
        click.echo(report.as_json(found))
    else:
        report.render(found, report.console())
