"""A real Kafka and a real store for tests: the local stack in a temporary home, or the official images."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Protocol

import psutil
import yaml

from pipeline.local.machine import free_port
from pipeline.local.registry import PATH, Registry
from pipeline.local.registry import answers as registry_answers
from pipeline.local.stack import Stack
from pipeline.local.store import answers, keep_secret
from pipeline.settings import Settings, load

PROJECT = Path(__file__).resolve().parents[2]
COMPOSE = PROJECT / "deploy" / "docker-compose.yml"  # the one place where images are pinned
READY_WITHIN_S = 120.0
PORTS_OF_KAFKA = 6  # three nodes, each a broker and its controller


class LiveStack(Protocol):
    """What the tests see of a stack."""

    home: Path

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def start_registry(self) -> str: ...
    def settings(self, prefix: str, **more: str | float) -> Settings: ...


class Placed:
    """Where a stack's parts are, and settings for a line of its own on them."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.kafka_port = free_port(PORTS_OF_KAFKA)
        self.store_port = free_port()
        self.registry_port = free_port()

    def settings(self, prefix: str, **more: str | float) -> Settings:
        """Settings of a new line: topics and database that no other test has; `more` settings by name."""
        token = f"{prefix.replace('-', '_')}_{secrets.token_hex(3)}"
        placed = {
            "home": str(self.home),
            "kafka": f"127.0.0.1:{self.kafka_port}",
            "store": f"http://127.0.0.1:{self.store_port}",
            "topic_prefix": f"{token}.",
            "database": token,
        }
        return load({**placed, **more}, {})

    @property
    def registry_url(self) -> str:
        return f"http://127.0.0.1:{self.registry_port}{PATH}"


class LocalStack(Placed):
    """The local stack in `home`, with the project's own downloads."""

    def link_downloads(self) -> None:
        """Share the project's downloads with this home."""
        share_downloads(self.home)

    def start(self) -> None:
        self.link_downloads()
        self.stack = Stack(self.settings("stack"))
        self.stack.up(print)

    def start_registry(self) -> str:
        part = Registry(self.home, self.registry_port, self.stack.kafka.bootstrap(), self.stack.supervisor)
        part.start(print)
        return part.url

    def stop(self) -> None:
        Stack(self.settings("stack")).stop()
        left = [child.cmdline() for child in psutil.Process().children(recursive=True) if self._is_mine(child)]
        assert not left, f"the stack left processes behind: {left}"

    def _is_mine(self, child: psutil.Process) -> bool:
        try:
            home = child.environ().get("OPENOEE_HOME")
            return home == str(self.home) or any(str(self.home) in word for word in child.cmdline())
        except psutil.NoSuchProcess:
            return False


class DockerStack(Placed):
    """Containers of the official images."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.containers: list[Any] = []

    def start(self) -> None:
        from pipeline.local.kafka import describe

        password = keep_secret(self.home, "store", "").read_text().strip()
        self._run(
            "kafka",
            {port: port for port in (self.kafka_port, self.kafka_port + 1)},
            self._kafka_environment(),
        )
        self._run(
            "store",
            {8123: self.store_port},
            {
                "CLICKHOUSE_USER": "openoee",
                "CLICKHOUSE_PASSWORD": password,
                "CLICKHOUSE_DEFAULT_ACCESS_MANAGEMENT": "1",
            },
        )
        _wait(lambda: describe(f"127.0.0.1:{self.kafka_port}", 1.0) is not None, "Kafka")
        _wait(lambda: answers("127.0.0.1", self.store_port, "openoee", password), "the store")

    def _kafka_environment(self) -> dict[str, str]:
        inner = f"INNER://host.docker.internal:{self.kafka_port + 1}"
        return {
            "KAFKA_NODE_ID": "1",
            "KAFKA_PROCESS_ROLES": "broker,controller",
            "KAFKA_LISTENERS": f"OUTER://:{self.kafka_port},INNER://:{self.kafka_port + 1},CONTROLLER://:29093",
            "KAFKA_ADVERTISED_LISTENERS": f"OUTER://127.0.0.1:{self.kafka_port},{inner}",
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "OUTER:PLAINTEXT,INNER:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "KAFKA_INTER_BROKER_LISTENER_NAME": "OUTER",
            "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
            "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@127.0.0.1:29093",
            "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
            "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
            "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
            "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
            "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
            "KAFKA_MESSAGE_MAX_BYTES": str(8 * 2**20),
        }

    def start_registry(self) -> str:
        environment = {
            "APICURIO_STORAGE_KIND": "kafkasql",
            "APICURIO_KAFKASQL_BOOTSTRAP_SERVERS": f"host.docker.internal:{self.kafka_port + 1}",
        }
        self._run("registry", {8080: self.registry_port}, environment)
        _wait(lambda: registry_answers("127.0.0.1", self.registry_port), "the registry")
        return self.registry_url

    def stop(self) -> None:
        for container in self.containers:
            container.stop()

    def _run(self, service: str, ports: dict[int, int], environment: dict[str, str]) -> None:
        from testcontainers.core.container import DockerContainer

        image = yaml.safe_load(COMPOSE.read_text())["services"][service]["image"]
        container = DockerContainer(image).with_kwargs(extra_hosts={"host.docker.internal": "host-gateway"})
        for inside, outside in ports.items():
            container.with_bind_ports(inside, outside)
        for name, value in environment.items():
            container.with_env(name, value)
        self.containers.append(container.start())


def share_downloads(home: Path) -> None:
    """Let a home use what the project has downloaded, or will."""
    downloads = PROJECT / ".openoee" / "lib"
    downloads.mkdir(parents=True, exist_ok=True)
    (home / "lib").symlink_to(downloads)


def environment(settings: Settings) -> dict[str, str]:
    """The settings as environment variables, for a process of its own."""
    return settings.environment()


def docker_answers() -> bool:
    """Whether a Docker engine answers."""
    if shutil.which("docker") is None:
        return False
    asked = subprocess.run(["docker", "version"], capture_output=True, timeout=30, check=False)
    return asked.returncode == 0


def _wait(answered: Any, what: str) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while not answered():
        assert time.monotonic() < deadline, f"{what} does not answer after {READY_WITHIN_S:.0f} s"
        time.sleep(0.1)
