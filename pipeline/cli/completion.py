"""`openoee completion`: what makes a shell complete commands, options and their values."""

from __future__ import annotations

import click


@click.command(
    epilog="Example: openoee completion bash >> ~/.bashrc   |   "
    "openoee completion fish > ~/.config/fish/completions/openoee.fish"
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the script that completes openoee in SHELL; put it where the shell reads it at its start."""
    from click.shell_completion import get_completion_class

    from pipeline.cli import cli

    kind = get_completion_class(shell)
    if kind is not None:
        click.echo(kind(cli, {}, "openoee", "_OPENOEE_COMPLETE").source())
