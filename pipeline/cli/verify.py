"""`openoee verify`: worked OEE cases against the engine."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("cases", type=click.Path(path_type=Path))
@click.option("--only", "pattern", default="", help="run the cases whose id contains this")
def command(cases: Path, pattern: str) -> None:
    """Run the worked cases of a file through the engine and print each failing one with expected and got.

    The exit code is 0 when every case passes, 1 otherwise.

    Example: openoee verify my_cases.json
    """
    from pipeline.verify import load, verify

    selected = {kind: [case for case in found if pattern in case["id"]] for kind, found in load(cases).items()}
    passed = failed = 0
    for name, differences in verify(selected):
        passed += not differences
        failed += bool(differences)
        for difference in differences:
            click.echo(f"FAIL  {difference}")
        if not differences:
            click.echo(f"ok    {name}")
    click.echo(f"{passed} passed, {failed} failed")
    if failed or not passed:
        raise SystemExit(1)
