"""`openoee factory`: check factory.yaml, and send it to the running line."""

from __future__ import annotations

from typing import Any

import click

from pipeline import settings
from pipeline.cli.answer import answer, json_option


@click.group(epilog="Example: openoee factory check factory.yaml && openoee factory apply factory.yaml")
def command() -> None:
    """Check and apply factory.yaml: machines, lines, calendars, ideal cycle times, limits (docs/factory.md)."""


@command.command(epilog="Example: openoee factory check deploy/examples/factory.yaml")
@click.argument("file", type=click.Path())
@json_option
def check(file: str, as_json: bool) -> None:
    """Read FILE; say what it describes, or the first mistake with its line and what to do about it."""
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from pipeline.factory import load
    from pipeline.factory_check import describe

    factory = load(file)
    first, *lines = describe(factory, datetime.now(ZoneInfo(factory.timezone)).date().isoformat())
    told = {"file": file, "site": factory.site, "timezone": factory.timezone, "machines": list(factory.machines)}
    answer({**told, "says": [first, *(line.strip() for line in lines)]},
           [f"{file}: no mistake found; {first}", *lines], as_json)  # fmt: skip


@command.command(epilog="Example: openoee factory apply factory.yaml --effective '2026-03-02 06:00' --restate")
@click.argument("file", type=click.Path())
@click.option(
    "--effective",
    metavar="MOMENT|now|always",
    help="From when on it holds: ISO 8601, local time of the site without an offset.  "
    "[default: always for a new site, else now]",
)
@click.option("--restate", is_flag=True, help="Allow a known site's past: its results since then are computed anew.")
@click.option("--by", help="Who applies it.  [default: your login name]")
@json_option
@settings.options("kafka", "topic_prefix", "registry")
def apply(file: str, effective: str | None, restate: bool, by: str | None, as_json: bool, **flags: Any) -> None:
    """Send FILE to every machine's engine, print what changed, and keep it in the topic `factory`."""
    import getpass
    import time

    from pipeline import factory_apply
    from pipeline.codec import Codec
    from pipeline.factory import load

    now = time.time_ns() // 1_000_000
    factory = load(file, factory_apply.year_of(now))
    values = settings.load(flags)
    codec = Codec.agreed(values.registry)
    before = factory_apply.last_applied(factory.site, values, codec)
    since = factory_apply.effective_from(effective, now, factory, before is not None, restate)
    lines = factory_apply.differences(before, factory)
    told = factory_apply.apply(factory, values, codec, now, by or getpass.getuser(), since)
    start = factory_apply.iso(since) if since else "always"
    said = [f"  {line}" for line in lines or ["nothing differs from what was applied last"]]
    answer({"site": factory.site, "machines": told, "effective": start, "changes": lines},
           [f"{factory.site}: {told} machines told, effective {start}", *said], as_json)  # fmt: skip
