"""The store as a part of the local stack: its secrets, its process, its readiness."""

from __future__ import annotations

import secrets
import ssl
import sys
import time
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path

from pipeline.errors import StackError
from pipeline.local.machine import require_disk, require_free_port
from pipeline.local.processes import Supervisor
from pipeline.local.secure import Secrets

NAME = "store"
READER, SINK = "reader", "sink"
READY_WITHIN_S = 120.0
ROOM_MB = 500
LAYER = 0


class Store:
    """The store of one home, on 127.0.0.1; the user may do everything in it, `reader` may only read.

    `secure`: it speaks TLS, and `sink` may read and insert."""

    def __init__(
        self, home: Path, port: int, user: str, supervisor: Supervisor | None = None, secure: Secrets | None = None
    ) -> None:
        self.home = home
        self.port = port
        self.user = user
        self.supervisor = supervisor or Supervisor(home)
        self.secure = secure

    def start(self, password: str = "") -> None:
        """Start the store if it does not run and wait until it answers; see `launch` for what may go wrong."""
        self.launch(password)
        self.wait_ready()

    def require(self) -> None:
        """Check all that a store that does not run yet needs; StackError: chDB missing, port taken, disk full."""
        if not self.supervisor.alive(NAME):
            _require_chdb()
            require_disk(self.home, ROOM_MB, "the store")
            require_free_port(self.port, "the store")

    def launch(self, password: str = "") -> None:
        """Start the store if it does not run.

        `password` is the user's; empty: the one in `<home>/secrets/store`, made up at the first start. Raises
        StackError when something that it requires is missing.
        """
        self.require()
        secret = keep_secret(self.home, "store", password)
        reader = keep_secret(self.home, "store_reader", "")
        if not self.supervisor.alive(NAME):
            folder = self.home / "store"
            self.supervisor.spawn(
                NAME,
                [sys.executable, "-m", "pipeline.local.store_front", "--folder", str(folder), "--port", str(self.port),
                 "--user", f"{self.user}={secret}", "--reader", f"{READER}={reader}", *self._closed()],
                env={"TZ": "UTC"},
                layer=LAYER,
            )  # fmt: skip

    def _closed(self) -> list[str]:
        if self.secure is None:
            return []
        return ["--writer", f"{SINK}={keep_secret(self.home, 'store_sink', '')}", "--tls", str(self.secure.key)]

    def stop(self) -> None:
        """End the store; its data survive."""
        self.supervisor.stop(NAME)

    def wait_ready(self) -> None:
        """Wait until the store answers; StackError, with its last words, when it ends instead."""
        password = keep_secret(self.home, "store", "").read_text().strip()
        ca = str(self.secure.ca) if self.secure is not None else None
        deadline = time.monotonic() + READY_WITHIN_S
        log = self.supervisor.logs / f"{NAME}.log"
        while not answers("127.0.0.1", self.port, self.user, password, ca=ca):
            if not self.supervisor.alive(NAME):
                said = ([line for line in self.supervisor.tail(NAME) if line.strip()] or ["it wrote nothing"])[-1]
                said = said.removeprefix("Error: ")
                raise StackError(f"the store ended at its start: {said} (log: {log})")
            if time.monotonic() > deadline:
                raise StackError(f"the store does not answer after {READY_WITHIN_S:.0f} s; see {log}")
            time.sleep(0.02)


def answers(host: str, port: int, user: str, password: str, timeout_s: float = 5.0, ca: str | None = None) -> bool:
    """Whether a store answers a query of this user, over TLS where its CA is given.

    Raises StackError when it refuses the password.
    """
    connection = HTTPConnection(host, port, timeout=timeout_s)
    if ca is not None:
        connection = HTTPSConnection(host, port, timeout=timeout_s, context=ssl.create_default_context(cafile=ca))
    try:
        connection.request(
            "GET", "/?query=SELECT%201", headers={"X-ClickHouse-User": user, "X-ClickHouse-Key": password}
        )
        response = connection.getresponse()
        body = response.read()
    except OSError:
        return False
    finally:
        connection.close()
    if response.status == 403:
        raise StackError(f"the store at {host}:{port} refuses user {user}: another store, or another password")
    return response.status == 200 and body == b"1\n"


def keep_secret(home: Path, name: str, value: str) -> Path:
    """File with a secret, readable by its owner only: `value`, else what it held before, else a fresh one."""
    path = home / "secrets" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    if not value and path.exists():
        return path
    path.touch(mode=0o600)
    path.write_text((value or secrets.token_urlsafe(24)) + "\n")
    return path


def _require_chdb() -> None:
    from importlib.util import find_spec

    if find_spec("chdb") is None:
        raise StackError("chDB is missing: install openoee with its extra `local` (pip install 'openoee[local]')")


def main() -> None:
    """Start or stop one home's store by hand: `python -m pipeline.local.store --home DIR --port N [--stop]`."""
    import argparse

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--home", type=Path, required=True, help="folder of data, logs and secrets")
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--user", default="openoee")
    parser.add_argument("--stop", action="store_true", help="end the store; data survive")
    arguments = parser.parse_args()
    store = Store(arguments.home.resolve(), arguments.port, arguments.user)
    try:
        if arguments.stop:
            store.stop()
        else:
            store.start()
            print(f"the store answers at http://127.0.0.1:{store.port}")
    except StackError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
