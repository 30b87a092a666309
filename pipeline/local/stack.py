"""The whole local stack of one home: start it, ask each part for its health, end it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline import kafka_clients
from pipeline.access import ADMIN
from pipeline.errors import StackError
from pipeline.local import kafka, registry, store
from pipeline.local.machine import host_port, java_available, locked
from pipeline.local.processes import Managed, Supervisor
from pipeline.local.secure import Secrets, as_role, introduce, require_kind, write_roles
from pipeline.settings import Settings

REGISTRY_PORT = 8081
ASK_S = 3.0
Report = Callable[[str], None]

__all__ = ["Health", "Stack", "java_available"]


@dataclass(frozen=True)
class Health:
    """One part or process as asked just now; `state` is up, starting (runs, does not answer yet) or down."""

    name: str
    state: str
    detail: str
    pid: int | None
    log: str | None


class Stack:
    """Kafka, the store and on request the registry, as the settings place them, and whatever runs on them.

    In a home that was made secure, `settings` become those of its administrator.
    """

    def __init__(self, settings: Settings) -> None:
        self.home: Path = settings.home
        self.secrets = Secrets(self.home)
        self.settings = as_role(settings, ADMIN) if self.secrets.there else settings
        self.supervisor = Supervisor(self.home)

    @cached_property
    def kafka(self) -> kafka.Kafka:
        """The brokers; StackError when the setting `kafka` is not one address of this machine."""
        first = self.settings["kafka"].split(",")[0]
        return kafka.Kafka(
            self.home, host_port(first, "the setting kafka")[1], self.supervisor, self._secure, self._access
        )

    @cached_property
    def store(self) -> store.Store:
        """The store; StackError when the setting `store` is not an address of this machine."""
        port = host_port(urlsplit(self.settings["store"]).netloc, "the setting store")[1]
        return store.Store(self.home, port, self.settings["store_user"], self.supervisor, self._secure)

    @property
    def _secure(self) -> Secrets | None:
        return self.secrets if self.secrets.there else None

    def _access(self) -> dict[str, Any]:
        return kafka_clients.common(self.settings)

    @cached_property
    def registry(self) -> registry.Registry:
        """The registry where the setting `registry` wants it, else on port 8081."""
        address = urlsplit(self.settings["registry"]).netloc or f"127.0.0.1:{REGISTRY_PORT}"
        port = host_port(address, "the setting registry")[1]
        return registry.Registry(self.home, port, self.kafka.bootstrap(), self.supervisor)

    def up(
        self, report: Report, nodes: int | None = None, with_registry: bool = False, with_kafka: bool = True,
        secure: bool = False,
    ) -> None:  # fmt: skip
        """Start what does not run and wait until every part answers; running parts are left alone.

        `secure`: closed by default, TLS and a user per role; a home is made one way or the other.

        Raises StackError, naming the remedy, when a part cannot start; parts started before stay up.
        """
        with locked(self.home / "run" / "up.lock"):
            require_kind(self.home, secure)
            if secure:
                self._close(with_registry)
            self.store.require()
            if with_kafka:
                self.kafka.launch(nodes, report)
            self.store.launch(self.settings["store_password"])
            report("waiting for the store")
            self.store.wait_ready()
            if with_kafka:
                report("waiting for Kafka")
                self.kafka.wait_ready()
            if secure:
                report("users and rights")
                introduce(self.settings)
                write_roles(self.settings, self.kafka.bootstrap())
            if with_registry:
                report("waiting for the registry")
                self.registry.start(report)

    def _close(self, with_registry: bool) -> None:
        if with_registry:
            raise StackError("the local registry knows neither users nor TLS: start it without --secure, or not at all")
        self.secrets.make()
        self.settings = as_role(self.settings, ADMIN)

    def stop(self) -> list[str]:
        """End everything that runs in this home; data survive. Returns the names."""
        with locked(self.home / "run" / "up.lock"):
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
                found.append(_told(managed.name, "up", "runs", managed))
        return found

    def _kafka_health(self, running: dict[str, Managed]) -> Health:
        bootstrap = self.settings["kafka"]
        nodes = [managed for name, managed in running.items() if name.startswith("kafka-")]
        found = kafka.describe(bootstrap, ASK_S, self._access())
        if found is None:
            return _health("kafka", nodes[0] if nodes else None, False, f"no broker answers at {bootstrap}")
        wanted = max(1, kafka.nodes_of(self.home) if nodes else 1)
        detail = f"{found[1]} of {max(wanted, found[1])} broker(s) answer at {bootstrap}"
        return _told("kafka", "up" if found[1] >= wanted else "starting", detail, nodes[0] if nodes else None)

    def _store_health(self, running: dict[str, Managed]) -> Health:
        managed, address = running.get(store.NAME), self.settings["store"]
        place = urlsplit(address)
        user, password = self.settings["store_user"], self.settings.store_password
        try:
            ca = self.settings.ca("store") if place.scheme == "https" else None
            fine = store.answers(place.hostname or "", place.port or 8123, user, password, ASK_S, ca)
        except StackError as error:
            return _told(store.NAME, "down", str(error), managed)
        return _health(store.NAME, managed, fine, f"{'answers' if fine else 'nothing answers'} at {address}")

    def _registry_health(self, running: dict[str, Managed]) -> Health:
        address = self.settings["registry"] or self.registry.url
        place = urlsplit(address)
        fine = registry.answers(place.hostname or "", place.port or 80, place.path.rstrip("/"), ASK_S)
        detail = f"{'answers' if fine else 'nothing answers'} at {address}"
        return _health(registry.NAME, running.get(registry.NAME), fine, detail)


def _health(name: str, managed: Managed | None, fine: bool, detail: str) -> Health:
    return _told(name, "up" if fine else "starting" if managed else "down", detail, managed)


def _told(name: str, state: str, detail: str, managed: Managed | None) -> Health:
    return Health(name, state, detail, managed.pid if managed else None, managed.log if managed else None)
