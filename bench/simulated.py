"""A simulated week of 12 machines through the whole line, against the simulator's truth: every row, every integer.

    python bench/simulated.py [--hours 168] [--dirt "" --dirt repeat=0.02,shuffle] [--home DIR] [OPTIONS OF SIMULATE]

Starts a stack of its own (Kafka and the store); for each --dirt a line of its own with two workers and a sink. Exit
code 1 when any integer column of any row differs. tests/live/test_simulated_line.py does the same with a few hours.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nist import RESULTS, ROOT, command, lag, start, wait

from pipeline import compare, topics
from pipeline.settings import Settings, load
from pipeline.store.client import Store
from pipeline.store.migrate import migrate

LONGEST_S = 3600.0


@dataclass
class Outcome:
    """What the store holds against the truth; seconds since the start; what `simulate` said."""

    comparison: compare.Comparison
    said: str
    codes: list[int]
    seconds: dict[str, float] = field(default_factory=dict)


def through(settings: Settings, folder: Path, arguments: Sequence[str], within_s: float = LONGEST_S) -> Outcome:
    """Simulate into a new line with two workers and a sink; compare the store's final facts with the truth."""
    topics.ensure(settings)
    migrate(settings)
    running = [start(settings, name, folder) for name in ("worker", "worker", "sink")]
    seconds = {}
    try:
        began = time.monotonic()
        said = command(settings, "simulate", f"--truth={folder}", *arguments)
        seconds["simulated"] = time.monotonic() - began
        for group, names in ((topics.WORKER_GROUP, RESULTS[:1]), (topics.SINK_GROUP, RESULTS)):
            wait(
                lambda group=group, names=names: lag(settings, group, names) == 0, running, within_s, f"lag of {group}"
            )
            seconds[group.removeprefix("openoee-")] = time.monotonic() - began
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
        codes = [process.wait(60) for process in running]
    store = Store(settings)
    try:
        comparison = compare.with_truth(store, folder / "oee_facts.parquet")
    finally:
        store.close()
    return Outcome(comparison, said, codes, seconds)


def main() -> int:
    """One line after the other on one stack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", default="168")
    parser.add_argument("--dirt", action="append", help='default: "" and repeat=0.02,shuffle')
    parser.add_argument("--home", type=Path, help="folder of the stack; default: a temporary one")
    given, more = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = given.home or Path(temporary) / "home"
        return run([f"--hours={given.hours}", *more], given.dirt or ["", "repeat=0.02,shuffle"], home, Path(temporary))


def run(arguments: Sequence[str], dirts: Sequence[str], home: Path, folder: Path) -> int:
    """Start a stack, run a line per dirt, print what came of it."""
    from pipeline.local.machine import free_port
    from pipeline.local.stack import Stack

    home.mkdir(parents=True, exist_ok=True)
    if not (home / "lib").exists():
        (home / "lib").symlink_to(ROOT / ".openoee/lib")
    kafka, store = free_port(), free_port()
    placed = {"home": str(home), "kafka": f"127.0.0.1:{kafka}", "store": f"http://127.0.0.1:{store}"}
    stack = Stack(load({**placed, "partitions": 4}, {}))
    stack.up(print)
    wrong = 0
    try:
        for number, dirt in enumerate(dirts):
            mine = folder / str(number)
            mine.mkdir()
            names = {"topic_prefix": f"line{number}.", "database": f"line{number}", "partitions": 4}
            outcome = through(load({**placed, **names}, {}), mine, [*arguments, f"--dirt={dirt}"])
            print(f"--dirt {dirt!r}\n{outcome.said}{outcome.comparison}")
            print(", ".join(f"{name} {value:.1f} s" for name, value in outcome.seconds.items()))
            wrong += bool(outcome.comparison.differences) + any(outcome.codes)
    finally:
        stack.stop()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
