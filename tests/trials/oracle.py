"""Generated days of one machine: the engine against a slow oracle that shares no code with it, every row and column.

    python tests/trials/oracle.py [--days 10000] [--seed 1] [--first 0] [--spare ""]

Day n of a seed is always the same. Prints how far it has come, how many days agree, and the first that does not, with
everything that makes it again; exit code 1 then. --spare says what is left out of the days (oracle_plants.SPARED).
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # this file, too, is called oracle

from oracle_compare import difference, told  # noqa: E402
from oracle_days import day  # noqa: E402
from oracle_plants import SPARED  # noqa: E402


def main() -> int:
    """Compare day after day, to the end of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first day")
    parser.add_argument("--spare", default=",".join(sorted(SPARED)), help="what is left out, with commas between")
    given = parser.parse_args()
    spared, began, agreed, differing = given.spare.split(","), time.monotonic(), 0, list[int]()
    for number in range(given.first, given.first + given.days):
        one = day(random.Random(f"{given.seed}:{number}"), spared=spared)
        found = difference(one)
        agreed += found is None
        if found is not None:
            differing.append(number)
            if len(differing) == 1:
                print(f"seed {given.seed}, day {number}: {found}\n{told(one)}", flush=True)
        compared = number - given.first + 1
        if compared % 500 == 0 or compared == given.days:
            took = time.monotonic() - began
            print(f"{compared} days, {agreed} agree, {took:.0f} s; others: {differing[:20]}", flush=True)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
