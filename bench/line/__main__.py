"""`python -m bench.line`: sink, latency, growth and dashboards, on one Kafka and one store; prints tables."""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.ending import end_as_exception
from bench.line import dashboards, growth, latency, sink
from bench.line.place import Place, whole
from bench.line.report import tables, wrong
from bench.speed.broker import PLACE
from bench.speed.report import environment

FULL = 5  # times as much
GROWTH_VALUES, DASHBOARD_VALUES, LATENCY_S = 4_000_000, 20_000_000, 120.0


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _sink(place: Place, times: float) -> list[dict[str, Any]]:
    return [sink.measure(place, samples, round(values * times), say) for samples, values in sink.VALUES.items()]


def _latency(place: Place, times: float) -> dict[str, Any]:
    return latency.measure(place, LATENCY_S * times, say)


def _growth(place: Place, times: float) -> list[dict[str, Any]]:
    return [growth.measure(place, load, round(GROWTH_VALUES * times), say) for load in growth.LOADS]


def _dashboards(place: Place, times: float) -> dict[str, Any]:
    return dashboards.measure(place, round(DASHBOARD_VALUES * times), say)


PARTS: dict[str, Callable[[Place, float], Any]] = {
    "sink": _sink, "latency": _latency, "growth": _growth, "dashboards": _dashboards,
}  # fmt: skip


def measured(place: Place, name: str, times: float) -> Any:
    """The result of a part; when it fails, why: the others are measured all the same."""
    try:
        return PARTS[name](place, times)
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.line", description=__doc__)
    parser.add_argument("--only", action="append", choices=PARTS, help="only this part; may be repeated")
    parser.add_argument("--full", action="store_true", help=f"{FULL} times as much")
    parser.add_argument("--times", type=float, default=1.0, help="so many times as much; below 1 to try it out")
    parser.add_argument("--json", type=Path, help="write every figure into this file too")
    asked = parser.parse_args()
    end_as_exception()
    PLACE.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    with whole(say, PLACE / "line.log") as place:
        for name in asked.only or PARTS:
            found[name] = measured(place, name, asked.times * (FULL if asked.full else 1))
            print(tables({name: found[name]}) + "\n", flush=True)
            if asked.json:
                asked.json.write_text(json.dumps(found, indent=1))
    print(environment())
    if bad := wrong(found):
        say(f"wrong or failed: {', '.join(bad)}")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
