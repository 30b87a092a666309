"""`openoee web`: the andon board."""

from __future__ import annotations

import click

from pipeline.settings import load, options


@click.command(epilog="Example:  openoee web --web-port 8080")
@options(
    "store", "store_user", "store_password_file", "database", "home", "kafka", "topic_prefix", "registry", "web_host",
    "web_port", "web_poll_s", "log_format",
)  # fmt: skip
def command(**flags: str | None) -> None:
    """Serve the andon board and its figures (/api/board, /api/live) on this machine, until SIGTERM or Ctrl-C."""
    from pipeline import logs
    from pipeline.web.app import serve

    settings = load(flags)
    logs.setup(settings)
    click.echo(f"The board: http://{settings['web_host']}:{settings['web_port']}")
    serve(settings)
