"""What was measured, as tables in Markdown, with the machine and the versions that it was measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import groupby

from bench.speed.contenders import HAND_LOOP, WORKER, peer_versions
from bench.speed.measure import Spent, Verdict

SHORT_S = 0.5  # of CPU: what took less is known to one digit only

LEAST_OF_START = 0.3

COLUMNS = (
    "contender", "values/s", "frames/s", "values per CPU s", "of the hand loop", "of the worker", "right",
    "start, CPU s", "MiB",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """One contender on one topic. `start` is what it spends on a topic with next to nothing in it."""

    name: str
    kind: str
    samples: int
    values: int
    frames: int
    spent: Spent
    verdict: Verdict | None
    start: Spent | None

    @property
    def failed(self) -> bool:
        return bool(self.spent.error) or (self.verdict is not None and self.verdict.wrong + self.verdict.missing > 0)

    @property
    def wall_s(self) -> float:
        """Seconds by the clock beyond the start; on one core no less than its seconds of CPU."""
        return max(self.cpu_s, self.spent.wall_s - (self.start.wall_s if self.start else 0.0))

    @property
    def cpu_s(self) -> float:
        """Seconds of CPU beyond the start."""
        return max(0.01, self.spent.cpu_s - (self.start.cpu_s if self.start else 0.0))

    @property
    def measurable(self) -> bool:
        """Whether the job took enough beyond the start to be told from it."""
        return self.start is None or self.cpu_s > LEAST_OF_START * self.start.cpu_s

    @property
    def pace(self) -> float:
        """Values per second of CPU."""
        return self.values / self.cpu_s


def tables(results: Sequence[Result]) -> str:
    """One table per length of frame."""
    out = []
    for samples, group in groupby(results, key=lambda result: result.samples):
        rows = list(group)
        by_name = {row.name: row for row in rows if not row.failed}
        head = rows[0]
        out += [
            "",
            f"### Frames of {samples} sample{'s' * (samples > 1)}: {head.values:,} values in {head.frames:,} frames",
            "",
            f"| {' | '.join(COLUMNS)} |",
            "|---" * len(COLUMNS) + "|",
        ]
        out += [_row(row, by_name.get(HAND_LOOP), by_name.get(WORKER)) for row in rows]
    return "\n".join(out)


def _row(row: Result, hand: Result | None, worker: Result | None) -> str:
    right = "-" if row.verdict is None else str(row.verdict)
    start = f"{row.start.cpu_s:.1f}" if row.start else "-"
    tail = [right, start, f"{row.spent.peak_mib:.0f}"]
    if row.spent.error:
        return f"| {' | '.join([row.name, row.spent.error, '', '', '', '', *tail])} |"
    if not row.measurable:
        return f"| {' | '.join([row.name, 'its start outweighs the job', '', '', '', '', *tail])} |"
    about = "~" if row.cpu_s < SHORT_S else ""
    paces = [about + _short(pace) for pace in (row.values / row.wall_s, row.frames / row.wall_s, row.pace)]
    return f"| {' | '.join([row.name, *paces, _ratio(row, hand), _ratio(row, worker), *tail])} |"


def _ratio(row: Result, other: Result | None) -> str:
    return "-" if other is None else f"{row.pace / other.pace:.2f}"


def _short(number: float) -> str:
    """Three digits: 4.21 M, 12.3 k."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if number >= size:
            scaled = number / size
            return f"{scaled:.{max(0, 2 - len(str(int(scaled))) + 1)}f} {unit}"
    return f"{number:.0f}"


def environment() -> str:
    """The machine and the versions, in one paragraph."""
    ours = ", ".join(
        f"{name} {version(name)}" for name in ("confluent-kafka", "fastavro", "numpy", "faust-streaming", "aiokafka")
    )
    return (
        f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, {_java()}. The worker and the loops: {ours}. Peers: {peer_versions()}."
    )


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as handle:
            names = [line.split(":", 1)[1].strip() for line in handle if line.startswith("model name")]
        return names[0]
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


def _java() -> str:
    done = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False)
    return (done.stderr.splitlines() or ["no Java"])[0].replace('"', "")
