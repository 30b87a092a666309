"""Metrics: each process shows the rows of its table and no others, with the figures that it counted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import Histogram, Metric
from prometheus_client.parser import text_string_to_metric_families
from test_partition import T0, Row, as_rows, log

from pipeline import metrics
from pipeline.codec import Codec
from pipeline.core.engine import ENGINE_VERSION, Engine
from pipeline.core.model import Control, CountReading, EndOfSource, Frame, Record, SignalBlock, StateChange
from pipeline.crash import CrashPoint
from pipeline.group import Group
from pipeline.held import Held
from pipeline.metrics import TABLE, Figures, Health, Value
from pipeline.notify_health import NotifyHealth
from pipeline.partition import Counts, Partition, Share
from pipeline.producer import ProducerHealth
from pipeline.results import Results
from pipeline.settings import Settings, load
from pipeline.sink import TOPICS
from pipeline.sink_health import Counts as SinkCounts
from pipeline.sink_health import SinkHealth
from pipeline.state import Snapshots
from pipeline.worker_health import Look, WorkerHealth

CODEC = Codec()
NOWHERE: Settings = load({"kafka": "127.0.0.1:9", "provisional_s": 1}, {})


def worker() -> WorkerHealth:
    results, counts = Results(NOWHERE), Counts()
    return WorkerHealth(counts, Held(NOWHERE, results, counts, CrashPoint("")), results)


@pytest.fixture
def group() -> Iterator[Group]:
    group = Group(NOWHERE, TOPICS, lambda: True)
    yield group
    group.close()


def taken_over(health: WorkerHealth, number: int = 0) -> Partition:
    """An empty partition in the hands of that worker."""
    part = Partition(number, NOWHERE, CODEC, Snapshots(number, 4, ENGINE_VERSION), Share(0.5), health._counts)
    part.saved_at = time.monotonic()
    health._held.parts[number] = part
    return part


def shown(health: Health) -> dict[str, Metric]:
    page = Figures(health, Path("/")).page().decode()
    return {family.name: family for family in text_string_to_metric_families(page)}


def figure(health: Health, name: str, **labels: object) -> float:
    """The one sample of that name whose labels have these values."""
    wanted = {label: str(value) for label, value in labels.items()}
    (value,) = [
        sample.value
        for family in shown(health).values()
        for sample in family.samples
        if sample.name == name and wanted.items() <= sample.labels.items()
    ]
    return value


def test_every_row_has_a_kind_a_meaning_and_a_name_by_the_rules_of_prometheus() -> None:
    assert len({row.name for row in TABLE}) == len(TABLE)
    for row in TABLE:
        assert row.kind in ("counter", "gauge", "histogram"), row
        assert row.name.endswith("_total") == (row.kind == "counter"), row
        assert len(row.meaning) > 10, row
        assert set(row.processes) <= set(metrics.EVERY), row
        if row.unit in ("seconds", "bytes"):
            assert row.unit in row.name.split("_"), row


@pytest.mark.parametrize("kind", metrics.EVERY)
def test_a_process_shows_its_rows_with_kind_and_meaning_and_nothing_else(kind: str, group: Group) -> None:
    healths: dict[str, Health] = {
        "worker": worker(), "sink": SinkHealth(SinkCounts(), group), "producer": ProducerHealth(),
        "notify": NotifyHealth(),
    }  # fmt: skip
    rows = {row.name.removesuffix("_total"): row for row in TABLE if kind in row.processes}
    found = shown(healths[kind])
    assert found.keys() == rows.keys()
    for name, family in found.items():
        assert family.type == rows[name].kind
        if not name.startswith(metrics.OF_THE_SYSTEM):
            assert family.documentation == rows[name].meaning
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(rows[name].labels), sample
    assert found["openoee_build_info"].samples[0].labels["process"] == kind
    assert found["process_resident_memory_bytes"].samples[0].value > 1e6


def test_a_worker_counts_what_the_log_made_of_it() -> None:
    health = worker()
    part, rows = taken_over(health, 3), log()
    rows.append(Row(len(rows), T0, b"m0", b"no avro"))
    out = part.fold(rows, *part.decode(rows))
    saved = part.snapshot(whole=True)
    sent = [CODEC.decode(record.value) for record in out]
    statuses = [row.status for row in sent if hasattr(row, "revision") and hasattr(row, "apt_ms")]
    assert set(statuses) >= {"provisional", "final"}
    for status in set(statuses):
        assert figure(health, "openoee_worker_facts_total", status=status) == statuses.count(status)
    assert figure(health, "openoee_worker_records_total") == len(rows)
    assert figure(health, "openoee_worker_intervals_total") == sum(record.topic == "intervals" for record in out)
    assert figure(health, "openoee_worker_dead_letters_total", reason="undecodable") == 1
    assert figure(health, "openoee_worker_snapshot_bytes_total") == sum(len(record.value) for record in saved)
    assert figure(health, "openoee_worker_machines") == 5
    assert figure(health, "openoee_worker_partitions") == 1
    assert 0 <= figure(health, "openoee_worker_snapshot_age_seconds", partition=3) < 60


def test_restated_rows_are_counted_apart() -> None:
    health = worker()
    part = taken_over(health)
    said = [(T0 + n * 60_000, "running") for n in range(9)] + [(T0 + 90_000, "stopped")]  # the last one comes late
    frames = [Frame("m", "plc", 1, n, at, states=[StateChange(at, state)]) for n, (at, state) in enumerate(said)]
    rows = as_rows(frames, 2_000)
    out = part.fold(rows, *part.decode(rows))
    facts = [CODEC.decode(record.value) for record in out if record.topic == "oee"]
    restated = sum(fact.status == "restated" for fact in facts)
    assert restated > 0
    assert figure(health, "openoee_worker_facts_total", status="restated") == restated


def test_watermark_delay_is_that_of_the_slowest_live_machine() -> None:
    """event times before now [s]:   slow -500 | fast -100 | gone -9000, and its source has ended"""
    health = worker()
    part, now = taken_over(health), round(time.time() * 1000)
    messages = [
        Frame(name, "plc", 1, 0, now - age * 1000, states=[StateChange(now - age * 1000, "running")])
        for name, age in (("slow", 500), ("fast", 100), ("gone", 9000))
    ]
    rows = as_rows([*messages, Control("gone", "end", now, "t", EndOfSource("plc", now - 9_000_000))], 0)
    for row in rows:
        row.timestamp = now
    part.fold(rows, *part.decode(rows))
    lateness = NOWHERE.float("lateness_s")
    assert figure(health, "openoee_worker_watermark_delay_seconds") == pytest.approx(500 + lateness, abs=60)
    assert figure(health, "openoee_worker_event_delay_seconds") == pytest.approx(100, abs=60)


def test_without_a_live_machine_there_is_no_delay_to_tell() -> None:
    health = worker()
    taken_over(health)
    found = shown(health)
    assert found["openoee_worker_watermark_delay_seconds"].samples == []
    assert found["openoee_worker_event_delay_seconds"].samples == []


def test_the_clock_of_the_engine_tells_detector_time_and_changes_no_row() -> None:
    """The detectors run under a clock that goes a second with each look at it."""

    def fold(clock: bool) -> tuple[list[object], float]:
        looks = iter(range(1_000_000))
        engine = Engine(NOWHERE.engine(), lambda: float(next(looks))) if clock else Engine(NOWHERE.engine())
        records = [Record(T0, frame) for frame in _sampled()]
        emitted = engine.fold(records)
        return [emitted.facts, emitted.intervals, emitted.anomalies], emitted.detector_s

    (rows, seconds), (same, nothing) = fold(True), fold(False)
    assert rows == same
    assert seconds >= 1
    assert nothing == 0


def _sampled() -> list[Frame]:
    frames = []
    for n in range(30):
        at = T0 + n * 10_000
        block = SignalBlock(at + np.arange(5) * 2000, ["load"], np.full((1, 5), 50.0 + n % 3))
        counts = [CountReading(at, True, n)]
        frames.append(Frame("m", "plc", 1, n, at, counts=counts, signals=[block], states=[StateChange(at, "running")]))
    return frames


def test_a_worker_is_ready_only_while_settled_with_its_state_loaded() -> None:
    health = worker()
    assert health.unready().startswith("it prepares")
    health.note(Look(True, (), {0: 7, 2: 0}))
    assert health.unready() == ""
    assert figure(health, "openoee_ready") == 1
    assert figure(health, "openoee_worker_lag_records", partition=0) == 7
    health.note(Look(True, (1, 2), {}))
    assert health.unready() == "the state of partition 1, 2 is not loaded yet"
    health.note(Look(False, (), {0: 7}))
    assert "consumer group" in health.unready()
    assert figure(health, "openoee_ready") == 0
    health.note(Look(True, (), {}, at=time.monotonic() - 60))
    assert health.unready() == "its event loop has stood still for 60 s"
    health.ending = "it is told to end"
    assert health.unready() == "it is told to end"


def test_results_that_kafka_does_not_store_are_told_with_how_long() -> None:
    health = worker()
    results, now = health._results, time.monotonic()
    results.sent = 10
    health.note(Look(True, (), {}, at=now - 30))
    results.stored = 4  # some progress: the time begins anew
    health.note(Look(True, (), {}, at=now - 20))
    health.note(Look(True, (), {}, at=now))
    assert "Kafka has stored no result for 2" in health.unready()
    assert figure(health, "openoee_worker_results_waiting") == 6
    assert 20 <= figure(health, "openoee_worker_results_waiting_seconds") < 60
    results.stored = 10
    health.note(Look(True, (), {}))
    assert health.unready() == ""
    assert figure(health, "openoee_worker_results_waiting_seconds") == 0


def test_a_sink_waits_for_the_store_until_it_has_answered(group: Group) -> None:
    health = SinkHealth(SinkCounts(), group)
    assert health.unready() == "the store has not been asked yet"
    health.answered()
    assert "consumer group" in health.unready()
    group.joined = True
    assert health.unready() == ""
    health.waits("the store does not answer")
    health.waits("the store does not answer")
    assert health.unready() == "it waits: the store does not answer"
    assert figure(health, "openoee_sink_retries_total") == 2
    assert 0 < figure(health, "openoee_sink_waiting_seconds") < 60
    health.answered()
    assert health.unready() == ""
    assert figure(health, "openoee_sink_waiting_seconds") == 0


def test_lag_of_a_sink_counts_from_what_is_written(group: Group) -> None:
    share = group.share
    share.positions |= {("telemetry", 0): 70, ("oee", 1): 5}
    share.written |= {("telemetry", 0): 50, ("oee", 1): 5}
    share.ends |= {("telemetry", 0): 100, ("oee", 1): 5}
    health = SinkHealth(SinkCounts(), group)
    assert figure(health, "openoee_sink_lag_records", topic="telemetry", partition=0) == 50
    assert figure(health, "openoee_sink_lag_records", topic="oee", partition=1) == 0
    assert figure(health, "openoee_sink_partitions") == 2


def test_a_figure_that_is_in_no_table_is_a_mistake() -> None:
    class Other(ProducerHealth):
        def values(self) -> Iterator[Value]:
            yield Value("openoee_worker_records_total", 1)

    with pytest.raises(KeyError):
        Figures(Other(), Path("/")).page()


def test_histograms_are_made_from_their_row() -> None:
    made = metrics.histogram("openoee_sink_batch_seconds")
    assert isinstance(made, Histogram)
    made.observe(0.3)
    (family,) = made.collect()
    counted = {sample.labels["le"]: sample.value for sample in family.samples if sample.labels}
    assert (counted["0.25"], counted["0.5"], counted["+Inf"]) == (0, 1, 1)
