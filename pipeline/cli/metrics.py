"""`openoee metrics`: every metric that the processes show to Prometheus, and what it means."""

from __future__ import annotations

import json

import click

from pipeline.cli.answer import columns

HEAD = "| metric | kind | labels | unit | of | meaning |\n|---|---|---|---|---|---|\n"


def markdown() -> str:
    """The table of docs/operations.md."""
    from pipeline.metrics import EVERY, TABLE

    text = HEAD
    for row in TABLE:
        labels = ", ".join(f"`{label}`" for label in row.labels)
        processes = "all" if row.processes == EVERY else ", ".join(row.processes)
        text += f"| `{row.name}` | {row.kind} | {labels} | {row.unit} | {processes} | {row.meaning} |\n"
    return text


@click.command(epilog="Example: openoee metrics --markdown")
@click.option("--markdown", "as_markdown", is_flag=True, help="The table as it stands in docs/operations.md.")
@click.option("--json", "as_json", is_flag=True, help="For programs: an array of objects.")
def command(as_markdown: bool, as_json: bool) -> None:
    """Print every metric: name, kind, labels, unit, the processes that have it, meaning."""
    from pipeline.metrics import TABLE

    if as_markdown:
        click.echo(markdown(), nl=False)
        return
    rows = [("metric", "kind", "labels", "unit", "of", "meaning")]
    rows += [
        (row.name, row.kind, ",".join(row.labels), row.unit, ",".join(row.processes), row.meaning) for row in TABLE
    ]
    if as_json:
        click.echo(json.dumps([dict(zip(rows[0], row, strict=True)) for row in rows[1:]], indent=1))
        return
    for line in columns(rows):
        click.echo(line)
