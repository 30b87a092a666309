"""`openoee sink`: telemetry and results into the store."""

from __future__ import annotations

import click

from pipeline.settings import load, options


@click.command(epilog="Example:  openoee sink --kafka 127.0.0.1:9092 --store http://127.0.0.1:8123")
@options(
    "kafka", "registry", "topic_prefix", "store", "store_user", "store_password_file", "database",
    "home", "max_future_s", "sink_rows", "sink_mb", "sink_ms", "session_s", "metrics_port",
    "metrics_host", "log_format",
)  # fmt: skip
@click.option("--accept-loss", is_flag=True, help="Go on where records are gone from Kafka; says how many.")
def command(accept_loss: bool, **flags: str | None) -> None:
    """Write telemetry and results into the store, each record once.

    Start as many as there are partitions at most; they share the work, and one takes over when another ends or dies.
    While Kafka or the store is away it waits. SIGTERM or Ctrl-C finishes the batch at hand and ends with 0.
    """
    import logging
    import signal
    import threading

    from pipeline import endpoint, logs, topics
    from pipeline.sink import Sink

    settings = load(flags)
    logs.setup(settings)
    log = logging.getLogger("openoee.sink")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    topics.await_shape(settings, log, stop.is_set)
    sink = Sink(settings, stop.is_set, accept_loss)
    click.get_current_context().with_resource(endpoint.served(settings, sink.health))
    log.info("writing into %s of %s", settings["database"], settings["store"])
    sink.run()
    done = sink.counts
    log.info(
        "%d records, %d rows in %d batches; %d batches of before finished, %d records parked",
        done.records, done.rows.total(), done.batches, done.repeated, done.parked.total(),
    )  # fmt: skip
