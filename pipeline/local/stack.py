"""The whole local stack of one home: start it, ask each part for its health, end it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.errors import StackError
from pipeline.local import kafka, registry, store
from pipeline.local.machine import host_port, java_available
from pipeline.local.processes import Managed, Supervisor
from pipeline.settings import Settings

REGISTRY_PORT = 8081
Report = Callable[[str], None]

__all__ = ["Health", "Stack", "java_available"]


@dataclass(frozen=True)
class Health:
    """One part or process as asked just now; `state` is up, starting (runs, does not answer) or down."""

    name: str
    state: str
    detail: str
    pid: int | None
    log: str | None


class Stack:
    """Kafka, the store and on request the registry, as the settings place them, and whatever runs on them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.home: Path = settings.home
        self.supervisor = Supervisor(self.home)
        first = settings["kafka"].split(",")[0]
        self.kafka = kafka.Kafka(self.home, host_port(first, "the setting kafka")[1], self.supervisor)
        port = host_port(urlsplit(settings["store"]).netloc, "the setting store")[1]
        self.store = store.Store(self.home, port, settings["store_user"], self.supervisor)

    def registry(self) -> registry.Registry:
        """The registry where the setting `registry` wants it, else on port 8081."""
        address = urlsplit(self.settings["registry"]).netloc or f"127.0.0.1:{REGISTRY_PORT}"
        port = host_port(address, "the setting registry")[1]
        return registry.Registry(self.home, port, self.kafka.bootstrap(), self.supervisor)

    def up(
        self, report: Report, nodes: int | None = None, with_registry: bool = False, with_kafka: bool = True
    ) -> None:
        """Start what does not run and wait until every part answers; running parts are left alone.

        Raises StackError, naming the remedy, when a part cannot start; parts started before stay up.
        """
        report("store")
        self.store.start(self.settings["store_password"])
        if with_kafka:
            report("Kafka")
            self.kafka.start(nodes, report)
        if with_registry:
            report("registry")
            self.registry().start(report)

    def stop(self) -> list[str]:
        """End everything that runs in this home; data survive. Returns the names."""
        return self.supervisor.stop_all()

    def health(self) -> list[Health]:
        """Every part of the stack and every process registered with the supervisor, asked now."""
        running = {managed.name: managed for managed in self.supervisor.all()}
        found = [self._kafka_health(running), self._store_health(running)]
        if registry.NAME in running or self.settings["registry"]:
            found.append(self._registry_health(running))
        parts = {registry.NAME, store.NAME}
        for managed in running.values():
            if managed.name not in parts and not managed.name.startswith("kafka-"):
                found.append(Health(managed.name, "up", "process runs", managed.pid, managed.log))
        return found

    def _kafka_health(self, running: dict[str, Managed]) -> Health:
        first = running.get(kafka.node_name(1))
        nodes = max(1, self.kafka.nodes())
        bootstrap = self.settings["kafka"] if not self.kafka.nodes() else self.kafka.bootstrap()
        found = kafka.describe(bootstrap, timeout_s=2.0)
        if found is None:
            return _health("kafka", first, False, f"no broker answers at {bootstrap}")
        state = "up" if found[1] >= nodes else "starting"
        detail = f"{found[1]} of {nodes} broker(s) answer at {bootstrap}"
        return _told("kafka", state, detail, first)

    def _store_health(self, running: dict[str, Managed]) -> Health:
        managed = running.get(store.NAME)
        try:
            fine = store.answers(
                "127.0.0.1", self.store.port, self.store.user, self.settings.store_password, timeout_s=2.0
            )
        except StackError as error:
            return _health("store", managed, False, str(error))
        at = f"http://127.0.0.1:{self.store.port}"
        return _health("store", managed, fine, f"answers at {at}" if fine else f"nothing answers at {at}")

    def _registry_health(self, running: dict[str, Managed]) -> Health:
        part = self.registry()
        fine = registry.answers("127.0.0.1", part.port)
        detail = f"answers at {part.url}" if fine else f"nothing answers at {part.url}"
        return _health(registry.NAME, running.get(registry.NAME), fine, detail)


def _health(name: str, managed: Managed | None, fine: bool, detail: str) -> Health:
    state = "up" if fine else "starting" if managed else "down"
    return _told(name, state, detail, managed)


def _told(name: str, state: str, detail: str, managed: Managed | None) -> Health:
    return Health(name, state, detail, managed.pid if managed else None, managed.log if managed else None)
