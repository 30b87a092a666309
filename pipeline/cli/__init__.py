"""The `openoee` command: a table of commands, each loaded only when it is called."""

from __future__ import annotations

import errno
import logging
import sys
from importlib import import_module
from typing import NoReturn

import click

from pipeline import __version__
from pipeline.errors import FileUnusable, OpenOeeError

COMMANDS: dict[str, str] = {  # command -> one line for `openoee --help`
    "demo": "run a simulated plant through the whole line and print its report",
    "up": "start the local stack: Kafka and the store (no Docker)",
    "doctor": "look at everything that the line needs, and say what is wrong and what to do",
    "status": "show every part of the local stack, its health and its lag",
    "stop": "stop the local stack and everything that runs on it",
    "simulate": "produce the telemetry of a seeded plant, whose truth is known",
    "init": "ask six questions and write a first factory.yaml and mapping files",
    "produce": "produce the telemetry of real machines through an adapter",
    "worker": "run a Faust worker: telemetry in, OEE and anomaly flags out",
    "sink": "write telemetry and results into the store",
    "replay": "the same engine in memory: files in, Parquet out",
    "detect": "score the values of one CSV file with the worker's own detector",
    "factory": "check and apply factory.yaml: machines, lines, calendars, limits",
    "correct": "say what really happened: reasons, states, parts, products, ideal rates",
    "incidents": "list, show, acknowledge and mute incidents: flags that belong together",
    "notify": "send one message per incident to a webhook",
    "query": "ask the store a ready question, or your own SQL",
    "report": "print OEE, losses and anomalies of a site",
    "web": "serve the andon board and its figures on this machine",
    "export": "windows as Parquet to train models with: what was known then, what came after",
    "verify": "run worked OEE cases and print where the engine differs",
    "audit": "compare the store with the log: PASS, MISMATCH or UNVERIFIED",
    "dead-letters": "look through what was refused, mend it, send it again",
    "backup": "the store into a folder, while the line goes on",
    "restore": "a backup into an empty database; the sink fills in the rest",
    "migrate": "create or upgrade the tables and views of the store",
    "topics": "create, check and describe the Kafka topics",
    "access": "show and grant the rights of every part on Kafka, change passwords",
    "schemas": "list, check and register the Avro schemas",
    "settings": "list every setting: flag, environment variable, default, meaning",
    "metrics": "list every metric: name, kind, labels, unit, meaning",
    "errors": "list every error: exit code, what it means, what to do",
    "completion": "print what makes a shell complete commands and options",
}


def module(command: str) -> str:
    """Name of a command's module: pipeline/cli/<command>.py, `-` as `_`."""
    return "pipeline.cli." + command.replace("-", "_")


class LazyGroup(click.Group):
    """A click group that imports a command's module only when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(module(cmd_name)).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _markdown(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked:
        click.echo(import_module("pipeline.cli.overview").markdown(), nl=False)
        ctx.exit()


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Examples: openoee demo   |   openoee report --shift yesterday   |   openoee query machines --site lyon",
)  # fmt: skip
@click.version_option(__version__, prog_name="openoee")
@click.option("--markdown", is_flag=True, is_eager=True, expose_value=False, callback=_markdown, help="docs/cli.md.")
def cli() -> None:
    """openoee: from machine telemetry in Kafka to OEE and anomaly flags in ClickHouse.

    Start with `openoee demo`; every command explains itself with --help.
    """
    from pipeline.settings import without_colours

    if without_colours():
        click.get_current_context().color = False


OF_FILES = frozenset((
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG,
))  # fmt: skip


def main() -> None:
    """Entry point: an error of ours is one clear line and exit code 1, never a traceback."""
    try:
        cli(prog_name="openoee")
    except OpenOeeError as error:
        _end(error)
    except OSError as error:
        if error.errno not in OF_FILES:
            raise
        _end(FileUnusable(f"{error}: make room, give the rights, or name another place"))


def _end(error: OpenOeeError) -> NoReturn:
    from pipeline import logs

    if logs.is_json():
        logging.getLogger("openoee").error("%s", error, extra=dict(error.place))
    else:
        click.echo(f"openoee: {logs.hidden(str(error))}", err=True)
    sys.exit(error.exit_code)
