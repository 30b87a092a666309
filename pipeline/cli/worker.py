"""`openoee worker`: one Faust worker process."""

from __future__ import annotations

import click

from pipeline.settings import load, options


@click.command(epilog="Example:  openoee worker --kafka 127.0.0.1:9092 --topic-prefix plant7.")
@options(
    "kafka", "registry", "topic_prefix", "home", "window_s", "lateness_s", "max_future_s", "retention_h",
    "provisional_s", "tick_s", "snapshot_s", "state_buckets", "dead_letter_share", "session_s",
)  # fmt: skip
def command(**flags: str | None) -> None:
    """Run a worker: telemetry in; OEE facts, intervals, anomaly flags and dead letters out.

    Start as many as you like, anywhere: they share the partitions, and one takes over when another ends or dies.
    SIGTERM or Ctrl-C drains, saves and ends with 0. When it cannot go on it says why in one line and ends with 1.
    """
    import logging
    import sys

    from pipeline.agents import Line
    from pipeline.errors import OpenOeeError

    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING, stream=sys.stderr, force=True
    )
    logging.getLogger("openoee").setLevel(logging.INFO)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it repeats itself while a broker is away; we say it once
    for chatty in ("faust", "mode"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    for handler in logging.root.handlers:  # our own errors are one line; Faust would add their traceback
        handler.addFilter(lambda entry: not (entry.exc_info and isinstance(entry.exc_info[1], OpenOeeError)))
    sys.exit(Line(load(flags)).run())
