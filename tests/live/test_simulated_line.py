"""Hours of a simulated plant through Kafka, two workers, sink and store: the facts equal the truth."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError
from live_stack import LiveStack, environment

from pipeline import topics
from pipeline.codec import Codec
from pipeline.core.model import Control, EndOfSource, Frame, MachineConfig
from pipeline.errors import DeliveryFailed
from pipeline.factory import load as load_factory
from pipeline.factory_apply import last_applied
from pipeline.producer import TelemetryProducer
from pipeline.settings import Settings

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "tests" / "trials"))

import simulated  # noqa: E402

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]
EARLY_SHIFT = ("--from=2026-03-02T05:00:00Z", "--machines=6", "--signal-period=5", "--seed=12")


@pytest.mark.parametrize(
    "dirt", ["", "repeat=0.05,shuffle,late=0.01,gaps=2,resets=2,clock=0.01"], ids=["clean", "dirty"]
)
def test_what_the_store_holds_is_the_truth(stack: LiveStack, tmp_path: Path, dirt: str) -> None:
    settings = stack.settings("simulated", partitions=3, snapshot_s=1, session_s=6)
    outcome = simulated.through(settings, tmp_path, [*EARLY_SHIFT, "--hours=4", f"--dirt={dirt}"], within_s=240)
    assert outcome.codes == [0, 0, 0]
    assert not outcome.comparison.differences, str(outcome.comparison)
    assert outcome.comparison.rows >= 6 * 4 * 60


def test_the_journal_names_every_record_that_kafka_holds(stack: LiveStack, tmp_path: Path) -> None:
    settings = stack.settings("journal", partitions=3)
    topics.ensure(settings)
    journal = tmp_path / "journal.tsv"
    said = simulate(settings, "--hours=1", f"--journal={journal}", f"--truth={tmp_path}", *EARLY_SHIFT)
    header, *lines = journal.read_text().splitlines()
    assert header == "machine\tsource\tepoch\tsequence\tpartition\toffset"
    held = read_all(settings)
    frames = {place: message for place, message in held.items() if isinstance(message, Frame)}
    told = {tuple(line.split("\t")) for line in lines}
    assert {line for line in told if line[3] != "-1"} == {
        (m.machine, m.source, str(m.epoch), str(m.sequence), str(partition), str(offset))
        for (partition, offset), m in frames.items()
    }
    assert re.search(rf"history +1 h: {len(frames):,} frames", said)
    first = {}
    for (partition, _), message in sorted(held.items()):
        first.setdefault((message.machine, partition), message)
    configs = {message.machine: message.body for message in first.values() if isinstance(message, Control)}
    assert configs == load_factory(tmp_path / "factory.yaml").machines
    assert len(first) == 6, "each machine stays in one partition, its configuration first"
    ends = [m for m in held.values() if isinstance(m, Control) and isinstance(m.body, EndOfSource)]
    assert {(m.machine, m.body.at) for m in ends} == {(name, ends[0].body.at) for name in configs}
    archived = last_applied("demo", settings, Codec())
    assert archived is not None
    assert all(isinstance(body, MachineConfig) for body in configs.values())


def test_a_live_plant_goes_on_where_the_history_ended_until_it_is_told_to_stop(stack: LiveStack) -> None:
    settings = stack.settings("alive", partitions=1)
    topics.ensure(settings)
    argv = [sys.executable, "-m", "pipeline", "simulate", "--hours=0.1", "--machines=2", "--live", "--timezone=awake"]
    env = {**os.environ, **environment(settings)}
    with subprocess.Popen(argv, env=env, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as plant:
        assert plant.stdout is not None
        said = iter(plant.stdout.readline, "")
        assert any(line.startswith("live") for line in said)
        consumer = reader(settings)
        live = 0
        while live < 6:  # the test's time-out is the deadline
            record = consumer.poll(1.0)
            message = Codec().decode(record.value()) if record is not None and record.error() is None else None
            live += isinstance(message, Frame) and message.sequence > 8
        consumer.close()
        plant.send_signal(signal.SIGTERM)
        rest = plant.stdout.read()
        assert plant.wait(30) == 0
    assert "stopped" in rest
    acknowledged = int(re.search(r"([\d,]+) records acknowledged", rest)[1].replace(",", ""))  # type: ignore[index]
    held = list(read_all(settings).values())
    frames = [message for message in held if isinstance(message, Frame)]
    ends = [message for message in held if isinstance(message, Control) and isinstance(message.body, EndOfSource)]
    assert len(frames) + len(ends) == acknowledged
    assert {end.machine for end in ends} == {frame.machine for frame in frames}
    for name in {frame.machine for frame in frames}:
        own = [frame for frame in frames if frame.machine == name]
        assert [frame.sequence for frame in own] == list(range(len(own)))


def test_a_record_that_is_too_large_is_named(stack: LiveStack) -> None:
    settings = stack.settings("large", partitions=1)
    topics.ensure(settings)

    class Long:
        def encode(self, message: Frame | Control) -> bytes:
            return b"x" * 4_500_000

    with (
        pytest.raises(DeliveryFailed, match=r"4,500,000 bytes of machine m1, source plc, sequence 7 is larger"),
        TelemetryProducer(settings, Long()) as producer,
    ):
        producer.send(Frame("m1", "plc", 0, 7, 0))


def simulate(settings: Settings, *arguments: str) -> str:
    argv = [sys.executable, "-m", "pipeline", "simulate", *arguments]
    env = {**os.environ, **environment(settings)}
    return subprocess.run(argv, env=env, cwd=PROJECT, check=True, capture_output=True, text=True).stdout


def reader(settings: Settings) -> Consumer:
    consumer = Consumer(
        {
            "bootstrap.servers": settings["kafka"],
            "group.id": settings.topic("reader"),
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([settings.topic("telemetry")])
    return consumer


def read_all(settings: Settings) -> dict[tuple[int, int], Frame | Control]:
    """Every record of telemetry by partition and offset."""
    consumer, codec = reader(settings), Codec()
    found: dict[tuple[int, int], Frame | Control] = {}
    ended: set[int] = set()
    partitions = len(
        consumer.list_topics(settings.topic("telemetry"), 10).topics[settings.topic("telemetry")].partitions
    )
    while len(ended) < partitions:
        record = consumer.poll(1.0)
        if record is None:
            continue
        if record.error() is not None:
            assert record.error().code() == KafkaError._PARTITION_EOF
            ended.add(record.partition())
            continue
        message = codec.decode(record.value())
        assert isinstance(message, Frame | Control)
        found[record.partition(), record.offset()] = message
    consumer.close()
    return found
