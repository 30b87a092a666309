"""Answers as gzip on a real server: the same bytes once unpacked, events at once, nothing packed that must not be."""

from __future__ import annotations

import gzip
import socket
import zlib
from collections.abc import Iterator
from contextlib import closing

import pytest
from web_thread import ask, running

from pipeline.local.machine import free_port
from pipeline.settings import load


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    home = tmp_path_factory.mktemp("home")
    away = f"http://127.0.0.1:{free_port()}"
    with running(load({"home": str(home), "store": away, "web_poll_s": 1}, {})) as port:
        yield port


@pytest.mark.parametrize("path", ["/static/board.js", "/", "/api/openapi.json", "/static/board.css"])
def test_what_is_unpacked_is_what_was_there(port: int, path: str) -> None:
    plain, packed = ask(port, "GET", path), ask(port, "GET", path, Accept_Encoding="br, gzip")
    assert "content-encoding" not in plain[1]
    if len(plain[2]) < 1000:
        assert packed[2] == plain[2]
        return
    assert packed[1]["content-encoding"] == "gzip"
    assert "Accept-Encoding" in packed[1]["vary"]
    assert packed[1]["x-content-type-options"] == "nosniff"
    assert len(packed[2]) < len(plain[2]) / 2
    assert gzip.decompress(packed[2]) == plain[2]


def test_parts_heads_and_what_is_kept_are_left_alone(port: int) -> None:
    status, headers, body = ask(port, "GET", "/static/board.js", Accept_Encoding="gzip", Range="bytes=0-1999")
    assert (status, len(body), headers["content-encoding"]) == (206, 2000, None)
    status, headers, body = ask(port, "HEAD", "/static/board.js", Accept_Encoding="gzip")
    assert (status, body) in ((200, b""), (405, b""))
    tag = ask(port, "GET", "/static/board.js", Accept_Encoding="gzip")[1]["etag"]
    status, headers, body = ask(port, "GET", "/static/board.js", Accept_Encoding="gzip", If_None_Match=tag)
    assert (status, body, headers["content-encoding"]) == (304, b"", None)


def test_an_event_does_not_wait_for_the_next(port: int) -> None:
    with closing(socket.create_connection(("127.0.0.1", port), 20)) as stream:
        stream.sendall(b"GET /api/live HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n")
        file = stream.makefile("rb")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += file.readline()
        assert b"content-encoding: gzip" in head.lower()
        unpack = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        for _ in range(2):
            size = int(file.readline(), 16)
            event = unpack.decompress(file.read(size))
            file.readline()
            assert event.startswith(b"event: away\ndata: {")
            assert event.endswith(b"}\n\n")
