"""The store's server: one thread per connection; a request in ClickHouse's HTTP dialect becomes one statement."""

from __future__ import annotations

import hmac
import json
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from itertools import chain
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from pipeline.local.store_engine import Answer, Engine, External, Session
from pipeline.local.store_http import (
    CONTENT_TYPES,
    code_of,
    credentials,
    decoded,
    encoder,
    multipart,
    query_parameters,
    settings_of,
    status_of,
)
from pipeline.local.store_sql import ACCESS_DENIED, HEAD_BYTES, inline_insert, is_insert, is_read, is_several
from pipeline.local.store_wire import TEXT, Wire

QUERIES_AT_ONCE = 64
STATEMENT_BYTES, FORM_BYTES = 16 << 20, 64 << 20
OWNER, WRITER, READER = "owner", "writer", "reader"  # does everything; reads and inserts; reads


@dataclass
class User:
    """Somebody whose password stands in a file, and may be another one tomorrow."""

    path: Path
    role: str
    _known: tuple[int, str] = (0, "")

    def password(self) -> str:
        """What the file says now."""
        changed = self.path.stat().st_mtime_ns
        if changed != self._known[0]:
            self._known = (changed, self.path.read_text().strip())
        return self._known[1]


class Server(ThreadingHTTPServer):
    """Listens on 127.0.0.1; with `trust` it speaks TLS."""

    daemon_threads = False  # the engine may only be closed when they have ended
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(self, port: int, engine: Engine, users: dict[str, User], trust: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        if trust is not None:  # the handshake is the connection's own thread's work: here it would hold up everybody
            self.socket = trust.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.engine = engine
        self.users = users
        self.slots = threading.BoundedSemaphore(QUERIES_AT_ONCE)
        self.idle: set[socket.socket] = set()
        self.closing = False
        self.lock = threading.Lock()

    def close_idle(self) -> None:
        """Wake the threads that wait for a next request, so that they end."""
        with self.lock:
            self.closing = True
            for connection in self.idle:
                socket.socket.shutdown(connection, socket.SHUT_RD)  # not TLS's own, which forgets its state


class Handler(Wire):
    """One client's connection."""

    server: Server

    def handle_one_request(self) -> None:
        with self.server.lock:
            if self.server.closing:
                self.close_connection = True
                return
            self.server.idle.add(self.connection)
        try:
            super().handle_one_request()
        except (ConnectionError, ssl.SSLError):  # the latter: a client that trusts another CA, or speaks no TLS
            self.close_connection = True
        finally:
            with self.server.lock:
                self.server.idle.discard(self.connection)

    def do_HEAD(self) -> None:  # noqa: N802 - the base class names it so
        self.reply(200, b"Ok.\n")

    def do_GET(self) -> None:  # noqa: N802 - the base class names it so
        self.answer()

    def do_POST(self) -> None:  # noqa: N802 - the base class names it so
        self.answer()

    def answer(self) -> None:
        """Answer one request, errors included."""
        with self.server.lock:
            self.server.idle.discard(self.connection)
        address = urlsplit(self.path)
        parameters = dict(parse_qsl(address.query, keep_blank_values=True))
        self.query_id = parameters.get("query_id") or str(uuid.uuid4())
        self.raw = self.raw_body()
        if address.path == "/ping" or (self.command == "GET" and address.path == "/" and "query" not in parameters):
            self.reply(200, b"Ok.\n")
            return
        if address.path != "/":
            self.refuse(404, f"There is no handle {address.path}\n")
            return
        try:
            role = self.authenticate(parameters)
            if not self.server.slots.acquire(timeout=10):
                raise RuntimeError(
                    "Code: 202. DB::Exception: Too many queries at once. (TOO_MANY_SIMULTANEOUS_QUERIES)"
                )
            try:
                self.query(parameters, role)
            finally:
                self.server.slots.release()
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except Exception as error:  # whatever it is, the client hears of it
            code, message = code_of(str(error))
            self.refuse(status_of(code), f"{message} (version {self.server.engine.version} (chdb))\n", code)

    def authenticate(self, parameters: dict[str, str]) -> str:
        """What the user may do; RuntimeError when name or password is wrong."""
        user, password = credentials(self.headers, parameters)
        known = self.server.users.get(user)
        if known is None or not hmac.compare_digest(known.password().encode(), password.encode()):
            raise RuntimeError(
                f"Code: 516. DB::Exception: {user}: Authentication failed: password is incorrect, or there is no user "
                "with such name. (AUTHENTICATION_FAILED)"
            )
        parameters["user"] = user
        return known.role

    def query(self, parameters: dict[str, str], role: str) -> None:
        """Run one statement and send its result."""
        if "1" in (parameters.get("compress"), parameters.get("decompress")):
            raise RuntimeError(
                "Code: 48. DB::Exception: compress=1 and decompress=1 are not spoken here; use HTTP's Content-Encoding "
                "and enable_http_compression=1. (NOT_IMPLEMENTED)"
            )
        body = decoded(self.raw, self.headers.get("Content-Encoding", ""))
        external: list[External] = []
        content_type = self.headers.get("Content-Type", "")
        if content_type.startswith("multipart/form-data"):
            external = self.form(whole(body, FORM_BYTES), content_type, parameters)
            body = iter(())
        settings = settings_of(parameters, [table.name for table in external])
        name = parameters.get("session_id") or None
        seconds = float(parameters.get("session_timeout", 60))
        must_exist = parameters.get("session_check") == "1"
        engine = self.server.engine
        with engine.session(parameters["user"], name, seconds, must_exist, role == READER) as session:
            database = self.headers.get("X-ClickHouse-Database") or parameters.get("database")
            with engine.prepared(session, database, settings, external):
                self.execute(session, parameters, body, role)

    @staticmethod
    def form(body: bytes, content_type: str, parameters: dict[str, str]) -> list[External]:
        """Parameters of a multipart form go to `parameters`; its files are returned as tables."""
        parts = multipart(body, content_type)
        parameters.update({part.name: part.data.decode() for part in parts if not part.is_file})
        tables = []
        for part in (part for part in parts if part.is_file):
            types = parameters.get(part.name + "_types", "String").split(",")
            numbered = ", ".join(f"_{number} {kind}" for number, kind in enumerate(types, 1))
            structure = parameters.get(part.name + "_structure", numbered)
            tables.append(
                External(part.name, structure, parameters.get(part.name + "_format", "TabSeparated"), part.data)
            )
        return tables

    def execute(self, session: Session, parameters: dict[str, str], body: Iterator[bytes], role: str) -> None:
        """Tell an INSERT with rows behind it, which streams in, from every other statement."""
        started = time.monotonic()
        head = parameters.get("query", "").encode()
        head += b"\n" if head else b""
        values = query_parameters(parameters)
        inline = None
        while inline is None or inline.data_from >= len(head):  # read until the statement's end is there
            chunk = next(body, b"")
            head += chunk
            inline = inline_insert(head)
            if not chunk or (inline is None and len(head) > (HEAD_BYTES if is_insert(head) else STATEMENT_BYTES)):
                break
        engine = self.server.engine
        if inline is not None and not values and self.command == "POST":
            statement = inline.statement.decode()
            engine.guard.check(statement, values)
            rows, size = engine.insert(session, statement, inline.format, chain([head[inline.data_from :]], body))
            self.reply(200, b"", self.summary(started, written=(rows, size)))
            return
        sql = whole(chain([head], body), STATEMENT_BYTES).decode()
        engine.guard.check(sql, values)
        if role == WRITER and (is_several(sql) or not (is_read(sql) or is_insert(sql.encode()))):
            raise RuntimeError(ACCESS_DENIED.format(f"{parameters['user']} may read and insert, nothing else"))
        if self.command == "GET" and not is_read(sql):
            raise RuntimeError("Code: 164. DB::Exception: GET only reads: use POST for this statement. (READONLY)")
        form = parameters.get("default_format") or self.headers.get("X-ClickHouse-Format") or "TabSeparated"
        answer = engine.run(session, sql, form, values, whole=parameters.get("wait_end_of_query") == "1")
        self.send(answer, parameters, started)

    def send(self, answer: Answer, parameters: dict[str, str], started: float) -> None:
        """Send a result, in one piece when it is short, else chunk by chunk."""
        tag = uuid.uuid4().hex[:16]
        headers = [*self.summary(started, answer), ("X-ClickHouse-Exception-Tag", tag)]
        headers += [("X-ClickHouse-Format", answer.format)] if answer.format else []
        wanted = parameters.get("enable_http_compression") in ("1", "true") and answer.body
        packer = encoder(self.headers.get("Accept-Encoding", "")) if wanted else None
        headers += [("Content-Encoding", packer.name)] if packer else []
        kind = CONTENT_TYPES.get(answer.format, "application/octet-stream") if answer.body else TEXT
        if answer.rest is None:
            body = packer.compress(answer.body) + packer.flush() if packer else answer.body
            self.reply(200, body, headers, kind)
            return
        self.begin(200, [*headers, ("Transfer-Encoding", "chunked")], kind)
        self.chunk(answer.body, packer)
        try:
            for piece in answer.rest:
                self.chunk(piece, packer)
        except RuntimeError as error:  # too late for a status: ClickHouse's way of saying so inside the body
            said = f"{code_of(str(error))[1]}\n"
            marked = f"\r\n__exception__\r\n{tag}\r\n{said}\r\n{len(said.encode())} {tag}\r\n__exception__\r\n"
            self.chunk(marked.encode(), packer)
        self.chunk(b"", packer, last=True)

    def summary(
        self, started: float, answer: Answer | None = None, written: tuple[int, int] = (0, 0)
    ) -> list[tuple[str, str]]:
        """ClickHouse's summary header."""
        values = {
            "read_rows": answer.rows_read if answer else 0,
            "read_bytes": answer.bytes_read if answer else 0,
            "written_rows": written[0],
            "written_bytes": written[1],
            "total_rows_to_read": 0,
            "result_rows": written[0],
            "result_bytes": written[1],
            "elapsed_ns": int((time.monotonic() - started) * 1e9),
        }
        return [("X-ClickHouse-Summary", json.dumps({name: str(value) for name, value in values.items()}))]


def whole(pieces: Iterable[bytes], most: int) -> bytes:
    """All of it in one piece; RuntimeError with ClickHouse's code 62 when it is longer than it may be."""
    found = bytearray()
    for piece in pieces:
        found += piece
        if len(found) > most:
            raise RuntimeError(f"Code: 62. DB::Exception: Max query size exceeded: {most} bytes. (SYNTAX_ERROR)")
    return bytes(found)
