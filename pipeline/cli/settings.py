"""`openoee settings`: every setting, where its value comes from, and what it means."""

from __future__ import annotations

import json

import click

from pipeline.cli.answer import columns
from pipeline.settings import TABLE, load

HEAD = """# Settings

One table for every command (`openoee settings --markdown` writes it). A flag wins over the environment variable,
which wins over the default. Each command takes the flags that concern it: see its `--help`.

| flag | environment variable | default | meaning |
|---|---|---|---|
"""


def markdown() -> str:
    """The text of docs/settings.md."""
    text = HEAD
    for row in TABLE:
        default = "" if row.default == "" else f"`{row.default}`"
        flag = f"`{row.flag}`" if row.flag else "none: a secret"
        text += f"| {flag} | `{row.variable}` | {default} | {_escaped(row.meaning)} |\n"
    return text


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;").replace("|", "\\|")


@click.command(epilog="Example: OPENOEE_WINDOW_S=300 openoee settings")
@click.option("--markdown", "as_markdown", is_flag=True, help="The table as docs/settings.md, with the defaults.")
@click.option("--json", "as_json", is_flag=True, help="For programs: an array of objects.")
def command(as_markdown: bool, as_json: bool) -> None:
    """Print every setting: flag, environment variable, value in force (* where it is not the default), meaning."""
    if as_markdown:
        click.echo(markdown(), nl=False)
        return
    values = load()
    rows = [("flag", "environment variable", "value", "meaning")]
    for row in TABLE:
        value = values.values[row.name]
        shown = "***" if row.secret and value else str(value)
        rows.append((row.flag or "-", row.variable, shown + ("" if value == row.default else " *"), row.meaning))
    if as_json:
        click.echo(
            json.dumps([dict(zip(("flag", "variable", "value", "meaning"), row, strict=True)) for row in rows[1:]])
        )
        return
    for line in columns(rows):
        click.echo(line)
