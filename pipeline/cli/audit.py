"""`openoee audit`: the store against its source."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from pipeline import settings
from pipeline.cli.answer import Progress, answer


@click.command(
    epilog="Examples:  openoee audit   |   openoee audit --wait 60 --from 2026-03-02 --to 2026-03-03 --machine press-1"
    "   |   openoee audit --json"
)
@click.option("--from", "start", help="From this instant on, as 2026-03-02T06:00 (UTC) or with an offset.")
@click.option("--to", "end", help="Up to this instant.")
@click.option("--machine", default="", help="Only this machine.")
@click.option("--wait", "wait_s", type=click.FloatRange(0), default=0, metavar="SECONDS",
              help="Wait so long for worker and sink to take what is in the log now.")  # fmt: skip
@click.option("--most", type=click.IntRange(1), default=20, show_default=True,
              help="Stop after so many differences of a check.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="For programs; instants in ms since 1970.")
@settings.options(
    "kafka", "registry", "topic_prefix", "store", "store_user", "store_password_file", "database",
    "home", "window_s", "lateness_s", "max_future_s", "retention_h", "provisional_s", "detect", "keep_telemetry_days",
    "keep_minutes_days", "keep_revisions_days",
)  # fmt: skip
def command(
    start: str | None, end: str | None, machine: str, wait_s: float, most: int, as_json: bool, **given: Any
) -> None:
    """Compare the store with its source, the log of telemetry in Kafka; nothing is written anywhere.

    Offsets: everything that the log holds is folded and written. Samples, events, counts: each is in the store, once,
    and nothing else is. Facts with their final revisions, intervals, anomalies: they are what the engine computes from
    the whole log in one go, with the settings of the worker. Dead letters: each refused record is there.

    Exit code 0: PASS. 1: MISMATCH, with the first differences. 3: UNVERIFIED, with the reason: something is still under
    way, was removed from Kafka by retention, or does not answer. 2: the command was called wrongly.
    """
    import sys

    from pipeline import audit

    values = settings.load(given)
    options = audit.Options(machine=machine, wait_s=wait_s, most=most, **_times(start, end))
    with Progress("comparing", quiet=as_json) as progress:
        report = audit.audit(values, options, progress)
    answer(report.as_dict(), report.lines(), as_json)
    sys.exit(report.exit_code)


def _times(start: str | None, end: str | None) -> dict[str, int]:
    from pipeline import queries

    given = {name: queries.instant(text) for name, text in (("start", start), ("end", end)) if text}
    return {
        name: round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000) for name, text in given.items()
    }
