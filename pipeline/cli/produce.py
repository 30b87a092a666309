"""`openoee produce`: the telemetry of real machines, through an adapter, into Kafka."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline import settings
from pipeline.cli.answer import Progress, answer, json_option
from pipeline.cli.files import file_options
from pipeline.cli.spooling import SPOOL, producer_of, spool_lines

EXAMPLE = (
    "Example: openoee produce --adapter shdr --mapping deploy/examples/mazak01.mapping.yaml --devices Devices.xml "
    "--factory deploy/examples/nist.factory.yaml logs/Mazak01-*.txt.gz"
)


@click.command(epilog=EXAMPLE)
@file_options
@click.option("--factory", type=click.Path(), metavar="FILE", help="Apply this factory.yaml first (from always on).")
@click.option("--speed", type=click.FloatRange(min=0, min_open=True), metavar="N", help="N times the real pace.")
@click.option("--realtime", is_flag=True, help="At the real pace, the same as --speed 1.  [default: flat out]")
@click.option(
    "--journal",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Append a line per acknowledged record: machine, source, sequence, partition, offset.",
)
@json_option
@settings.options("kafka", "topic_prefix", "registry", "metrics_port", "metrics_host", "log_format", *SPOOL)
def command(
    factory: str | None, speed: float | None, realtime: bool, journal: Path | None, as_json: bool, **given: Any
) -> None:  # fmt: skip
    """Read FILES through an adapter and send their telemetry to Kafka; the same file sent twice counts once.

    Prints what was read, used, ignored and refused, and how many records Kafka acknowledged. With --spool Kafka may be
    away: records wait on disk, and reading waits while the spool is full.
    """
    import getpass
    import time

    from pipeline import endpoint, factory_apply, logs
    from pipeline.cli.files import Reading
    from pipeline.codec import Codec
    from pipeline.factory import load as load_factory
    from pipeline.producer import ProducerHealth

    names = ("adapter", "mappings", "devices", "machine", "refused", "files")
    reading = Reading(**{name: given.pop(name) for name in names})
    values = settings.load(given)
    logs.setup(values)
    click.get_current_context().with_resource(endpoint.served(values, health := ProducerHealth()))
    codec = Codec.agreed(values.registry)
    pace = Pace(1.0 if realtime else speed)
    plant = load_factory(factory) if factory else None
    told, lines = 0, list[str]()
    with producer_of(values, codec, journal) as producer:
        health.producer = producer
        if plant:
            now = time.time_ns() // 1_000_000
            told = factory_apply.announce(producer, plant, values, codec, now, getpass.getuser())
            lines.append(f"factory   {told:>12,} machines of {plant.site} told")
            for machine in reading.machines:
                if machine not in plant.machines:
                    click.echo(f"          {machine} is not in {factory}: it gets no OEE", err=True)
        began = time.monotonic()
        with Progress("sending", quiet=as_json) as reading.progress:
            for message in reading:
                pace.wait(message)
                producer.send(message)
            producer.flush()
        seconds = time.monotonic() - began
    lines += [*reading.lines(), *spool_lines(producer)]
    lines.append(
        f"sent      {producer.sent:>12,} records, {producer.acknowledged:,} acknowledged, "
        f"{producer.bytes / 1e6:,.1f} MB in {seconds:.1f} s"
    )
    sent = {"sent": producer.sent, "acknowledged": producer.acknowledged, "bytes": producer.bytes}
    answer({"machines_told": told, **reading.told(), **sent, "took_s": round(seconds, 3)}, lines, as_json)
    reading.require_sense()


class Pace:
    """Waits so that frames leave `speed` times as fast as they were recorded; None: never waits."""

    def __init__(self, speed: float | None) -> None:
        self._speed = speed
        self._origin: tuple[float, int] | None = None

    def wait(self, message: Any) -> None:
        """Sleeps until it is this message's turn; opening values and controls go at once."""
        import time

        at = getattr(message, "sent", None)
        if self._speed is None or at is None or message.opening:
            return
        now = time.monotonic()
        if self._origin is None:
            self._origin = (now, at)
        began, first = self._origin
        time.sleep(max(0.0, began + (at - first) / 1000 / self._speed - now))
