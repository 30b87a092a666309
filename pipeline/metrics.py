"""Every metric of openoee in one table, and the page on which a process shows its own to Prometheus.

Figures are read where they are counted anyway, and only when somebody scrapes. What takes time is measured once per
batch, never per record.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple, Protocol

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from pipeline import __version__

WORKER, SINK, PRODUCER, NOTIFY = "worker", "sink", "producer", "notify"
EVERY = (WORKER, SINK, PRODUCER, NOTIFY)
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@dataclass(frozen=True)
class Measure:
    """One row of the table. `kind`: counter (since the process started), gauge or histogram."""

    name: str
    kind: str
    labels: tuple[str, ...]
    unit: str
    processes: tuple[str, ...]
    meaning: str


class Value(NamedTuple):
    """A figure of this moment; `labels` in the order of the table."""

    name: str
    value: float
    labels: tuple[object, ...] = ()


class Health(Protocol):
    """What a process tells of itself; called from the endpoint's thread, so it reads plain values only."""

    @property
    def process(self) -> str:
        """worker, sink, producer or notify."""
        ...

    @property
    def measured(self) -> tuple[Histogram, ...]:
        """Its histograms."""
        ...

    def values(self) -> Iterable[Value]:
        """Its other figures."""
        ...

    def unready(self) -> str:
        """One sentence why it cannot do its work now; empty when it can. Takes 2 s at most."""
        ...


_W, _S, _P = (WORKER,), (SINK,), (PRODUCER,)
TABLE: tuple[Measure, ...] = (
    Measure("openoee_build_info", "gauge", ("process", "version", "python"), "", EVERY,
            "always 1; the labels say what runs"),
    Measure("openoee_ready", "gauge", (), "", EVERY, "1 while /readyz answers 200, else 0"),
    Measure("openoee_home_free_bytes", "gauge", (), "bytes", EVERY,
            "free on the disk of the setting home, where the stack without Docker keeps Kafka's and the store's data"),
    Measure("openoee_home_size_bytes", "gauge", (), "bytes", EVERY, "size of that disk"),

    Measure("openoee_worker_records_total", "counter", (), "records", _W, "records of the topic telemetry folded"),
    Measure("openoee_worker_facts_total", "counter", ("status",), "rows", _W,
            "OEE facts sent: provisional, final, or restated (a final one that late data or a correction changed)"),
    Measure("openoee_worker_intervals_total", "counter", (), "rows", _W, "state intervals sent, every revision"),
    Measure("openoee_worker_anomalies_total", "counter", (), "rows", _W, "anomaly flags sent"),
    Measure("openoee_worker_incidents_total", "counter", (), "rows", _W, "incidents sent, every version"),
    Measure("openoee_worker_dead_letters_total", "counter", ("reason",), "dead letters", _W,
            "records, or entries of them, that could not be used"),
    Measure("openoee_worker_ticks_total", "counter", (), "records", _W, "ticks sent for machines that are silent"),
    Measure("openoee_worker_lost_records_total", "counter", (), "records", _W,
            "records that retention removed from telemetry before they were read"),
    Measure("openoee_worker_read_again_total", "counter", (), "times", _W,
            "batches that did not follow the last one, so that the log was read again from there; harmless"),
    Measure("openoee_worker_batch_seconds", "histogram", (), "seconds", _W,
            "decoding and folding a stretch of records and handing its results to Kafka's client; _count: stretches"),
    Measure("openoee_worker_detector_seconds_total", "counter", (), "seconds", _W,
            "the part of it that the anomaly detectors took"),
    Measure("openoee_worker_snapshot_seconds", "histogram", (), "seconds", _W,
            "saving a partition's state, until Kafka has it; _count: savings"),
    Measure("openoee_worker_snapshot_bytes_total", "counter", (), "bytes", _W, "state sent to the topic state"),
    Measure("openoee_worker_snapshot_age_seconds", "gauge", ("partition",), "seconds", _W,
            "since all that changed in a partition was last saved, or since it was taken over"),
    Measure("openoee_worker_partitions", "gauge", (), "partitions", _W, "partitions of telemetry held; a spare has 0"),
    Measure("openoee_worker_machines", "gauge", (), "machines", _W, "machines whose state is in memory"),
    Measure("openoee_worker_lag_records", "gauge", ("partition",), "records", _W,
            "offsets from the next record to fold to the end of the log as of the last fetch; absent until that is"
            " known, and while partitions are dealt out"),
    Measure("openoee_worker_watermark_delay_seconds", "gauge", ("partition",), "seconds", _W,
            "the worker's clock less the lowest watermark of the partition's live machines (watermark: newest event"
            " time less lateness_s; live: its source has not said that it ended). Absent without a live machine"),
    Measure("openoee_worker_event_delay_seconds", "gauge", ("partition",), "seconds", _W,
            "the worker's clock less the newest event time of any machine of the partition; below 0 where a machine's"
            " clock is ahead. Absent before the first event"),
    Measure("openoee_worker_results_waiting", "gauge", (), "records", _W,
            "results handed to Kafka's client that Kafka has not acknowledged"),
    Measure("openoee_worker_results_waiting_seconds", "gauge", (), "seconds", _W,
            "for how long results have waited without one being acknowledged; 0 while none waits"),

    Measure("openoee_sink_records_total", "counter", (), "records", _S, "records of all its topics written"),
    Measure("openoee_sink_rows_total", "counter", ("table",), "rows", _S, "rows inserted for them"),
    Measure("openoee_sink_dead_letters_total", "counter", ("reason",), "records", _S,
            "records that could not be read, parked in the table dead_letters"),
    Measure("openoee_sink_batch_seconds", "histogram", (), "seconds", _S,
            "a batch from its plan to its commit, waiting included; _count: batches"),
    Measure("openoee_sink_repeated_batches_total", "counter", (), "batches", _S,
            "unfinished batches of an earlier sink that were finished"),
    Measure("openoee_sink_retries_total", "counter", (), "times", _S,
            "times that the store (or the registry) was away or busy and was asked again"),
    Measure("openoee_sink_waiting_seconds", "gauge", (), "seconds", _S,
            "for how long it has waited for the store (or the registry); 0 while it does not"),
    Measure("openoee_sink_lost_records_total", "counter", (), "records", _S,
            "records passed over with --accept-loss; without it the sink stops instead"),
    Measure("openoee_sink_partitions", "gauge", (), "partitions", _S, "partitions of all its topics held"),
    Measure("openoee_sink_lag_records", "gauge", ("topic", "partition"), "records", _S,
            "offsets from the first record that is not surely in the store to the end of the log, asked every 5 s"),

    Measure("openoee_producer_records_total", "counter", (), "records", _P, "frames and controls handed to Kafka"),
    Measure("openoee_producer_acknowledged_total", "counter", (), "records", _P, "records that Kafka has stored"),
    Measure("openoee_producer_failed_total", "counter", (), "records", _P, "records that Kafka did not store"),
    Measure("openoee_producer_values_total", "counter", (), "values", _P, "samples in these records"),
    Measure("openoee_producer_bytes_total", "counter", (), "bytes", _P, "their Avro bytes, before compression"),
    Measure("openoee_producer_waiting_records", "gauge", (), "records", _P,
            "records handed over that are neither acknowledged nor failed"),
    Measure("openoee_producer_spool_bytes", "gauge", (), "bytes", _P, "what the spool has on disk, where there is one"),
    Measure("openoee_producer_spool_limit_bytes", "gauge", (), "bytes", _P, "what it may take: `spool_mb`"),
    Measure("openoee_producer_spool_records", "gauge", (), "records", _P, "records in it that Kafka does not have yet"),

    Measure("openoee_notify_messages_total", "counter", ("what", "outcome"), "messages", (NOTIFY,),
            "messages about incidents that the receiver took (sent) or refused"),
    Measure("openoee_notify_retries_total", "counter", (), "times", (NOTIFY,),
            "times that the receiver was away or busy and a message had to wait"),
    Measure("openoee_notify_waiting_seconds", "gauge", (), "seconds", (NOTIFY,),
            "for how long it has waited for the receiver; 0 while it does not"),

    Measure("process_cpu_seconds_total", "counter", (), "seconds", EVERY, "CPU time, user and system"),
    Measure("process_resident_memory_bytes", "gauge", (), "bytes", EVERY, "memory in use"),
    Measure("process_virtual_memory_bytes", "gauge", (), "bytes", EVERY, "address space"),
    Measure("process_start_time_seconds", "gauge", (), "seconds", EVERY, "when it started, since 1970"),
    Measure("process_open_fds", "gauge", (), "handles", EVERY, "open files and sockets"),
    Measure("process_max_fds", "gauge", (), "handles", EVERY, "as many as it may open"),
)  # fmt: skip
BY_NAME = {row.name: row for row in TABLE}
OF_THE_SYSTEM = "process_"  # rows that the library's ProcessCollector fills


def histogram(name: str) -> Histogram:
    """The histogram of this row, to be observed by whoever takes the time."""
    return Histogram(name, BY_NAME[name].meaning, buckets=BUCKETS_S, registry=None)


class Figures(Collector):
    """All metrics of one process; those of its rows that have no value yet show their name and meaning alone."""

    def __init__(self, health: Health, home: Path) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._health, self._home = health, home
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def page(self) -> bytes:
        """What Prometheus reads, in its text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        process = self._health.process
        own = [row for row in TABLE if process in row.processes and not row.name.startswith(OF_THE_SYSTEM)]
        found = {row.name: _family(row) for row in own if row.kind != "histogram"}
        for value in chain(self._common(), self._health.values()):
            found[value.name].add_metric([str(label) for label in value.labels], value.value)
        yield from found.values()
        for measured in self._health.measured:
            yield from measured.collect()

    def _common(self) -> Iterator[Value]:
        yield Value("openoee_build_info", 1, (self._health.process, __version__, platform.python_version()))
        yield Value("openoee_ready", not self._health.unready())
        disk = shutil.disk_usage(next(place for place in (self._home, *self._home.parents) if place.exists()))
        yield Value("openoee_home_free_bytes", disk.free)
        yield Value("openoee_home_size_bytes", disk.total)


def _family(row: Measure) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if row.kind == "counter" else GaugeMetricFamily
    return kind(row.name, row.meaning, labels=row.labels)
