"""Answers as gzip, live events too: a board of 3,000 machines is 1.5 MB, and tablets hang on wireless networks."""

from __future__ import annotations

import zlib

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

KINDS = ("application/json", "text/")
LEAST_BYTES = 1000
LEVEL = 1  # 3,000 machines: 0.24 MB in 20 ms; level 6 0.18 MB in 100 ms
GZIP = 16 + zlib.MAX_WBITS


class Packed:
    """ASGI middleware: gzip for whoever takes it. Each part of a stream is flushed, so that no event waits."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or "gzip" not in Headers(scope=scope).get("accept-encoding", ""):
            return await self._app(scope, receive, send)
        start: Message | None = None
        packer = None

        async def packing(message: Message) -> None:
            nonlocal start, packer
            if message["type"] == "http.response.start":
                if _suits(message):
                    start = message
                    return
            elif message["type"] == "http.response.body":
                body, more = message.get("body", b""), message.get("more_body", False)
                if start is not None and (more or len(body) >= LEAST_BYTES):
                    packer = zlib.compressobj(LEVEL, wbits=GZIP)
                    headers = MutableHeaders(scope=start)
                    headers["Content-Encoding"] = "gzip"
                    del headers["Content-Length"]
                if packer is not None:
                    packed = packer.compress(body) + packer.flush(zlib.Z_SYNC_FLUSH if more else zlib.Z_FINISH)
                    message = {**message, "body": packed}
            if start is not None:
                await send(start)
                start = None
            await send(message)

        return await self._app(scope, receive, packing)


def _suits(start: Message) -> bool:
    headers = MutableHeaders(scope=start)
    if not headers.get("content-type", "").startswith(KINDS) or "content-encoding" in headers:
        return False
    headers.add_vary_header("Accept-Encoding")
    return start["status"] not in (204, 206, 304) and int(headers.get("content-length", LEAST_BYTES)) >= LEAST_BYTES
