"""`openoee detect`: one CSV file through the worker's own detector."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.answer import Progress, answer, json_option

EXAMPLE = "Example: openoee detect --csv machine.csv --time-column timestamp --value-column value --output scores.csv"


@click.command(epilog=EXAMPLE)
@click.option("--csv", "source", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
              metavar="FILE", help="CSV file with a head; times are ISO 8601, UTC when they name no zone.")  # fmt: skip
@click.option("--time-column", default="timestamp", show_default=True, metavar="NAME", help="Column of the times.")
@click.option("--value-column", default="value", show_default=True, metavar="NAME", help="Column of the values.")
@click.option("--output", required=True, type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="File to write: timestamp,value,score,flag.")  # fmt: skip
@click.option("--detector", default="rich", show_default=True, type=click.Choice(("rich", "default")),
              help="The detector, as in factory.yaml.")  # fmt: skip
@json_option
def command(source: Path, time_column: str, value_column: str, output: Path, detector: str, as_json: bool) -> None:
    """Score every row of a CSV file by what came before it; flag is 1 where the score is an alarm.

    Rows that cannot be used (no time, no number, a time before the one before) are written with score 0 and counted.
    So are those at the beginning, while the detector learns: their 0 says nothing of their health.
    """
    from pipeline.detect import detect

    with Progress(f"scoring {source.name}", quiet=as_json):
        tally = detect(source, time_column, value_column, output, detector)
    said = f"{tally.rows:,} rows, {tally.alarms:,} alarms, {tally.unjudged:,} not judged (learning) to {output}"
    told = {"output": str(output), "rows": tally.rows, "alarms": tally.alarms, "unjudged": tally.unjudged}
    answer({**told, "bad": tally.bad}, [said], as_json)
    if tally.bad:
        click.echo(f"{tally.bad:,} rows could not be used; they have score 0", err=True)
