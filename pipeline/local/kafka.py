"""Apache Kafka without Docker: jars from Maven, storage formatted once, one or three KRaft nodes on 127.0.0.1."""

from __future__ import annotations

import json
import re
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.errors import StackError
from pipeline.local.downloads import Report, install
from pipeline.local.machine import require_disk, require_free_port, require_java
from pipeline.local.processes import Supervisor
from pipeline.local.secure import Secrets, arguments_file

POM = Path(__file__).with_name("kafka.pom.xml")
LOG4J = Path(__file__).with_name("log4j2.xml")
READY_WITHIN_S = 120.0
ROOM_MB = 500
LAYER = 0

BROKER = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "PLAINTEXT",
    "auto.create.topics.enable": "false",
    "offsets.topic.num.partitions": "8",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.num.partitions": "4",
    "group.initial.rebalance.delay.ms": "0",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "log.cleaner.dedupe.buffer.size": str(32 * 2**20),
    "message.max.bytes": str(8 * 2**20),
    "replica.fetch.max.bytes": str(8 * 2**20),
}


class Kafka:
    """The brokers of one home: node i listens on `port + 2 (i - 1)`, its controller one port above.

    `secure`: TLS, users and rights; `access` then tells how an administrator gets in (`kafka_clients.common`).
    """

    def __init__(
        self, home: Path, port: int, supervisor: Supervisor | None = None, secure: Secrets | None = None,
        access: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:  # fmt: skip
        self.home = home
        self.port = port
        self.supervisor = supervisor or Supervisor(home)
        self.secure, self.access = secure, access
        self._cluster_file = _cluster_file(home)

    def start(self, nodes: int | None, report: Report) -> None:
        """Start the brokers that do not run yet and wait until all answer; see `launch` for what may go wrong."""
        self.launch(nodes, report)
        self.wait_ready()

    def require(self, nodes: int | None, report: Report) -> None:
        """Check all that the brokers that do not run yet need, and fetch their jars.

        Raises StackError: no Java or Maven, port taken, disk full, another number of nodes than the home was made with.
        """
        missing = self._missing(self._cluster(nodes))
        if missing:
            require_java()
            install(POM, self.home / "lib", report)
            require_disk(self.home, ROOM_MB, "Kafka")
        for i in missing:
            require_free_port(broker_port(self.port, i), f"Kafka's broker {i}")
            require_free_port(broker_port(self.port, i) + 1, f"Kafka's controller {i}")

    def launch(self, nodes: int | None, report: Report) -> None:
        """Start the brokers that do not run yet.

        `nodes` is 1 or 3; None keeps the number that the home was made with (1 for a new one). Raises StackError when
        something that they require is missing.
        """
        self.require(nodes, report)
        cluster = self._cluster(nodes)
        missing = self._missing(cluster)
        if not missing:
            return
        java, libs = require_java(), install(POM, self.home / "lib", report)
        self._cluster_file.parent.mkdir(parents=True, exist_ok=True)
        self._cluster_file.write_text(json.dumps(cluster))
        for i in missing:
            self._format(java, libs, i, cluster)
        for i in missing:
            argv = [*_java(java, libs), "-Xms256m", "-Xmx512m", "-XX:MaxGCPauseMillis=20"]
            self.supervisor.spawn(node_name(i), [*argv, "kafka.Kafka", str(self._properties_file(i))], layer=LAYER)

    def _missing(self, cluster: Mapping[str, str | int]) -> list[int]:
        return [i for i in range(1, int(cluster["nodes"]) + 1) if not self.supervisor.alive(node_name(i))]

    def stop(self) -> None:
        """End every broker of this home; its data survive."""
        for managed in self.supervisor.all():
            if managed.name.startswith("kafka-"):
                self.supervisor.stop(managed.name)

    def bootstrap(self) -> str:
        """Bootstrap servers of the brokers that the home was made with."""
        return ",".join(f"127.0.0.1:{broker_port(self.port, i)}" for i in range(1, nodes_of(self.home) + 1))

    def _cluster(self, nodes: int | None) -> dict[str, str | int]:
        if self._cluster_file.exists():
            known: dict[str, str | int] = json.loads(self._cluster_file.read_text())
            if nodes not in (None, known["nodes"]):
                raise StackError(
                    f"{self._cluster_file.parent} holds a cluster of {known['nodes']} node(s), not of {nodes}: "
                    "use another home for the other size, or `make clean` to drop the data"
                )
            return known
        return {"id": new_cluster_id(), "nodes": nodes or 1}

    def _properties_file(self, node: int) -> Path:
        return self.home / "kafka" / f"node-{node}.properties"

    def _format(self, java: str, libs: Path, node: int, cluster: Mapping[str, str | int]) -> None:
        data = self.home / "kafka" / f"node-{node}"
        properties = node_properties(node, int(cluster["nodes"]), self.port, data, self.secure)
        text = "".join(f"{key}={value}\n" for key, value in properties.items())
        file = self._properties_file(node)
        file.touch(mode=0o600)
        file.write_text(text)
        tool = [*_java(java, libs), "-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool"]
        asked = ["format", "--ignore-formatted", "-t", str(cluster["id"]), "-c", str(self._properties_file(node))]
        with self._without_secrets(asked) as shown:
            done = subprocess.run([*tool, *shown], capture_output=True, text=True, check=False)
        if done.returncode:
            raise StackError(
                f"Kafka's storage in {data} cannot be formatted (exit code {done.returncode}): "
                f"{_telling((done.stdout + done.stderr).strip().splitlines())}"
            )

    @contextmanager
    def _without_secrets(self, asked: list[str]) -> Iterator[list[str]]:
        """The arguments of the storage tool; the first users' passwords in a file, for arguments can be read by all."""
        if self.secure is None:
            yield asked
            return
        path = arguments_file(self.home / "secrets", [*asked, *self.secure.first_users()])
        try:
            yield [f"@{path}"]
        finally:
            path.unlink()

    def wait_ready(self) -> None:
        """Wait until every broker answers; StackError, with its last words, when one ends instead."""
        cluster = self._cluster(None)
        wanted = int(cluster["nodes"])
        deadline = time.monotonic() + READY_WITHIN_S
        while True:
            for i in range(1, wanted + 1):
                if not self.supervisor.alive(node_name(i)):
                    raise StackError(f"Kafka's broker {i} ended at its start: {self._last_words(i)}")
            found = describe(self.bootstrap(), timeout_s=1.0, access=self.access())
            if found and found[0] != cluster["id"]:
                raise StackError(f"another Kafka (cluster {found[0]}) answers at {self.bootstrap()}")
            if found and found[1] == wanted:
                return
            if time.monotonic() > deadline:
                state = f"{found[1]} of {wanted} brokers answer" if found else "no broker answers"
                raise StackError(f"{state} after {READY_WITHIN_S:.0f} s; see {self.supervisor.logs}/kafka-1.log")

    def _last_words(self, node: int) -> str:
        name = node_name(node)
        return f"{_telling(self.supervisor.tail(name))} (log: {self.supervisor.logs / name}.log)"


def new_cluster_id() -> str:
    """A random id as Kafka makes them: never one that its tools would take for an option."""
    while (identity := urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        continue
    return identity


def _telling(lines: Sequence[str]) -> str:
    """The line of a Java program's output that says why it ended."""
    causes = [line for line in lines if re.match(r"Caused by: |Error: |\S+(Exception|Error): |\S+: error: ", line)]
    loud = [line for line in lines if re.search(r" (ERROR|FATAL) ", line)]
    return (causes or loud or lines or ["it wrote nothing"])[-1].strip()


def nodes_of(home: Path) -> int:
    """Number of brokers that a home was made with; 0 when it has none yet."""
    path = _cluster_file(home)
    return int(json.loads(path.read_text())["nodes"]) if path.exists() else 0


def _cluster_file(home: Path) -> Path:
    return home / "kafka" / "cluster.json"


def node_name(node: int) -> str:
    """Name of node 1, 2 or 3 among the managed processes."""
    return f"kafka-{node}"


def broker_port(first: int, node: int) -> int:
    """Port of node 1, 2 or 3; its controller listens one above."""
    return first + 2 * (node - 1)


def node_properties(node: int, nodes: int, port: int, data: Path, secure: Secrets | None = None) -> dict[str, str]:
    """Broker settings of one node; internal topics are replicated on every node."""
    own = broker_port(port, node)
    voters = ",".join(f"{i}@127.0.0.1:{broker_port(port, i) + 1}" for i in range(1, nodes + 1))
    replicas, in_sync = str(nodes), str(min(nodes, 2))
    clients = "CLIENTS" if secure else "PLAINTEXT"
    return {
        **BROKER,
        **(secure.properties() if secure else {}),
        "node.id": str(node),
        "controller.quorum.voters": voters,
        "listeners": f"{clients}://127.0.0.1:{own},CONTROLLER://127.0.0.1:{own + 1}",
        "advertised.listeners": f"{clients}://127.0.0.1:{own}",
        "log.dirs": str(data),
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
    }


def describe(bootstrap: str, timeout_s: float, access: Mapping[str, Any] | None = None) -> tuple[str, int] | None:
    """Cluster id and number of brokers that answer at `bootstrap`, None when nobody does within the time.

    `access`: how clients get in (`kafka_clients.common`), where it is not open to all.
    """
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    quiet = {**(access or {}), "bootstrap.servers": bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 100}
    try:
        found = AdminClient(quiet).list_topics(timeout=timeout_s)
    except KafkaException:
        return None
    return found.cluster_id, len(found.brokers)


def _java(java: str, libs: Path) -> list[str]:
    return [java, "-cp", f"{libs}/*", f"-Dlog4j2.configurationFile={LOG4J}"]


def main() -> None:
    """Start or stop one home's brokers by hand: `python -m pipeline.local.kafka --home DIR --port N [--stop]`."""
    import argparse

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--home", type=Path, required=True, help="folder of data, logs and downloads")
    parser.add_argument("--port", type=int, default=9092, help="port of the first broker; its controller: one above")
    parser.add_argument("--nodes", type=int, choices=(1, 3), help="number of brokers of a new home")
    parser.add_argument("--stop", action="store_true", help="end the brokers; data survive")
    arguments = parser.parse_args()
    kafka = Kafka(arguments.home.resolve(), arguments.port)
    try:
        if arguments.stop:
            kafka.stop()
        else:
            kafka.start(arguments.nodes, print)
            print(f"Kafka answers at {kafka.bootstrap()}")
    except StackError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
