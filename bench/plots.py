"""The figures of bench.speed and bench.line as pictures: `python -m bench.plots DIR SPEED.json LINE.json`.

Runs in the peers' environment, which has matplotlib; `make bench` calls it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

OURS, THEIRS, HAND = "#d1495b", "#30638e", "#9aa5b1"
COLOURS = {"ours": OURS, "hand": HAND}


def contenders(rows: list[dict[str, Any]], axes: Any) -> None:
    """Values per CPU second of everybody, one group of bars per length of frame."""
    lengths = sorted({row["samples"] for row in rows})
    for place, (samples, ax) in enumerate(zip(lengths, axes, strict=True)):
        own = sorted((row for row in rows if row["samples"] == samples and measurable(row)), key=pace)
        ax.barh([row["name"] for row in own], [pace(row) / 1e6 for row in own],
                color=[COLOURS.get(row["kind"], THEIRS) for row in own])  # fmt: skip
        ax.set_title(f"frames of {samples} sample{'s' * (samples > 1)}")
        ax.set_xlabel("million values per CPU second")
        ax.tick_params(axis="y", labelsize=8)
        ax.spines[["top", "right"]].set_visible(False)
        for at, row in enumerate(own):
            ax.text(pace(row) / 1e6, at, f" {pace(row) / 1e6:.2f}", va="center", fontsize=8)
        ax.margins(x=0.15)
        ax.set_axisbelow(place >= 0)


def measurable(row: dict[str, Any]) -> bool:
    """Whether it answered, and took enough beyond its start (as bench.speed.report has it)."""
    start = (row["start"] or {"cpu_s": 0.0})["cpu_s"]
    return bool(row["verdict"]) and row["spent"]["cpu_s"] - start > 0.3 * start


def pace(row: dict[str, Any]) -> float:
    """Values per CPU second beyond the start."""
    return float(row["values"] / max(0.01, row["spent"]["cpu_s"] - (row["start"] or {"cpu_s": 0.0})["cpu_s"]))


def growth(rows: list[dict[str, Any]], ax: Any) -> None:
    """CPU per value as the number of machines grows: level means linear."""
    plain = sorted((r["machines"], r["us_per_value"]) for r in rows if r["workers"] == 1 and not r["detect"])
    ax.plot(*zip(*plain, strict=True), "o-", color=OURS)
    ax.set_xscale("log")
    ax.set_ylim(0, 1.3 * max(cost for _, cost in plain))
    ax.set_xlabel("machines")
    ax.set_ylabel("CPU microseconds per value")
    ax.set_title("cost as the plant grows (frames of 10 samples): level is linear")
    ax.spines[["top", "right"]].set_visible(False)


def latency(found: dict[str, Any], ax: Any) -> None:
    """How long a sample takes from the producer to an answer in SQL."""
    ax.hist(found["all"], bins=40, color=OURS)
    for part in (50, 99):
        ax.axvline(found[f"p{part}_s"], color=THEIRS, linestyle="--")
        ax.text(found[f"p{part}_s"], ax.get_ylim()[1] * 0.95, f" p{part}", color=THEIRS, va="top")
    ax.set_xlabel("seconds from producer to SQL")
    ax.set_ylabel("frames")
    ax.set_title(f"{found['values_per_s']:,} values a second")
    ax.spines[["top", "right"]].set_visible(False)


def save(folder: Path, name: str, size: tuple[float, float], count: int, draw: Callable[[Any], None]) -> None:
    """Draw into one picture."""
    figure, axes = plt.subplots(1, count, figsize=size, layout="constrained")
    draw(axes)
    figure.savefig(folder / f"{name}.png", dpi=110)
    plt.close(figure)


def main() -> None:
    folder, speed, line = (Path(argument) for argument in sys.argv[1:4])
    folder.mkdir(parents=True, exist_ok=True)
    rows, found = json.loads(speed.read_text()), json.loads(line.read_text())
    lengths = len({row["samples"] for row in rows})
    save(folder, "contenders", (5.2 * lengths, 3.6), lengths,
         lambda axes: contenders(rows, [axes] if lengths == 1 else axes))  # fmt: skip
    save(folder, "growth", (6, 3.6), 1, lambda ax: growth(found["growth"], ax))
    save(folder, "latency", (6, 3.6), 1, lambda ax: latency(found["latency"], ax))


if __name__ == "__main__":
    main()
