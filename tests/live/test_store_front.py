"""The store without Docker as its clients meet it: streams, sessions, rights, what it refuses, how it ends."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import clickhouse_connect
import psutil
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from pipeline.errors import StackError
from pipeline.local.machine import free_port
from pipeline.local.store import READER, Store

pytestmark = pytest.mark.live
MB = 2**20


class Front:
    """A store front of its own and requests to it; the answer is (status, body)."""

    def __init__(self, home: Path) -> None:
        self.store = Store(home, free_port(), "openoee")
        self.store.start()

    def secret(self, user: str) -> str:
        return (self.store.home / "secrets" / ("store" if user == "openoee" else "store_reader")).read_text().strip()

    def ask(self, body: object = b"", path: str = "/", user: str = "openoee", **headers: str) -> tuple[int, str]:
        connection = HTTPConnection("127.0.0.1", self.store.port, timeout=60)
        who = {"X-ClickHouse-User": user, "X-ClickHouse-Key": self.secret(user)}
        try:
            connection.request(
                "POST", path, body, {**who, **headers}, encode_chunked=not isinstance(body, (bytes, str))
            )
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def process(self) -> psutil.Process:
        managed = self.store.supervisor.alive("store")
        assert managed is not None
        return psutil.Process(managed.pid)


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    made = Front(tmp_path_factory.mktemp("store"))
    yield made
    made.store.stop()


def test_rows_stream_in_with_bounded_memory(front: Front) -> None:
    assert front.ask("CREATE TABLE big (a UInt64, b String) ENGINE = Null")[0] == 200
    front.ask("INSERT INTO big VALUES (1, 'warm')")
    before = front.process().memory_info().rss
    piece = b"".join(b"%d\t%s\n" % (number, b"x" * 90) for number in range(10_000))
    peak = 0

    def pieces() -> Iterator[bytes]:
        nonlocal peak
        for _ in range(1000):
            yield piece
            peak = max(peak, front.process().memory_info().rss)

    status, said = front.ask(pieces(), "/?query=INSERT+INTO+big+FORMAT+TSV", **{"Transfer-Encoding": "chunked"})
    assert (status, said) == (200, "")
    assert 1000 * len(piece) > 900 * MB
    assert peak - before < 500 * MB  # the engine gathers blocks of 256 MB


@pytest.mark.parametrize(
    ("limit", "code"),
    [("parts_to_throw_insert = 1", 252), ("min_free_disk_bytes_to_perform_insert = 1152921504606846976", 243),
     ("table_readonly = 1", 774)],
    ids=["too many parts", "disk full", "read-only"],
)  # fmt: skip
def test_rows_that_a_table_does_not_take_are_an_error(front: Front, limit: str, code: int) -> None:
    """The library calls an insert done of which nothing was written."""
    front.ask("CREATE OR REPLACE TABLE full (a Int32) ENGINE = MergeTree ORDER BY a")
    assert front.ask(b"1\n", "/?query=INSERT+INTO+full+FORMAT+TSV")[0] == 200
    assert front.ask(f"ALTER TABLE full MODIFY SETTING {limit}")[0] == 200
    status, told = front.ask(b"2\n", "/?query=INSERT+INTO+full+FORMAT+TSV")
    assert status != 200
    assert f"Code: {code}." in told
    assert front.ask(f"ALTER TABLE full RESET SETTING {limit.split()[0]}")[0] == 200
    assert front.ask(b"2\n", "/?query=INSERT+INTO+full+FORMAT+TSV")[0] == 200
    assert front.ask("SELECT count() FROM full")[1] == "2\n"


def test_an_error_that_somebody_else_met_meanwhile_is_not_the_inserts(front: Front) -> None:
    front.ask("CREATE TABLE meant (a Int32) ENGINE = MergeTree ORDER BY a")

    def rows() -> Iterator[bytes]:
        yield b"1\n"
        for _ in range(3):
            assert "Code: 158." in front.ask("SELECT * FROM numbers(9) SETTINGS max_rows_to_read = 1")[1]
        yield b"2\n"

    status, told = front.ask(rows(), "/?query=INSERT+INTO+meant+FORMAT+TSV", **{"Transfer-Encoding": "chunked"})
    assert (status, told) == (200, "")
    assert front.ask("SELECT count() FROM meant")[1] == "2\n"


def test_a_client_that_goes_away_leaves_no_half_block(front: Front) -> None:
    front.ask("CREATE TABLE gone (a UInt64) ENGINE = MergeTree ORDER BY a")
    connection = HTTPConnection("127.0.0.1", front.store.port, timeout=60)
    connection.putrequest("POST", "/?query=INSERT+INTO+gone+FORMAT+TSV")
    connection.putheader("X-ClickHouse-User", "openoee")
    connection.putheader("X-ClickHouse-Key", front.secret("openoee"))
    connection.putheader("Content-Length", "1000000")
    connection.endheaders(b"1\n2\n3\n")
    connection.close()
    assert front.ask("INSERT INTO gone VALUES (7)")[0] == 200
    assert front.ask("SELECT count(), sum(a) FROM gone") == (200, "1\t7\n")


def test_get_reads_and_only_reads(front: Front) -> None:
    who = ["-u", f"openoee:{front.secret('openoee')}"]
    url = f"http://127.0.0.1:{front.store.port}/"

    def curl(*arguments: str) -> str:
        return subprocess.run(["curl", "-sS", *who, *arguments], capture_output=True, text=True, check=True).stdout

    assert curl(
        "-G", url, "--data-urlencode", "query=SELECT {a:String} AS x FORMAT JSONEachRow", "-d", "param_a=q"
    ) == ('{"x":"q"}\n')
    assert "Code: 164" in curl("-G", url, "--data-urlencode", "query=CREATE TABLE no (a Int8) ENGINE = Memory")
    assert curl(f"{url}ping") == "Ok.\n"
    ids = ["-F", "ids=1\n5\n;filename=ids"]
    assert curl(url, "-F", "query=SELECT sum(id) FROM ids", "-F", "ids_structure=id UInt8", *ids) == "6\n"
    packed = curl(
        "--compressed", f"{url}?enable_http_compression=1&max_block_size=1000", "-d", "SELECT * FROM numbers(300000)"
    )
    assert len(packed.splitlines()) == 300_000


def test_errors_have_codes_and_late_ones_are_seen(front: Front) -> None:
    assert front.ask("SELECT nope")[0] == 400
    assert front.ask("SELECT * FROM nope")[0] == 404
    assert front.ask("SELEC 1")[0] == 400
    assert front.ask("SELECT 1", "/?no_such_setting=1")[0] in (400, 404)
    assert front.ask("SELECT 1", "/elsewhere")[0] == 404
    assert front.ask("SELECT 1", **{"X-ClickHouse-Key": "wrong"})[0] == 403
    assert front.ask(b"no gzip", **{"Content-Encoding": "gzip"})[0] == 500
    assert front.ask("SELECT 1", "/?compress=1")[0] == 501
    status, body = front.ask("SELECT number, throwIf(number = 3000000) FROM numbers(4000000) SETTINGS max_threads = 1")
    assert status == 500 or "__exception__" in body


def test_sessions_keep_settings_and_tables_and_requests_do_not_leak(front: Front) -> None:
    for sql in ("SET max_threads = 3", "CREATE TEMPORARY TABLE mine (a Int8)", "INSERT INTO mine VALUES (4)"):
        assert front.ask(sql, "/?session_id=s1")[0] == 200
    asked = "SELECT getSetting('max_threads'), getSetting('max_block_size'), (SELECT sum(a) FROM mine)"
    assert front.ask(asked, "/?session_id=s1&max_block_size=77") == (200, "3\t77\t4\n")
    assert front.ask(asked, "/?session_id=s1")[1].split("\t")[1] != "77"
    assert front.ask(asked)[0] == 404
    assert front.ask("SELECT 1", "/?session_id=other&session_check=1")[0] == 500
    front.ask("CREATE DATABASE IF NOT EXISTS d1")
    assert front.ask("SELECT currentDatabase()", "/?session_id=s1&database=d1") == (200, "d1\n")
    assert front.ask("SELECT currentDatabase()", "/?session_id=s1") == (200, "default\n")
    assert front.ask("USE d1", "/?session_id=s1")[0] == 200
    assert front.ask("SELECT currentDatabase()", "/?session_id=s1") == (200, "d1\n")


def test_reader_may_only_read(front: Front) -> None:
    assert front.ask("SELECT 1", user=READER) == (200, "1\n")
    for sql in ("CREATE TABLE r (a Int8) ENGINE = Memory", "SET readonly = 0", "DROP TABLE IF EXISTS big"):
        assert front.ask(sql, "/?session_id=r", user=READER)[0] in (403, 500)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT file('/etc/passwd')",
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
        "SELECT * FROM remote('127.0.0.1:1', 'system', 'one')",
        "SELECT * FROM s3('http://127.0.0.1:1/bucket/x.csv', 'CSV')",
        "INSERT INTO FUNCTION file('/tmp/openoee-never', 'CSV', 'a Int8') VALUES (1)",
        "SELECT 1 INTO OUTFILE '/tmp/openoee-never'",
        "CREATE TABLE k (a Int8) ENGINE = Kafka('127.0.0.1:1', 't', 'g', 'CSV')",
        "CREATE TABLE k (a Int8) ENGINE = File(CSV)",
        "CREATE TABLE k (a Int8) ENGINE = Executable('/bin/ls', 'CSV')",
        "CREATE DICTIONARY k (a UInt8) PRIMARY KEY a SOURCE(FILE(path '/etc/passwd' format 'CSV')) LAYOUT(FLAT())",
        "SELECT 1 FORMAT Template SETTINGS format_template_resultset = '/etc/passwd'",
        "SET allow_experimental_eval_table_function = 1",
        "CREATE USER u",
        "GRANT ALL ON *.* TO default",
        "SYSTEM SHUTDOWN",
    ],
)
def test_nothing_leaves_the_store(front: Front, sql: str) -> None:
    status, said = front.ask(sql)
    assert status in (403, 500), said
    assert "root:" not in said
    assert not Path("/tmp/openoee-never").exists()
    assert front.ask("SELECT 1") == (200, "1\n")


def test_many_clients_at_once(front: Front) -> None:
    front.ask("CREATE TABLE many (who UInt8, a UInt64) ENGINE = MergeTree ORDER BY (who, a)")
    failures: list[BaseException] = []

    def work(who: int) -> None:
        try:
            client = clickhouse_connect.get_client(
                host="127.0.0.1", port=front.store.port, username="openoee", password=front.secret("openoee")
            )
            for turn in range(10):
                client.insert("many", [[who, turn * 100 + row] for row in range(100)], column_names=["who", "a"])
                counted = client.query("SELECT count() FROM many WHERE who = {w:UInt8}", parameters={"w": who})
                assert counted.result_rows == [((turn + 1) * 100,)]
            with pytest.raises(DatabaseError, match="no_such_table"):
                client.query("SELECT * FROM no_such_table")
            client.close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert front.ask("SELECT count() FROM many") == (200, "8000\n")


def test_second_owner_is_refused_and_the_first_stays(front: Front) -> None:
    second = Store(front.store.home / "other", free_port(), "openoee")
    second.home.mkdir()
    (second.home / "store").symlink_to(front.store.home / "store")
    owner = front.process().pid
    told = subprocess.run(
        [sys.executable, "-m", "pipeline.local.store_front", "--folder", str(front.store.home / "store"),
         "--port", str(second.port)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 1
    assert told.stderr == (
        f"Error: the store in {front.store.home}/store is open in another process ({owner}); "
        "`openoee stop` or end it first\n"
    )
    with pytest.raises(StackError, match=f"open in another process .{owner}."):
        second.start()
    assert front.ask("SELECT 1") == (200, "1\n")


def wait_gone(process: psutil.Process) -> None:
    psutil.wait_procs([process], timeout=30)


def ask_for_long(front: Front) -> None:
    with contextlib.suppress(ConnectionError):
        front.ask("SELECT sum(sipHash64(number)) FROM numbers(100000000)")


def test_ends_cleanly_under_load_and_survives_a_kill(tmp_path: Path) -> None:
    front = Front(tmp_path)
    try:
        front.ask("CREATE TABLE kept (a UInt64) ENGINE = MergeTree ORDER BY a")
        front.ask("INSERT INTO kept SELECT number FROM numbers(1000)")
        idle = HTTPConnection("127.0.0.1", front.store.port)
        idle.request("GET", "/ping")
        idle.getresponse().read()
        owner = front.process()
        owner.kill()
        wait_gone(owner)
        front.store.start()
        assert front.ask("SELECT count() FROM kept") == (200, "1000\n")
        load = threading.Thread(target=ask_for_long, args=(front,))
        load.start()
        began = time.monotonic()
        front.store.stop()
        assert time.monotonic() - began < 30
        load.join()
        idle.close()
        front.store.start()
        assert front.ask("SELECT count() FROM kept") == (200, "1000\n")
        assert json.loads((front.store.supervisor.run / "store.json").read_text())["pid"] == front.process().pid
    finally:
        front.store.stop()


def test_sigterm_exits_with_zero(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("p")
    port = free_port()
    front = subprocess.Popen(
        [sys.executable, "-m", "pipeline.local.store_front", "--folder", str(tmp_path / "store"), "--port", str(port),
         "--user", f"u={tmp_path / 'password'}"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with front:
        assert front.stdout is not None
        assert "answers at" in front.stdout.readline()
        idle = HTTPConnection("127.0.0.1", port)
        idle.request("POST", "/", "SELECT 1", {"X-ClickHouse-User": "u", "X-ClickHouse-Key": "p"})
        assert idle.getresponse().read() == b"1\n"
        front.terminate()
        assert front.wait(30) == 0
        idle.close()
