"""The sink's parts without Kafka and store: rows of records, plans of batches, the migrations' files."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.codec import Codec, FactoryFile
from pipeline.core.burst import Burst
from pipeline.core.model import (
    Anomaly,
    Context,
    Control,
    Correction,
    CountReading,
    DeadLetter,
    EndOfSource,
    Frame,
    Interval,
    MachineConfig,
    MachineEvent,
    OeeFact,
    SignalBlock,
    SignalConfig,
    StateChange,
    Tick,
)
from pipeline.crash import CrashPoint
from pipeline.errors import UndecodableRecord
from pipeline.plan import METADATA_BYTES, Plan, cut
from pipeline.rows import LAST_MS, SCHEMAS, YEAR_2000, Rows, read, weight
from pipeline.store.migrate import RETIRED, VIEWS, Migration, migrations

T0 = 1_772_434_800_000
FUTURE_MS = 300_000


def tables(*messages: Any, arrived: int = T0) -> dict[str, list[dict[str, Any]]]:
    rows = Rows(FUTURE_MS)
    for message in messages:
        rows.add(arrived, message)
    return {name: table.to_pylist() for name, table in rows.tables()}


def frame(**more: Any) -> Frame:
    return Frame("m1", "gateway", 5, 7, T0, **more)


def test_samples_become_one_row_each_and_what_was_not_sampled_none() -> None:
    values = np.array([[1.0, np.nan, 3.0], [np.inf, 5.0, -np.inf]])
    block = SignalBlock(np.array([T0, T0 + 1, T0 + 2], np.int64), ["load", "speed"], values)
    found = tables(frame(signals=[block]))["telemetry"]
    assert [(row["signal"], row["ts"], row["value"]) for row in found] == [
        ("load", utc(T0), 1.0), ("load", utc(T0 + 2), 3.0), ("speed", utc(T0 + 1), 5.0),
    ]  # fmt: skip
    assert {row["machine"] for row in found} == {"m1"}


def test_of_two_values_for_one_instant_the_later_record_comes_last() -> None:
    """The store keeps the last one; the records may name other signals besides."""
    one = frame(signals=[SignalBlock(np.array([T0]), ["load"], np.array([[1.0]]))])
    other = frame(signals=[SignalBlock(np.array([T0]), ["able", "load"], np.array([[7.0], [2.0]]))])
    assert [row["value"] for row in tables(one, other)["telemetry"] if row["signal"] == "load"] == [1.0, 2.0]
    assert [row["value"] for row in tables(other, one)["telemetry"] if row["signal"] == "load"] == [2.0, 1.0]


def test_what_machines_say_is_kept_with_its_arrival_alone_or_in_a_burst() -> None:
    block = SignalBlock(np.array([T0, T0 + 1], np.int64), ["load", "speed"], np.ones((2, 2)))
    made = frame(
        signals=[block], states=[StateChange(T0, "running")], counts=[CountReading(T0, False, 1)],
        events=[MachineEvent(T0, "alarm", "fault")],
    )  # fmt: skip
    found = tables(made, Control("m1", "c", T0, "ann", EndOfSource("file", T0)), arrived=T0 + 7)
    assert [len(found[name]) for name in ("telemetry", "events", "counts")] == [4, 3, 1]
    assert {row["arrived"] for name in ("telemetry", "events", "counts") for row in found[name]} == {utc(T0 + 7)}
    burst = Burst(
        "m1", "gateway", 5, 7, ["load"], [], [T0, T0], [T0 + 9, T0 + 12], [T0, T0 + 1], [T0, T0 + 2], [0, 1, 3],
        np.array([T0, T0 + 1, T0 + 2], np.int64), np.ones((1, 3)), [(1, CountReading(T0 + 1, False, 1))],
    )  # fmt: skip
    together = tables(burst)
    assert [row["arrived"] for row in together["telemetry"]] == [utc(T0 + 9), utc(T0 + 12), utc(T0 + 12)]
    assert [row["arrived"] for row in together["counts"]] == [utc(T0 + 12)]


def utc(at: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at)


def test_entries_out_of_time_are_left_to_the_dead_letters() -> None:
    instants = np.array([YEAR_2000 - 1, YEAR_2000, T0 + FUTURE_MS, T0 + FUTURE_MS + 1], np.int64)
    made = frame(
        signals=[SignalBlock(instants, ["load"], np.ones((1, 4)))],
        states=[StateChange(int(at), "running") for at in instants],
        counts=[CountReading(int(at), False, 1) for at in instants],
    )
    found = tables(made)
    assert [row["ts"] for row in found["telemetry"]] == [utc(YEAR_2000), utc(T0 + FUTURE_MS)]
    assert [(row["ts"], row["entry"]) for row in found["events"]] == [(utc(YEAR_2000), 1), (utc(T0 + FUTURE_MS), 2)]
    assert [row["entry"] for row in found["counts"]] == [1, 2]


def test_a_frame_of_nothing_but_bad_times_gives_no_table() -> None:
    assert tables(frame(signals=[SignalBlock(np.array([1], np.int64), ["load"], np.ones((1, 1)))])) == {}


def test_everything_that_a_machine_says_is_an_event() -> None:
    made = frame(
        states=[StateChange(T0, "stopped", "jam")], contexts=[Context(T0 + 1, "A", None, "O123")],
        events=[MachineEvent(T0 + 2, "alarm", "fault", "E7", "door open")], opening=True,
    )  # fmt: skip
    found = tables(made)["events"]
    assert [(row["kind"], row["severity"], row["code"], row["text"], row["entry"]) for row in found] == [
        ("state", "", "stopped", "jam", 0), ("context", "", "A", "product", 1), ("context", "", "O123", "program", 2),
        ("alarm", "fault", "E7", "door open", 3),
    ]  # fmt: skip
    assert all(row["opening"] and (row["source"], row["epoch"], row["sequence"]) == ("gateway", 5, 7) for row in found)


def test_controls_become_configuration_and_events_and_ticks_nothing() -> None:
    config = MachineConfig(-1, "lyon", line="L1", position=2, ideal_cycle_us={"*": 5, "A": 7}, oee_target=0.75,
                           signals=(SignalConfig("load", "%"),))  # fmt: skip
    correction = Correction(T0, T0 + 60_000, "setup", None, "tool", 3)
    scrap = Correction(T0, T0 + 1, good=-2, reject=2, id="x")
    bodies = [config, correction, EndOfSource("file", 2**59), Tick(T0), scrap]
    found = tables(*(Control("m1", f"c{number}", T0, "ann", body) for number, body in enumerate(bodies)))
    [machine] = found["machines"]
    assert machine["effective"] == utc(0)
    assert dict(machine["ideal_cycle_us"]) == {"*": 5, "A": 7}
    assert dict(machine["units"]) == {"load": "%"}
    [end] = found["events"]
    assert (end["kind"], end["code"], end["source"], end["ts"]) == ("end_of_source", "file", "c2", utc(LAST_MS))
    said = [(row["id"], row["revision"], row["state"], row["reason"], row["good"]) for row in found["corrections"]]
    assert said == [("c1", 3, "setup", "tool", None), ("x", 1, None, None, -2)]
    assert found["corrections"][0]["end"] == utc(T0 + 60_000)
    assert found.keys() == {"machines", "events", "corrections"}


def test_an_order_is_kept_with_what_it_asks_for() -> None:
    found = tables(frame(contexts=[Context(T0, "A", "O7", None, 500), Context(T0 + 1, "B")]))
    [order] = found["orders"]
    assert (order["order"], order["product"], order["planned"]) == ("O7", "A", 500)
    assert ("500", "planned") in [(row["code"], row["text"]) for row in found["events"]]


def test_a_factory_file_is_kept_with_its_reasons() -> None:
    text = (
        "version: 1\nsite: lyon\ntimezone: UTC\nmachines: {m: {}}\n"
        "reasons: {stops: {loss: breakdown, reasons: {jam: {}}}}\n"
    )
    found = tables(FactoryFile("lyon", 0, T0, "ann", text))
    assert [row["text"] for row in found["factory_files"]] == [text]
    assert [(row["code"], row["path"], row["loss"]) for row in found["reasons"]] == [
        ("stops", ["stops"], "breakdown"), ("jam", ["stops", "jam"], "breakdown"),
    ]  # fmt: skip


def results() -> list[Any]:
    day = 20_514
    return [
        OeeFact("m1", "s", "a", "l", T0, T0 + 60_000, T0, T0 + 60_000, "early", day, day, "A", "o", flags=["x"]),
        Interval("m1", "s", "", "l", T0, None, "idle", "adot", None, False, False, True, "", "early", day, "A", "", T0),
        Anomaly("m1", "s", "l", "load", "spike", "e", 1, T0, T0, 0.5, None, 1.0, None, None, "info", "", "", "x", T0),
        DeadLetter("telemetry", 3, 9, T0, None, "undecodable", "bad", 0, None, b"\xff\0"),
    ]


def test_results_keep_every_field_and_what_has_versions_goes_into_two_tables() -> None:
    found = tables(*results())
    assert found["oee_facts"] == found["oee_revisions"]
    assert found["anomalies"] == found["anomaly_revisions"]
    [fact] = found["oee_facts"]
    assert (fact["flags"], fact["window_end"], str(fact["shift_date"])) == (["x"], utc(T0 + 60_000), "2026-03-02")
    assert found["intervals"][0]["end"] is None
    assert found["anomalies"][0]["value"] is None
    assert (found["dead_letters"][0]["value"], found["dead_letters"][0]["machine"]) == (b"\xff\0", None)
    versions = {"oee_revisions", "anomaly_revisions"}
    assert found.keys() == {"oee_facts", "intervals", "anomalies", "dead_letters"} | versions


def test_weight_is_about_the_rows() -> None:
    block = SignalBlock(np.arange(100) + T0, ["a", "b"], np.ones((2, 100)))
    size = len(Codec().encode(frame(signals=[block])))
    assert 200 <= weight(False, size) <= 240
    assert weight(True, size) == 2


def test_every_table_that_is_fed_exists_with_these_columns() -> None:
    sql = "\n".join(migration.sql for migration in migrations())
    for name, schema in SCHEMAS.items():
        source = {"oee_facts": "oee_revisions", "anomaly_revisions": "anomalies"}.get(name, name)
        body = sql.partition(f"CREATE TABLE IF NOT EXISTS {source}\n(")[2].partition("\n)\nENGINE")[0]
        columns = {line.split()[0] for line in body.splitlines() if line.strip()}
        added = rf"ALTER TABLE {source} ADD COLUMN IF NOT EXISTS (\w+)(?! UInt64\s+MATERIALIZED)\b"
        columns |= set(re.findall(added, sql))
        assert columns == set(schema.names), name


def test_what_a_topic_may_hold() -> None:
    codec = Codec()
    good = codec.encode(frame())
    assert isinstance(read(codec, False, b"m1", good), Frame)
    for result, key, value, words in [
        (False, None, good, "no key"), (False, b"m2", good, "is not the machine"), (True, b"m1", good, "is no result"),
        (False, b"m1", codec.encode(results()[0]), "is no telemetry"), (False, b"m1", None, "empty value"),
    ]:  # fmt: skip
        with pytest.raises(UndecodableRecord, match=words):
            read(codec, result, key, value)


# Plans

PLACES = st.tuples(st.sampled_from(["telemetry", "oee", "dead-letters"]), st.integers(0, 300))
RANGES = st.dictionaries(
    PLACES, st.tuples(st.integers(0, 2**40), st.integers(1, 2**20)).map(lambda span: (span[0], sum(span)))
)


@given(RANGES)
def test_a_plan_is_read_as_it_was_written_and_fits_into_a_commit(ranges: dict[Any, Any]) -> None:
    plan = cut(ranges)
    assert Plan.parse(plan.text()) == plan
    assert len(plan.text()) <= METADATA_BYTES
    assert plan.ranges.items() <= ranges.items()
    assert bool(plan.ranges) == bool(ranges)


@pytest.mark.parametrize("text", [None, "", "2 oee/0=1-2", "1 oee/0=1", "1 oee/x=1-2", "somebody else's note"])
def test_what_is_no_plan_of_ours_is_none(text: str | None) -> None:
    assert Plan.parse(text) is None


def test_tokens_differ_when_a_topic_was_made_again() -> None:
    def record(offset: int, at: int) -> Any:
        return SimpleNamespace(partition=lambda: 0, offset=lambda: offset, timestamp=lambda: (1, at))

    plan = Plan({("oee", 0): (0, 2)})
    first = plan.token([record(0, T0), record(1, T0)])
    assert first == plan.token([record(0, T0), record(1, T0)])
    assert first != plan.token([record(0, T0), record(1, T0 + 1)])
    assert "oee/0=0-2" in first


# Migrations


def test_migrations_rise_can_be_run_again_and_the_views_come_last() -> None:
    *numbered, views = migrations()
    safe = ("CREATE TABLE IF NOT EXISTS ", "ALTER TABLE ", "INSERT INTO ", "EXCHANGE TABLES ", "DROP TABLE IF EXISTS ")
    assert [migration.number for migration in numbered] == sorted(migration.number for migration in numbered)
    for migration in numbered:
        assert migration.number not in RETIRED
        for statement in migration.statements():
            assert statement.startswith(safe), statement
    assert views.number == VIEWS
    for statement in views.statements():
        assert statement.startswith("CREATE OR REPLACE VIEW "), statement
        assert "{{" not in statement


def test_statements_are_cut_at_the_end_of_a_line_and_comments_left_out() -> None:
    made = Migration(1, "x", "-- first; not this\nSELECT ';' AS a;\n\n  -- more\nSELECT 2\n-- in between\nFROM b;")
    assert list(made.statements()) == ["SELECT ';' AS a", "SELECT 2\nFROM b"]


def test_an_empty_crash_point_never_crashes() -> None:
    crash = CrashPoint("")
    for point in ("before_insert", "after_commit"):
        crash(point)
