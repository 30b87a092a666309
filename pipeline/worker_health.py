"""Whether a worker can do its work, and its figures at this moment.

The endpoint's thread asks, while the worker works: what is read here are numbers, and copies of dictionaries.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import Histogram

from pipeline import metrics
from pipeline.held import Held
from pipeline.metrics import Value
from pipeline.partition import Counts, Partition
from pipeline.results import Results

SILENT_S = 15.0  # a worker looks at itself once a second
UNSTORED_S = 10.0


@dataclass(frozen=True)
class Look:
    """How a worker stands: whether it is settled in its group, partitions without state yet, records behind in each."""

    settled: bool
    missing: tuple[int, ...]
    behind: Mapping[int, int]
    at: float = field(default_factory=time.monotonic)


class WorkerHealth:
    """Of one worker, which notes a look at itself once a second."""

    process = metrics.WORKER

    def __init__(self, counts: Counts, held: Held, results: Results) -> None:
        self.measured: tuple[Histogram, ...] = (held.batch_s, held.snapshot_s)
        self.ending = ""
        self._counts, self._held, self._results = counts, held, results
        self._look: Look | None = None
        self._stored = 0
        self._waits_since: float | None = None

    def note(self, look: Look) -> None:
        """Keep what the worker saw; and since when its results wait."""
        self._look = look
        sent, stored = self._results.sent, self._results.stored
        if stored >= sent:
            self._waits_since = None
        elif stored > self._stored or self._waits_since is None:
            self._waits_since = look.at
        self._stored = stored

    def unready(self) -> str:
        look, waited = self._look, self._waited()
        if self.ending:
            return self.ending
        if look is None:
            return "it prepares: compiles, waits for Kafka, or joins its group"
        if (silent := time.monotonic() - look.at) > SILENT_S:
            return f"its event loop has stood still for {silent:.0f} s"
        if not look.settled:
            return "it is not in its consumer group: Kafka is away, or partitions are dealt out"
        if look.missing:
            return f"the state of partition {', '.join(map(str, look.missing))} is not loaded yet"
        if waited > UNSTORED_S:
            return f"Kafka has stored no result for {waited:.0f} s, {self._waiting()} wait"
        return ""

    def values(self) -> Iterator[Value]:
        counts, look = self._counts, self._look
        parts = self._held.parts.copy()
        for name, number in (
            ("records_total", counts.records), ("intervals_total", counts.intervals),
            ("anomalies_total", counts.anomalies), ("incidents_total", counts.incidents),
            ("ticks_total", counts.ticks), ("lost_records_total", counts.lost),
            ("read_again_total", counts.sought_back), ("detector_seconds_total", counts.detector_s),
            ("snapshot_bytes_total", counts.snapshot_bytes), ("partitions", len(parts)),
            ("machines", sum(len(part.engine.machines) for part in parts.values())),
            ("results_waiting", self._waiting()), ("results_waiting_seconds", self._waited()),
        ):  # fmt: skip
            yield Value(f"openoee_worker_{name}", number)
        for status, rows in dict(counts.facts).items():
            yield Value("openoee_worker_facts_total", rows, (status,))
        for reason, letters in dict(counts.dead_letters).items():
            yield Value("openoee_worker_dead_letters_total", letters, (reason,))
        for number, records in look.behind.items() if look is not None and look.settled else ():
            yield Value("openoee_worker_lag_records", records, (number,))
        for part in parts.values():
            age = time.monotonic() - part.saved_at
            yield Value("openoee_worker_snapshot_age_seconds", age, (part.number,))
            yield from _delays(part, time.time())

    def _waiting(self) -> int:
        return max(0, self._results.sent - self._results.stored)

    def _waited(self) -> float:
        since = self._waits_since
        return 0.0 if since is None else time.monotonic() - since


def _delays(part: Partition, now: float) -> Iterator[Value]:
    machines = list(part.engine.machines.values())
    newest = max((machine.newest for machine in machines), default=0)
    if newest:
        yield Value("openoee_worker_event_delay_seconds", now - newest / 1000, (part.number,))
    watermarks = [machine.watermark for machine in machines if machine.live]
    if watermarks:
        yield Value("openoee_worker_watermark_delay_seconds", now - min(watermarks) / 1000, (part.number,))
