"""Every fault that the line must survive, tried for real: `make faults`, or

    python tests/faults [--row N ...] [--rounds R] [--seed S] [--quick] [--home DIR] [--out DIR]

Real processes, a real broker, a real store; seeded. A round passes only when the fault was seen to happen and the
store holds what follows from the log. Prints a table; exit code 1 when a round failed or a control was not found out.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "live"), str(Path(__file__).parents[2])]

from book import BOOK, FAIL, PASS, Fault, Outcome, table  # noqa: E402
from rounds import Places, run_round  # noqa: E402

FIGURES = Path(__file__).parents[2] / ".openoee" / "faults"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", type=int, action="append", help="only this fault; may be repeated")
    parser.add_argument("--rounds", type=int, help="rounds of each, instead of its own number")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 20), help="of the first round of each")
    parser.add_argument("--quick", action="store_true", help="one round of those that `make test` runs")
    parser.add_argument("--home", type=Path, help="folder of the stacks; default: a temporary one")
    parser.add_argument("--out", type=Path, default=FIGURES, help="folder for the table, the figures and the logs")
    asked = parser.parse_args()
    wanted = [one for one in BOOK if (not asked.row or one.number in asked.row) and (one.quick or not asked.quick)]
    asked.out.mkdir(parents=True, exist_ok=True)
    print(f"seed {asked.seed}", flush=True)
    with tempfile.TemporaryDirectory() as temporary, Places(asked.home or Path(temporary)) as places:
        outcomes = run(wanted, places, asked.seed, 1 if asked.quick else asked.rounds, asked.out)
    print(table(outcomes))
    (asked.out / "faults.md").write_text(table(outcomes) + "\n")
    (asked.out / "faults.json").write_text(json.dumps([asdict(one) for one in outcomes], indent=1))
    return 1 if any(not fine(one) for one in outcomes) else 0


def run(wanted: Sequence[Fault], places: Places, seed: int, rounds: int | None, out: Path) -> list[Outcome]:
    """All rounds of all faults, each told as it ends."""
    outcomes = []
    for one in sorted(wanted, key=lambda one: one.number):
        tries = [(seed + turn, False) for turn in range(rounds or one.rounds)]
        tries += [(seed, True)] if one.control else []
        for number, control in tries:
            outcome = run_round(one, places, number, out / "logs", control)
            outcomes.append(outcome)
            what = "; ".join([*outcome.seen, *outcome.wrong])
            kind = "control" if control else "round"
            verdict = outcome.verdict if fine(outcome) else f"** {outcome.verdict} **"
            print(
                f"{one.number:2} {one.name}, {kind}, seed {number}, {outcome.seconds:.0f} s: {verdict}: {what}",
                flush=True,
            )
    return outcomes


def fine(outcome: Outcome) -> bool:
    """A round that passed, or a control whose fault was found out."""
    return outcome.verdict == (FAIL if outcome.control else PASS)


if __name__ == "__main__":
    sys.exit(main())
