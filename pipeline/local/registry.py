"""A Confluent-compatible schema registry on request: Apicurio from Maven, its storage in Kafka."""

from __future__ import annotations

import time
from http.client import HTTPConnection
from pathlib import Path

from pipeline.errors import StackError
from pipeline.local.downloads import Report, install
from pipeline.local.machine import require_disk, require_free_port, require_java
from pipeline.local.processes import Supervisor

POM = Path(__file__).with_name("registry.pom.xml")
NAME = "registry"
PATH = "/apis/ccompat/v7"
READY_WITHIN_S = 120.0
ROOM_MB = 300
LAYER = 1


class Registry:
    """The registry of one home, on 127.0.0.1."""

    def __init__(self, home: Path, port: int, bootstrap: str, supervisor: Supervisor | None = None) -> None:
        self.home = home
        self.port = port
        self.bootstrap = bootstrap
        self.supervisor = supervisor or Supervisor(home)

    @property
    def url(self) -> str:
        """What the setting `registry` takes."""
        return f"http://127.0.0.1:{self.port}{PATH}"

    def start(self, report: Report) -> None:
        """Start the registry if it does not run and wait until it answers; Kafka must run.

        Raises StackError when it cannot start: no Java or Maven, port taken, disk full.
        """
        if not self.supervisor.alive(NAME):
            java = require_java()
            folder = install(POM, self.home / "lib", report)
            require_disk(self.home, ROOM_MB, "the registry")
            require_free_port(self.port, "the registry")
            jar = next(folder.glob("*-runner.jar"))
            environment = {
                "APICURIO_STORAGE_KIND": "kafkasql",
                "APICURIO_KAFKASQL_BOOTSTRAP_SERVERS": self.bootstrap,
                "QUARKUS_HTTP_HOST": "127.0.0.1",
                "QUARKUS_HTTP_PORT": str(self.port),
                "QUARKUS_HTTP_ACCESS_LOG_ENABLED": "false",
            }
            self.supervisor.spawn(
                NAME, [java, "-Xmx384m", "-XX:TieredStopAtLevel=1", "-jar", str(jar)], environment, LAYER
            )
        self._wait_ready()

    def stop(self) -> None:
        """End the registry; its schemas stay in Kafka."""
        self.supervisor.stop(NAME)

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        log = self.supervisor.logs / f"{NAME}.log"
        while not answers("127.0.0.1", self.port):
            if not self.supervisor.alive(NAME):
                loud = [line for line in self.supervisor.tail(NAME) if " ERROR " in line] or self.supervisor.tail(NAME)
                said = loud[-1] if loud else "it wrote nothing"
                raise StackError(f"the registry ended at its start: {said} (log: {log})")
            if time.monotonic() > deadline:
                raise StackError(f"the registry does not answer after {READY_WITHIN_S:.0f} s; see {log}")
            time.sleep(0.1)


def answers(host: str, port: int, path: str = PATH, timeout_s: float = 2.0) -> bool:
    """Whether a registry lists its subjects there."""
    connection = HTTPConnection(host, port, timeout=timeout_s)
    try:
        connection.request("GET", f"{path}/subjects")
        response = connection.getresponse()
        response.read()
        return response.status == 200
    except OSError:
        return False
    finally:
        connection.close()
