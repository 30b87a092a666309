"""`openoee up`: the local stack in the background."""

from __future__ import annotations

from typing import Any

import click

from pipeline import settings


@click.command(epilog="Examples: openoee up --nodes 3 --registry   |   openoee up --secure")
@click.option("--nodes", type=click.Choice(["1", "3"]), help="Kafka brokers of a new home.  [default: as before, or 1]")
@click.option("--registry", "with_registry", is_flag=True, help="Start a schema registry too (port 8081).")
@click.option("--secure", is_flag=True, help="Closed by default: TLS, a user per role, rights for nothing else.")
@settings.options("home", "kafka", "store", "store_user")
def command(nodes: str | None, with_registry: bool, secure: bool, **flags: Any) -> None:
    """Start Kafka and the store on this machine, without Docker, and wait until they answer.

    What runs already is left alone. Everything is bound to 127.0.0.1; data and logs live in the home folder.

    With --secure each part of the line runs as a user of its own:
    `set -a; . .openoee/roles/worker.env; set +a; openoee worker`.
    """
    from rich.console import Console

    from pipeline.local.stack import Stack

    values = settings.load(flags)
    stack = Stack(values)
    console = Console(stderr=True)
    with console.status("starting") as progress:

        def report(text: str) -> None:
            if console.is_terminal:
                progress.update(text)
            else:
                click.echo(text, err=True)

        stack.up(report, int(nodes) if nodes else None, with_registry, secure=secure)
    click.echo(f"Kafka     {stack.kafka.bootstrap()}")
    click.echo(
        f"store     {stack.settings['store']}  (user {stack.store.user}, password in {stack.home}/secrets/store)"
    )
    if with_registry:
        click.echo(f"registry  {stack.registry.url}")
    if secure:
        click.echo(f"roles     {stack.home}/roles: set -a; . {stack.home}/roles/worker.env; openoee worker")
    click.echo(f"logs      {stack.supervisor.logs}")
    click.echo("`openoee status` shows every part, `openoee stop` ends them; data survive.")
