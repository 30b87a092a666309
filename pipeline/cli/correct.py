"""`openoee correct`: reasons, states, parts, products, ideal rates and the calendar, as a person knows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pipeline.cli.answer import answer, json_option
from pipeline.core.model import STATES, Correction
from pipeline.settings import load, options

if TYPE_CHECKING:
    from pipeline.corrections import Effect, Place

F = TypeVar("F", bound=Callable[..., Any])
WHERE = ("store", "store_user", "store_password_file", "database", "home")
REACH = ("kafka", "topic_prefix", "registry", *WHERE)


def target(function: F) -> F:
    """Which machines, by whom, and how long to wait."""
    for option in (
        click.option("--line", default="", help="All machines of this line."),
        click.option("--site", default="", help="All machines of this site."),
        click.option("--by", help="Who says so.  [default: your login name]"),
        click.option("--note", default="", help="Why, for people."),
        click.option("--wait", "patience", default=15.0, show_default=True, type=click.FloatRange(0), metavar="S",
                     help="Wait so long for what comes of it."),
        json_option, options(*REACH),
    ):  # fmt: skip
        function = option(function)
    return function


def stretch(function: F) -> F:
    """From when to when."""
    start = click.option("--from", "start", required=True, metavar="MOMENT",
                         help="2026-03-02T10:00:00Z, or 2026-03-02 11:00 for the site's local time.")  # fmt: skip
    end = click.option("--to", "end", required=True, metavar="MOMENT", help="The first moment after it.")
    return start(end(function))


MACHINES = click.argument("machines", nargs=-1, metavar="[MACHINE]...")


@click.group(epilog="Example: openoee correct reason saw-1 'no material' --at '2026-03-02 10:15'")
def command() -> None:
    """Say what really happened; the windows concerned are computed again, what was known before stays readable.

    Every correction is a record in the machine's own log, so that a replay knows it too.
    """


@command.command(epilog="Example: openoee correct reason saw-1 'no material' --at '2026-03-02 10:15'")
@click.argument("machine")
@click.argument("reason")
@click.option("--at", metavar="MOMENT", help="Any moment within the stop: all of it gets the reason.")
@click.option("--from", "start", metavar="MOMENT", help="Or: from here on.")
@click.option("--to", "end", metavar="MOMENT", help="Up to here.")
@target
def reason(machine: str, reason: str, at: str | None, start: str | None, end: str | None, **given: Any) -> None:
    """Give a stop its REASON, a code of the factory file's tree of reasons (others are taken too)."""
    from pipeline import corrections
    from pipeline.errors import UsageError

    if (at is None) == (start is None or end is None):
        raise UsageError("which stop? give --at, or --from and --to")

    def build(place: Place, store: Any) -> Correction:
        if at is not None:
            return Correction(*corrections.stop_at(store, place, corrections.moment(at, place)), reason=reason)
        return Correction(corrections.moment(start or "", place), corrections.moment(end or "", place), reason=reason)

    _correct((machine,), build, **given)


@command.command(epilog="Example: openoee correct state saw-1 setup --from '2026-03-02 10:00' --to '2026-03-02 10:40'")
@click.argument("machine")
@click.argument("state", type=click.Choice(STATES))
@click.option("--reason", help="Its reason.")
@stretch
@target
def state(machine: str, state: str, reason: str | None, start: str, end: str, **given: Any) -> None:
    """Say in which STATE a machine was, whatever it reported itself."""
    _correct((machine,), _between(start, end, state=state, reason=reason), **given)


@command.command(epilog="Example: openoee correct parts saw-1 --scrap 12 --at '2026-03-02 13:00'")
@click.argument("machine")
@click.option("--at", required=True, metavar="MOMENT", help="When they were made.")
@click.option("--scrap", type=click.IntRange(1), help="So many good parts were scrap.")
@click.option("--good", type=int, help="Good parts to add; negative: to take away.")
@click.option("--reject", type=int, help="Scrapped parts to add.")
@click.option("--rework", type=int, help="Parts to be reworked to add.")
@target
def parts(
    machine: str, at: str, scrap: int | None, good: int | None, reject: int | None, rework: int | None, **given: Any
) -> None:
    """Add parts, take them away, or say that they were scrap, found later."""
    from pipeline import corrections

    if scrap:
        good, reject = (good or 0) - scrap, (reject or 0) + scrap

    def build(place: Place, _: Any) -> Correction:
        made = corrections.moment(at, place)
        return Correction(made, made + 1, good=good, reject=reject, rework=rework)

    _correct((machine,), build, **given)


@command.command(
    epilog="Example: openoee correct ideal saw-1 --seconds 12.5 --from '2026-03-02 06:00' --to '2026-03-02 14:00'"
)
@MACHINES
@click.option("--seconds", required=True, type=click.FloatRange(0, min_open=True), help="Seconds per part.")
@stretch
@target
def ideal(machines: tuple[str, ...], seconds: float, start: str, end: str, **given: Any) -> None:
    """Say how long a part should have taken at the ideal rate; for good, change the factory file instead."""
    _correct(machines, _between(start, end, ideal_cycle_us=round(seconds * 1_000_000)), **given)


@command.command(epilog="Example: openoee correct product saw-1 P7 --from '2026-03-02 06:00' --to '2026-03-02 09:00'")
@click.argument("machine")
@click.argument("product")
@click.option("--order", help="The order that it was made for.")
@stretch
@target
def product(machine: str, product: str, order: str | None, start: str, end: str, **given: Any) -> None:
    """Say which PRODUCT a machine made."""
    _correct((machine,), _between(start, end, product=product, order=order), **given)


@command.command(
    epilog="Example: openoee correct calendar closed --site lyon --from '2026-03-02 00:00' --to '2026-03-03 00:00'"
)
@click.argument("word", type=click.Choice(["planned", "unplanned", "closed"]))
@MACHINES
@stretch
@target
def calendar(word: str, machines: tuple[str, ...], start: str, end: str, **given: Any) -> None:
    """Say against the calendar: a planned stop, no planned stop, or not scheduled at all."""
    _correct(machines, _between(start, end, calendar=word), **given)


@command.command(epilog="Example: openoee correct withdraw saw-1/3f2a9c01")
@click.argument("ident", metavar="ID")
@click.option("--by", help="Who says so.  [default: your login name]")
@click.option("--note", default="", help="Why, for people.")
@click.option("--wait", "patience", default=15.0, show_default=True, type=click.FloatRange(0), metavar="S",
              help="Wait so long for what comes of it.")  # fmt: skip
@json_option
@options(*REACH)
def withdraw(ident: str, by: str | None, note: str, patience: float, as_json: bool, **flags: Any) -> None:
    """Take back the correction ID: the figures are again what they would be without it."""
    from contextlib import closing

    from pipeline import corrections
    from pipeline.store.client import Store

    values = load(flags)
    with closing(Store(values)) as store:
        _send([corrections.withdrawal(store, ident)], values, store, by, note, patience, as_json)


@command.command("list", epilog="Example: openoee correct list --machine saw-1")
@click.option("--site", help="Only this site.")
@click.option("--machine", help="Only this machine.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@options(*WHERE)
def list_(site: str | None, machine: str | None, as_json: bool, **flags: Any) -> None:
    """Show the corrections that are in force."""
    from contextlib import closing

    from pipeline import queries
    from pipeline.cli.query import show
    from pipeline.store.client import Store

    chosen = {key: value for key, value in (("site", site), ("machine", machine)) if value}
    with closing(Store(load(flags))) as store:
        show(queries.ask(store, "corrections", chosen), "json" if as_json else "table")


def _between(start: str, end: str, **what: Any) -> Callable[[Place, Any], Correction]:
    from pipeline import corrections

    return lambda place, _: Correction(corrections.moment(start, place), corrections.moment(end, place), **what)


def _correct(
    machines: tuple[str, ...], build: Callable[[Place, Any], Correction], line: str, site: str, by: str | None,
    note: str, patience: float, as_json: bool, **flags: Any,
) -> None:  # fmt: skip
    from contextlib import closing

    from pipeline import corrections
    from pipeline.store.client import Store

    values = load(flags)
    with closing(Store(values)) as store:
        found = corrections.places(store, machines, line, site)
        zones = {place.machine: place.timezone for place in found}
        made = [corrections.fresh(place, build(place, store)) for place in found]
        _send(made, values, store, by, note, patience, as_json, zones)


def _send(
    sent: list[tuple[str, Correction]], values: Any, store: Any, by: str | None, note: str, patience: float,
    as_json: bool, zones: Mapping[str, str] = MappingProxyType({}),
) -> None:  # fmt: skip
    import getpass

    from pipeline import corrections
    from pipeline.codec import Codec

    issued = corrections.send(sent, values, Codec.agreed(values.registry), by or getpass.getuser(), note)
    documents, lines = [], []
    for machine, correction in sent:
        said = {key: value for key, value in asdict(correction).items() if value and key not in ("start", "end", "id")}
        revision, span = said.pop("revision"), (_iso(correction.start), _iso(correction.end))
        documents.append({"machine": machine, "id": correction.id, "revision": revision, "start": span[0],
                          "end": span[1], **said})  # fmt: skip
        words = ", ".join(f"{key} {value}" for key, value in said.items())
        local = _local(correction, zones.get(machine, "UTC"))
        lines.append(f"{machine}: {words}, {span[0]} to {span[1]}{local}  ({correction.id})")
    if not as_json:
        answer(None, lines, as_json)
    effect = corrections.effect(store, sent, issued, patience) if patience else None
    _require_taken(effect)
    told = {"seen": effect.seen, "facts": effect.facts, "intervals": effect.intervals} if effect else {"seen": False}
    answer({"corrections": documents, **told}, _effect(effect), as_json)


def _require_taken(effect: Effect | None) -> None:
    """Raises StopError when a correction was refused, after saying which."""
    from pipeline.errors import StopError

    if effect and effect.refused:
        for machine, detail in effect.refused.items():
            click.echo(f"{machine}: refused: {detail}", err=True)
        raise StopError("a correction was refused; what is older than retention_h cannot change any more")


def _effect(effect: Effect | None) -> list[str]:
    if effect is None:
        return []
    if not effect.seen:
        return ["Sent and kept; the store does not show it yet (`openoee correct list`)."]
    return [f"restated in the store: timeline {effect.intervals}, windows of OEE {effect.facts}"]


def _local(correction: Correction, zone: str) -> str:
    """The same on the site's clock, in which moments without an offset are read."""
    from datetime import datetime
    from zoneinfo import ZoneInfo

    if zone == "UTC":
        return ""
    start, end = (datetime.fromtimestamp(at / 1000, ZoneInfo(zone)) for at in (correction.start, correction.end))
    return f" (on the site's clock, {zone}: {start:%Y-%m-%d %H:%M:%S} to {end:%H:%M:%S})"


def _iso(at: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
