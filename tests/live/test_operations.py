"""Health, metrics and logs of real processes: before, while and after a load whose figures are known."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest
import sink_trial
import worker_trial
from live_stack import LiveStack, environment
from prometheus_client.parser import text_string_to_metric_families
from worker_trial import RUN_COMMAND, T0, put, read, until

from pipeline import topics
from pipeline.codec import Codec
from pipeline.core.model import Frame, StateChange
from pipeline.local.machine import free_port
from pipeline.local.store import Store as LocalStore
from pipeline.settings import Settings, load
from pipeline.store.migrate import migrate

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]
JOIN_S = 120  # the first worker on a machine compiles the detectors
CAUGHT_UP_S = 120


class Endpoint:
    """The pages of a process on this machine."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, path: str) -> tuple[int, str]:
        """Status and text; 0 when nothing listens."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except URLError:
            return 0, ""

    def samples(self, name: str) -> dict[tuple[str, ...], float]:
        """Values by the values of the labels."""
        status, page = self.ask("/metrics")
        assert status == 200, page
        return {
            tuple(sample.labels.values()): sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.name == name
        }

    def value(self, name: str) -> float:
        (value,) = self.samples(name).values()
        return value

    def ready(self) -> bool:
        return self.ask("/readyz") == (200, "ready\n")


def lines(log: Path) -> list[dict[str, Any]]:
    """The objects of a log in JSON; fails when a line is none."""
    return [json.loads(line) for line in log.read_text().splitlines()]


@pytest.fixture
def line(stack: LiveStack) -> Settings:
    settings = stack.settings("operations", partitions=4, session_s=6, snapshot_s=1, tick_s=600, provisional_s=1)
    topics.ensure(settings)
    return settings


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint(free_port())


@pytest.fixture
def worker(line: Settings, endpoint: Endpoint, tmp_path: Path) -> Iterator[worker_trial.Worker]:
    log = tmp_path / "worker.log"
    worker = worker_trial.Worker(line, log, metrics_port=str(endpoint.port), log_format="json")
    yield worker
    if worker.running:
        worker.end(signal.SIGKILL)


def test_a_worker_tells_what_it_did_and_why_it_cannot_go_on(
    line: Settings, endpoint: Endpoint, worker: worker_trial.Worker
) -> None:
    status, why = until(lambda: endpoint.ask("/readyz")[0] and endpoint.ask("/readyz"), JOIN_S, "it listens")
    assert (status, why.startswith("not ready: it prepares")) == (503, True)
    assert endpoint.ask("/healthz") == (200, "alive\n")
    assert endpoint.value("openoee_ready") == 0
    until(lambda: endpoint.ready() or not worker.running, JOIN_S, f"it is ready; {worker.log}")
    until(lambda: endpoint.value("openoee_worker_partitions") == 4, 30, "it has all partitions")
    assert endpoint.value("openoee_worker_records_total") == 0

    load, seen, behind = worker_trial.Load(line, 7), [0.0], Counter[bool]()

    def folded() -> bool:
        seen.append(endpoint.value("openoee_worker_records_total"))
        behind.update([bool(endpoint.samples("openoee_worker_lag_records"))])
        return seen[-1] > 2000

    until(folded, CAUGHT_UP_S, "it folds", 0.2)
    assert seen == sorted(seen)
    assert behind[True] > 0
    assert endpoint.ready()
    assert endpoint.samples("openoee_worker_watermark_delay_seconds")
    load.end()
    strays = [(b"m1", b"no avro"), (b"m1", None), (None, Codec().encode(_frame())), (b"m2", Codec().encode(_frame()))]
    put(line, "telemetry", strays)

    sent = load.sent + len(strays)
    until(lambda: endpoint.value("openoee_worker_records_total") == sent, CAUGHT_UP_S, f"{sent} records", 0.2)
    until(lambda: worker_trial.lag(line) == 0, CAUGHT_UP_S, "everything is committed", 0.2)
    everywhere = {(str(number),): 0.0 for number in range(4)}
    until(lambda: endpoint.samples("openoee_worker_lag_records") == everywhere, 30, "it says that nothing is behind")
    _same_as_in_kafka(line, endpoint)
    assert endpoint.value("openoee_worker_results_waiting") == 0
    assert endpoint.value("openoee_worker_lost_records_total") == 0
    assert endpoint.value("openoee_worker_detector_seconds_total") > 0
    assert endpoint.value("openoee_worker_batch_seconds_count") > 0
    assert endpoint.value("openoee_worker_machines") == load.machines
    assert endpoint.samples("openoee_worker_watermark_delay_seconds") == {}  # every source has said that it ended
    ages = endpoint.samples("openoee_worker_snapshot_age_seconds")
    assert ages.keys() == everywhere.keys()
    assert max(ages.values()) < 60

    put(line, "telemetry", [(b"m1", b"no avro")] * 1200)
    assert worker.process.wait(CAUGHT_UP_S) == 1
    (error,) = [row for row in lines(worker.log) if row["level"] == "ERROR"]
    assert "cannot be used" in error["message"]
    assert (error["topic"], error["partition"]) == (line.topic("telemetry"), 0)
    assert error["offset"] > 0


def _frame() -> Frame:
    return Frame("m1", "plc", 1, 0, T0, states=[StateChange(T0, "running")])


def _same_as_in_kafka(line: Settings, endpoint: Endpoint) -> None:
    codec, results = Codec(), worker_trial.stored(line)
    letters = [codec.decode(message.value()) for message in read(line, "dead-letters")]
    reasons = Counter((letter.reason,) for letter in letters)
    assert reasons["undecodable",] == 2
    assert reasons["no_key",] == reasons["invalid",] == 1
    assert endpoint.samples("openoee_worker_dead_letters_total") == reasons
    statuses = Counter((fact.status,) for fact in results["facts"])
    assert set(statuses) == {("provisional",), ("final",), ("restated",)}
    assert endpoint.samples("openoee_worker_facts_total") == statuses
    assert endpoint.value("openoee_worker_intervals_total") == len(results["intervals"]) > 0
    assert endpoint.value("openoee_worker_anomalies_total") == len(results["anomalies"])
    saved = sum(len(message.value()) for message in read(line, "state"))
    assert endpoint.value("openoee_worker_snapshot_bytes_total") == saved > 0
    assert endpoint.value("openoee_worker_snapshot_seconds_count") > 0


def test_a_sink_is_not_ready_while_its_store_is_away_and_counts_what_it_wrote(
    line: Settings, endpoint: Endpoint, tmp_path: Path
) -> None:
    own = load({**line.values, "home": str(tmp_path), "store": f"http://127.0.0.1:{free_port()}"}, {})
    rows, log = sink_trial.Load(own), tmp_path / "sink.log"
    rows.send(range(20))
    rows.raw("telemetry", b"rubbish", b"machine-1", "undecodable")
    rows.raw("telemetry", b"\0\0\0\0\0", b"machine-1", "unknown_schema")
    rows.raw("oee", b"", b"machine-1", "undecodable")
    place = LocalStore(tmp_path, int(own["store"].rpartition(":")[2]), own["store_user"])
    sink = sink_trial.SinkProcess(own, log, metrics_port=str(endpoint.port), log_format="json")
    try:
        until(lambda: "does not answer" in endpoint.ask("/readyz")[1], 60, f"it misses the store; {log}")
        assert endpoint.ask("/readyz")[0] == 503
        assert endpoint.ask("/healthz") == (200, "alive\n")
        place.start()
        migrate(own)
        until(endpoint.ready, 60, f"it is ready; {log}")
        sink_trial.drained(own, sink)
        _wrote(own, endpoint, rows)
        until(lambda: set(endpoint.samples("openoee_sink_lag_records").values()) == {0.0}, 30, "lag 0")

        place.stop()
        rows.send(range(20, 40))
        until(lambda: endpoint.ask("/readyz")[0] == 503, 60, f"it misses the store again; {log}")
        assert "the store at" in endpoint.ask("/readyz")[1]
        until(lambda: sum(endpoint.samples("openoee_sink_lag_records").values()) > 100, 60, "the lag grows")
        assert endpoint.value("openoee_sink_waiting_seconds") > 0
        place.start()
        until(endpoint.ready, 60, f"it is ready again; {log}")
        sink_trial.drained(own, sink)
        _wrote(own, endpoint, rows)
        until(lambda: set(endpoint.samples("openoee_sink_lag_records").values()) == {0.0}, 30, "lag 0 again")
        assert endpoint.value("openoee_sink_waiting_seconds") == 0
        assert endpoint.value("openoee_sink_retries_total") > 1
        assert endpoint.value("openoee_sink_batch_seconds_count") > 0
        assert sink.end() == 0
    finally:
        if sink.process.poll() is None:
            sink.end(signal.SIGKILL)
        place.stop()
    parked = [row for row in lines(log) if row["message"].startswith("parked")]
    assert {(row["topic"], row["partition"]) for row in parked} == {(own.topic("telemetry"), 0), (own.topic("oee"), 0)}
    assert all(row["offset"] >= 0 for row in parked)
    assert own.store_password not in log.read_text()


def _wrote(own: Settings, endpoint: Endpoint, rows: sink_trial.Load) -> None:
    """What the sink counts is what was sent, and what the store holds."""
    sent = sum(1 for topic in ("telemetry", "oee", "intervals", "anomalies", "dead-letters") for _ in read(own, topic))
    until(lambda: endpoint.value("openoee_sink_records_total") == sent, 30, f"{sent} records")
    held = {(name,): found.total() for name, found in rows.want.items() if found and name != "oee_facts"}
    written = endpoint.samples("openoee_sink_rows_total")
    assert {table: written.get(table) for table in held} == held
    parked = {("undecodable",): 2.0, ("unknown_schema",): 1.0}
    assert endpoint.samples("openoee_sink_dead_letters_total") == parked
    assert sink_trial.wrong(sink_trial.held(own), rows.want) == {}


def test_a_live_producer_tells_what_kafka_has(line: Settings, endpoint: Endpoint) -> None:
    words = ["simulate", "--hours", "0.1", "--live", "--machines", "2"]
    process = subprocess.Popen(
        [sys.executable, "-c", RUN_COMMAND, *words],
        env={**os.environ, **environment(line), "OPENOEE_METRICS_PORT": str(endpoint.port)},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        until(lambda: endpoint.ready() or process.poll() is not None, 60, "it sends")
        until(lambda: endpoint.value("openoee_producer_acknowledged_total") > 20, 60, "Kafka has something")
        told = endpoint.value("openoee_producer_acknowledged_total")
        assert sum(1 for _ in read(line, "telemetry")) >= told
        assert endpoint.value("openoee_producer_values_total") > told
        assert endpoint.value("openoee_producer_failed_total") == 0
        process.send_signal(signal.SIGTERM)
        printed = process.communicate(timeout=60)[0]
        assert process.returncode == 0
        acknowledged = int(printed.rpartition("; ")[2].split()[0].replace(",", ""))
        assert acknowledged >= told
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
