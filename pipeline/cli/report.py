"""`openoee report`: the figures of a site."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.settings import load, options


@click.command(
    epilog="Examples:  openoee report --site lyon --from 2026-03-02T06:00 --to 2026-03-02T14:00   |   "
    "openoee report --shift yesterday --format html --output yesterday.html"
)
@click.option("--site", default="", help="The site; default: the one that was heard of last.")
@click.option("--shift", metavar="today|yesterday|DATE[/NAME]", help="A day's shifts, or one: 2026-03-02/early.")
@click.option("--from", "start", help="From this instant on, as 2026-03-02T06:00 (UTC) or with an offset.")
@click.option("--to", "end", help="Up to this instant; default: all that is known.")
@click.option("--format", "form", type=click.Choice(["terminal", "html", "csv", "json"]), default="terminal",
              show_default=True, help="html: a page by itself; csv: one figure a row.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "--truth",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help=(
        "Folder that `openoee simulate --truth` wrote: the incidents are held against what was planted, up to its end."
    ),
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write it there.")
@options("store", "store_user", "store_password_file", "database", "home")
def command(
    site: str, shift: str | None, start: str | None, end: str | None, form: str, as_json: bool, truth: Path | None,
    output: Path | None, **flags: str | None,
) -> None:  # fmt: skip
    """Show OEE, A, P and Q of machines and lines with their coverage, where the time went, and anomalies."""
    import time
    from datetime import UTC, datetime

    from pipeline import planted, report
    from pipeline.errors import UsageError
    from pipeline.queries import ask, instant
    from pipeline.reports import page, shifts, tidy
    from pipeline.store.client import Store

    def milliseconds(text: str | None) -> int | None:
        if text is None:
            return None
        return round(datetime.fromisoformat(instant(text)).replace(tzinfo=UTC).timestamp() * 1000)

    store, first, last = Store(load(flags)), milliseconds(start), milliseconds(end)
    if shift:
        if start or end:
            raise UsageError("either --shift, or --from and --to")
        site = site or next((str(row["site"]) for row in ask(store, "seen").dicts()), "")
        first, last = shifts.span(store, site, shift, time.time_ns() // 1_000_000)
    put_in = planted.read(truth) if truth else None
    if truth and last is None:
        last = planted.known_until(truth)
    found = report.gather(store, site, first, last, put_in)
    form = "json" if as_json else form
    if form == "terminal":
        if output is None:
            report.render(found, report.console())
            return
        from rich.console import Console

        with output.open("w", encoding="utf-8") as file:
            report.render(found, Console(file=file, width=240, highlight=False, color_system=None))
        return
    text = {"json": report.as_json, "html": page.as_html, "csv": tidy.as_csv}[form](found)
    if output is None:
        click.echo(text, nl=form == "json")
    else:
        output.write_text(text, encoding="utf-8")
