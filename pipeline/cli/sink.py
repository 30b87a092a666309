"""`openoee sink`: telemetry and results into the store."""

from __future__ import annotations

import click

from pipeline.settings import load, options


@click.command(epilog="Example:  openoee sink --kafka 127.0.0.1:9092 --store http://127.0.0.1:8123")
@options(
    "kafka", "registry", "topic_prefix", "store", "store_user", "store_password_file", "database",
    "home", "max_future_s", "sink_rows", "sink_mb", "sink_ms", "session_s",
)  # fmt: skip
@click.option("--accept-loss", is_flag=True, help="Go on where records are gone from Kafka; says how many.")
def command(accept_loss: bool, **flags: str | None) -> None:
    """Write telemetry and results into the store, each record once.

    Start as many as there are partitions at most; they share the work, and one takes over when another ends or dies.
    While the store is away it waits. SIGTERM or Ctrl-C finishes the batch at hand and ends with 0.
    """
    import logging
    import signal
    import sys
    import threading

    from pipeline import topics
    from pipeline.sink import Sink

    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING, stream=sys.stderr, force=True
    )
    logging.getLogger("openoee").setLevel(logging.INFO)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    settings = load(flags)
    topics.check(settings)
    sink = Sink(settings, stop.is_set, accept_loss)
    logging.getLogger("openoee.sink").info("writing into %s of %s", settings["database"], settings["store"])
    sink.run()
    done = sink.counts
    click.echo(
        f"{done.records:,} records, {done.rows:,} rows in {done.batches:,} batches; {done.repeated} batches of before"
        f" finished, {done.parked} records parked",
        err=True,
    )
