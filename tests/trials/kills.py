"""kill -9 of a worker or the sink at random instants under load: the facts equal the truth even so.

    python tests/trials/kills.py [--kills 20] [--seed N] [--home DIR]

Two simulated days, repeated and shuffled, at a pace at which the load outlasts the kills; two workers and a sink on a
stack of their own. Exit code 1 when any integer column of any row differs from the truth, or an offset is stuck.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

from line import PROCESSES, ROOT, Line, environment, own_stack

from pipeline import compare
from pipeline.settings import load
from pipeline.store.client import Store

PLANT = ("--site=kills", "--hours=48", "--signal-period=10", "--dirt=repeat=0.01,shuffle", "--speed=800")


def main() -> int:
    """The trial, its seed first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--home", type=Path, help="folder of the stack; default: a temporary one")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        return run(given.kills, given.seed, given.home or Path(temporary) / "home", Path(temporary))


def run(kills: int, seed: int, home: Path, folder: Path) -> int:
    """Start stack and line, kill, wait until everything is stored, compare."""
    chance, killed = random.Random(seed), Counter[str]()
    with own_stack(home) as placed:
        settings = load({**placed, "snapshot_s": 1, "session_s": 6, "sink_ms": 200}, {})
        with Line(settings, folder) as line:
            argv = [sys.executable, "-m", "pipeline", "simulate", f"--truth={folder}", f"--seed={seed}", *PLANT]
            plant = subprocess.Popen(argv, env=environment(settings), cwd=ROOT)
            for _ in range(kills):
                time.sleep(chance.uniform(1.0, 9.0))  # the instant of the kill is what is tried
                victim = chance.choice(list(PROCESSES))
                line.kill(victim)
                line.start(victim)
                killed[victim] += 1
            if plant.poll() is not None:
                raise RuntimeError("the load ended before the last kill: this proves nothing")
            if plant.wait(900):
                raise RuntimeError(f"openoee simulate ended with {plant.returncode}")
            line.caught_up(within_s=300)
        with closing(Store(settings)) as store:
            told = compare.with_truth(store, folder / "oee_facts.parquet")
    print(f"killed {dict(killed)}: {told}")
    return 1 if told.differences or any(line.codes) else 0


if __name__ == "__main__":
    sys.exit(main())
