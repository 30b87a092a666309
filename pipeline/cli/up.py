"""`openoee up`: the local stack in the background."""

from __future__ import annotations

from typing import Any

import click

from pipeline import settings
from pipeline.cli.answer import Progress, answer, json_option


@click.command(epilog="Examples: openoee up --nodes 3 --registry   |   openoee up --secure")
@click.option("--nodes", type=click.Choice(["1", "3"]), help="Kafka brokers of a new home.  [default: as before, or 1]")
@click.option("--registry", "with_registry", is_flag=True, help="Start a schema registry too (port 8081).")
@click.option("--secure", is_flag=True, help="Closed by default: TLS, a user per role, rights for nothing else.")
@json_option
@settings.options("home", "kafka", "store", "store_user")
def command(nodes: str | None, with_registry: bool, secure: bool, as_json: bool, **flags: Any) -> None:
    """Start Kafka and the store on this machine, without Docker, and wait until they answer.

    What runs already is left alone. Everything is bound to 127.0.0.1; data and logs live in the home folder.

    With --secure each part of the line runs as a user of its own:
    `set -a; . .openoee/roles/worker.env; set +a; openoee worker`.
    """
    from pipeline.local.stack import Stack

    values = settings.load(flags)
    stack = Stack(values)
    with Progress("starting", quiet=as_json) as progress:
        stack.up(progress, int(nodes) if nodes else None, with_registry, secure=secure)
    store, secret = stack.settings["store"], f"{stack.home}/secrets/store"
    told = {
        "kafka": stack.kafka.bootstrap(),
        "store": store,
        "store_user": stack.store.user,
        "store_password_file": secret,
    }
    lines = [f"Kafka     {told['kafka']}", f"store     {store}  (user {stack.store.user}, password in {secret})"]
    if with_registry:
        told["registry"] = stack.registry.url
        lines.append(f"registry  {stack.registry.url}")
    if secure:
        told["roles"] = f"{stack.home}/roles"
        lines.append(f"roles     {stack.home}/roles: set -a; . {stack.home}/roles/worker.env; openoee worker")
    told["logs"] = str(stack.supervisor.logs)
    lines += [f"logs      {told['logs']}", "`openoee status` shows every part, `openoee stop` ends them; data survive."]
    answer(told, lines, as_json)
