"""`openoee export`: windows as Parquet for those who train models, without a leak from later times."""

from __future__ import annotations

import math
from pathlib import Path

import click

from pipeline.cli.answer import Progress, answer
from pipeline.settings import load, options

EXAMPLE = "Example:  openoee export --from 2026-03-02 --to 2026-03-16 --site lyon --out data/"


@click.command(epilog=EXAMPLE)
@click.option("--features", is_flag=True, help="Write features.parquet: what was known at each window's cut-off.")
@click.option("--labels", is_flag=True, help="Write labels.parquet: what came after it.  [default: both]")
@click.option("--from", "start", required=True, help="From this instant on, as 2026-03-02T06:00 (UTC) or with offset.")
@click.option("--to", "end", required=True, help="Up to this instant.")
@click.option("--site", default="", help="Only machines of this site.")
@click.option("--machine", default="", help="Only this machine.")
@click.option("--out", "folder", required=True, type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Folder for train/, validation/ and test/.")  # fmt: skip
@click.option("--allowance-s", type=click.FloatRange(0), metavar="S",
              help="Cut-off of a window: its end plus this.  [default: the setting lateness_s]")  # fmt: skip
@click.option("--horizon-min", default=30.0, show_default=True, type=click.FloatRange(0, min_open=True),
              help="Labels look so far ahead of the cut-off.")  # fmt: skip
@click.option("--split", default="0.7,0.15", show_default=True, metavar="TRAIN,VALIDATION",
              help="Shares of the time; the rest is the test's.")  # fmt: skip
@click.option("--backfilled", is_flag=True,
              help="Take what was loaded afterwards as if it had come in time; no row is as_known then.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="For programs: machines, rows by split, rows as they were known.")
@options("store", "store_user", "store_password_file", "database", "home", "window_s", "lateness_s")
def command(
    features: bool, labels: bool, start: str, end: str, site: str, machine: str, folder: Path,
    allowance_s: float | None, horizon_min: float, split: str, backfilled: bool, as_json: bool, **flags: str | None,
) -> None:  # fmt: skip
    """Export windows: features of what was known then, labels of what came after, split by time with gaps.

    Columns, units and what counts as known: docs/export.md, and the metadata of the Parquet files.
    """
    from contextlib import closing
    from dataclasses import asdict
    from datetime import UTC, datetime

    from pipeline.errors import UsageError
    from pipeline.export import export
    from pipeline.export.plan import Plan
    from pipeline.queries import instant
    from pipeline.store import migrate
    from pipeline.store.client import Store

    def milliseconds(text: str) -> int:
        return round(datetime.fromisoformat(instant(text)).replace(tzinfo=UTC).timestamp() * 1000)

    settings = load(flags)
    window_ms = settings.int("window_s") * 1000
    begin, until = -(-milliseconds(start) // window_ms) * window_ms, milliseconds(end) // window_ms * window_ms
    try:
        train, validation = map(float, split.split(","))
    except ValueError:
        raise UsageError(f"--split {split!r}: two shares with a comma, as 0.7,0.15") from None
    allowance = settings.float("lateness_s") if allowance_s is None else allowance_s
    for name, value in (("--allowance-s", allowance), ("--horizon-min", horizon_min), ("--split", train + validation)):
        if not math.isfinite(value):
            raise UsageError(f"{name}: {value} is no number to reckon with")
    plan = Plan(
        begin, until, window_ms, round(allowance * 1000), round(horizon_min * 60_000), train, validation, site, machine,
        backfilled,
    )  # fmt: skip

    both = features == labels
    with closing(Store(settings)) as store, Progress("exporting", 1.0, as_json) as progress:
        migrate.check(store)
        found = export(
            store, plan, folder, features or both, labels or both,
            lambda done, of: progress(f"{done:,} of {of:,} machine-days", done / max(1, of)),
        )  # fmt: skip
    rows = sum(found.rows.values())
    said = ", ".join(f"{name} {count:,}" for name, count in found.rows.items())
    lines = [
        f"{rows:,} windows of {len(found.machines):,} machines in {folder}: {said}",
        f"{found.as_known:,} of them as they were known; the others may lack what came late or has no history",
    ]
    if not rows:
        lines.append("Nothing was known in time. Were these data loaded afterwards? See --backfilled.")
    answer({**asdict(found), "folder": str(folder)}, lines, as_json)
