"""`openoee dead-letters`: look through what was refused, mend it, send it again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pipeline.settings import load, options

if TYPE_CHECKING:
    from pipeline.codec import Codec
    from pipeline.dead_letters import Choice, Parked
    from pipeline.letter_replay import Sendable
    from pipeline.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])
REACH = ("kafka", "registry", "topic_prefix")
FIRST_WORDS, HEX_BYTES = 60, 32


def chosen(function: F) -> F:
    """Which letters are meant."""
    for option in (
        click.option("--machine", default="", help="Only this machine (where nobody could read it: this key)."),
        click.option("--reason", default="", help="Only this reason: undecodable, unknown_schema, no_key, invalid, "
                     "future, before_2000, too_late, too_large."),
        click.option("--topic", default="", help="Only records of this topic."),
        click.option("--from", "start", help="Arrived at this instant or later, as 2026-03-02T06:00 (UTC)."),
        click.option("--to", "end", help="Arrived before this instant."),
    ):  # fmt: skip
        function = option(function)
    return function


@click.group(epilog="Example: openoee dead-letters list --by reason")
def command() -> None:
    """What the line refused: list it, look into it, mend it, send it again.

    Read from the topic `dead-letters` in Kafka; the store is not needed.
    """


@command.command("list", epilog="Examples: openoee dead-letters list --machine saw-1   |   "
                 "openoee dead-letters list --by reason --from 2026-03-02")  # fmt: skip
@chosen
@click.option("--by", type=click.Choice(["reason", "machine", "topic", "day"]), help="Count them, instead.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many, the newest.")
@click.option("--oldest-first", is_flag=True, help="In the order in which they came.")
@click.option("--json", "as_json", is_flag=True, help="For programs; instants in ms since 1970.")
@options(*REACH)
def list_(by: str | None, limit: int, oldest_first: bool, as_json: bool, **given: Any) -> None:
    """Show refused records, the newest first."""
    from pipeline import dead_letters
    from pipeline.codec import Codec

    values, choice = _chosen(given)
    codec = Codec()
    if by is not None:
        _show_groups(*dead_letters.groups(values, codec, choice, by), by, as_json)
        return
    found = dead_letters.find(values, codec, choice, limit)
    parked = found.parked[::-1] if oldest_first else found.parked
    if as_json:
        _json([_summary(one) for one in parked])
        return
    _table(parked)
    if found.count > len(parked):
        click.echo(f"{found.count:,} in all, the newest {len(parked):,} are shown (--limit)", err=True)
    _tell_unreadable(found.unreadable)


@command.command(epilog="Example: openoee dead-letters show telemetry/3/1042")
@click.argument("address")
@click.option("--json", "as_json", is_flag=True, help="For programs, and to be edited for `replay --mend`.")
@options(*REACH)
def show(address: str, as_json: bool, **given: Any) -> None:
    """Show everything of one refused record: why, its bytes, what can be read of them, how often it was replayed."""
    from pipeline import letter_replay
    from pipeline.codec import Codec

    values = load(given)
    parked = _one(address, values)
    said = letter_replay.document(parked, Codec(values.registry), values.registry)
    if as_json:
        _json(said)
        return
    for line in _lines(parked, said):
        click.echo(line)


@command.command(
    epilog="Examples: openoee dead-letters replay telemetry/3/1042 --dry-run   |   "
    "openoee dead-letters replay --reason unknown_schema --from 2026-03-02   |   "
    "openoee dead-letters replay telemetry/3/1042 --mend letter.json"
)
@click.argument("addresses", nargs=-1, metavar="[ADDRESS]...")
@chosen
@click.option("--limit", type=click.IntRange(1), help="At most so many, the newest.")
@click.option("--mend", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
              help="Send the record of this file instead: what `show --json` printed, edited.")  # fmt: skip
@click.option("--again", is_flag=True, help="Also what was replayed before.")
@click.option("--dry-run", is_flag=True, help="Only say what would be sent.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--by", help="Who does it.  [default: your login name]")
@click.option("--json", "as_json", is_flag=True, help="For programs: an array of objects.")
@options(*REACH, "max_future_s")
def replay(
    addresses: tuple[str, ...], limit: int | None, mend: Path | None, again: bool, dry_run: bool, yes: bool,
    by: str | None, as_json: bool, **given: Any,
) -> None:  # fmt: skip
    """Send refused records to `telemetry` again: those named, or all that the filters choose.

    Of a frame that was refused in part, the refused part is sent, as a record of its own. What still cannot be decoded
    is sent only when it is named by its address; it becomes a dead letter again.
    """
    import getpass

    from pipeline import letter_replay
    from pipeline.codec import Codec
    from pipeline.errors import UsageError

    if mend is not None and len(addresses) != 1:
        raise UsageError("--mend corrects one record: name its address")
    values, choice = _chosen(given, addresses)
    if not addresses and choice == type(choice)():
        raise UsageError("which ones? name addresses, or choose by --machine, --reason, --topic, --from, --to")
    codec = Codec.agreed(values.registry)
    picked = _allowed(_found(values, codec, choice, addresses, limit), values, bool(addresses), again, mend)
    replayer, told = None, list[dict[str, Any]]()
    for chunk in letter_replay.chunks(picked):
        ready = _ready(letter_replay.with_bytes(values, codec, chunk), codec, values, mend, bool(addresses))
        for one in ready:
            told.append(_plan(one, as_json))
        if dry_run or not ready:
            continue
        if not yes and replayer is None:
            click.confirm(f"Send {_records(len(picked))} again?", abort=True, err=True)
        replayer = replayer or letter_replay.Replayer(values, codec, by or getpass.getuser())
        for sent, said in zip(replayer.send(ready), told[len(told) - len(ready) :], strict=True):
            said["to"] = str(sent.to)
            if not as_json:
                click.echo(f"{said['address']} -> {sent.to}")
    if as_json:
        _json(told)
    click.echo(f"{_records(len(told))} {'would be sent' if dry_run else 'sent'}", err=True)


def _chosen(given: dict[str, Any], addresses: tuple[str, ...] = ()) -> tuple[Settings, Choice]:
    from pipeline import dead_letters

    words = {name: given.pop(name) for name in ("machine", "reason", "topic")}
    start, end = given.pop("start"), given.pop("end")
    values = load(given)
    if words["topic"]:
        words["topic"] = dead_letters.topic(words["topic"], values)
    named = frozenset(dead_letters.address(text, values) for text in addresses)
    return values, dead_letters.Choice(
        **words, start=_instant(start) if start else 0, end=_instant(end) if end else 1 << 62, addresses=named
    )


def _instant(text: str) -> int:
    from datetime import UTC, datetime

    from pipeline import queries

    return round(datetime.fromisoformat(queries.instant(text)).replace(tzinfo=UTC).timestamp() * 1000)


def _one(text: str, values: Settings) -> Parked:
    """The refused record at an address, with its bytes. Raises UsageError when there is none."""
    from pipeline import dead_letters
    from pipeline.codec import Codec
    from pipeline.errors import UsageError

    at = dead_letters.address(text, values)
    found = dead_letters.find(values, Codec(), dead_letters.Choice(addresses=frozenset({at})), whole=True)
    if not found.parked:
        raise UsageError(
            f"no dead letter of {at} is in {values.topic('dead-letters')}: `openoee dead-letters list` shows what is;"
            " older ones stand in the store's view `parked`"
        )
    return found.parked[0]


def _found(
    values: Settings, codec: Codec, choice: Choice, addresses: tuple[str, ...], limit: int | None
) -> list[Parked]:
    from pipeline import dead_letters
    from pipeline.errors import UsageError

    found = dead_letters.find(values, codec, choice, limit)
    missing = choice.addresses - {one.address for one in found.parked}
    if missing and addresses:
        raise UsageError(f"no dead letter of {min(missing)} is there: `openoee dead-letters list` shows what is")
    return found.parked


def _allowed(picked: list[Parked], values: Settings, named: bool, again: bool, mend: Path | None) -> list[Parked]:
    """Those that may be sent. What is named must be; of the others it is told how many are left out."""
    from pipeline.dead_letters import told
    from pipeline.errors import UsageError
    from pipeline.letter_replay import forbidden

    allowed: list[Parked] = []
    left: dict[str, int] = {}
    for one in picked:
        why, short = forbidden(one, values), "no telemetry, or without bytes"
        if mend is not None and not one.size and one.address.topic == values.topic("telemetry"):
            why = ""
        if not why and one.replays and not again:
            last = one.replays[-1]
            short = "replayed before (--again sends them once more)"
            why = f"{one.address} was replayed at {told(last.at)} by {last.by} and stands at {last.to}: --again"
        if why and named:
            raise UsageError(why)
        if why:
            left[short] = left.get(short, 0) + 1
        else:
            allowed.append(one)
    for short, count in left.items():
        click.echo(f"left out: {count:,} {short}", err=True)
    return allowed


def _ready(chunk: list[Parked], codec: Codec, values: Settings, mend: Path | None, named: bool) -> list[Sendable]:
    import json
    import time

    from pipeline import letter_replay
    from pipeline.errors import UsageError

    if mend is not None:
        try:
            document = json.loads(mend.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UsageError(f"{mend} is no JSON: {error}") from None
        return [letter_replay.mended(one, document, codec) for one in chunk]
    now, most = time.time_ns() // 1_000_000, round(values.float("max_future_s") * 1000)
    ready = [letter_replay.sendable(one, codec, now, most) for one in chunk]
    usable = [one for one in ready if named or not one.unusable]
    if len(usable) < len(ready):
        first = next(one for one in ready if one.unusable)
        click.echo(
            f"left out: {len(ready) - len(usable):,} that would be refused again, as {first.parked.address}:"
            f" {first.unusable}",
            err=True,
        )
    return usable


def _plan(one: Sendable, as_json: bool) -> dict[str, Any]:
    """What would be sent, and says so to people."""
    refusals, address = list(one.parked.refusals), str(one.parked.address)
    if not as_json:
        warned = f"; will be refused again ({one.unusable})" if one.unusable else ""
        click.echo(f"{address}  {', '.join(refusals)}  {one.what}{warned}")
    return {"address": address, "refusals": refusals, "what": one.what, "unusable": one.unusable, "to": None}


def _summary(one: Parked) -> dict[str, Any]:
    return {
        "address": str(one.address), "arrived": one.arrived, "machine": one.machine, "size": one.size,
        "refusals": [refusal._asdict() for refusal in one.refusals.values()],
        "replays": [replay._asdict() for replay in one.replays],
    }  # fmt: skip


def _table(parked: list[Parked]) -> None:
    from pipeline.dead_letters import told
    from pipeline.report import console, table

    if not parked:
        click.echo("no dead letters")
        return
    columns = ("address", "arrived", "machine", "reason", "bytes", "replayed", "why")
    cells = []
    for one in parked:
        why = next(iter(one.refusals.values())).detail
        short = why if len(why) <= FIRST_WORDS else why[: FIRST_WORDS - 3] + "..."
        replayed = one.replays[-1].to if one.replays else ""
        reasons = ", ".join(one.refusals)
        cells.append((str(one.address), told(one.arrived), one.machine, reasons, one.size, replayed, short))
    console().print(table(columns, cells))


def _show_groups(groups: list[Any], unreadable: int, by: str, as_json: bool) -> None:
    from dataclasses import asdict

    from pipeline.dead_letters import told
    from pipeline.report import console, table

    if as_json:
        _json([asdict(group) for group in groups])
        return
    if not groups:
        click.echo("no dead letters")
    else:
        cells = [(one.name, one.count, one.replayed, told(one.first), told(one.last)) for one in groups]
        console().print(table((by, "records", "replayed", "first", "last"), cells))
    _tell_unreadable(unreadable)


def _tell_unreadable(count: int) -> None:
    if count:
        click.echo(f"{count:,} records of the topic are no dead letters", err=True)


def _lines(parked: Parked, said: dict[str, Any]) -> list[str]:
    """Everything of one letter, for people."""
    import json

    from pipeline.dead_letters import told

    lines = [f"record    {parked.address}", f"arrived   {told(parked.arrived)}", f"machine   {parked.machine}"]
    for refusal in parked.refusals.values():
        part = f", {refusal.entries} entries" if refusal.entries else ""
        lines.append(f"refused   {refusal.reason}{part}: {refusal.detail}")
    for one in parked.replays:
        lines.append(f"replayed  {told(one.at)} by {one.by}{', mended' if one.mended else ''}: stands at {one.to}")
    lines.append(f"replays   {len(parked.replays)}")
    lines.append(f"key       {said['key'] if parked.key is not None else 'none'}")
    lines.append(f"value     {said['size']:,} bytes")
    value = parked.value or b""
    for start in range(0, len(value), HEX_BYTES):
        lines.append(f"  {start:>8}  {value[start : start + HEX_BYTES].hex(' ', 4)}")
    if said["as_found"] is not None:
        lines += ["says", json.dumps(said["as_found"], ensure_ascii=False, indent=1)]
    if said["fault"]:
        lines.append(f"up to     {said['fault']}")
    if said["record"] != said["as_found"]:
        lines += ["of this was refused", json.dumps(said["record"], ensure_ascii=False, indent=1)]
    return lines


def _json(said: Any) -> None:
    import json

    click.echo(json.dumps(said, ensure_ascii=False, indent=1))


def _records(count: int) -> str:
    return f"{count:,} record{'' if count == 1 else 's'}"
