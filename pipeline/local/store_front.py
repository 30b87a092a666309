"""The store's process: opens the engine, serves it on 127.0.0.1 and ends both cleanly."""

from __future__ import annotations

import argparse
import os
import signal
import ssl
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import StackError
from pipeline.local.store_engine import Engine
from pipeline.local.store_handler import OWNER, READER, WRITER, Server, User

CLOSING_S = 8.0


def serve(folder: Path, port: int, users: dict[str, User], trust: ssl.SSLContext | None = None) -> None:
    """Serve the store in `folder` until SIGTERM or SIGINT, then end cleanly."""
    engine = Engine(folder)
    try:
        server = Server(port, engine, users, trust)
    except OSError as error:
        engine.close()
        raise StackError(f"port {port} of 127.0.0.1, wanted for the store, cannot be used: {error.strerror}") from None

    def stop(*_: object) -> None:
        threading.Thread(target=server.shutdown, daemon=True).start()  # shutdown waits for this very thread

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print(
        f"the store in {folder} answers at {'https' if trust else 'http'}://127.0.0.1:{port} (chDB {engine.version})",
        flush=True,
    )
    server.serve_forever(poll_interval=0.1)
    server.close_idle()
    late = threading.Timer(CLOSING_S, os._exit, (1,))  # a request that does not end: leave as a kill would
    late.daemon = True
    late.start()
    server.server_close()  # joins the threads
    engine.close()
    late.cancel()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve a store: `python -m pipeline.local.store_front --folder DIR --port N --user NAME=PASSWORD_FILE`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="folder of the data")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--user", action="append", default=[], help="NAME=FILE with the password: may do everything")
    parser.add_argument("--writer", action="append", default=[], help="NAME=FILE with the password: reads and inserts")
    parser.add_argument("--reader", action="append", default=[], help="NAME=FILE with the password: may only read")
    parser.add_argument("--tls", type=Path, metavar="FILE", help="certificate and its key (PEM): speak TLS")
    chosen = parser.parse_args(arguments)
    users = {}
    for role, pairs in ((OWNER, chosen.user), (WRITER, chosen.writer), (READER, chosen.reader)):
        for name, _, path in (pair.partition("=") for pair in pairs):
            users[name] = User(Path(path), role)
    try:
        serve(chosen.folder.resolve(), chosen.port, users, _trust(chosen.tls))
    except StackError as error:
        sys.exit(f"Error: {error}")


def _trust(path: Path | None) -> ssl.SSLContext | None:
    if path is None:
        return None
    trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trust.load_cert_chain(path)
    return trust


if __name__ == "__main__":
    main()
