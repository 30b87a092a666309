"""ClickHouse over HTTP: one connection, and its errors told apart into wait, refuse and stop."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipeline.errors import SettingError, StoreRefused, StoreUnavailable
from pipeline.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

CONNECT_S = 5
ANSWER_S = 60
PIECE_BYTES = 1 << 20
# Server error codes that pass: time-outs, network, too many queries or parts, memory, read-only, no space, restarts.
BUSY = frozenset({
    3, 33, 74, 75, 76, 88, 95, 159, 160, 164, 173, 198, 202, 203, 209, 210, 225, 236, 241, 242, 243, 252, 279, 290,
    319, 373, 394, 425, 439, 574, 600, 700, 745, 774, 999,
})  # fmt: skip
NO_RIGHTS = frozenset({192, 193, 194, 497, 516})
NO_DATABASE = 81
INSERT = {
    "async_insert": 0,  # an insert is answered when it is stored
    "max_partitions_per_insert_block": 0,  # a backfill may span any number of months
    "input_format_parallel_parsing": 0,  # blocks are cut the same way each time
}


class Store:
    """One connection, opened when it is first used. Not for several threads at once. `answer_s`: patience per answer.

    Every method raises StoreUnavailable (away or busy: do it again) or StoreRefused (for good); rights that were taken
    away are StoreRefused until the first statement has gone through, StoreUnavailable afterwards: somebody is
    changing the password.
    """

    def __init__(self, settings: Settings, database: str | None = None, answer_s: float = ANSWER_S) -> None:
        self._answer_s = answer_s
        self.url = settings["store"]
        self.database = settings["database"] if database is None else database
        self._settings = settings
        self._worked = False
        self._open: Any = None

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """Rows of a question, as clickhouse-connect gives them (`result_rows`, `column_names`)."""
        return self._call(lambda client: client.query(sql, parameters=dict(parameters or {})))

    def arrow(self, sql: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        """Rows of a question as an Arrow table."""
        return self._call(lambda client: client.query_arrow(sql, parameters=dict(parameters or {})))

    def raw(self, sql: str, parameters: Mapping[str, Any] | None = None, fmt: str = "TabSeparated") -> bytes:
        """The answer in one of ClickHouse's formats, as bytes."""
        answer: bytes = self._call(lambda client: client.raw_query(sql, parameters=dict(parameters or {}), fmt=fmt))
        return answer

    def command(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        """A statement without rows."""
        self._call(lambda client: client.command(sql, parameters=dict(parameters or {})))

    def insert(self, table: str, rows: pa.Table, token: str | None) -> None:
        """Insert in one go; a second insert with the same token adds nothing. None: no guard at all."""

        def insert(client: Any) -> None:
            guard = {"insert_deduplication_token": token} if token is not None else _unguarded(client)
            client.insert_arrow(table, rows, settings={**INSERT, **guard})

        self._call(insert)

    def stream(self, sql: str, fmt: str) -> Iterator[bytes]:
        """The answer in one of ClickHouse's formats, in pieces as it comes: memory is bounded. Nothing else meanwhile.

        A server that fails half-way says so in the last of them.
        """
        answer = self._call(lambda client: client.raw_stream(sql, fmt=fmt))
        try:
            while piece := self._call(lambda _: answer.read(PIECE_BYTES)):
                yield piece
        finally:
            answer.close()

    def insert_stream(self, table: str, pieces: Iterable[bytes], fmt: str, compression: str) -> None:
        """Insert rows in one of ClickHouse's formats as they come, compressed as HTTP names it; no guard at all."""

        def insert(client: Any) -> None:
            settings = {**INSERT, **_unguarded(client)}
            client.raw_insert(table, insert_block=iter(pieces), settings=settings, fmt=fmt, compression=compression)

        self._call(insert)

    def close(self) -> None:
        """Close the connection; it opens again when it is used."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _call(self, what: Any) -> Any:
        from clickhouse_connect.driver.exceptions import ClickHouseError
        from urllib3.exceptions import HTTPError

        try:
            if self._open is None:
                self._open = self._connect()
            answer = what(self._open)
        except (ClickHouseError, HTTPError, OSError) as error:
            if not isinstance(error, ClickHouseError) or getattr(error, "code", None) in (None, *NO_RIGHTS):
                self._drop()
            raise self._told(error) from None
        self._worked = True
        return answer

    def _drop(self) -> None:
        connection, self._open = self._open, None
        if connection is not None:
            connection.close()

    def _connect(self) -> Any:
        import clickhouse_connect

        for name in ("clickhouse_connect", "urllib3.connectionpool"):  # what they have to say is in our error
            logging.getLogger(name).setLevel(logging.CRITICAL)
        url = urlsplit(self.url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise SettingError(f"OPENOEE_STORE is {self.url!r}: expected http://host:port or https://host:port")
        return clickhouse_connect.get_client(
            interface=url.scheme,
            host=url.hostname,
            port=url.port or (8443 if url.scheme == "https" else 8123),
            username=self._settings["store_user"],
            password=self._settings.store_password,
            ca_cert=self._settings.ca("store") if url.scheme == "https" else None,
            database=self.database,
            connect_timeout=CONNECT_S,
            send_receive_timeout=self._answer_s,
            compress=url.hostname not in ("127.0.0.1", "localhost", "::1"),
            autogenerate_session_id=False,
            query_limit=0,
            query_retries=0,
        )

    def _told(self, error: Exception) -> StoreUnavailable | StoreRefused:
        code = getattr(error, "code", None)
        if code is None:
            found = re.search(r"Code: (\d+)", str(error))
            code = int(found[1]) if found else None
        text = _plain(str(error))
        if code is None:
            return StoreUnavailable(
                f"the store at {self.url} does not answer ({text}): check OPENOEE_STORE, or start it: `openoee up`"
            )
        if code in NO_RIGHTS:
            kind = StoreUnavailable if self._worked else StoreRefused
            user = self._settings["store_user"]
            return kind(
                f"the store at {self.url} turns user {user} away ({text}): check OPENOEE_STORE_USER and its password"
            )
        if code == NO_DATABASE:
            return StoreUnavailable(f"the store at {self.url} has no database {self.database}: run `openoee migrate`")
        if code in BUSY:
            return StoreUnavailable(f"the store at {self.url} cannot take this now: {text}")
        return StoreRefused(f"the store at {self.url} refuses: {text}")


def _unguarded(client: Any) -> dict[str, Any]:
    """What keeps the server from telling repeated blocks by their content; newer ones have another name for it."""
    newer = "deduplicate_insert" in client.server_settings
    return {"deduplicate_insert": "disable"} if newer else {"insert_deduplicate": 0}


def _plain(text: str) -> str:
    """What a person needs of a server's or library's message, in one line."""
    found = re.search(r"DB::(?:\w+)?Exception: (.*)", text, re.S) or re.search(r"(?:\[Errno \d+\] )([^\"')]+)", text)
    if found is None and "timed out" in text.lower():
        return "timed out"
    text = found[1] if found else text
    text = re.sub(r"\s*\(version [^)]*\)+.*", "", text, flags=re.S)
    return " ".join(text.split())[:400].rstrip(". ")
