"""`openoee incidents`: what happened, who has seen it, and what nobody wants a message of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.correct import REACH, WHERE
from pipeline.settings import load, options

if TYPE_CHECKING:
    from pipeline.core.model import Acknowledge, Mute


@click.group(epilog="Example: openoee incidents list --site lyon")
def command() -> None:
    """Look through incidents (flags that belong together) and say what is known of them.

    Acknowledgements and mutes are records in the machine's own log, so that a replay knows them too.
    """


@command.command("list", epilog="Example: openoee incidents list --machine saw-1")
@click.option("--site", help="Only this site.")
@click.option("--machine", help="Only this machine.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@options(*WHERE)
def list_(site: str | None, machine: str | None, limit: int, as_json: bool, **flags: Any) -> None:
    """Show incidents, the worst first, with what was lost meanwhile."""
    _ask("incidents", {"site": site, "machine": machine, "limit": str(limit)}, as_json, flags)


@command.command(epilog="Example: openoee incidents mutes")
@click.option("--machine", help="Only this machine.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@options(*WHERE)
def mutes(machine: str | None, as_json: bool, **flags: Any) -> None:
    """Show the mutes that are in force."""
    _ask("mutes", {"machine": machine}, as_json, flags)


@command.command(epilog="Example: openoee incidents acknowledge saw-1/1772434800000 --note 'belt is worn'")
@click.argument("ident", metavar="ID")
@click.option("--note", default="", help="What is known of it.")
@click.option("--by", help="Who says so.  [default: your login name]")
@options(*REACH)
def acknowledge(ident: str, note: str, by: str | None, **flags: Any) -> None:
    """Say that somebody has seen the incident ID. One that the machine's log does not know is a dead letter."""
    from pipeline import incident_words

    _send([incident_words.acknowledgement(ident, note)], by, flags)
    click.echo(f"{ident}: sent; the list shows it once a worker has read it")


@command.command(
    epilog="Example: openoee incidents mute saw-1 --signal load --until '2026-03-09 06:00' --why 'new sensor'"
)
@click.argument("machines", nargs=-1, required=True, metavar="MACHINE...")
@click.option("--until", required=True, metavar="MOMENT", help="2026-03-02T10:00:00Z, or the site's local time.")
@click.option("--signal", default="", help="Only flags of this signal.")
@click.option("--kind", default="", help="Only flags of this kind.")
@click.option("--why", required=True, help="Why.")
@click.option("--by", help="Who says so.  [default: your login name]")
@options(*REACH)
def mute(machines: tuple[str, ...], until: str, signal: str, kind: str, why: str, by: str | None, **flags: Any) -> None:
    """No messages of these machines for a while: flags and incidents go on, marked as muted."""
    from contextlib import closing

    from pipeline import corrections, incident_words
    from pipeline.store.client import Store

    with closing(Store(load(flags))) as store:
        found = corrections.places(store, machines)
    said = [incident_words.mute(one, corrections.moment(until, one), signal, kind, why) for one in found]
    _send(said, by, flags)
    for machine, one in said:
        click.echo(f"{machine}: muted until {until}  ({one.id})")


@command.command(epilog="Example: openoee incidents unmute saw-1/3f2a9c01")
@click.argument("ident", metavar="ID")
@click.option("--by", help="Who says so.  [default: your login name]")
@options(*REACH)
def unmute(ident: str, by: str | None, **flags: Any) -> None:
    """Lift the mute ID."""
    from pipeline import incident_words

    _send([incident_words.lifting(ident)], by, flags)
    click.echo(f"{ident}: lifted")


def _ask(name: str, values: dict[str, str | None], as_json: bool, flags: dict[str, Any]) -> None:
    from contextlib import closing

    from pipeline import queries
    from pipeline.cli.query import show
    from pipeline.store.client import Store

    with closing(Store(load(flags))) as store:
        show(queries.ask(store, name, {key: value for key, value in values.items() if value}),
             "json" if as_json else "table")  # fmt: skip


def _send(said: Sequence[tuple[str, Acknowledge | Mute]], by: str | None, flags: dict[str, Any]) -> None:
    import getpass

    from pipeline import incident_words
    from pipeline.codec import Codec

    values = load(flags)
    incident_words.send(said, values, Codec.agreed(values.registry), by or getpass.getuser())
