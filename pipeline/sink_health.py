"""Whether a sink can do its work, and its figures at this moment; asked by the endpoint's thread."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from prometheus_client import Histogram

from pipeline import metrics
from pipeline.group import Group
from pipeline.metrics import Value

NOT_JOINED = "it is not in its consumer group: Kafka is away, or partitions are dealt out"


@dataclass
class Counts:
    """What a sink has done since it started.

    `rows`: by table; `repeated`: batches that were found unfinished; `parked`: records that cannot be read, by reason.
    """

    records: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    batches: int = 0
    repeated: int = 0
    retries: int = 0
    parked: Counter[str] = field(default_factory=Counter)


class SinkHealth:
    """Of one sink, which says when it begins to wait for another side and when that has answered."""

    process = metrics.SINK

    def __init__(self, counts: Counts, group: Group) -> None:
        self.batch_s = metrics.histogram("openoee_sink_batch_seconds")
        self.measured: tuple[Histogram, ...] = (self.batch_s,)
        self.ending = ""
        self._counts, self._group = counts, group
        self._why = "the store has not been asked yet"
        self._since: float | None = None

    def waits(self, why: object) -> None:
        """The store, the registry or Kafka is away or busy."""
        self._counts.retries += 1
        self._why = f"it waits: {why}"
        if self._since is None:
            self._since = time.monotonic()

    def answered(self) -> None:
        """The store has answered."""
        self._why, self._since = "", None

    def unready(self) -> str:
        if self.ending or self._why:
            return self.ending or self._why
        return "" if self._group.joined else NOT_JOINED

    def values(self) -> Iterator[Value]:
        counts, group, since = self._counts, self._group, self._since
        for name, number in (
            ("records_total", counts.records),
            ("repeated_batches_total", counts.repeated), ("retries_total", counts.retries),
            ("waiting_seconds", 0.0 if since is None else time.monotonic() - since),
            ("lost_records_total", group.lost), ("partitions", len(group.share.positions)),
        ):  # fmt: skip
            yield Value(f"openoee_sink_{name}", number)
        for table, rows in dict(counts.rows).items():
            yield Value("openoee_sink_rows_total", rows, (table,))
        for reason, records in dict(counts.parked).items():
            yield Value("openoee_sink_dead_letters_total", records, (reason,))
        for place, behind in group.share.behind().items():
            yield Value("openoee_sink_lag_records", behind, place)
