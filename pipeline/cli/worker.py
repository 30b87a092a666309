"""`openoee worker`: one Faust worker process."""

from __future__ import annotations

import click

from pipeline.settings import load, options


@click.command(epilog="Example:  openoee worker --kafka 127.0.0.1:9092 --topic-prefix plant7.")
@options(
    "kafka", "registry", "topic_prefix", "home", "window_s", "lateness_s", "max_future_s", "retention_h",
    "provisional_s", "tick_s", "snapshot_s", "state_buckets", "dead_letter_share", "session_s", "metrics_port",
    "metrics_host", "log_format",
)  # fmt: skip
def command(**flags: str | None) -> None:
    """Run a worker: telemetry in; OEE facts, intervals, anomaly flags and dead letters out.

    Start as many as you like, anywhere: they share the partitions, and one takes over when another ends or dies.
    SIGTERM or Ctrl-C drains, saves and ends with 0. When it cannot go on it says why in one line and ends with 1.
    """
    import sys

    from pipeline import endpoint, logs
    from pipeline.agents import Line

    values = load(flags)
    logs.setup(values)
    line = Line(values)
    click.get_current_context().with_resource(endpoint.served(values, line.health))
    sys.exit(line.run())
