"""The board's application in a thread of the test, and plain requests to it: no store is needed."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import uvicorn

from pipeline.local.machine import free_port
from pipeline.settings import Settings
from pipeline.web.app import create

Answer = tuple[int, http.client.HTTPMessage, bytes]


@contextmanager
def running(settings: Settings) -> Iterator[int]:
    """The board's application in a thread, on a port of this machine."""
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(create(settings), host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=2)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield port
    finally:
        server.should_exit = True
        thread.join(20)


def ask(port: int, method: str, path: str, body: str = "", **headers: str) -> Answer:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body or None, named)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
