"""The audit without Kafka and store: hashes, sums, rows side by side, positions, verdicts."""

from __future__ import annotations

import struct
from collections import defaultdict
from datetime import UTC, date, datetime
from hashlib import md5
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import row_hash
from pipeline.audit import log
from pipeline.audit import positions as at
from pipeline.audit.log import Reading
from pipeline.audit.positions import Position
from pipeline.audit.report import MISMATCH, PASS, UNVERIFIED, Check, Difference, Report
from pipeline.audit.stretches import ROWS_AT_ONCE, Stretch, groups, named
from pipeline.audit.sums import WRAP, Latest, Sums
from pipeline.audit_queries import BY_TABLE, FACTS, HOUR_MS, LETTERS, SAMPLES, Asked
from pipeline.codec import Codec
from pipeline.core.model import Control, CountReading, EndOfSource, Frame, MachineConfig, OeeFact, SignalBlock
from pipeline.rows import SCHEMAS, TIME, Rows
from pipeline.settings import load

T0 = 1_772_434_800_000
MASK = WRAP - 1
WORDS = st.integers(0, MASK)


def mixed(word: int) -> int:
    """MurmurHash3's finalizer, as ClickHouse's intHash64 has it."""
    word ^= 0x4CF2D2BAAE6DA887
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        word = (word ^ (word >> 33)) * factor & MASK
    return word ^ (word >> 33)


def word_of(value: Any) -> int:
    """The word of one value, by its definition."""
    if value is None:
        return row_hash.NONE
    if isinstance(value, list):
        value = "\n".join(value)
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return int.from_bytes(md5(value).digest()[:8], "little")
    if isinstance(value, float):
        return int.from_bytes(struct.pack("<d", value), "little")
    if isinstance(value, datetime):
        return round(value.timestamp() * 1000) & MASK
    if isinstance(value, date):
        return (value - date(1970, 1, 1)).days
    return int(value) & MASK


NAMES = st.text(max_size=20)
COLUMNS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "name": (pa.dictionary(pa.int32(), pa.string()), NAMES),
    "text": (pa.string(), st.none() | NAMES),
    "data": (pa.binary(), st.none() | st.binary(max_size=20)),
    "whole": (pa.int64(), st.none() | st.integers(-(2**63), 2**63 - 1)),
    "small": (pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    "entry": (pa.uint32(), st.integers(0, 2**32 - 1)),
    "number": (pa.float64(), st.none() | st.floats(allow_nan=False)),
    "truth": (pa.bool_(), st.booleans()),
    "instant": (TIME, st.none() | st.integers(0, 10**13).map(lambda ms: datetime.fromtimestamp(ms // 1000, UTC))),
    "day": (pa.date32(), st.dates(date(1970, 1, 1), date(2149, 6, 6))),
    "flags": (pa.list_(pa.string()), st.lists(NAMES, max_size=3)),
}


@given(st.lists(st.fixed_dictionaries({name: values for name, (_, values) in COLUMNS.items()}), max_size=5))
def test_a_row_hashes_to_its_words_one_after_the_other(rows: list[dict[str, Any]]) -> None:
    schema = pa.schema([(name, kind) for name, (kind, _) in COLUMNS.items()])
    arrays = [pa.array([row[field.name] for row in rows], field.type) for field in schema]
    expected = []
    for row in rows:
        found = 0
        for name in COLUMNS:
            found = mixed(found ^ word_of(row[name]))
        expected.append(found)
    assert row_hash.hashes(pa.Table.from_arrays(arrays, schema=schema), COLUMNS).tolist() == expected


def test_values_that_are_nearly_the_same_hash_otherwise() -> None:
    table = pa.table({"a": pa.array(["x", "y", "x", None, ""]), "b": pa.array([0.0, 0.0, -0.0, 0.0, 0.0])})
    assert len(set(row_hash.hashes(table, ["a", "b"]).tolist())) == 5
    assert row_hash.hashes(table, ["a", "b"])[0] != row_hash.hashes(table, ["b", "a"])[0]


ROW = st.tuples(st.sampled_from("abc"), st.integers(0, 2), WORDS)


@given(st.lists(st.lists(ROW, max_size=8), max_size=5))
def test_sums_are_those_of_the_rows_whatever_the_batches(batches: list[list[tuple[str, int, int]]]) -> None:
    sums, rows, totals = Sums(), defaultdict[Any, int](int), defaultdict[Any, int](int)
    for offset, batch in enumerate(batches):
        sums.add("cba", ints("cba".index(name) for name, _, _ in batch), ints(hour for _, hour, _ in batch),
                 words(word for *_, word in batch), range(offset, offset + 1))  # fmt: skip
        for name, hour, word in batch:
            rows[name, hour] += 1
            totals[name, hour] = (totals[name, hour] + word) % WRAP
    assert {key: (found.rows, found.total) for key, found in sums.found.items()} == {
        key: (count, totals[key]) for key, count in rows.items()
    }
    for (name, hour), found in sums.found.items():
        places = [n for n, batch in enumerate(batches) if (name, hour) in {row[:2] for row in batch}]
        assert (found.first, found.end) == (places[0], places[-1] + 1)


VERSION = st.tuples(st.integers(0, 6), st.integers(0, 3), WORDS, st.booleans())


@given(st.lists(VERSION, max_size=40), st.sets(st.integers(0, 6), max_size=2), st.integers(0, 2), st.integers(1, 5))
def test_of_each_key_the_newest_version_counts(
    log_of: list[tuple[int, int, int, bool]], without: set[int], since: int, batch: int
) -> None:
    latest, newest = Latest(), dict[int, tuple[int, int, bool]]()
    for place in range(0, len(log_of), batch):
        part = log_of[place : place + batch]
        keys, versions, hashes, in_force = zip(*part, strict=True)
        machines = ints(key % 2 for key in keys)
        latest.add("ab", machines, machines * 0, words(hashes), words(keys), ints(versions), np.array(in_force))
        if place % 2:
            latest._compact()
    for key, version, word, holds in log_of:
        if key not in newest or version >= newest[key][0]:
            newest[key] = (version, word, holds)
    expected = defaultdict[Any, list[int]](list)
    for key, (version, word, holds) in newest.items():
        if holds and version >= since and key not in without:
            expected["ab"[key % 2], 0].append(word)
    assert {key: (found.rows, found.total) for key, found in latest.sums(without, since).found.items()} == {
        key: (len(found), sum(found) % WRAP) for key, found in expected.items()
    }


def ints(values: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array(list(values), np.int64)


def words(values: Any) -> np.ndarray[Any, np.dtype[np.uint64]]:
    return np.array(list(values), np.uint64)


def samples(*rows: tuple[str, str, int, float]) -> pa.Table:
    columns = [*(list(zip(*rows, strict=True)) or [()] * 4), [T0] * len(rows)]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMAS["telemetry"], strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMAS["telemetry"])


def stretch(*rows: tuple[str, str, int, float], stored: Any = ()) -> Stretch:
    found = Stretch(SAMPLES, "m", T0, T0 + HOUR_MS, len(rows), 0, 9)
    found.take(samples(*rows), later=False)
    found.stored = {row[:3]: row for row in stored}
    return found


A, B = ("m", "load", T0, 1.0), ("m", "load", T0 + 1, 2.0)


def test_rows_are_told_apart_by_their_key() -> None:
    assert list(stretch(A, B, stored=[A, B]).differing(set(), 0)) == []
    assert list(stretch(A, B, stored=[B]).differing(set(), 0)) == [(A[:3], A, None)]
    assert list(stretch(A, stored=[A, B]).differing(set(), 0)) == [(B[:3], None, B)]
    other = (*A[:3], 7.0)
    ((key, source, store),) = stretch(A, stored=[other]).differing(set(), 0)
    assert list(named("samples", SAMPLES, key, source, store)) == [
        Difference("samples", {"machine": "m", "signal": "load", "ts": T0}, "value", 1.0, 7.0)
    ]


def test_the_last_row_of_a_key_counts_and_other_machines_and_times_do_not() -> None:
    other = (*A[:3], 7.0)
    elsewhere = (("n", *A[1:]), ("m", "load", T0 + HOUR_MS, 1.0), ("m", "load", T0 - 1, 1.0))
    assert list(stretch(A, other, *elsewhere, stored=[other]).differing(set(), 0)) == []


def test_what_later_records_say_may_be_there_or_not() -> None:
    changed = (*A[:3], 7.0)
    for stored in ([A], [A, B], [changed, B]):
        found = stretch(A, stored=stored)
        found.take(samples(changed, B), later=True)
        assert list(found.differing(set(), 0)) == []
    lost = stretch(A, stored=[])
    lost.take(samples(changed, B), later=True)
    assert list(lost.differing(set(), 0)) == [(A[:3], A, None)]


@given(st.integers(0, 3 * ROWS_AT_ONCE), st.integers(1, HOUR_MS))
def test_pieces_of_a_stretch_follow_each_other(rows: int, length: int) -> None:
    pieces = list(Stretch(SAMPLES, "m", T0, T0 + length, rows, 5, 9).pieces())
    assert [piece.start for piece in pieces] == [T0, *(piece.end for piece in pieces[:-1])]
    assert pieces[-1].end == T0 + length
    assert all(piece.rows <= ROWS_AT_ONCE and (piece.first, piece.last) == (5, 9) for piece in pieces)


def test_stretches_are_looked_at_in_the_order_of_the_log_and_not_too_many_at_once() -> None:
    sizes = {30: ROWS_AT_ONCE // 2, 10: ROWS_AT_ONCE // 2, 20: ROWS_AT_ONCE // 2, 40: 1}
    found = groups(Stretch(SAMPLES, "m", T0, T0 + 1, rows, first, 50) for first, rows in sizes.items())
    assert [[one.first for one in group] for group in found] == [[10, 20], [30, 40]]


def position(**more: int | None) -> Position:
    values: dict[str, Any] = {"low": 0, "high": 10, "end": 12, "worker": 10, "cover": 8, "sink": 10, **more}
    return Position("telemetry", 0, **values)


@pytest.mark.parametrize(
    ("found", "verdict", "said"),
    [
        (position(), PASS, ""),
        (position(sink=11), PASS, ""),
        (position(low=10, worker=None, sink=None), PASS, ""),
        (position(sink=7), UNVERIFIED, "the sink is 3 records behind"),
        (position(worker=None), UNVERIFIED, "the worker is 10 records behind"),
        (
            position(worker=13),
            MISMATCH,
            "topic x.telemetry, partition 0: the worker is at 13, the log ends at 12",
        ),
        (position(cover=14), MISMATCH, "the saved state is at 14, the log ends at 12"),
        (position(low=5, sink=3), MISMATCH, "offsets 3 to 4 were removed before the sink had taken them"),
        (position(low=9, cover=8), PASS, ""),
    ],
)
def test_where_everybody_stands(found: Position, verdict: str, said: str) -> None:
    check = at.check([found], "x.{}".format)
    assert check.verdict == verdict
    assert said in "\n".join([*map(str, check.differences), *check.unverified])


def test_the_worst_check_is_the_verdict() -> None:
    difference = Difference("facts", {"machine": "m", "window_start": T0}, "good", 1, 2)
    passed, unknown, wrong = Check("a"), Check("b", unverified=["why"]), Check("c", differences=[difference])
    codes = [Report(list(found)).exit_code for found in ([passed], [passed, unknown], [unknown, wrong, passed], [])]
    assert codes == [0, 3, 1, 3]
    lines = list(Report([passed, unknown, wrong]).lines())
    assert (
        "differs     facts: machine m, window_start 2026-03-02T07:00:00Z: good is 1 by the source, 2 in the store"
        in lines
    )
    assert "unverified  b: why" in lines
    assert lines[-1] == "MISMATCH"


@pytest.mark.parametrize("one", BY_TABLE.values(), ids=lambda one: str(one.name))
def test_every_condition_has_its_parameter(one: Any) -> None:
    asked = Asked(T0, T0 + 1, 5, {"m": 7}, "telemetry", (0, 9))
    named_in_sql = {part.partition(":")[0] for part in asked.where(one).split("{")[1:]}
    assert named_in_sql <= asked.values(one, ["m", "n"]).keys()
    assert set(one.key) <= set(one.columns) <= set(SCHEMAS[one.table].names)


def test_rows_in_force_are_final_and_last() -> None:
    rows, end = Rows(300_000), T0 + 60_000
    for status, until in (("final", end), ("provisional", end), ("restated", T0)):
        rows.add(0, OeeFact("m", "", "", "", T0, end, T0, until, "", 0, 0, "", "", status=status))
    assert FACTS.in_rows(dict(rows.tables())["oee_facts"]).to_pylist() == [True, False, False]


class Raw:
    """A record as confluent-kafka gives it."""

    def __init__(self, offset: int, key: bytes | None, value: bytes | None) -> None:
        self._record = (offset, key, value)

    def offset(self) -> int:
        return self._record[0]

    def key(self) -> bytes | None:
        return self._record[1]

    def value(self) -> bytes | None:
        return self._record[2]

    def timestamp(self) -> tuple[int, int]:
        return 1, T0 + self._record[0]


def test_a_partition_says_what_the_store_must_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration, two frames with a gap, one of them repeated, the end of the source, something undecodable."""
    codec = Codec()
    block = SignalBlock(np.array([T0, T0 + 1]), ["load"], np.array([[1.0, np.nan]]))
    frames = [Frame("m", "plc", 0, n, T0, counts=[CountReading(T0, True, 5)], signals=[block]) for n in (0, 2)]
    controls = [Control("m", "c", T0, "t", body) for body in (MachineConfig(site="s"), EndOfSource("plc", T0 + 60_000))]
    messages = [controls[0], *frames, frames[1], controls[1]]
    found = [Raw(n, b"m", codec.encode(message)) for n, message in enumerate(messages)]
    monkeypatch.setattr(log, "raw", lambda *_: iter([[*found, Raw(5, b"m", b"no avro")]]))
    settings = load({"topic_prefix": "x."}, {})
    reading = Reading(settings, codec, 3, 0, 6)
    tables = {name: table for _, name, table in reading.tables()}
    assert (reading.frames, reading.repeated, reading.gaps, reading.machines) == (3, 1, 1, {"m"})
    assert tables["telemetry"].num_rows == tables["counts"].num_rows == 2
    assert reading.again == {("m", T0 // HOUR_MS): 4}
    assert {row["status"] for row in tables["oee_facts"].to_pylist()} >= {"final"}
    assert reading.bounds["m"] >= T0 + 4
    (letter,) = tables["dead_letters"].to_pylist()
    assert (letter["topic"], letter["partition"], letter["offset"]) == ("x.telemetry", 3, 5)
    assert set(LETTERS.columns) == letter.keys() - {"machine", "detail"}
    every = Reading(settings, codec, 3, 0, 6, computes=False, repeats=True)
    tables = {name: table for _, name, table in every.tables()}
    assert tables["counts"].num_rows == 3
    assert "oee_facts" not in tables
    assert not list(Reading(settings, codec, 3, 0, 6, machine="other").tables())


def test_the_last_frame_counts_whatever_else_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames with other signals each: rows of one key stay in the order of the log."""
    codec = Codec()
    layouts = (["load"], ["load", "zeal"], ["able", "load"], ["load"])
    frames = [
        Frame("m", "plc", 0, n, T0, signals=[SignalBlock(np.array([T0]), names, np.full((len(names), 1), float(n)))])
        for n, names in enumerate(layouts)
    ]
    found = [Raw(n, b"m", codec.encode(frame)) for n, frame in enumerate(frames)]
    monkeypatch.setattr(log, "raw", lambda *_: iter([found]))
    stretch = Stretch(SAMPLES, "m", T0, T0 + 1, 6, 0, 4)
    for _, _, table in Reading(load({}, {}), codec, 0, 0, 4, computes=False, repeats=True).tables():
        stretch.take(table, later=False)
    assert {key[1]: row for key, (_, _, row) in stretch.side.rows.items()} == {
        "load": ("m", "load", T0, 3.0), "zeal": ("m", "zeal", T0, 1.0), "able": ("m", "able", T0, 2.0)
    }  # fmt: skip
