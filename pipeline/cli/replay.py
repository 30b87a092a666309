"""`openoee replay`: the same engine in memory; files in, Parquet out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline import settings
from pipeline.cli.answer import Progress, answer, json_option
from pipeline.cli.files import file_options

if TYPE_CHECKING:
    from pipeline.cli.files import Reading
    from pipeline.core.model import Control, Frame, MachineEvent, OeeFact

EXAMPLE = (
    "Example: openoee replay --mapping deploy/examples/mazak01.mapping.yaml --devices Devices.xml "
    "--factory deploy/examples/nist.factory.yaml --out results logs/Mazak01-*.txt.gz"
)


@click.command(epilog=EXAMPLE)
@file_options
@click.option("--factory", type=click.Path(), metavar="FILE",
              help="factory.yaml of the machines; without it their OEE has no value.")  # fmt: skip
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder for the tables of rows (.parquet): OEE, intervals, anomalies, incidents; made if missing.",
)
@json_option
@settings.options("window_s", "lateness_s", "max_future_s", "retention_h", "provisional_s")
def command(factory: str | None, out: Path, as_json: bool, **given: Any) -> None:
    """Compute OEE facts and anomaly flags of FILES in memory: no Kafka, no store, the same rows as the line's.

    Every file holds the rows in force: the last revision of each.
    """
    from collections import Counter

    from pipeline import factory as factory_file
    from pipeline import parquet, replay
    from pipeline.cli.files import Reading
    from pipeline.core.model import Anomaly, Incident, Interval, OeeFact

    names = ("adapter", "mappings", "devices", "machine", "refused", "files")
    reading = Reading(**{name: given.pop(name) for name in names})
    values = settings.load(given)
    plant = factory_file.load(factory) if factory else None
    controls = factory_file.controls(plant, 0, "replay") if plant else []
    out.mkdir(parents=True, exist_ok=True)
    events: list[tuple[str, MachineEvent]] = []
    known = [control for control in controls if control.machine in reading.machines]
    with Progress("computing", quiet=as_json) as reading.progress:
        emitted = replay.run(_messages(known, reading, events), values.engine())
    reading.require_sense()
    facts = replay.current(emitted.facts)
    intervals, anomalies = replay.current(emitted.intervals), replay.current(emitted.anomalies)
    parquet.write_rows(out / "oee_facts.parquet", OeeFact, facts)
    parquet.write_rows(out / "intervals.parquet", Interval, intervals)
    parquet.write_rows(out / "anomalies.parquet", Anomaly, anomalies)
    parquet.write_rows(out / "incidents.parquet", Incident, replay.current(emitted.incidents))
    rows = [(machine, *event) for machine, event in dict.fromkeys(events)]
    columns = zip(*rows, strict=True) if rows else ((),) * len(parquet.EVENTS)
    parquet.write(out / "events.parquet", dict(zip(parquet.EVENTS, map(list, columns), strict=True)))
    lines = reading.lines()
    lines.append(
        f"written   {len(facts):>12,} OEE facts, {len(intervals):,} intervals, {len(anomalies):,} anomaly flags, "
        f"{len(rows):,} events to {out}"
    )
    dead = Counter(letter.reason for letter in emitted.dead_letters)
    if dead:
        named = ", ".join(f"{reason} {count:,}" for reason, count in dead.most_common())
        lines.append(f"dead      {dead.total():>12,} letters: {named}")
    flags = Counter(flag.machine for flag in anomalies)
    machines = [figures for machine in reading.machines if (figures := _figures(machine, facts, flags[machine]))]
    written = {"facts": len(facts), "intervals": len(intervals), "anomalies": len(anomalies), "events": len(rows)}
    told = {**reading.told(), "out": str(out), "written": written, "dead_letters": dict(dead), "machines": machines}
    answer(told, [*lines, *_table(machines)], as_json)


def _messages(
    controls: list[Control], reading: Reading, events: list[tuple[str, MachineEvent]]
) -> Iterator[Frame | Control]:
    from pipeline.core.model import Frame

    yield from controls
    for message in reading:
        if isinstance(message, Frame):
            events.extend((message.machine, event) for event in message.events)
        yield message


def _figures(machine: str, facts: list[OeeFact], flags: int) -> dict[str, Any]:
    """Figures of a machine from summed facts, under their names in SQL; empty when it has none."""
    from pipeline.core.oee import ratios, summed, why_null

    own = [fact for fact in facts if fact.machine == machine]
    if not own:
        return {}
    total = summed(own)
    kpi = ratios(total, own[-1].profile, own[-1].unknown_as)
    return {
        "machine": machine, **{name: kpi[name] for name in ("oee", "a", "p", "q")},
        "oee_null": why_null(total, own[-1].flags) or "",
        **{name: total[name] for name in ("pbt_ms", "apt_ms", "unknown_ms", "total")}, "anomalies": flags,
    }  # fmt: skip


def _table(machines: list[dict[str, Any]]) -> list[str]:
    """OEE, A, P, Q, hours and parts per machine."""
    head = ("machine", "OEE", "A", "P", "Q", "planned h", "running h", "unknown h", "parts", "anomalies")
    rows: list[tuple[str, ...]] = [head]
    for row in machines:
        percent = ["-" if row[name] is None else f"{row[name]:.1%}" for name in ("oee", "a", "p", "q")]
        hours = [f"{row[name] / 3_600_000:.1f}" for name in ("pbt_ms", "apt_ms", "unknown_ms")]
        why = f"  ({row['oee_null']})" if row["oee_null"] else ""
        rows.append((row["machine"], *percent, *hours, f"{row['total']:,}", f"{row['anomalies']:,}{why}"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    cells = [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows]
    return ["  ".join(row).rstrip() for row in cells]
