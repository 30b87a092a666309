"""`openoee notify`: one message per incident to a webhook."""

from __future__ import annotations

import click

from pipeline.settings import load, options


@click.command(epilog="Example:  openoee notify --webhook http://127.0.0.1:9000/hook --closed")
@options(
    "webhook", "webhook_token_file", "kafka", "registry", "topic_prefix", "home", "session_s", "metrics_port",
    "metrics_host", "log_format",
)  # fmt: skip
@click.option("--closed", is_flag=True, help="A second message when the incident is over.")
def command(closed: bool, **flags: str | None) -> None:
    """Send one JSON message per incident that is worth one (its `page`) to a webhook.

    It is sent again until the receiver answers 2xx; a 4xx that speaks of the message itself ends it. The header
    Idempotency-Key is the same for the same message. Incidents older than 24 h are not sent. SIGTERM or Ctrl-C ends it.
    """
    import logging
    import signal
    import threading

    from pipeline import endpoint, logs, topics
    from pipeline.notify import Notifier

    settings = load(flags)
    logs.setup(settings)
    log = logging.getLogger("openoee.notify")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    topics.await_shape(settings, log, stop.is_set)
    notifier = Notifier(settings, stop.is_set, closed)
    click.get_current_context().with_resource(endpoint.served(settings, notifier.health))
    notifier.run()
    log.info("%d messages, %d tries repeated", notifier.health.messages.total(), notifier.health.retries)
