"""`openoee status`: every part of the stack, its health, who is behind, and where the logs are."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

import click

from pipeline import settings
from pipeline.cli.answer import columns


@click.command(epilog="Example: openoee status --json | python3 -m json.tool")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@settings.options("home", "kafka", "store", "store_user", "registry")
def command(as_json: bool, **flags: Any) -> None:
    """Ask every part whether it answers, and Kafka how far each consumer group is behind.

    Exit code 1 when a part is not up.
    """
    from pipeline.errors import AccessRefused, BrokerUnavailable
    from pipeline.local.lag import lags
    from pipeline.local.stack import Stack

    stack = Stack(settings.load(flags))
    parts = stack.health()
    behind = []
    if parts[0].state == "up":
        try:
            behind = lags(stack.settings)
        except (BrokerUnavailable, AccessRefused) as error:
            click.echo(f"openoee: {error}", err=True)
    if as_json:
        told = {
            "home": str(stack.home),
            "parts": [asdict(part) for part in parts],
            "lag": [asdict(lag) for lag in behind],
        }
        click.echo(json.dumps(told, indent=1))
    else:
        table([("part", "state", "pid", "", "log"), *((p.name, p.state, p.pid, p.detail, p.log) for p in parts)])
        if behind:
            click.echo()
            rows = ((lag.group, lag.topic, lag.members, lag.partitions, lag.records) for lag in behind)
            table([("consumer group", "topic", "members", "partitions", "records behind"), *rows])
    if any(part.state != "up" for part in parts):
        sys.exit(1)


def table(rows: list[tuple[Any, ...]]) -> None:
    """Print rows in columns; the first row is the head."""
    for line in columns(rows):
        click.echo(line)
