"""The figures of `python -m bench` as pictures: `python -m bench.plots DIR FIGURES.json ...`; what lacks is left out.

The files of bench.speed and bench.line do as well as that of the whole. Runs in the peers' environment, which has
matplotlib; `make bench` calls it.
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
P50_GOAL_S, P99_GOAL_S = 0.5, 2.0


def contenders(rows: list[dict[str, Any]], axes: Any) -> None:
    """Values per CPU second of everybody, one group of bars per length of frame."""
    for samples, ax in zip(sorted({row["samples"] for row in rows}), axes, strict=True):
        own = sorted((row for row in rows if row["samples"] == samples and measurable(row)), key=pace)
        colours = [COLOURS.get(row["kind"], THEIRS) for row in own]
        ax.barh([row["name"] for row in own], [pace(row) / 1e6 for row in own], color=colours)
        ax.set_title(f"frames of {samples} sample{'s' * (samples > 1)}")
        ax.set_xlabel("million values per CPU second")
        ax.tick_params(axis="y", labelsize=8)
        for at, row in enumerate(own):
            ax.text(pace(row) / 1e6, at, f" {pace(row) / 1e6:.2f}", va="center", fontsize=8)
        ax.margins(x=0.15)


def measurable(row: dict[str, Any]) -> bool:
    """Whether it answered rightly, and took enough beyond its start (as bench.speed.report has it)."""
    start, verdict = (row["start"] or {"cpu_s": 0.0})["cpu_s"], row["verdict"]
    right = bool(verdict) and not verdict["wrong"] + verdict["missing"] and not row["spent"]["error"]
    return right and row["spent"]["cpu_s"] - start > 0.3 * start


def pace(row: dict[str, Any]) -> float:
    """Values per second of CPU beyond the start."""
    return float(row["values"] / max(0.01, row["spent"]["cpu_s"] - (row["start"] or {"cpu_s": 0.0})["cpu_s"]))


def growth(rows: list[dict[str, Any]], axes: Any) -> None:
    """CPU per value and memory as the number of machines grows, with what differs beside the line."""
    plain = [row for row in rows if row["workers"] == 1 and not row["detect"] and row["rate"] == 1]
    plain.sort(key=lambda row: int(row["machines"]))
    machines = [row["machines"] for row in plain]
    cost, memory = axes
    cost.plot(machines, [row["us_per_value"] for row in plain], "o-", color=OURS, label="one worker")
    for row in rows:
        if row not in plain:
            cost.plot(row["machines"], row["us_per_value"], "s", color=THEIRS)
            cost.annotate(f"  {what(row)}", (row["machines"], row["us_per_value"]), fontsize=8, va="center")
    cost.set_title("cost as the plant grows: level is linear")
    cost.set_ylabel("CPU microseconds per value")
    cost.set_ylim(0, 1.2 * max(row["us_per_value"] for row in rows))
    cost.legend(frameon=False, loc="lower right")
    memory.plot(machines, [row["mib"] for row in plain], "o-", color=OURS, label="after a full topic")
    memory.plot(machines, [row["idle_mib"] for row in plain], "o--", color=HAND, label="before")
    memory.set_title("memory of one worker")
    memory.set_ylabel("MiB")
    memory.set_ylim(0)
    memory.legend(frameon=False, loc="lower right")
    cost.set_xscale("log")
    cost.set_xlim(min(machines) / 1.5, max(machines) * 3)
    for ax in axes:
        ax.set_xlabel("machines")


def what(row: dict[str, Any]) -> str:
    """How a run differs from the plain ones."""
    if row["workers"] > 1:
        return f"{row['workers']} workers"
    return "detectors" if row["detect"] else f"{row['rate']} samples/s"


def latency(found: dict[str, Any], axes: Any) -> None:
    """How long a sample takes from the producer to an answer in SQL, and a final minute from its last frame."""
    facts = found["facts"]
    titles = (f"a sample, at {found['values_per_s']:,.0f} values/s", "a final minute")
    for ax, part, title in zip(axes, (found, facts), titles, strict=True):
        ax.set_title(title)
        ax.set_xlabel("seconds until SQL shows it")
        ax.set_ylabel("frames" if part is found else "minutes of machines")
        if not part["all"]:
            ax.text(0.5, 0.5, "none in this run", ha="center", transform=ax.transAxes)
            continue
        ax.hist(part["all"], bins=40, color=OURS)
        for name in ("p50", "p99"):
            ax.axvline(part[f"{name}_s"], color=THEIRS, linestyle="--")
            ax.text(part[f"{name}_s"], ax.get_ylim()[1], f" {name}", color=THEIRS, va="top")
    for name, goal in (("p50", P50_GOAL_S), ("p99", P99_GOAL_S)):
        axes[0].axvline(goal, color=HAND)
        middle = 0.5 * axes[0].get_ylim()[1]
        axes[0].text(goal, middle, f"goal of {name}", color=HAND, fontsize=8, rotation=90, ha="right")
    for ax in axes:
        ax.set_xlim(0)


def soak(found: dict[str, list[float]], axes: Any) -> None:
    """Memory, lag, file handles and parts of the store over hours of load."""
    hours = [at / 3600 for at in found["at"]]
    for ax, word in zip(axes, ("MiB", "lag", "handles", "parts"), strict=True):
        for (name, values), colour in zip(
            ((name, values) for name, values in found.items() if word in name), (OURS, THEIRS, HAND), strict=False
        ):
            ax.plot(hours, values, color=colour, linewidth=1, label=name.removesuffix(f" {word}"))
        ax.set_title({"MiB": "memory, MiB", "lag": "records behind", "handles": "file handles", "parts": "parts"}[word])
        ax.set_xlabel("hours")
        ax.set_ylim(0)
        ax.legend(frameon=False, fontsize=8)


def save(folder: Path, name: str, size: tuple[float, float], count: int, draw: Callable[[Any], None]) -> None:
    """Draw into one picture of so many parts side by side."""
    figure, axes = plt.subplots(1, count, figsize=size, layout="constrained", squeeze=False)
    draw(axes[0])
    for ax in axes[0]:
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(folder / f"{name}.png", dpi=100)
    plt.close(figure)


def main() -> None:
    folder, found = Path(sys.argv[1]), dict[str, Any]()
    for file in sys.argv[2:]:
        figures = json.loads(Path(file).read_text())
        found |= figures if isinstance(figures, dict) else {"speed": figures}
    folder.mkdir(parents=True, exist_ok=True)
    there = {name: part for name, part in found.items() if part and not (isinstance(part, dict) and "error" in part)}
    if rows := there.get("speed"):
        lengths = len({row["samples"] for row in rows})
        save(folder, "contenders", (5.2 * lengths, 3.6), lengths, lambda axes: contenders(rows, axes))
    if "growth" in there:
        save(folder, "growth", (10, 3.6), 2, lambda axes: growth(there["growth"], axes))
    if "soak" in there:
        save(folder, "soak", (16, 3.4), 4, lambda axes: soak(there["soak"], axes))
    if "latency" in there:
        save(folder, "latency", (10, 3.6), 2, lambda axes: latency(there["latency"], axes))


if __name__ == "__main__":
    main()
