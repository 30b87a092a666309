"""The HTTP endpoint of a process: /metrics, /healthz, /readyz. In a thread of its own, bounded whoever asks.

At most MOST_OPEN connections are open, at most 1 / ACCEPT_EVERY_S are taken in a second, each has REQUEST_WITHIN_S for
its request, and a page is made once in FRESH_S however often it is asked for. The kernel keeps or refuses the rest.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from prometheus_client import CONTENT_TYPE_LATEST

from pipeline.errors import PortTaken, SettingError
from pipeline.logs import hidden
from pipeline.metrics import Figures, Health
from pipeline.settings import Settings

MOST_OPEN = 32
ACCEPT_EVERY_S = 0.02
REQUEST_WITHIN_S = 2.0
PAGE_WITHIN_S = 10.0
FRESH_S = 0.5
HEAD_BYTES = 8192
BACKLOG = 16
LAST_PORT = 65_535
PLAIN = "text/plain; charset=utf-8"
WORDS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}
log = logging.getLogger("openoee.endpoint")


class Page(NamedTuple):
    """An answer: status, body, its media type."""

    status: int
    body: bytes
    kind: str = PLAIN

    def wire(self, with_body: bool) -> bytes:
        head = (
            f"HTTP/1.1 {self.status} {WORDS[self.status]}\r\nContent-Type: {self.kind}\r\n"
            f"Content-Length: {len(self.body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + (self.body if with_body else b"")


@contextmanager
def served(settings: Settings, health: Health) -> Iterator[None]:
    """Answer while the block runs; with `metrics_port` 0 nothing listens. Raises SettingError, PortTaken."""
    host, port = settings["metrics_host"], settings.int("metrics_port")
    if not port:
        yield
        return
    endpoint = Endpoint(_listener(host, port), health, Figures(health, settings.home))
    endpoint.start()
    try:
        yield
    finally:
        endpoint.stop()


class Endpoint:
    """Answers on a socket that listens."""

    def __init__(self, listener: socket.socket, health: Health, figures: Figures) -> None:
        self._listener, self._health, self._figures = listener, health, figures
        self._kept: dict[str, tuple[float, Page]] = {}
        self._locks = {path: asyncio.Lock() for path in ("/metrics", "/readyz")}
        self._thread = threading.Thread(target=self._run, name="endpoint", daemon=True)
        self._running = threading.Event()

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()
        self._running.wait()

    def stop(self) -> None:
        """Answer no more."""
        with suppress(RuntimeError):  # its loop has ended by itself
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(REQUEST_WITHIN_S)
        self._listener.close()

    def _run(self) -> None:
        with suppress(asyncio.CancelledError):
            asyncio.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._accept())
        self._running.set()
        await self._task

    async def _accept(self) -> None:
        room = asyncio.Semaphore(MOST_OPEN)
        open_now: set[asyncio.Task[None]] = set()

        def over(answer: asyncio.Task[None]) -> None:
            open_now.discard(answer)
            room.release()

        while True:
            await room.acquire()
            try:
                connection, _ = await self._loop.sock_accept(self._listener)
            except OSError as error:  # no handles left, for instance: the process has other worries
                log.warning("the metrics endpoint cannot take a connection: %s", error)
                room.release()
                await asyncio.sleep(1.0)
                continue
            answer = asyncio.create_task(self._answer(connection))
            open_now.add(answer)
            answer.add_done_callback(over)
            await asyncio.sleep(ACCEPT_EVERY_S)

    async def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError, TimeoutError):
            async with asyncio.timeout(REQUEST_WITHIN_S):
                method, path = await _request(connection)
            page = await self._page(method, path)
            async with asyncio.timeout(REQUEST_WITHIN_S):
                await self._loop.sock_sendall(connection, page.wire(method != "HEAD"))

    async def _page(self, method: str, path: str) -> Page:
        if not method:
            return Page(400, b"this is no HTTP request\n")
        if method not in ("GET", "HEAD"):
            return Page(405, b"only GET and HEAD are answered here\n")
        if path == "/healthz":
            return Page(200, b"alive\n")
        if path not in self._locks:
            return Page(404, b"here are /metrics, /healthz and /readyz\n")
        try:
            async with asyncio.timeout(PAGE_WITHIN_S), self._locks[path]:
                at, page = self._kept.get(path, (float("-inf"), Page(503, b"")))
                if time.monotonic() - at > FRESH_S:
                    page = await asyncio.to_thread(self._metrics if path == "/metrics" else self._ready)
                    self._kept[path] = (time.monotonic(), page)
                return page
        except TimeoutError:
            return Page(503, f"no answer within {PAGE_WITHIN_S:.0f} s\n".encode())
        except Exception as error:  # whatever is wrong with a figure, the process goes on
            log.warning("%s cannot be told: %r", path, error)
            return Page(503, b"it cannot be told, the log says why\n")

    def _metrics(self) -> Page:
        return Page(200, self._figures.page(), CONTENT_TYPE_LATEST)

    def _ready(self) -> Page:
        why = self._health.unready()
        return Page(503, f"not ready: {hidden(why)}\n".encode()) if why else Page(200, b"ready\n")


async def _request(connection: socket.socket) -> tuple[str, str]:
    """Method and path of a request; empty ones when it is none."""
    head = b""
    while b"\r\n\r\n" not in head:
        part = await asyncio.get_running_loop().sock_recv(connection, HEAD_BYTES)
        head += part
        if not part or len(head) > HEAD_BYTES:
            return "", ""
    words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    return (words[0], words[1].partition("?")[0]) if len(words) == 3 and words[2].startswith("HTTP/") else ("", "")


def _listener(host: str, port: int) -> socket.socket:
    if port > LAST_PORT:
        raise SettingError(f"OPENOEE_METRICS_PORT is {port}: ports end at {LAST_PORT}")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise SettingError(f"OPENOEE_METRICS_HOST is {host!r}, OPENOEE_METRICS_PORT {port}: {error}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise PortTaken(
            f"port {port} of {host}, wanted for metrics, cannot be used ({error.strerror}): give "
            "each process a port of its own with OPENOEE_METRICS_PORT, or 0 for none"
        ) from None
    listener.setblocking(False)
    return listener
