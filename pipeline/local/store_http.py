"""ClickHouse's HTTP conventions: which parameters are settings, encodings of bodies, multipart forms, status codes."""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any

TRANSPORT = {
    "query", "database", "default_format", "session_id", "session_timeout", "session_check", "close_session",
    "query_id", "quota_key", "compress", "decompress", "user", "password", "wait_end_of_query", "buffer_size",
    "client_protocol_version", "role", "http_response_buffer_size", "send_progress_in_http_headers",
    "http_headers_progress_interval_ms", "enable_http_compression", "stacktrace",
    "cancel_http_readonly_queries_on_client_close", "add_http_cors_header", "http_write_exception_in_output_format",
    "readonly",
}  # fmt: skip
NOT_FOUND = {46, 60, 81, 218}
BAD_REQUEST = {
    6, 8, 16, 25, 26, 27, 36, 38, 41, 42, 43, 44, 47, 53, 57, 62, 63, 69, 70, 72, 82, 115, 117, 130, 131, 321, 386,
    456, 457,
}  # fmt: skip
FORBIDDEN = {192, 193, 497, 516}
CONTENT_TYPES = {
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8",
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
}
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(frozen=True)
class Part:
    """One part of a multipart form: a parameter, or with `is_file` a table sent along."""

    name: str
    data: bytes
    is_file: bool


def status_of(code: int) -> int:
    """HTTP status for one of ClickHouse's error codes."""
    if code in FORBIDDEN:
        return 403
    if code in NOT_FOUND:
        return 404
    if code in BAD_REQUEST:
        return 400
    return {48: 501, 159: 408, 194: 401, 209: 408}.get(code, 500)


def code_of(message: str) -> tuple[int, str]:
    """ClickHouse's error code in a message (1002, unknown, when there is none) and the message from there on."""
    found = re.search(r"Code: (\d+)", message)
    return (int(found[1]), message[found.start() :].strip()) if found else (1002, message.strip())


def settings_of(parameters: Mapping[str, str], external: Iterable[str] = ()) -> dict[str, str]:
    """The query settings among a request's parameters; RuntimeError for a name that can be none."""
    descriptions = {name + suffix for name in external for suffix in ("_structure", "_types", "_format")}
    found = {}
    for name, value in parameters.items():
        if name in TRANSPORT or name.startswith("param_") or name in descriptions:
            continue
        if not _SETTING.match(name):
            raise RuntimeError(f"Code: 115. DB::Exception: Unknown setting '{name}'. (UNKNOWN_SETTING)")
        found[name] = value
    return found


def query_parameters(parameters: Mapping[str, str]) -> dict[str, str]:
    """The values for {name:Type} in a statement."""
    return {name[6:]: value for name, value in parameters.items() if name.startswith("param_")}


def credentials(headers: Message, parameters: Mapping[str, str]) -> tuple[str, str]:
    """User and password of a request: basic authentication, ClickHouse's headers, or URL parameters."""
    basic = headers.get("Authorization") or ""
    if basic.startswith("Basic "):
        try:
            user, _, password = base64.b64decode(basic[6:], validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
        return user, password
    user = headers.get("X-ClickHouse-User") or parameters.get("user") or "default"
    return user, headers.get("X-ClickHouse-Key") or parameters.get("password") or ""


def multipart(body: bytes, content_type: str) -> list[Part]:
    """The parts of a multipart form; RuntimeError when it is none."""
    boundary = re.search(r'boundary="?([^";]+)', content_type)
    if boundary is None:
        raise RuntimeError("Code: 36. DB::Exception: multipart form without a boundary. (BAD_ARGUMENTS)")
    parts = []
    for piece in (b"\r\n" + body).split(b"\r\n--" + boundary[1].encode())[1:-1]:
        head, _, data = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name = re.search(rb'\bname="([^"]*)"', head)
        if name is None:
            raise RuntimeError("Code: 36. DB::Exception: multipart form with a part without a name. (BAD_ARGUMENTS)")
        parts.append(Part(name[1].decode(), data, b"filename=" in head))
    return parts


def decoded(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """A request's body without its Content-Encoding (none, gzip, deflate, zstd, lz4), as it comes."""
    if encoding in ("", "identity"):
        yield from chunks
        return
    if encoding == "lz4":
        yield from _decoded_lz4(chunks)
        return
    decoder = _decoder(encoding)
    for chunk in chunks:
        if plain := decoder(chunk):
            yield plain


def _decoder(encoding: str) -> Callable[[bytes], bytes]:
    if encoding == "gzip":
        return zlib.decompressobj(31).decompress
    if encoding == "deflate":
        return zlib.decompressobj().decompress
    if encoding == "zstd":
        import zstandard

        decompress: Callable[[bytes], bytes] = (
            zstandard.ZstdDecompressor().decompressobj(read_across_frames=True).decompress
        )
        return decompress
    raise RuntimeError(f"Code: 89. DB::Exception: Unknown compression method {encoding}. (INCORRECT_DATA)")


def _decoded_lz4(chunks: Iterable[bytes]) -> Iterator[bytes]:
    import lz4.frame

    decoder = lz4.frame.LZ4FrameDecompressor()
    for chunk in chunks:
        while chunk:
            plain = decoder.decompress(chunk)
            chunk = b""
            if plain:
                yield plain
            if decoder.eof:  # further frames may follow
                chunk = decoder.unused_data or b""
                decoder = lz4.frame.LZ4FrameDecompressor()


@dataclass(frozen=True)
class Encoder:
    """A response's Content-Encoding: feed it pieces, then `flush`."""

    name: str
    compress: Callable[[bytes], bytes]
    flush: Callable[[], bytes]


def encoder(accepted: str) -> Encoder | None:
    """The first encoding of an Accept-Encoding header that we know."""
    for name in (item.split(";")[0].strip() for item in accepted.split(",")):
        if name == "gzip":
            packer = zlib.compressobj(1, zlib.DEFLATED, 31)
            return Encoder(name, packer.compress, packer.flush)
        if name == "zstd":
            import zstandard

            zstd: Any = zstandard.ZstdCompressor(level=1).compressobj()
            return Encoder(name, zstd.compress, zstd.flush)
        if name == "lz4":
            return _lz4_encoder()
    return None


def _lz4_encoder() -> Encoder:
    import lz4.frame

    packer = lz4.frame.LZ4FrameCompressor()
    head = [packer.begin()]

    def compress(piece: bytes) -> bytes:
        return (head.pop() if head else b"") + bytes(packer.compress(piece))

    def flush() -> bytes:
        return (head.pop() if head else b"") + bytes(packer.flush())

    return Encoder("lz4", compress, flush)
