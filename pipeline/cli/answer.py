"""How commands answer: lines for people, or with --json one document for programs; how far long work has come."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress as Bar

F = TypeVar("F", bound=Callable[..., Any])
PAUSE_S = 0.1  # between two words about the same work


def json_option(function: F) -> F:
    """The option --json of a command, as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document.")(function)


def answer(document: Any, lines: Iterable[str], as_json: bool) -> None:
    """Print what a command did: the document (names as in SQL, times UTC) with --json, else the lines."""
    if as_json:
        from pipeline import report

        click.echo(report.document(document))
    else:
        for line in lines:
            click.echo(line)


def event(what: str, fields: dict[str, Any], line: str, as_json: bool) -> None:
    """Print one of several things that happen one after another: with --json one document a line, beginning with
    `what`; else the line, which `what` begins."""
    click.echo(json.dumps({"what": what, **fields}, ensure_ascii=False) if as_json else f"{what:<9} {line}")


def columns(rows: Sequence[tuple[Any, ...]]) -> list[str]:
    """Rows in columns of plain text; the first row is the head."""
    cells = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


class Progress:
    """One line that says how far long work has come: on standard error where that is a terminal, else nowhere.

    `total`: how much there is to do; without it the line only says that work goes on. `quiet`: nowhere (--json).
    """

    def __init__(self, title: str, total: float | None = None, quiet: bool = False) -> None:
        self._title, self._total, self._shown = title, total, 0.0
        self._quiet = quiet or not sys.stderr.isatty()
        self._bar: Bar | None = None

    def __enter__(self) -> Progress:
        if not self._quiet:
            from rich.console import Console
            from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bar

            words = TextColumn("{task.description}", markup=False), TextColumn("{task.fields[words]}", markup=False)
            done = (BarColumn(30), TaskProgressColumn()) if self._total else (BarColumn(10),)
            self._bar = Bar(
                words[0], *done, TimeElapsedColumn(), words[1], console=Console(stderr=True), transient=True,
                redirect_stdout=False, redirect_stderr=False,
            )  # fmt: skip
            self._bar.add_task(self._title, total=self._total, words="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def __call__(self, words: str, done: float | None = None) -> None:
        """Say where the work is, and how much of the total is `done`; said too often, some of it is left out."""
        if self._bar and time.monotonic() - self._shown > PAUSE_S:
            self._shown = time.monotonic()
            self._bar.update(self._bar.task_ids[0], completed=done, words=words)
