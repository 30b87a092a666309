"""What the store's front reads out of a statement, and what it refuses."""

from __future__ import annotations

import pytest

from pipeline.local.store_handler import whole
from pipeline.local.store_sql import (
    Guard,
    Inline,
    format_named,
    inline_insert,
    is_insert,
    is_read,
    is_several,
    is_streamed,
    is_use,
)

GUARD = Guard(
    ["MergeTree", "ReplacingMergeTree", "Memory", "Null", "View", "Atomic", "Kafka", "URL", "Executable", "Log"]
)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"INSERT INTO t FORMAT Native\n\x01\x02", Inline(b"INSERT INTO t ", "Native", 28)),
        (b"INSERT INTO t (a, b) FORMAT TSV\n1\t2\n", Inline(b"INSERT INTO t (a, b) ", "TSV", 32)),
        (b"insert into t format CSV;\n1,2", Inline(b"insert into t ", "CSV", 26)),
        (b"INSERT INTO t SETTINGS a=1 FORMAT CSV 1,2", Inline(b"INSERT INTO t SETTINGS a=1 ", "CSV", 38)),
        (
            b"-- a FORMAT in a comment\nINSERT INTO t FORMAT CSV\n",
            Inline(b"-- a FORMAT in a comment\nINSERT INTO t ", "CSV", 50),
        ),
        (b"INSERT INTO t VALUES ('x FORMAT y')", Inline(b"INSERT INTO t ", "Values", 20)),
        (b"INSERT INTO `FORMAT CSV` VALUES (1)", Inline(b"INSERT INTO `FORMAT CSV` ", "Values", 31)),
        (b"INSERT INTO t SELECT 1 FORMAT Null", None),
        (b"INSERT INTO t SELECT * FROM values('a Int64', 1)", None),
        (b"INSERT INTO t", None),
        (b"SELECT 1 FORMAT CSV", None),
    ],
)
def test_insert_with_rows_behind(head: bytes, expected: Inline | None) -> None:
    assert inline_insert(head) == expected


def test_kinds() -> None:
    assert is_insert(b"/* x */ insert into t values")
    assert not is_insert(b"select 'insert into'")
    assert is_read(" (SELECT 1)")
    assert is_read("-- c\nSHOW TABLES")
    assert is_read("WITH 1 AS a SELECT a")
    assert not is_read("CREATE TABLE t (a Int8) ENGINE = Memory")
    assert not is_read("INSERT INTO t SELECT 1")
    assert is_streamed("select 1")
    assert not is_streamed("DESCRIBE t")
    assert is_use("USE x")
    assert not is_use("SELECT 'USE x'")


def test_format_at_the_end() -> None:
    assert format_named("SELECT 1 FORMAT JSON") == "JSON"
    assert format_named("SELECT 1 format CSV ;\n") == "CSV"
    assert format_named("SELECT 1 FORMAT CSV SETTINGS max_threads = 1") == "CSV"
    assert format_named("SELECT 'FORMAT JSON'") is None
    assert format_named("SELECT 1 -- FORMAT JSON") is None


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT file('/etc/passwd')",
        "SELECT `file`('/etc/passwd')",
        "SELECT \"file\" ('/etc/passwd')",
        "SELECT file /* */ ('/etc/passwd')",
        "SELECT arrayMap(file, ['/etc/passwd'])",
        "SELECT * APPLY file FROM (SELECT '/etc/passwd')",
        "SELECT `fil\\x65`('/etc/passwd')",
        "SELECT $$'$$, file('/etc/passwd'), $$'$$",
        "SELECT ‘'’, file('/etc/passwd'), ‘'’",
        "SELECT 1 # '\n, file('/etc/passwd') -- '",
        "CREATE FUNCTION f AS x -> file(x)",
        "SELECT 1 INTO OUTFILE '/tmp/x'",
        "INSERT INTO t FROM INFILE '/etc/passwd' FORMAT CSV",
        "ATTACH TABLE t FROM '/tmp/x' (a Int8) ENGINE = MergeTree ORDER BY a",
        "CREATE TABLE t (a Int8) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = web, endpoint = 'http://x/')",
        "SELECT * FROM executable('x', 'CSV', 'a Int8')",
        "SELECT * FROM python(x)",
        "DROP DATABASE IF EXISTS `default`",
        "CREATE TABLE t (a Int8) ENGINE = Kafka('a', 'b', 'c', 'CSV')",
        "CREATE TABLE t (a Int8) ENGINE Executable('x', 'CSV')",
        "create table t (a Int8) engine=`Kafka`",
        "CREATE TABLE t (a Int8) ENGINE = Log",
    ],
)
def test_refused(sql: str) -> None:
    with pytest.raises(RuntimeError, match=r"Code: 497.*ACCESS_DENIED"):
        GUARD.check(sql, {})


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 'file(x)', t.file, filename, `profile` FROM t",
        "SELECT 'it''s', 'INTO OUTFILE', \"engine = Kafka\" FROM t",
        "SELECT engine FROM system.tables WHERE engine = 'Kafka'",
        "CREATE TABLE t (a Int8) ENGINE = ReplacingMergeTree(a) ORDER BY a",
        "CREATE TABLE t (a Int8) ENGINE = Memory",
        "CREATE VIEW v AS SELECT engine FROM system.tables",
        "DETACH TABLE t",
        "DROP DATABASE default_2",
        "SELECT 'a\\'b', {x:String}",
    ],
)
def test_allowed(sql: str) -> None:
    GUARD.check(sql, {"x": "file"})


def test_a_function_named_by_parameter_is_refused() -> None:
    with pytest.raises(RuntimeError, match="file"):
        GUARD.check("SELECT arrayMap({f:Identifier}, ['/etc/passwd'])", {"f": "file"})


@pytest.mark.parametrize(
    ("text", "several"),
    [
        ("SELECT 1", False), ("SELECT 1;", False), ("SELECT 1; -- done\n", False), ("SELECT ';' AS a", False),
        ("SELECT 1; DROP TABLE t", True), ("SELECT 1;/* */DROP TABLE t", True),
        ("INSERT INTO t SELECT 1; SELECT 2", True),
    ],
)  # fmt: skip
def test_statements_behind_the_first_one_are_seen(text: str, several: bool) -> None:
    assert is_several(text) is several


def test_a_statement_is_only_so_long() -> None:
    assert whole([b"ab", b"c"], 3) == b"abc"
    with pytest.raises(RuntimeError, match="Code: 62"):
        whole([b"ab", b"cd"], 3)
