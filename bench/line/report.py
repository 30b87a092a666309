"""What was measured of the whole line, as tables in Markdown beside the goals."""

from __future__ import annotations

from typing import Any

SINK_GOAL, BYTES_GOAL = 500_000, 1.0  # values/s, bytes per value
P50_GOAL_S, P99_GOAL_S = 0.5, 2.0
WORKERS_GOAL = 1.15
MEMORY_GOAL_KB = 50.0
PANEL_GOAL_MS = 100.0


def tables(found: dict[str, Any]) -> str:
    """Every part that was measured."""
    parts = {"sink": _sink, "latency": _latency, "growth": _growth, "dashboards": _dashboards}
    return "\n\n".join(write(found[name]) for name, write in parts.items() if name in found)


def met(is_met: bool) -> str:
    return "met" if is_met else "**missed**"


def _table(title: str, head: str, rows: list[list[str]]) -> str:
    lines = [f"### {title}", "", head, "|---" * head.count(" | ") + "|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _sink(rows: list[dict[str, Any]]) -> str:
    return _table(
        "Sink: telemetry into the store",
        "| samples per frame | values/s | CPU s of the sink | CPU s of the store | bytes per value on disk | stored |"
        " goals |",
        [
            [
                str(row["samples"]), f"{row['values_per_s'] / 1e3:,.0f} k", f"{row['sink_cpu_s']:.1f}",
                f"{row['store_cpu_s']:.1f}", f"{row['bytes_per_value']:.2f}",
                f"{row['stored']:,} of {row['values']:,}",
                f"500 k/s {met(row['values_per_s'] >= SINK_GOAL)}, 1 B {met(row['bytes_per_value'] <= BYTES_GOAL)}",
            ]
            for row in rows
        ],
    )  # fmt: skip


def _latency(row: dict[str, Any]) -> str:
    goal = met(row["p50_s"] <= P50_GOAL_S and row["p99_s"] <= P99_GOAL_S)
    return _table(
        f"From the producer to SQL, {row['values_per_s']:,} values/s, worker and sink running",
        "| p50 | p95 | p99 | longest | frames | cores of worker and sink | of the store | goal 0.5 s / 2 s |",
        [[
            *(f"{row[key]:.2f} s" for key in ("p50_s", "p95_s", "p99_s", "most_s")), f"{row['frames']:,}",
            f"{row['line_cores']:.2f}", f"{row['store_cores']:.2f}", goal,
        ]],
    )  # fmt: skip


def _growth(rows: list[dict[str, Any]]) -> str:
    table = _table(
        "The worker as work grows (frames of 10 samples, 20 signals, a sample a second)",
        "| machines | workers | detectors | values | us per value | us per frame | MiB |",
        [
            [
                f"{row['machines']:,}", str(row["workers"]), "yes" if row["detect"] else "no", f"{row['values']:,}",
                f"{row['us_per_value']:.2f}", f"{row['us_per_frame']:.0f}", f"{row['mib']:.0f}",
            ]
            for row in rows
        ],
    )  # fmt: skip
    lines, ratio, memory = [table], two_against_one(rows), kb_per_machine(rows)
    if memory is not None:
        lines.append(
            f"Memory: {memory:.0f} KB per machine, detectors aside (goal 50: {met(memory <= MEMORY_GOAL_KB)})."
        )
    if ratio is not None:
        goal = met(ratio <= WORKERS_GOAL)
        lines.append(f"Two workers against one: {ratio:.2f} times the CPU per value (goal 1.15: {goal}).")
    return "\n\n".join(lines)


def kb_per_machine(rows: list[dict[str, Any]]) -> float | None:
    """Memory of one worker without detectors that each machine more takes, in KB; None: not measured.

    >>> kb_per_machine([{"workers": 1, "detect": False, "machines": n, "mib": 100 + n / 16} for n in (16, 1616)])
    64.0
    """
    plain = sorted((row["machines"], row["mib"]) for row in rows if row["workers"] == 1 and not row["detect"])
    if len(plain) < 2:
        return None
    (fewest, low), (most, high) = plain[0], plain[-1]
    return float((high - low) * 1024 / (most - fewest))


def two_against_one(rows: list[dict[str, Any]]) -> float | None:
    """CPU per value of two workers over that of one, on the same machines; None: not measured."""
    two = next((row for row in rows if row["workers"] == 2), None)
    alike = [
        row for row in rows
        if two and row["workers"] == 1 and all(row[key] == two[key] for key in ("machines", "detect", "values"))
    ]  # fmt: skip
    return float(two["us_per_value"] / alike[0]["us_per_value"]) if two and alike else None


def _dashboards(found: dict[str, Any]) -> str:
    return _table(
        f"Dashboard questions over {found['rows']:,} values",
        "| question | p50 | p95 | goal 100 ms |",
        [
            [name, f"{one['p50_ms']:.0f} ms", f"{one['p95_ms']:.0f} ms", met(one["p95_ms"] <= PANEL_GOAL_MS)]
            for name, one in found["panels"].items()
        ],
    )
