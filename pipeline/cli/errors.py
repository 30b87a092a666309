"""`openoee errors`: every error that openoee raises on purpose, and what to do about it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator

import click

from pipeline.errors import REMEDIES, OpenOeeError

HEAD = """# Errors

Every error is one line that says what happened, where, and what to do; `openoee errors --markdown` writes this page
from `pipeline/errors.py`. Exit code 2: a command was called wrongly; 1: anything else. With `OPENOEE_LOG_FORMAT=json`
the line is an object.

| error | kind | exit code | what it means | what to do |
|---|---|---|---|---|
"""
KINDS = {"RetryError": "passes", "ParkError": "one record", "StopError": "stops"}


def leaves(root: type[OpenOeeError] = OpenOeeError) -> Iterator[type[OpenOeeError]]:
    """Every error that is raised, in the order of the tree."""
    for kind in root.__subclasses__():
        if kind.__name__ in KINDS:
            yield from leaves(kind)
        elif kind.__module__ == OpenOeeError.__module__:
            yield kind
            yield from leaves(kind)


def rows() -> list[tuple[str, str, int, str, str]]:
    """Name, kind, exit code, meaning, remedy of each."""
    out = []
    for error in leaves():
        kind = next(KINDS[base.__name__] for base in error.__mro__ if base.__name__ in KINDS)
        meaning = (inspect.getdoc(error) or "").split("\n")[0]
        out.append((error.__name__, kind, error.exit_code, meaning, REMEDIES[error]))
    return out


def markdown() -> str:
    """The text of docs/errors.md."""
    return HEAD + "".join(f"| `{name}` | {kind} | {code} | {what} | {do} |\n" for name, kind, code, what, do in rows())


@click.command(epilog="Example: openoee errors")
@click.option("--markdown", "as_markdown", is_flag=True, help="The page docs/errors.md.")
@click.option("--json", "as_json", is_flag=True, help="For programs: an array of objects.")
def command(as_markdown: bool, as_json: bool) -> None:
    """Print every error: its kind, exit code, what it means, what to do."""
    if as_markdown:
        click.echo(markdown(), nl=False)
    elif as_json:
        names = ("error", "kind", "exit_code", "meaning", "remedy")
        click.echo(json.dumps([dict(zip(names, row, strict=True)) for row in rows()], indent=1))
    else:
        for name, kind, code, meaning, remedy in rows():
            click.echo(f"{name:<20} {kind:<11} {code}  {meaning}\n{'':<35}-> {remedy}")
