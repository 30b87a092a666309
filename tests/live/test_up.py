"""`openoee up | status | stop` on a home of its own: what a person types, on real parts."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from live_stack import LocalStack

from pipeline.local.stack import Stack
from pipeline.local.store import answers

pytestmark = pytest.mark.live


class Home(LocalStack):
    """A home that nothing runs in yet, and `openoee` commands on it."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.link_downloads()
        self.line = self.settings("up")
        self.stack = Stack(self.line)

    def openoee(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from pipeline.cli import main; main()", *arguments],
            env={**os.environ, **self.line.environment()}, capture_output=True, text=True, timeout=280, check=False,
        )  # fmt: skip

    def pids(self) -> dict[str, int]:
        return {managed.name: managed.pid for managed in self.stack.supervisor.all()}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path)
    yield made
    made.stop()
    left = [process.cmdline() for process in psutil.process_iter(["cmdline"]) if str(tmp_path) in str(process.info)]
    assert not left


def create(bootstrap: str, replication: int = 1) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic("kept", 1, replication)])["kept"].result(60)


def fill(bootstrap: str) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    failed: list[KafkaError] = []
    for number in range(5):
        producer.produce(
            "kept", str(number).encode(), on_delivery=lambda error, _: failed.append(error) if error else None
        )
    assert producer.flush(60) == 0
    assert failed == []


def commit(bootstrap: str, group: str, offset: int) -> None:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    deadline = time.monotonic() + 60
    committed = False
    while not committed:
        assert time.monotonic() < deadline
        with contextlib.suppress(KafkaException):  # a fresh broker is still choosing the group's coordinator
            consumer.commit(offsets=[TopicPartition("kept", 0, offset)], asynchronous=False)
            committed = True
    consumer.close()


def values(bootstrap: str, group: str) -> list[bytes]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    consumer.assign([TopicPartition("kept", 0, 0)])
    found = consumer.consume(5, 60)
    consumer.close()
    return [message.value() for message in found]


def test_up_status_stop_and_up_again_with_the_same_data(home: Home) -> None:
    up = home.openoee("up")
    assert up.returncode == 0, up.stderr
    pids = home.pids()
    assert sorted(pids) == ["kafka-1", "store"]
    create(home.line["kafka"])
    fill(home.line["kafka"])
    commit(home.line["kafka"], "behind", 3)
    home.stack.supervisor.spawn("worker-1", [sys.executable, "-c", "import time; time.sleep(600)"])

    assert home.openoee("up").returncode == 0
    assert {name: pid for name, pid in home.pids().items() if name in pids} == pids

    status = home.openoee("status", "--json")
    assert status.returncode == 0, status.stdout
    told = json.loads(status.stdout)
    assert {part["name"]: part["state"] for part in told["parts"]} == {"kafka": "up", "store": "up", "worker-1": "up"}
    assert told["lag"] == [{"group": "behind", "topic": "kept", "members": 0, "partitions": 1, "records": 2}]
    assert all(Path(part["log"]).exists() for part in told["parts"])
    assert "behind" in home.openoee("status").stdout

    os.kill(home.pids()["worker-1"], signal.SIGSTOP)
    assert home.openoee("stop").stdout == "stopped worker-1, kafka-1, store\n"
    assert not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids.values())
    status = home.openoee("status")
    assert status.returncode == 1
    assert "no broker answers" in status.stdout
    assert "nothing runs" in home.openoee("stop").stdout

    assert home.openoee("up").returncode == 0
    assert values(home.line["kafka"], "again") == [b"0", b"1", b"2", b"3", b"4"]
    assert home.openoee("up", "--nodes", "3").stderr.splitlines()[-1].startswith("openoee: ")


def test_three_nodes_lose_one_and_get_it_back(home: Home) -> None:
    assert home.openoee("up", "--nodes", "3").returncode == 0
    bootstrap = home.stack.kafka.bootstrap()
    assert bootstrap.count(",") == 2
    create(bootstrap, replication=3)  # while all answer: a node just killed may still be named as the controller
    os.kill(home.pids()["kafka-2"], signal.SIGKILL)
    fill(bootstrap)
    assert "2 of 3" in home.openoee("status").stdout
    assert home.openoee("up").returncode == 0
    assert sorted(home.pids()) == ["kafka-1", "kafka-2", "kafka-3", "store"]
    assert values(bootstrap, "again") == [b"0", b"1", b"2", b"3", b"4"]


def test_port_taken_is_one_sentence_and_nothing_starts(home: Home) -> None:
    with socket.create_server(("127.0.0.1", home.kafka_port + 1)):
        up = home.openoee("up")
    assert up.returncode == 1
    assert up.stderr == (
        f"openoee: port {home.kafka_port + 1} of 127.0.0.1, wanted for Kafka's controller 1, cannot be used: "
        f"{psutil.Process().name()} (process {os.getpid()}) listens there; end that program or choose another port\n"
    )
    assert home.pids() == {}


def test_a_broker_that_dies_at_its_start_says_why(home: Home) -> None:
    data = home.home / "kafka" / "node-1"
    data.mkdir(parents=True)
    (data / "meta.properties").write_text("version=1\ncluster.id=another\nnode.id=7\n")
    up = home.openoee("up")
    assert up.returncode == 1
    last = up.stderr.splitlines()[-1]
    assert last.startswith("openoee: Kafka's")
    assert "node-1" in last
    assert "Traceback" not in up.stderr
    port = int(home.line["store"].rsplit(":", 1)[1])
    assert not answers("127.0.0.1", port, "openoee", home.line.store_password) or "store" in home.pids()
