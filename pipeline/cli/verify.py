"""`openoee verify`: worked OEE cases against the engine, or against the SQL views of the store."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.settings import Settings, load, options

if TYPE_CHECKING:
    from pipeline.cases import CaseFile
    from pipeline.verify import Result

HERE = "the store of the settings"


@click.command(
    epilog="Examples:  openoee verify   |   openoee verify my_cases.json -v   |   openoee verify --store --only line"
)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--only", "pattern", default="", help="Only the cases whose id contains this.")
@click.option("--list", "listed", is_flag=True, help="Print id, theme and source of every case, and run none.")
@click.option("-v", "--verbose", is_flag=True, help="Print every case, not only those that fail.")
@click.option(
    "--store", is_flag=False, flag_value=HERE, metavar="[URL]",
    help="Write the cases into the store and ask its SQL views; URL as everywhere  [OPENOEE_STORE].",
)  # fmt: skip
@click.option("--keep", is_flag=True, help="With --store: leave the rows there, under sites of their own.")
@options("store_user", "store_password_file", "database", "home")
def command(
    files: Sequence[Path], pattern: str, listed: bool, verbose: bool, store: str | None, keep: bool, **given: Any
) -> None:
    """Run worked OEE cases and print where figures differ: those of FILES, or the suite that comes with openoee.

    The exit code is 0 when every case passes, 1 otherwise. The format of the files is in docs/oee-cases.md.
    """
    from pipeline.cases import load as read
    from pipeline.cases import suite

    if store and store != HERE and "://" not in store:  # `--store FILE`: the word after it is no URL
        files, store = (Path(store), *files), HERE
    chosen = [read(path).only(pattern) for path in files or suite()]
    if listed:
        for file in chosen:
            for case in file.cases:
                click.echo(f"{case['id']}  {file.theme}  {case['source']}")
        return
    began = time.monotonic()
    totals = [0, 0, 0]
    settings = load({**given, "store": None if store == HERE else store}) if store else None
    for file, results in _run(chosen, settings, keep):
        counts = _show(file, results, verbose)
        totals = [one + other for one, other in zip(totals, counts, strict=True)]
    if len(chosen) != 1:
        click.echo(f"{_counted(*totals)} in {len(chosen)} files, {time.monotonic() - began:.1f} s")
    if totals[1] or not totals[0]:
        raise SystemExit(1)


def _run(
    files: Sequence[CaseFile], settings: Settings | None, keep: bool
) -> Iterator[tuple[CaseFile, Sequence[Result]]]:
    from pipeline import verify, verify_store

    if settings is None:
        yield from ((file, list(verify.verify(file))) for file in files)
    else:
        yield from zip(files, verify_store.verify(files, settings, keep, click.echo), strict=True)


def _show(file: CaseFile, results: Sequence[Result], verbose: bool) -> tuple[int, int, int]:
    """Print what there is to say of a file; returns how many cases passed, failed, and could not be asked in full."""
    for result in results:
        for difference in result.differences:
            click.echo(f"FAIL  {difference}")
        for window in result.unverified:
            click.echo(f"UNVERIFIED  {result.case}, {window}")
        if verbose and result.passed:
            click.echo(f"ok    {result.case}")
    counts = (
        sum(result.passed for result in results),
        sum(bool(result.differences) for result in results),
        sum(bool(result.unverified) and not result.differences for result in results),
    )
    if results:
        click.echo(f"{file.path.name}: {_counted(*counts)}")
    return counts


def _counted(passed: int, failed: int, unverified: int) -> str:
    return f"{passed} passed, {failed} failed" + (f", {unverified} unverified" if unverified else "")
