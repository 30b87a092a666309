"""The two ends of a request on the wire: its body in, pieces of an answer out, as ClickHouse frames them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler
from typing import Any

from pipeline.local.store_http import Encoder

READ_BYTES = 1 << 20
LINE_BYTES = 1 << 12
IDLE_S = 600.0
TEXT = "text/plain; charset=UTF-8"


class Wire(BaseHTTPRequestHandler):
    """Reads bodies and writes answers; says nothing per request."""

    protocol_version = "HTTP/1.1"
    server_version = "openoee-store"
    wbufsize = 1 << 16
    disable_nagle_algorithm = True
    timeout = IDLE_S
    query_id: str = ""
    raw: Iterator[bytes] = iter(())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Say nothing per request."""

    def chunk(self, piece: bytes, packer: Encoder | None, last: bool = False) -> None:
        """Send one piece of a chunked body."""
        packed = piece if packer is None else packer.flush() if last else packer.compress(piece)
        if packed:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(packed), packed))
        if last:
            self.wfile.write(b"0\r\n\r\n")
            self.wfile.flush()

    def refuse(self, status: int, message: str, code: int | None = None) -> None:
        """Send an error, after reading what is left of the request so that the client listens."""
        try:
            for _ in self.raw:
                continue
        except (ConnectionError, TimeoutError, ValueError):
            self.close_connection = True
            return
        self.reply(status, message.encode(), [("X-ClickHouse-Exception-Code", str(code))] if code else [])

    def reply(self, status: int, body: bytes, headers: Sequence[tuple[str, str]] = (), kind: str = TEXT) -> None:
        """Send a response in one piece."""
        self.begin(status, [*headers, ("Content-Length", str(len(body)))], kind)
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def begin(self, status: int, headers: Sequence[tuple[str, str]], kind: str) -> None:
        """Send status and headers."""
        self.send_response_only(status)
        self.send_header("Content-Type", kind)
        self.send_header("X-ClickHouse-Server-Display-Name", "openoee")
        self.send_header("X-ClickHouse-Query-Id", self.query_id)
        self.send_header("X-ClickHouse-Timezone", "UTC")
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()

    def raw_body(self) -> Iterator[bytes]:
        """The request's body as sent, in pieces of at most a megabyte."""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline(LINE_BYTES).split(b";")[0], 16):
                yield from self._pieces(size)
                self.rfile.readline(LINE_BYTES)
            while self.rfile.readline(LINE_BYTES).strip():  # trailers
                continue
            return
        yield from self._pieces(int(self.headers.get("Content-Length") or 0))

    def _pieces(self, size: int) -> Iterator[bytes]:
        """So many bytes, a megabyte at most at a time, whatever the client claims."""
        if size < 0:
            raise ValueError("a body of less than nothing")
        while size:
            piece = self.exactly(min(size, READ_BYTES))
            size -= len(piece)
            yield piece

    def exactly(self, size: int) -> bytes:
        """So many bytes of the request; ConnectionError when the client goes away before."""
        piece = self.rfile.read(size)
        if len(piece) < size:
            raise ConnectionError("the client went away")
        return piece
