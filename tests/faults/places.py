"""Where trials run: a Kafka of one node or of three, and a store, in homes of their own that may be broken at will."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from unittest.mock import patch

from book import NotSeen
from live_stack import LocalStack
from proxy import Proxy
from worker_trial import until

from pipeline.errors import StackError
from pipeline.local import kafka
from pipeline.local.machine import free_port
from pipeline.local.stack import Stack


class Place(LocalStack):
    """A stack whose parts can be killed, frozen and started again.

    With one node Kafka also listens behind `through`, a proxy, and tells the clients that come that way to stay there.
    `slow_store` is a proxy before the store.
    """

    def __init__(self, home: Path, nodes: int = 1) -> None:
        home.mkdir(parents=True, exist_ok=True)
        super().__init__(home)
        self.nodes = nodes
        self.through = Proxy(free_port())
        self.slow_store = Proxy(self.store_port)
        self.link_downloads()
        self.stack = Stack(self.settings("stack"))

    @property
    def bootstrap(self) -> str:
        return ",".join(f"127.0.0.1:{kafka.broker_port(self.kafka_port, node + 1)}" for node in range(self.nodes))

    @property
    def proxied(self) -> str:
        """The address of Kafka behind the proxy."""
        return f"127.0.0.1:{self.through.port}"

    def up(self) -> None:
        """Start what does not run. Raises NotSeen: without a stack a trial shows nothing."""
        try:
            with patch.object(kafka, "node_properties", self._properties):
                self.stack.up(lambda _: None, nodes=self.nodes)
        except StackError as error:
            raise NotSeen(f"the stack does not start: {error}") from error

    def down(self) -> None:
        self.stack.stop()
        for proxy in (self.through, self.slow_store):
            proxy.__exit__(None, None, None)

    def signal(self, name: str, how: signal.Signals) -> int:
        """Send a signal to a part (`kafka-1`, `store`); its process id. A killed part has ended when this returns."""
        managed = self.stack.supervisor.alive(name)
        if managed is None:
            raise NotSeen(f"{name} does not run")
        os.kill(managed.pid, how)
        if how == signal.SIGKILL:
            until(lambda: self.stack.supervisor.alive(name) is None, 20, f"{name} ends")
        return managed.pid

    def _properties(self, node: int, nodes: int, port: int, data: Path, secure: None = None) -> dict[str, str]:
        plain = PLAIN_PROPERTIES(node, nodes, port, data, secure)
        if nodes > 1:
            return plain
        return plain | {
            "listeners": plain["listeners"] + f",PROXIED://127.0.0.1:{self.through.target}",
            "advertised.listeners": plain["advertised.listeners"] + f",PROXIED://{self.proxied}",
            "listener.security.protocol.map": plain["listener.security.protocol.map"] + ",PROXIED:PLAINTEXT",
        }


PLAIN_PROPERTIES = kafka.node_properties
