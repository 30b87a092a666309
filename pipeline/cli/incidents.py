"""`openoee incidents`: what happened, who has seen it, and what nobody wants a message of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.answer import answer, json_option
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


@command.command(epilog="Example: openoee incidents show saw-1/1772434800000")
@click.argument("ident", metavar="ID")
@json_option
@options(*WHERE)
def show(ident: str, as_json: bool, **flags: Any) -> None:
    """Show one incident: what it cost, who has seen it, its flags, what followed, and what usually follows."""
    from contextlib import closing

    from pipeline import incident_story
    from pipeline.store.client import Store

    with closing(Store(load(flags))) as store:
        story = incident_story.tell(store, ident)
    answer(story.as_dict(), story.lines(), as_json)


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
@json_option
@options(*REACH)
def acknowledge(ident: str, note: str, by: str | None, as_json: bool, **flags: Any) -> None:
    """Say that somebody has seen the incident ID. One that the machine's log does not know is a dead letter."""
    from pipeline import incident_words

    said = incident_words.acknowledgement(ident, note)
    _send([said], by, flags)
    answer({"id": ident, "machine": said[0], "note": note},
           [f"{ident}: sent; the list shows it once a worker has read it"], as_json)  # fmt: skip


@command.command(
    epilog="Example: openoee incidents mute saw-1 --signal load --until '2026-03-09 06:00' --why 'new sensor'"
)
@click.argument("machines", nargs=-1, required=True, metavar="MACHINE...")
@click.option("--until", required=True, metavar="MOMENT", help="2026-03-02T10:00:00Z, or the site's local time.")
@click.option("--signal", default="", help="Only flags of this signal.")
@click.option("--kind", default="", help="Only flags of this kind.")
@click.option("--why", required=True, help="Why.")
@click.option("--by", help="Who says so.  [default: your login name]")
@json_option
@options(*REACH)
def mute(
    machines: tuple[str, ...], until: str, signal: str, kind: str, why: str, by: str | None, as_json: bool, **flags: Any
) -> None:
    """No messages of these machines for a while: flags and incidents go on, marked as muted."""
    from contextlib import closing
    from datetime import UTC, datetime

    from pipeline import corrections, incident_words
    from pipeline.store.client import Store

    with closing(Store(load(flags))) as store:
        found = corrections.places(store, machines)
    said = [incident_words.mute(one, corrections.moment(until, one), signal, kind, why) for one in found]
    _send(said, by, flags)
    told = [{"machine": machine, "id": one.id, "signal": signal, "kind": kind, "why": why,
             "until": datetime.fromtimestamp(one.until / 1000, UTC)} for machine, one in said]  # fmt: skip
    answer(told, [f"{machine}: muted until {until}  ({one.id})" for machine, one in said], as_json)


@command.command(epilog="Example: openoee incidents unmute saw-1/3f2a9c01")
@click.argument("ident", metavar="ID")
@click.option("--by", help="Who says so.  [default: your login name]")
@json_option
@options(*REACH)
def unmute(ident: str, by: str | None, as_json: bool, **flags: Any) -> None:
    """Lift the mute ID."""
    from pipeline import incident_words

    said = incident_words.lifting(ident)
    _send([said], by, flags)
    answer({"id": ident, "machine": said[0], "lifted": True}, [f"{ident}: lifted"], as_json)


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
