"""A TCP proxy that can be slow, lose answers, or cut: what networks and tired servers do to a client."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType

CHUNK = 1 << 16


class Proxy:
    """127.0.0.1:`port` to 127.0.0.1:`target`.

    `delay_s`: each piece of an answer comes so much later. `lose_answers`: what the server says is thrown away, and
    the connection is cut when `pass_on` is called, as when a response is lost after the request was carried out.
    `refuse`: connections are cut and new ones are not let through. `lost` and `asked` count bytes of lost answers, and
    of requests that went through meanwhile.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.delay_s = 0.0
        self.lost = self.asked = 0
        self._losing = self._refusing = False
        self._pairs: dict[int, tuple[socket.socket, socket.socket]] = {}
        self._poisoned: set[int] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # a listener that somebody accepts on must be shut down first
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._cut(set(self._pairs))

    def lose_answers(self) -> None:
        """From now on requests go through and answers do not."""
        self._losing = True

    def refuse(self) -> None:
        """Cut everything; nobody gets through any more."""
        self._refusing = True
        self._cut(set(self._pairs))

    def pass_on(self) -> None:
        """Everything goes through again; connections whose answers were lost are cut."""
        self.delay_s = 0.0
        with self._lock:
            self._losing = self._refusing = False
            poisoned, self._poisoned = self._poisoned, set()
        self._cut(poisoned)

    def _cut(self, numbers: set[int]) -> None:
        with self._lock:
            pairs = [self._pairs.pop(number) for number in numbers if number in self._pairs]
        for one in [end for pair in pairs for end in pair]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        number = 0
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            number += 1
            try:
                if self._refusing:
                    raise OSError
                server = socket.create_connection(("127.0.0.1", self.target), 5)
                server.settimeout(None)
            except OSError:
                client.close()
                continue
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._pairs[number] = (client, server)
            for pump in (self._ask, self._answer):
                threading.Thread(target=pump, args=(number, client, server), daemon=True).start()

    def _loses(self, number: int) -> bool:
        """Whether an answer of this connection is lost: then so are all that follow, until it is cut."""
        with self._lock:
            if self._losing:
                self._poisoned.add(number)
            return number in self._poisoned

    def _ask(self, number: int, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(CHUNK):
                server.sendall(data)
                self.asked += len(data) if self._losing else 0
        self._cut({number})

    def _answer(self, number: int, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(CHUNK):
                if self.delay_s:
                    time.sleep(self.delay_s)  # the very fault
                if self._loses(number):
                    self.lost += len(data)
                else:
                    client.sendall(data)
        self._cut({number})
