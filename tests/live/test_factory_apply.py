"""`openoee factory apply` on a real Kafka: every machine is told once per call, the file is kept, changes are named."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Consumer, TopicPartition
from live_stack import LiveStack

from pipeline import topics
from pipeline.cli.factory import command
from pipeline.codec import Codec
from pipeline.core.model import Control, MachineConfig
from pipeline.errors import BrokerUnavailable, TopicMismatch, UsageError
from pipeline.factory import loads
from pipeline.factory_apply import last_applied
from pipeline.settings import Settings

pytestmark = pytest.mark.live
ROOT = Path(__file__).parents[2]
TEXT = "version: 1\nsite: lyon\ntimezone: Europe/Paris\nmachines: {cut: {ideal_cycle_s: 12}, paint: {}}\n"


@pytest.fixture
def line(stack: LiveStack) -> Settings:
    settings = stack.settings("factory", partitions=3)
    topics.ensure(settings)
    return settings


def call(line: Settings, *arguments: str) -> Result:
    places = ["--kafka", line["kafka"], "--topic-prefix", line["topic_prefix"]]
    return CliRunner().invoke(command, ["apply", *arguments, *places])


def told(line: Settings) -> list[Control]:
    """Every record of the topic telemetry, in order per machine."""
    codec, found = Codec(), []
    reader = Consumer({"bootstrap.servers": line["kafka"], "group.id": "unused", "enable.auto.commit": False})
    ends = {part: reader.get_watermark_offsets(TopicPartition(line.topic("telemetry"), part))[1] for part in range(3)}
    reader.assign([TopicPartition(line.topic("telemetry"), part, 0) for part in ends])
    deadline = time.monotonic() + 30
    while len(found) < sum(ends.values()):
        assert time.monotonic() < deadline, f"{len(found)} of {sum(ends.values())} records"
        record = reader.poll(0.5)
        if record is not None:
            assert record.error() is None
            message = codec.decode(record.value())
            assert isinstance(message, Control)
            assert record.key() == message.machine.encode()
            found.append(message)
    reader.close()
    return sorted(found, key=lambda control: (control.machine, control.issued))


def test_apply_tells_every_machine_and_keeps_the_file(line: Settings, tmp_path: Path) -> None:
    file = tmp_path / "factory.yaml"
    file.write_text(TEXT)
    first = call(line, str(file), "--by", "anna")
    assert first.exit_code == 0, first.output
    assert first.output == "lyon: 2 machines told, effective always\n  cut: new\n  paint: new\n"

    file.write_text(TEXT.replace("12", "10"))
    refused = call(line, str(file), "--effective", "2026-03-02 06:00", "--by", "anna").exception
    assert isinstance(refused, UsageError)
    assert "would rewrite the results since 2026-03-02T05:00:00.000Z of 2 machines of lyon" in str(refused)
    second = call(line, str(file), "--effective", "2026-03-02 06:00", "--restate", "--by", "anna")
    assert second.output.splitlines() == [
        "lyon: 2 machines told, effective 2026-03-02T05:00:00.000Z",
        "  cut: ideal_cycle_us[*]: 12000000 -> 10000000",
    ]
    controls = told(line)
    configs = [control.body for control in controls]
    assert [control.machine for control in controls] == ["cut", "cut", "paint", "paint"]
    assert configs[0] == loads(TEXT).machines["cut"]
    assert isinstance(configs[1], MachineConfig)
    assert (configs[1].effective, configs[1].ideal_cycle_us) == (1_772_427_600_000, {"*": 10_000_000})
    assert len({control.id for control in controls}) == 4

    kept = last_applied("lyon", line, Codec())
    assert kept is not None
    assert (kept.text, kept.by, kept.effective) == (file.read_text(), "anna", 1_772_427_600_000)
    assert last_applied("nowhere", line, Codec()) is None

    third = call(line, str(file))
    assert third.output.splitlines()[1:] == ["  nothing differs from what was applied last"]


def test_what_cannot_be_applied_says_why(line: Settings, stack: LiveStack, tmp_path: Path) -> None:
    file = tmp_path / "factory.yaml"
    file.write_text(TEXT)
    assert isinstance(call(line, str(file), "--effective", "yesterday").exception, UsageError)
    missing = call(stack.settings("nothing"), str(file)).exception
    assert isinstance(missing, TopicMismatch)
    assert "run `openoee topics --create`" in str(missing)
    away = call(stack.settings("away", kafka="127.0.0.1:9"), str(file)).exception
    assert isinstance(away, BrokerUnavailable)
    assert "Kafka at 127.0.0.1:9 does not answer" in str(away)
    assert told(line) == []


def test_a_container_is_healthy_while_it_is_a_member_of_its_group(line: Settings) -> None:
    def health() -> subprocess.CompletedProcess[str]:
        environment = {"OPENOEE_KAFKA": line["kafka"], "OPENOEE_TOPIC_PREFIX": line["topic_prefix"]}
        return subprocess.run(
            [sys.executable, ROOT / "deploy/healthcheck.py", topics.SINK_GROUP],
            env=environment | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    before = health()
    assert before.returncode == 1
    assert f"is no member of {line.topic(topics.SINK_GROUP)}" in before.stderr
    member = Consumer({"bootstrap.servers": line["kafka"], "group.id": line.topic(topics.SINK_GROUP)})
    member.subscribe([line.topic("oee")])
    deadline = time.monotonic() + 30
    while not member.assignment():
        assert time.monotonic() < deadline
        member.poll(0.2)
    after = health()
    member.close()
    assert after.returncode == 0, after.stderr
