"""The store itself: chDB opened by one owner process, with rights that end at its folder; sessions; statements."""

from __future__ import annotations

import fcntl
import json
import math
import os
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.errors import StackError
from pipeline.local.store_sql import Guard, format_named, is_read, is_streamed, is_use

STREAMABLE = {"Native", "TabSeparated", "TSV", "CSV", "RowBinary", "JSONEachRow"}
BUFFERED_BYTES = 1 << 20
HANDOVER_S = 1.0  # a client has its answer a moment before its session is free again

RIGHTS = """<clickhouse>
  <users_config>{config}</users_config>
  <timezone>UTC</timezone>
  <default_database>_embedded</default_database>
  <access_control_improvements>
    <table_engines_require_grant>true</table_engines_require_grant>
  </access_control_improvements>
  <profiles>
    <default>
      <async_insert>0</async_insert>
      <constraints>
        <allow_experimental_eval_table_function><readonly/></allow_experimental_eval_table_function>
        <format_schema><readonly/></format_schema>
        <format_template_row><readonly/></format_template_row>
        <format_template_resultset><readonly/></format_template_resultset>
      </constraints>
    </default>
  </profiles>
  <quotas><default/></quotas>
  <users>
    <default>
      <password/>
      <networks><ip>127.0.0.1</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
      <access_management>0</access_management>
      <grants>
        <query>GRANT CHECK, SHOW, SELECT, INSERT, ALTER, CREATE DATABASE, CREATE TABLE, CREATE VIEW, CREATE FUNCTION,
          CREATE TEMPORARY TABLE, DROP, UNDROP TABLE, TRUNCATE, OPTIMIZE, KILL QUERY, dictGet,
          SYSTEM VIEWS, SYSTEM MERGES ON *.*</query>
      </grants>
    </default>
  </users>
</clickhouse>
"""


@dataclass
class Session:
    """One client's session: settings, temporary tables and present database live in its connection."""

    connection: Any
    busy: threading.Lock = field(default_factory=threading.Lock)
    expires: float = 0.0
    database: str = "default"  # what the client chose with USE
    present: str = "default"  # what the connection has now
    lasting: bool = True


@dataclass
class Answer:
    """A result: format, what is known of it, its first bytes, and the rest when it is long."""

    format: str
    body: bytes
    rows_read: int = 0
    bytes_read: int = 0
    rest: Iterator[bytes] | None = None


class Engine:
    """The one owner of a store's folder. Use `session()` for every request and `close()` at the end."""

    def __init__(self, folder: Path) -> None:
        import chdb

        self._owner = own(folder)
        config = folder.with_name(folder.name + ".xml")
        config.write_text(RIGHTS.format(config=config))
        self._address = f"{folder}?config-file={config}"
        self._chdb = chdb
        _make_default_database(folder)
        try:
            self._root = chdb.connect(self._address)
        except (RuntimeError, ValueError, OSError) as error:
            raise StackError(f"the store in {folder} cannot be opened: {first_line(str(error))}") from None
        self._sessions: dict[tuple[str, str], Session] = {}
        self._lock = threading.Lock()
        self.version = self._ask("SELECT version()")
        names = self._ask("SELECT name FROM system.table_engines UNION ALL SELECT name FROM system.database_engines")
        self.guard = Guard(names.split("\n"))

    def close(self) -> None:
        """Close every connection, then the folder; call it when no request runs any more."""
        for session in self._sessions.values():
            session.connection.close()
        self._sessions.clear()
        self._root.close()
        os.close(self._owner)

    def _ask(self, sql: str) -> str:
        return str(self._root.query(sql, "TSVRaw").bytes().decode().strip())

    @contextmanager
    def session(
        self, user: str, name: str | None, seconds: float, must_exist: bool, readonly: bool
    ) -> Iterator[Session]:
        """A session for one request: the client's named one, held exclusively, or a fresh one that ends with it."""
        if name is None:
            session = self._open(readonly, lasting=False)
            try:
                yield session
            finally:
                session.connection.close()
            return
        session = self._named(user, name, must_exist, readonly)
        try:
            yield session
        finally:
            session.expires = time.monotonic() + seconds
            session.busy.release()

    def _open(self, readonly: bool, lasting: bool) -> Session:
        connection = self._chdb.connect(self._address)
        if readonly:
            connection.query("SET readonly = 2")
        return Session(connection, lasting=lasting)

    def _named(self, user: str, name: str, must_exist: bool, readonly: bool) -> Session:
        with self._lock:
            now = time.monotonic()
            for key in [key for key, old in self._sessions.items() if old.expires < now and not old.busy.locked()]:
                self._sessions.pop(key).connection.close()
            session = self._sessions.get((user, name))
            if session is None:
                if must_exist:
                    raise RuntimeError("Code: 372. DB::Exception: Session not found. (SESSION_NOT_FOUND)")
                session = self._sessions[user, name] = self._open(readonly, lasting=True)
            session.expires = math.inf  # until this request ends
        if not session.busy.acquire(timeout=HANDOVER_S):
            raise RuntimeError(
                "Code: 373. DB::Exception: Session is locked by a concurrent client. (SESSION_IS_LOCKED)"
            )
        return session

    @contextmanager
    def prepared(
        self, session: Session, database: str | None, settings: Mapping[str, str], tables: Iterable[External]
    ) -> Iterator[None]:
        """The session with a request's database, settings and external tables, all undone after it if it lasts."""
        undo: list[str] = []
        wanted = database or session.database
        if wanted != session.present:
            session.connection.query(f"USE {identifier(wanted)}")
            session.present = wanted
        try:
            if settings:
                pairs = ", ".join(f"{name} = {literal(value)}" for name, value in settings.items())
                session.connection.query(f"SET {pairs}")
                undo += [f"SET {name} = DEFAULT" for name in settings]
            for table in tables:
                session.connection.query(f"CREATE TEMPORARY TABLE {identifier(table.name)} ({table.structure})")
                undo.append(f"DROP TEMPORARY TABLE IF EXISTS {identifier(table.name)}")
                self.insert(session, f"INSERT INTO {identifier(table.name)}", table.format, [table.data])
            yield
        finally:
            if session.lasting:
                for statement in undo:
                    session.connection.query(statement)

    def insert(self, session: Session, statement: str, rows_format: str, chunks: Iterable[bytes]) -> tuple[int, int]:
        """Insert rows as their bytes come; returns rows and bytes written. A broken stream writes no more of it.

        The library says that all is well when the table took nothing (too many parts, disk full). The server counts
        every error and knows the last query that met it: one of this insert's is raised.
        """
        before = _errors(session.connection)
        mark = uuid.uuid4().hex
        session.connection.query(f"SET log_comment = '{mark}'")
        stream = session.connection.send_insert(statement, rows_format)
        sent = False
        try:
            query_id = self._query_id(mark)
            for chunk in chunks:
                if chunk:
                    stream.append(chunk)
                    sent = True
            done = stream.finish()
        except BaseException:
            stream.cancel()
            raise
        for code, error in _errors(session.connection).items():
            met = error.times - before.get(code, NO_ERROR).times
            hidden = met > 1 and sent and not done.rows_written  # the same error of somebody else came right after it
            if met and (error.query_id == query_id or hidden):
                raise RuntimeError(f"Code: {code}. DB::Exception: {error.text}")
        return int(done.rows_written), int(done.bytes_written)

    def _query_id(self, mark: str) -> str:
        """The id of the running query whose `log_comment` is `mark`."""
        with self._lock:
            return self._ask(f"SELECT query_id FROM system.processes WHERE Settings['log_comment'] = '{mark}'")

    def run(
        self, session: Session, sql: str, default_format: str, parameters: Mapping[str, str], whole: bool
    ) -> Answer:
        """Run any other statement. A SELECT longer than a megabyte streams, unless `whole` asks for it in one piece."""
        form = format_named(sql) or default_format
        connection = session.connection
        if whole or form not in STREAMABLE or not is_streamed(sql):
            result = connection.query(sql, form, params=dict(parameters))
            if is_use(sql):
                session.database = session.present = current_database(connection)
            named = form if is_read(sql) or result.bytes() else ""
            return Answer(named, result.bytes() or b"", result.rows_read(), result.bytes_read())
        stream = connection.send_query(sql, form, params=dict(parameters))
        begun = b""
        for chunk in stream:
            begun += chunk.bytes()
            if len(begun) > BUFFERED_BYTES:
                return Answer(form, begun, rest=_rest(stream))
        return Answer(form, begun)


@dataclass(frozen=True)
class External:
    """A table sent along with a query."""

    name: str
    structure: str
    format: str
    data: bytes


class _Error(NamedTuple):
    """How often the server has met an error since it started; the last message, and the query that met it then."""

    times: int
    text: str
    query_id: str


NO_ERROR = _Error(0, "", "")


def _errors(connection: Any) -> dict[int, _Error]:
    """What the server has met, by code."""
    sql = (
        "SELECT code, value, concat(last_error_message, ' (', name, ')'), query_id FROM system.errors WHERE NOT remote"
    )
    rows = json.loads(connection.query(sql, "JSONCompact").bytes() or b"{}")
    return {int(code): _Error(int(times), text, query_id) for code, times, text, query_id in rows.get("data", [])}


def _rest(stream: Any) -> Iterator[bytes]:
    try:
        for chunk in stream:
            yield chunk.bytes()
    finally:
        stream.close()


def _make_default_database(folder: Path) -> None:
    """Make `default` an ordinary database before the engine opens the folder.

    The engine's own is a mixture that takes every unknown table name for a file. It bears another name here
    (`default_database` above), and finds its old tables by the link that the ordinary one leaves: so that goes first.
    """
    metadata = folder / "metadata"
    metadata.mkdir(parents=True, exist_ok=True)
    if not (metadata / "default.sql").exists():
        (metadata / "default.sql").write_text(f"ATTACH DATABASE _ UUID '{uuid.uuid4()}'\nENGINE = Atomic\n")
    if (metadata / "default").is_symlink():
        (metadata / "default").unlink()


def current_database(connection: Any) -> str:
    """The connection's present database."""
    return str(connection.query("SELECT currentDatabase()", "TSVRaw").bytes().decode().rstrip("\n"))


def own(folder: Path) -> int:
    """Take a store's folder for this process; the kernel gives it back when the process ends, however it ends."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder.with_name(folder.name + ".owner"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(handle, 20).decode() or "unknown"
        os.close(handle)
        raise StackError(
            f"the store in {folder} is open in another process ({owner}); `openoee stop` or end it first"
        ) from None
    os.ftruncate(handle, 0)
    os.write(handle, str(os.getpid()).encode())
    return handle


def identifier(name: str) -> str:
    """A name quoted for SQL."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def literal(value: str) -> str:
    """A string quoted for SQL."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def first_line(text: str) -> str:
    """The first line of a message that may be long."""
    return text.strip().split("\n", 1)[0][:500]
