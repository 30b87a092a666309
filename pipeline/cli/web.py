"""`openoee web`: the andon board."""

from __future__ import annotations

import click

from pipeline.settings import load, options

OPEN = (
    "No TLS (OPENOEE_WEB_CERT): whoever sits on the network between can read passwords and figures and change them, "
    "unless a proxy on this machine speaks TLS with them."
)


@click.command(epilog="Example:  openoee web --web-port 8080")
@options(
    "store", "store_user", "store_password_file", "database", "home", "kafka", "topic_prefix", "registry", "web_host",
    "web_port", "web_poll_s", "log_format",
)  # fmt: skip
def command(**flags: str | None) -> None:
    """Serve the andon board and its figures (/api/board, /api/live), until SIGTERM or Ctrl-C.

    On this machine alone it asks for no password. Where others can reach it (--web-host, --web-names) everybody logs
    in: `openoee access person NAME` lets somebody in.
    """
    from pipeline import logs
    from pipeline.web.app import serve
    from pipeline.web.guard import Names

    settings = load(flags)
    logs.setup(settings)
    kind = "https" if settings["web_cert"] else "http"
    click.echo(f"The board: {kind}://{settings['web_host']}:{settings['web_port']}")
    if Names.of(settings).is_open and not settings["web_cert"]:
        click.echo(OPEN, err=True)
    serve(settings)
