"""`openoee factory`: check factory.yaml, and send it to the running line."""

from __future__ import annotations

from typing import Any

import click

from pipeline import settings


@click.group(epilog="Example: openoee factory check factory.yaml && openoee factory apply factory.yaml")
def command() -> None:
    """Check and apply factory.yaml: machines, lines, calendars, ideal cycle times, limits (docs/factory.md)."""


@command.command(epilog="Example: openoee factory check deploy/examples/factory.yaml")
@click.argument("file", type=click.Path())
def check(file: str) -> None:
    """Read FILE; say what it describes, or the first mistake with its line and what to do about it."""
    from pipeline.factory import load

    factory = load(file)
    click.echo(f"{file}: no mistake found; site {factory.site}, {factory.timezone}, {len(factory.machines)} machines")
    for line in factory.lines.values():
        stations = " -> ".join(" | ".join(station) for station in line.stations)
        click.echo(f"  line {line.name}: {stations}")
    single = [name for name, config in factory.machines.items() if not config.line]
    if single:
        click.echo(f"  on no line: {', '.join(single)}")
    without = [name for name, config in factory.machines.items() if not config.ideal_cycle_us]
    if without:
        click.echo(f"  without an ideal cycle time, so without performance and OEE: {', '.join(without)}")


@command.command(epilog="Example: openoee factory apply factory.yaml --effective '2026-03-02 06:00'")
@click.argument("file", type=click.Path())
@click.option(
    "--effective",
    metavar="MOMENT|now|always",
    help="From when on it holds: ISO 8601, local time of the site without an offset.  "
    "[default: always for a new site, else now]",
)
@click.option("--by", help="Who applies it.  [default: your login name]")
@settings.options("kafka", "topic_prefix", "registry")
def apply(file: str, effective: str | None, by: str | None, **flags: Any) -> None:
    """Send FILE to every machine's engine, print what changed, and keep it in the topic `factory`."""
    import getpass
    import time

    from pipeline import factory_apply
    from pipeline.codec import Codec
    from pipeline.errors import FactoryFileError
    from pipeline.factory import changes, load, loads

    factory = load(file)
    values = settings.load(flags)
    codec = Codec.agreed(values["registry"])
    before = factory_apply.last_applied(factory.site, values, codec)
    now = time.time_ns() // 1_000_000
    since = _effective(effective or ("now" if before else "always"), now, factory.timezone)
    try:
        lines = changes(loads(before.text) if before else None, factory)
    except FactoryFileError:  # kept by another version of openoee, whose format this one does not read
        lines = ["what was applied last cannot be compared: its format is another one"]
    told = factory_apply.apply(factory, values, codec, now, by or getpass.getuser(), since)
    click.echo(f"{factory.site}: {told} machines told, effective {_iso(since) if since else 'always'}")
    for line in lines or ["nothing differs from what was applied last"]:
        click.echo(f"  {line}")


def _effective(text: str, now: int, timezone: str) -> int:
    from zoneinfo import ZoneInfo

    from pipeline.errors import UsageError
    from pipeline.factory_calendar import MOMENTS, moment_ms

    if text in ("always", "now"):
        return 0 if text == "always" else now
    try:
        return moment_ms(text, ZoneInfo(timezone))
    except ValueError as error:
        raise UsageError(
            f"--effective {text!r} is no moment in time ({error}): write now, always, or {MOMENTS}"
        ) from None


def _iso(at_ms: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
