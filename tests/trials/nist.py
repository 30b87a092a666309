"""Logs of real machine tools through the whole line, against the same engine in memory: row by row.

    python tests/trials/nist.py [--data ../shared/data/nist_sms] [--home DIR]

Starts a stack of its own (Kafka and the store), two workers and a sink, produces every file of Mazak01 and GFAgie01,
runs `openoee replay` on the same files, and compares what the store holds with what the replay wrote. Exit code 1 when
anything differs. tests/live/test_nist_line.py does the same with a few files.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from line import ROOT, Line, command, own_stack

from pipeline import compare, mapping
from pipeline.adapters import Tally
from pipeline.adapters.shdr import read
from pipeline.core.model import Frame
from pipeline.settings import Settings, load
from pipeline.store.client import Store

DATA = ROOT.parent / "shared/data/nist_sms"
EXAMPLES = ROOT / "deploy/examples"
MACHINES = ("Mazak01", "GFAgie01")
LATER = ("known_at", "revision", "status", "reason")  # when and why a row became known depends on how the data arrived
TABLES = {
    "oee_facts": ("facts", ("machine", "window_start", "segment_start")),
    "intervals": ("intervals FINAL WHERE end IS NULL OR end > start", ("machine", "start")),
    "anomalies": ("anomalies FINAL", ("machine", "signal", "kind", "first")),
}


@dataclass
class Outcome:
    """What differs, and the account of everything that was read."""

    differences: list[str]
    expected: dict[str, int]
    found: dict[str, int]
    rows: dict[str, int]
    seconds: dict[str, float] = field(default_factory=dict)
    said: str = ""


def options(files: Sequence[Path], data: Path) -> list[str]:
    """Arguments that `produce` and `replay` share."""
    mappings = [f"--mapping={EXAMPLES / machine.lower()}.mapping.yaml" for machine in MACHINES]
    devices, factory = f"--devices={data / 'Devices.xml'}", f"--factory={EXAMPLES / 'nist.factory.yaml'}"
    return [*mappings, devices, factory, *map(str, files)]


def through(
    settings: Settings, files: Sequence[Path], data: Path, folder: Path, within_s: float = 600.0, times: int = 1
) -> Outcome:
    """Produce the files (some `times`) into a new line with two workers and a sink; compare the store with a replay."""
    seconds = {}
    with Line(settings, folder) as line:
        began = time.monotonic()
        for _ in range(times):
            said = command(settings, "produce", *options(files, data))
        seconds["produced"] = time.monotonic() - began
        line.caught_up(within_s)
        seconds["stored"] = time.monotonic() - began
    began = time.monotonic()
    command(settings, "replay", f"--out={folder}", *options(files, data))
    seconds["replay"] = time.monotonic() - began
    expected, rows = account(files, data), {}
    store = Store(settings)
    try:
        differences = [f"a worker or the sink ended with {code}" for code in line.codes if code]
        comparison = compare.with_truth(store, folder / "oee_facts.parquet")
        differences += [str(comparison)] if comparison.differences else []
        for name in TABLES:
            rows[name], wrong = same(store, name, folder)
            differences += wrong
        found = counted(store)
    finally:
        store.close()
    differences += [
        f"{name}: {expected[name]} read, {found[name]} stored" for name in expected if expected[name] != found[name]
    ]
    return Outcome(differences, expected, found, rows, seconds, said)


def account(files: Sequence[Path], data: Path) -> dict[str, int]:
    """What the files hold: distinct samples, and states, contexts, events, parts."""
    mappings = [mapping.load(EXAMPLES / f"{machine.lower()}.mapping.yaml") for machine in MACHINES]
    tally = Tally()
    samples: set[tuple[str, str, int]] = set()
    for record in read(files, mappings, data / "Devices.xml", tally):
        if isinstance(record, Frame):
            for block in record.signals:
                samples.update((record.machine, name, at) for name in block.names for at in block.at.tolist())
    return {
        "samples": len(samples),
        "states": tally.states,
        "contexts": tally.contexts,
        "events": tally.events,
        "parts": tally.parts,
        "dead letters": 0,
    }


def counted(store: Store) -> dict[str, int]:
    """The same figures, as the store holds them."""
    questions = {
        "samples": "SELECT count() FROM signals",
        "states": "SELECT countIf(kind = 'state') FROM machine_events",
        "contexts": "SELECT uniqExactIf((machine, ts, source, epoch, sequence), kind = 'context') FROM machine_events",
        "events": "SELECT countIf(kind IN ('condition', 'message')) FROM machine_events",
        "parts": "SELECT sum(total) FROM facts",
        "dead letters": "SELECT count() FROM parked",
    }
    return {name: int(store.query(question).result_rows[0][0]) for name, question in questions.items()}


def same(store: Store, name: str, folder: Path) -> tuple[int, list[str]]:
    """How many rows the replay wrote into a table, and which of them differ from the store's in any column."""
    view, keys = TABLES[name]
    wanted = pq.read_table(folder / f"{name}.parquet")
    columns = [
        column for column in wanted.column_names if column not in LATER or (column == "reason" and name == "intervals")
    ]
    got = store.arrow(f"SELECT {', '.join(f'`{column}`' for column in columns)} FROM {view}")
    want, have = (by_key(table, columns, keys) for table in (wanted, got))
    differ = [key for key in want.keys() | have.keys() if want.get(key) != have.get(key)]
    told = [f"{name} {key}: replay {want.get(key)}, store {have.get(key)}" for key in sorted(differ, key=str)[:3]]
    return len(want), [f"{name}: {len(differ)} of {len(want)} rows differ", *told] if differ else []


def by_key(table: Any, columns: Sequence[str], keys: Sequence[str]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Rows by key, instants and dates as numbers."""
    plain = {column: compare.plain(table.column(column)) for column in columns}
    lists = zip(*(plain[column] for column in columns), strict=True)
    return dict(zip(zip(*(plain[key] for key in keys), strict=True), lists, strict=True))


def main() -> int:
    """All files through a stack of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--home", type=Path, help="folder of the stack; default: a temporary one")
    given = parser.parse_args()
    files = [path for machine in MACHINES for path in sorted((given.data / machine).glob("*.txt.gz"))]
    if not files:
        print(f"no logs in {given.data}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as temporary:
        return run(files, given.data, given.home or Path(temporary) / "home", Path(temporary))


def run(files: Sequence[Path], data: Path, home: Path, folder: Path) -> int:
    """Put the files through a stack of its own, print the comparison."""
    with own_stack(home) as placed:
        outcome = through(load({**placed, "partitions": 4}, {}), files, data, folder)
    print(outcome.said)
    for name, figure in outcome.expected.items():
        print(f"{name:<12}{figure:>12,} read {outcome.found[name]:>12,} stored")
    for name, figure in outcome.rows.items():
        print(f"{name:<12}{figure:>12,} rows of the replay compared with the store, column by column")
    print(", ".join(f"{name} {value:.1f} s" for name, value in outcome.seconds.items()))
    for line in outcome.differences or ["no difference"]:
        print(line)
    return 1 if outcome.differences else 0


if __name__ == "__main__":
    sys.exit(main())
