"""`openoee access`: roles and rights on Kafka, shown and granted; passwords changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from pipeline import settings
from pipeline.cli.answer import answer, json_option

REACH = settings.options("home", "kafka", "topic_prefix")


@click.group(epilog="Example: openoee access show")
def command() -> None:
    """Who may do what on the line's topics and groups: each part of the line has a user of its own."""


@command.command(epilog="Example: openoee access show --topic-prefix plant7.")
@click.option("--json", "as_json", is_flag=True, help="For programs: an array of role, kind, name, may.")
@REACH
def show(as_json: bool, **flags: Any) -> None:
    """Print every role and its rights, as `grant` gives them."""
    from pipeline import access

    values = settings.load(flags)
    if as_json:
        rights = [(role.name, *right) for role in access.ROLES for right in access.rights(role, values)]
        told = [
            {"role": role, "kind": kind.name.lower(), "name": name, "may": what.name.lower()}
            for role, kind, name, what in rights
        ]
        click.echo(json.dumps(told, indent=1))
        return
    for role in access.ROLES:
        click.echo(f"{role.name}: {role.does}")
        things: dict[tuple[str, str], list[str]] = {}
        for kind, name, what in access.rights(role, values):
            things.setdefault((kind.name.lower(), name), []).append(what.name.lower())
        for (kind, name), may in things.items():
            click.echo(f"  {kind} {name}: {', '.join(may)}")


@command.command(epilog="Example: openoee access grant --kafka-user admin")
@json_option
@REACH
def grant(as_json: bool, **flags: Any) -> None:
    """Give every role its rights on this line's topics and groups; again changes nothing.

    For a Kafka whose authorizer refuses what nobody was granted (allow.everyone.if.no.acl.found=false); run it as an
    administrator.
    """
    from pipeline import access

    values = settings.load(flags)
    count = access.grant(values)
    roles = [role.name for role in access.ROLES]
    said = f"{count} rights of {', '.join(roles)} stand in Kafka at {values['kafka']}"
    answer({"kafka": values["kafka"], "rights": count, "roles": roles}, [said], as_json)


@command.command(epilog="Example: openoee access rotate sink")
@click.argument("user")
@click.option("--file", "path", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Where the password is kept.  [default: <home>/secrets/kafka_<USER>]")  # fmt: skip
@json_option
@REACH
def rotate(user: str, path: Path | None, as_json: bool, **flags: Any) -> None:
    """Make a new password for USER of Kafka (SCRAM-SHA-512): told to Kafka, put into its file, shown to nobody.

    Makes the user where there is none. What runs as USER goes on, and uses the new password when it connects again.
    """
    from pipeline import access

    values = settings.load(flags)
    path = path or values.home / "secrets" / f"kafka_{user}"
    access.rotate(values, user, path)
    said = f"user {user} of Kafka at {values['kafka']} has a new password: {path}"
    answer({"kafka": values["kafka"], "user": user, "password_file": str(path)}, [said], as_json)


@command.command(epilog="Example: openoee access person ann")
@click.argument("name")
@click.option("--remove", is_flag=True, help="Let NAME no longer log in; open sessions end at once.")
@json_option
@settings.options("home", "web_people_file")
def person(name: str, remove: bool, as_json: bool, **flags: Any) -> None:
    """Let NAME log in to the board (`openoee web`), or give NAME another password; the running board knows at once.

    Asks for the password; where there is no terminal it is the first line of the standard input.
    """
    import sys

    from pipeline.web.people import People

    people = People(settings.load(flags).people_file)
    if remove:
        people.remove(name)
        said = f"{name} no longer logs in: {people.path}"
        answer({"name": name, "may_log_in": False, "file": str(people.path)}, [said], as_json)
        return
    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    people.let(name, password)
    said = f"{name} may log in: {people.path}"
    answer({"name": name, "may_log_in": True, "file": str(people.path)}, [said], as_json)
