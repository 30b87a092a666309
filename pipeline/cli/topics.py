"""`openoee topics`: the line's Kafka topics, created, checked and shown."""

from __future__ import annotations

import json
from typing import Any

import click

from pipeline import settings
from pipeline.cli.answer import columns


@click.command(epilog="Example: openoee topics --create --kafka 127.0.0.1:9092 --partitions 8")
@click.option("--create", "action", flag_value="create", default=True, help="Create what is missing, then show.")
@click.option("--check", "action", flag_value="check", help="Only check; exit code 1 when a topic is missing or wrong.")
@click.option("--describe", "action", flag_value="describe", help="Only show what is there.")
@click.option(
    "--reset-state", "action", flag_value="reset", help="Drop what workers have saved: they compute it again."
)
@click.option("--json", "as_json", is_flag=True, help="For programs: an array of objects.")
@settings.options("kafka", "topic_prefix", "partitions", "replication")
def command(action: str, as_json: bool, **flags: Any) -> None:
    """Create, check and show the Kafka topics of the line."""
    from pipeline import topics

    values = settings.load(flags)
    if action == "create":
        for name in topics.ensure(values):
            click.echo(f"created {name}", err=as_json)
    elif action == "check":
        topics.check(values)
    elif action == "reset":
        topics.reset_state(values)
    found = {item.topic.name: item for item in topics.describe(values)}
    rows = [("topic", "key", "partitions", "copies", "cleanup", "kept", "holds")]
    for topic in topics.TABLE:
        item = found.get(topic.name)
        if item is None:
            rows.append((values.topic(topic.name), topic.key, "missing", "", "", "", topic.holds))
            continue
        policy = item.configuration.get("cleanup.policy", "")
        kept = "" if policy == "compact" else _days(item.configuration.get("retention.ms", ""))
        count, copies = str(item.partitions), str(item.replication)
        rows.append((item.full_name, topic.key, count, copies, policy, kept, topic.holds))
    if as_json:
        click.echo(json.dumps([dict(zip(rows[0], row, strict=True)) for row in rows[1:]], indent=1))
        return
    for line in columns(rows):
        click.echo(line)


def _days(milliseconds: str) -> str:
    return "for ever" if milliseconds in ("", "-1") else f"{int(milliseconds) / 86_400_000:g} d"
