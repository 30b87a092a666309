"""What was measured of the whole line, as tables in Markdown beside the goals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

SINK_GOAL, BYTES_GOAL = 500_000, 1.0  # values/s, bytes per value
P50_GOAL_S, P99_GOAL_S = 0.5, 2.0
WORKERS_GOAL = 1.15
MEMORY_GOAL_KB = 50.0
PANEL_GOAL_S = 0.1
SIGNALS = 20
Row = dict[str, Any]


def tables(found: dict[str, Any]) -> str:
    """Every part that was measured; a part that failed says so."""
    parts: dict[str, Callable[[Any], str]] = {
        "sink": _sink, "latency": _latency, "growth": _growth, "dashboards": _dashboards,
    }  # fmt: skip
    return "\n\n".join(
        f"### {name}: **failed**: {found[name]['error']}" if failed(found[name]) else write(found[name])
        for name, write in parts.items()
        if name in found
    )


def failed(part: Any) -> bool:
    """Whether a part ended before it had a result."""
    return isinstance(part, dict) and "error" in part


def wrong(found: dict[str, Any]) -> list[str]:
    """Parts that failed, or with a result that differs from the truth."""
    return [name for name, part in found.items() if failed(part) or not all(row["right"] for row in _rows(part))]


def met(is_met: bool) -> str:
    return "met" if is_met else "**missed**"


def _rows(part: Any) -> list[Row]:
    return part if isinstance(part, list) else [part]


def _table(title: str, head: Sequence[str], rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return "\n".join([f"### {title}", "", lines[0], "|---" * len(head) + "|", *lines[1:]])


def _right(is_right: bool) -> str:
    return "yes" if is_right else "**NO**"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _sink(rows: list[Row]) -> str:
    return _table(
        "Sink: telemetry into the store; the sink on one core, the store on the other",
        ("samples per frame", "values/s", "wall", "CPU s of the sink", "CPU s of the store", "bytes per value on disk",
         "stored", "right", "goals"),
        [
            [
                str(row["samples"]), f"{row['values_per_s'] / 1e3:,.0f} k", f"{row['wall_s']:.1f} s",
                f"{row['sink_cpu_s']:.1f}", f"{row['store_cpu_s']:.1f}", f"{row['bytes_per_value']:.2f}",
                f"{row['stored']:,} of {row['values']:,}", _right(row["right"]),
                f"500 k/s {met(row['values_per_s'] >= SINK_GOAL)}, 1 B {met(row['bytes_per_value'] <= BYTES_GOAL)}",
            ]
            for row in rows
        ],
    )  # fmt: skip


def _latency(row: Row) -> str:
    quick = row["p50_s"] is not None and row["p50_s"] <= P50_GOAL_S and row["p99_s"] <= P99_GOAL_S
    head = ("what", "p50", "p95", "p99", "longest", "measured", "goal 0.5 s / 2 s")
    keys, facts = ("p50_s", "p95_s", "p99_s", "most_s"), row["facts"]
    table = _table(
        f"From the producer to SQL, {row['values_per_s']:,.0f} values/s, worker and sink running",
        head,
        [
            ["a sample", *(_seconds(row[key]) for key in keys), f"{row['frames']:,} frames",
             met(quick and row["right"])],
            ["a final minute, from the frame that ends it", *(_seconds(facts[key]) for key in keys),
             f"{facts['minutes']:,} minutes", "none set"],
        ],
    )  # fmt: skip
    return (
        f"{table}\n\nRight: {_right(row['right'])} ({row['lost']:,} not seen; asked for"
        f" {row['goal_values_per_s']:,} values/s). Worker and sink took {row['line_cores']:.2f} cores, the store"
        f" {row['store_cores']:.2f}; a look took {row['look_s'] * 1000:.0f} ms and is part of the latency."
    )


def _growth(rows: list[Row]) -> str:
    table = _table(
        "The worker as work grows (frames of 10 samples, 20 signals)",
        ("machines", "samples/s each", "workers", "detectors", "values", "us per value", "us per frame", "MiB",
         "MiB before", "right"),
        [
            [
                f"{row['machines']:,}", str(row["rate"]), str(row["workers"]), "yes" if row["detect"] else "no",
                f"{row['values']:,}", f"{row['us_per_value']:.2f}", f"{row['us_per_frame']:.0f}",
                f"{row['mib']:.0f}", f"{row['idle_mib']:.0f}", row["verdict"],
            ]
            for row in rows
        ],
    )  # fmt: skip
    lines = [table, *_memory(rows), *_linear(rows)]
    if (ratio := two_against_one(rows)) is not None:
        least = next(row["least_share"] for row in rows if row["workers"] == 2)
        lines.append(
            f"Two workers against one: {ratio:.2f} times the CPU per value (goal 1.15: {met(ratio <= WORKERS_GOAL)});"
            f" the one with less to do took {least:.0%} of it."
        )
    return "\n\n".join(lines)


def _memory(rows: list[Row]) -> list[str]:
    lines = []
    if (memory := kb_per_machine(rows)) is not None:
        lines.append(
            f"Memory: {memory:.0f} KB per machine, detectors aside (goal 50: {met(memory <= MEMORY_GOAL_KB)})."
        )
    if (detectors := kb_of_detectors(rows)) is not None:
        lines.append(f"Detectors: {detectors:.1f} KB per signal on top.")
    return lines


def _linear(rows: list[Row]) -> list[str]:
    plain = plain_rows(rows)
    if len(plain) < 2:
        return []
    most, fewest = plain[-1], plain[0]
    return [
        f"Cost per value with {most['machines']:,} machines over that with {fewest['machines']:,}:"
        f" {most['us_per_value'] / fewest['us_per_value']:.2f} (linear is 1)."
    ]


def plain_rows(rows: list[Row]) -> list[Row]:
    """One worker without detectors, a sample a second: what is compared as machines become more."""
    plain = [row for row in rows if row["workers"] == 1 and not row["detect"] and row["rate"] == 1]
    return sorted(plain, key=lambda row: int(row["machines"]))


def kb_per_machine(rows: list[Row]) -> float | None:
    """Memory of one worker without detectors that each machine more takes, in KB; None: not measured.

    >>> alike = {"workers": 1, "detect": False, "rate": 1}
    >>> kb_per_machine([{**alike, "machines": n, "mib": 100 + n / 16} for n in (16, 1616)])
    64.0
    """
    plain = plain_rows(rows)
    if len(plain) < 2:
        return None
    fewest, most = plain[0], plain[-1]
    return float((most["mib"] - fewest["mib"]) * 1024 / (most["machines"] - fewest["machines"]))


def kb_of_detectors(rows: list[Row]) -> float | None:
    """Memory that detectors take per signal, in KB, from two runs of the same machines; None: not measured."""
    for row in rows:
        alike = [one for one in plain_rows(rows) if row["detect"] and one["machines"] == row["machines"]]
        if alike:
            return float((row["mib"] - alike[0]["mib"]) * 1024 / (row["machines"] * SIGNALS))
    return None


def two_against_one(rows: list[Row]) -> float | None:
    """CPU per value of two workers over that of one, on the same machines; None: not measured."""
    two = next((row for row in rows if row["workers"] == 2), None)
    alike = [
        row for row in rows
        if two and row["workers"] == 1 and all(row[key] == two[key] for key in ("machines", "rate", "detect", "values"))
    ]  # fmt: skip
    return float(two["us_per_value"] / alike[0]["us_per_value"]) if two and alike else None


def _dashboards(found: Row) -> str:
    return _table(
        f"Dashboard questions over {found['rows']:,} values made by SQL, {found['bytes_per_value']:.2f} bytes each",
        ("question", "p50", "p95", "right", "goal 100 ms"),
        [
            [name, f"{one['p50_s'] * 1000:.0f} ms", f"{one['p95_s'] * 1000:.0f} ms", _right(one["right"]),
             met(one["p95_s"] <= PANEL_GOAL_S)]
            for name, one in found["panels"].items()
        ],
    )  # fmt: skip
