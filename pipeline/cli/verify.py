"""`openoee verify`: worked OEE cases against the engine, or against the SQL views of the store."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.answer import Progress, answer, json_option
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
@json_option
@options("store_user", "store_password_file", "database", "home")
def command(
    files: Sequence[Path], pattern: str, listed: bool, verbose: bool, store: str | None, keep: bool, as_json: bool,
    **given: Any,
) -> None:  # fmt: skip
    """Run worked OEE cases and print where figures differ: those of FILES, or the suite that comes with openoee.

    The exit code is 0 when every case passes, 1 otherwise. The format of the files is in docs/oee-cases.md.
    """
    from pipeline.cases import load as read
    from pipeline.cases import suite

    if store and store != HERE and "://" not in store:  # `--store FILE`: the word after it is no URL
        files, store = (Path(store), *files), HERE
    chosen = [read(path).only(pattern) for path in files or suite()]
    if listed:
        cases = [{"case": case["id"], "theme": file.theme, "source": case["source"]}
                 for file in chosen for case in file.cases]  # fmt: skip
        answer(cases, [f"{one['case']}  {one['theme']}  {one['source']}" for one in cases], as_json)
        return
    began = time.monotonic()
    settings = load({**given, "store": None if store == HERE else store}) if store else None
    lines, totals, told = list[str](), [0, 0, 0], list[dict[str, Any]]()
    with Progress("cases", sum(len(file.cases) for file in chosen) if settings is None else None, as_json) as progress:
        for file, results in _run(chosen, settings, keep, progress):
            counts = _counts(results)
            lines += _lines(file, results, verbose)
            totals = [one + other for one, other in zip(totals, counts, strict=True)]
            told += [_document(file, result) for result in results]
    if len(chosen) != 1:
        lines.append(f"{_counted(*totals)} in {len(chosen)} files, {time.monotonic() - began:.1f} s")
    counted = dict(zip(("passed", "failed", "unverified"), totals, strict=True))
    answer({**counted, "cases": told}, lines, as_json)
    if totals[1] or not totals[0]:
        raise SystemExit(1)


def _run(
    files: Sequence[CaseFile], settings: Settings | None, keep: bool, progress: Progress
) -> Iterator[tuple[CaseFile, Sequence[Result]]]:
    from pipeline import verify, verify_store

    if settings is not None:
        results = verify_store.verify(files, settings, keep, lambda line: click.echo(line, err=True))
        yield from zip(files, results, strict=True)
        return
    done = 0
    for file in files:
        progress(file.path.name, done)
        yield file, list(verify.verify(file))
        done += len(file.cases)


def _counts(results: Sequence[Result]) -> tuple[int, int, int]:
    """How many cases passed, failed, and could not be asked in full."""
    return (
        sum(result.passed for result in results),
        sum(bool(result.differences) for result in results),
        sum(bool(result.unverified) and not result.differences for result in results),
    )


def _lines(file: CaseFile, results: Sequence[Result], verbose: bool) -> list[str]:
    """What there is to say of a file."""
    lines = []
    for result in results:
        lines += [f"FAIL  {difference}" for difference in result.differences]
        lines += [f"UNVERIFIED  {result.case}, {window}" for window in result.unverified]
        if verbose and result.passed:
            lines.append(f"ok    {result.case}")
    return [*lines, f"{file.path.name}: {_counted(*_counts(results))}"] if results else lines


def _document(file: CaseFile, result: Result) -> dict[str, Any]:
    differences = [
        {"where": one.where, "column": one.column, "expected": one.expected, "got": one.got}
        for one in result.differences
    ]
    return {"case": result.case, "file": file.path.name, "passed": result.passed, "differences": differences,
            "unverified": result.unverified}  # fmt: skip


def _counted(passed: int, failed: int, unverified: int) -> str:
    return f"{passed} passed, {failed} failed" + (f", {unverified} unverified" if unverified else "")
