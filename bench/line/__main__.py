"""`python -m bench.line`: sink, latency, growth and dashboards, on one Kafka and one store; prints tables."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.line import dashboards, growth, latency, sink
from bench.line.place import Place, whole
from bench.line.report import tables
from bench.speed.broker import PLACE
from bench.speed.report import environment

FULL = 5  # times as much


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _sink(place: Place, times: int) -> list[dict[str, Any]]:
    return [sink.measure(place, samples, values * times, say) for samples, values in sink.VALUES.items()]


def _latency(place: Place, times: int) -> dict[str, Any]:
    return latency.measure(place, 60.0 * times, say)


def _growth(place: Place, times: int) -> list[dict[str, Any]]:
    values = 4_000_000 * times
    found = [growth.measure(place, machines, values, detect=False, report=say) for machines in growth.MACHINES]
    found.append(growth.measure(place, 1000, values, detect=True, report=say))
    found.append(growth.measure(place, 1000, values, detect=False, report=say, workers=2))
    return found


def _dashboards(place: Place, times: int) -> dict[str, Any]:
    return dashboards.measure(place, 20_000_000 * times, say)


PARTS: dict[str, Callable[[Place, int], Any]] = {
    "sink": _sink, "latency": _latency, "growth": _growth, "dashboards": _dashboards,
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.line", description=__doc__)
    parser.add_argument("--only", action="append", choices=PARTS, help="only this part; may be repeated")
    parser.add_argument("--full", action="store_true", help=f"{FULL} times as much")
    parser.add_argument("--json", type=Path, help="write every figure into this file too")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as an exception, so that everything is ended too
    PLACE.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    with whole(say, PLACE / "line.log") as place:
        for name in asked.only or PARTS:
            found[name] = PARTS[name](place, FULL if asked.full else 1)
            print(tables({name: found[name]}) + "\n", flush=True)
    print(environment())
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1))
    wrong = [row for row in [*found.get("sink", []), found.get("dashboards", {"right": True})] if not row["right"]]
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
