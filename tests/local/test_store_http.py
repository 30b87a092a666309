"""ClickHouse's HTTP conventions, as pure functions."""

from __future__ import annotations

import base64
import gzip
import zlib
from email.message import Message

import lz4.frame
import pytest
import zstandard

from pipeline.local.store_http import (
    Part,
    code_of,
    credentials,
    decoded,
    encoder,
    multipart,
    query_parameters,
    settings_of,
    status_of,
)

TEXT = b"one line of telemetry\n" * 10_000


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("", TEXT),
        ("identity", TEXT),
        ("gzip", gzip.compress(TEXT)),
        ("deflate", zlib.compress(TEXT)),
        ("zstd", zstandard.compress(TEXT)),
        ("zstd", zstandard.compress(TEXT[:1000]) + zstandard.compress(TEXT[1000:])),
        ("lz4", lz4.frame.compress(TEXT)),
        ("lz4", lz4.frame.compress(TEXT[:1000]) + lz4.frame.compress(TEXT[1000:])),
    ],
)
def test_bodies_come_decoded_whatever_their_pieces(encoding: str, packed: bytes) -> None:
    for size in (7, 4096, len(packed)):
        pieces = [packed[start : start + size] for start in range(0, len(packed), size)]
        assert b"".join(decoded(pieces, encoding)) == TEXT


def test_unknown_encoding() -> None:
    with pytest.raises(RuntimeError, match="Code: 89"):
        list(decoded([b"x"], "rot13"))


@pytest.mark.parametrize(
    ("accepted", "unpack"),
    [
        ("gzip, deflate", gzip.decompress),
        ("br, zstd;q=1", lambda packed: zstandard.ZstdDecompressor().decompressobj().decompress(packed)),
        ("lz4", lz4.frame.decompress),
    ],
)
def test_answers_are_packed(accepted: str, unpack: object) -> None:
    packer = encoder(accepted)
    assert packer is not None
    packed = packer.compress(TEXT[:5000]) + packer.compress(TEXT[5000:]) + packer.flush()
    assert unpack(packed) == TEXT  # type: ignore[operator]


def test_no_known_encoding_accepted() -> None:
    assert encoder("br, identity") is None


def test_settings_are_what_is_left() -> None:
    given = {"query": "x", "max_threads": "2", "param_a": "1", "ids_structure": "a Int8", "session_id": "s"}
    assert settings_of(given, ["ids"]) == {"max_threads": "2"}
    assert query_parameters(given) == {"a": "1"}
    with pytest.raises(RuntimeError, match="Code: 115"):
        settings_of({"a = 1, readonly": "0"})


def test_credentials() -> None:
    basic, own = Message(), Message()
    basic["Authorization"] = "Basic " + base64.b64encode(b"openoee:a:b").decode()
    own["X-ClickHouse-User"], own["X-ClickHouse-Key"] = "reader", "k"
    broken = Message()
    broken["Authorization"] = "Basic ???"
    assert credentials(basic, {}) == ("openoee", "a:b")
    assert credentials(own, {"user": "x"}) == ("reader", "k")
    assert credentials(Message(), {"user": "u", "password": "p"}) == ("u", "p")
    assert credentials(Message(), {}) == ("default", "")
    assert credentials(broken, {}) == ("", "")


def test_multipart() -> None:
    body = (
        b'--B\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT 1\r\n'
        b'--B\r\nContent-Disposition: form-data; name="ids"; filename="ids"\r\n\r\n1\n2\n\r\n--B--\r\n'
    )
    assert multipart(body, 'multipart/form-data; boundary="B"') == [
        Part("query", b"SELECT 1", False),
        Part("ids", b"1\n2\n", True),
    ]
    with pytest.raises(RuntimeError, match="without a boundary"):
        multipart(body, "multipart/form-data")


def test_errors() -> None:
    assert code_of("x Code: 60. DB::Exception: no table") == (60, "Code: 60. DB::Exception: no table")
    assert code_of("broken") == (1002, "broken")
    assert [status_of(code) for code in (60, 62, 497, 516, 159, 241)] == [404, 400, 403, 403, 408, 500]
