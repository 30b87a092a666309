"""The page docs/cli.md: every command with its sub-commands and what it is for, exit codes, forms of output."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

import click

from pipeline.cli import COMMANDS, module

HEAD = """# The command line

`openoee --markdown` writes this page. `openoee COMMAND --help` says everything of a command, with an example.

| exit code | means |
|---|---|
| 0 | done |
| 1 | an [error](errors.md), or what was examined is not as it should be (`status`, `doctor`, `audit`, `verify`) |
| 2 | called wrongly: an option, argument or value that cannot be |
| 3 | `audit`: UNVERIFIED, not everything could be compared; `restore`: done, but records are gone for good |

Data go to standard output, words about the work to standard error. How far long work has come stands on standard
error, and only where that is a terminal. A pipe or file gets no colours; `NO_COLOR=1` ends them on a terminal too.

With `--json` a command prints one document (`simulate`: one a line, as things happen), with the names that the figures
have in SQL and times in UTC, and shows no progress. An error is still one line on standard error, with its exit code.
Without `--json` are {without}.

`openoee completion bash` (zsh, fish) prints what completes commands and options.

| command | `--json` | does |
|---|---|---|
"""

WITHOUT_JSON = {  # command -> why it has no --json
    "worker": "runs until it is stopped; `OPENOEE_LOG_FORMAT=json` makes its log JSON",
    "sink": "the same",
    "notify": "the same",
    "web": "the same; it serves JSON",
    "completion": "prints a script for a shell",
}


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command that can be called, groups left out, by its whole name."""
    for name in COMMANDS:
        command = import_module(module(name)).command
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", sub) for inner, sub in command.commands.items())
        else:
            yield name, command


def answers_in_json(command: click.Command) -> bool:
    """Whether it has `--json`."""
    return any("--json" in option.opts for option in command.params)


def markdown() -> str:
    """The text of docs/cli.md."""
    without = ", ".join(f"`{name}` ({why})" for name, why in WITHOUT_JSON.items())
    text = HEAD.replace("{without}", without)
    for name, command in commands():
        mark = "yes" if answers_in_json(command) else ""
        text += f"| `openoee {name}` | {mark} | {(command.help or '').splitlines()[0].replace('|', chr(92) + '|')} |\n"
    return text
