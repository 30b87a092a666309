"""A simulated week of 12 machines through the whole line, against the simulator's truth: every row, every integer.

    python tests/trials/simulated.py [--hours 168] [--dirt ""] [--dirt shuffle] [--home DIR] [OPTIONS OF SIMULATE]

Starts a stack of its own (Kafka and the store); for each --dirt a line of its own with two workers and a sink. Exit
code 1 when any integer column of any row differs. tests/live/test_simulated_line.py does the same with a few hours.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from line import Line, command, own_stack

from pipeline import compare
from pipeline.settings import Settings, load
from pipeline.store.client import Store

LONGEST_S = 3600.0
EVERY_DIRT = "repeat=0.02,shuffle,late=0.01,gaps=4,resets=6,clock=0.01"
DIRTS = ("", "repeat=0.02,shuffle", EVERY_DIRT)


@dataclass
class Outcome:
    """What the store holds against the truth; seconds since the start; what `simulate` said."""

    comparison: compare.Comparison
    said: str
    codes: list[int]
    seconds: dict[str, float] = field(default_factory=dict)


def through(settings: Settings, folder: Path, arguments: Sequence[str], within_s: float = LONGEST_S) -> Outcome:
    """Simulate into a new line with two workers and a sink; compare the store's final facts with the truth."""
    seconds = {}
    with Line(settings, folder) as line:
        began = time.monotonic()
        said = command(settings, "simulate", f"--truth={folder}", *arguments)
        seconds["simulated"] = time.monotonic() - began
        line.caught_up(within_s)
        seconds["stored"] = time.monotonic() - began
    store = Store(settings)
    try:
        comparison = compare.with_truth(store, folder / "oee_facts.parquet")
    finally:
        store.close()
    return Outcome(comparison, said, line.codes, seconds)


def main() -> int:
    """One line after the other on one stack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", default="168")
    parser.add_argument("--dirt", action="append", help=f"default: {', '.join(map(repr, DIRTS))}")
    parser.add_argument("--home", type=Path, help="folder of the stack; default: a temporary one")
    given, more = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = given.home or Path(temporary) / "home"
        return run([f"--hours={given.hours}", *more], given.dirt or DIRTS, home, Path(temporary))


def run(arguments: Sequence[str], dirts: Sequence[str], home: Path, folder: Path) -> int:
    """A line per dirt on a stack of its own; print what came of it."""
    wrong = 0
    with own_stack(home) as placed:
        for number, dirt in enumerate(dirts):
            mine = folder / str(number)
            mine.mkdir()
            names = {"topic_prefix": f"line{number}.", "database": f"line{number}", "partitions": 4}
            outcome = through(load({**placed, **names}, {}), mine, [*arguments, f"--dirt={dirt}"])
            print(f"--dirt {dirt!r}\n{outcome.said}{outcome.comparison}")
            print(", ".join(f"{name} {value:.1f} s" for name, value in outcome.seconds.items()), flush=True)
            wrong += bool(outcome.comparison.differences) + any(outcome.codes)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
