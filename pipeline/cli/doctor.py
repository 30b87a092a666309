"""`openoee doctor`: everything that the line needs, looked at, with what to do where something is wrong."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

import click

from pipeline import settings

COLOURS = {"ok": "green", "warning": "yellow", "fault": "red"}


@click.command(epilog="Examples:  openoee doctor   |   openoee doctor --json")
@click.option("--json", "as_json", is_flag=True, help="For programs: an array of name, state, found, remedy.")
@settings.options("home", "kafka", "topic_prefix", "registry", "store", "store_user", "store_password_file", "database")
def command(as_json: bool, **flags: Any) -> None:
    """Look at this computer, at Kafka, the store and the line on them, and say what is wrong and what to do.

    Changes nothing, and works with nothing running. Exit code 1 when something is a fault; warnings alone give 0.
    """
    from pipeline.local.doctor import FAULT, WARNING, examine

    found = []
    for check in examine(settings.load(flags)):
        found.append(check)
        if not as_json:
            state = click.style(f"{check.state:<8}", fg=COLOURS[check.state])
            click.echo(f"{state} {check.name:<14} {check.found}")
            if check.remedy:
                click.echo(f"{'':<23} -> {check.remedy}")
    faults = sum(check.state == FAULT for check in found)
    if as_json:
        click.echo(json.dumps([asdict(check) for check in found], indent=1, ensure_ascii=False))
    else:
        warnings = sum(check.state == WARNING for check in found)
        click.echo(f"{len(found)} checks: {faults} fault(s), {warnings} warning(s)")
    if faults:
        sys.exit(1)
