"""A simulated plant in a real store: the examples of the documentation, the ready questions, the report."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import clickhouse_connect
import pytest
from live_stack import LiveStack
from sql_trial import EVERYTHING, HOUR, MINUTE, T0, at, put, told

from pipeline import inline, queries, report
from pipeline.codec import FactoryFile
from pipeline.core.model import Anomaly, Control, Correction
from pipeline.core.plant import Plant
from pipeline.errors import UsageError
from pipeline.factory import Factory, controls, dump
from pipeline.planted import Planted
from pipeline.settings import Settings
from pipeline.store.client import Store
from pipeline.store.migrate import migrate, migrations

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]
PROJECT = Path(__file__).resolve().parents[2]
REASONS = """
reasons:
  organisation:
    loss: idling
    reasons:
      no operator: {name: Nobody there}
"""
PAGES = (PROJECT / "docs" / "sql.md", PROJECT / "README.md")


@pytest.fixture(scope="module")
def plant(stack: LiveStack) -> Iterator[tuple[Store, Settings]]:
    """Two hours of a simulated plant in Lyon, through the engine into the store; and one flag more."""
    settings = stack.settings("plant")
    migrate(settings)
    made = Plant("lyon", 7, T0, 12)
    factory = Factory.of("lyon", made.habits.timezone, made.machines)
    end = T0 + 2 * HOUR
    reason = Correction(T0 + 20 * MINUTE, T0 + 30 * MINUTE, reason="no operator", id="lyon-L1-saw/1")
    correction = Control("lyon-L1-saw", "lyon-L1-saw/1/1", end, "ann", reason)
    log = [*controls(factory, T0, "test"), *made.frames(end), correction, *made.ends(end, end)]
    inline.run(log, settings)
    flag = Anomaly(
        "lyon-L1-saw", "lyon", "L1", "vibration", "limit", "limit", 1, T0 + HOUR, T0 + HOUR + MINUTE, 0.9, 7.5, 2.0,
        None, 7.0, "critical", "running", "A", "vibration is high", T0 + HOUR,
    )  # fmt: skip
    with closing(Store(settings)) as store:
        put(store, flag, FactoryFile("lyon", 0, T0, "test", dump(factory) + REASONS))
        yield store, settings


def blocks() -> list[str]:
    """Every SQL example; those of the README ask for the demo's site, here for the one that is in the store."""
    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES).replace("demo-1", "lyon")
    found = re.findall(r"```sql\n(.*?)```", pages, re.S)
    return [part.strip() for block in found for part in re.split(r";\s*\n", block) if part.strip()]


@pytest.mark.parametrize("number", range(len(blocks())))
def test_every_example_of_the_documentation_answers(plant: tuple[Store, Settings], number: int) -> None:
    store, _ = plant
    statement = blocks()[number]
    answer = queries.sql(store, statement)
    assert answer.rows or "-- may be empty" in statement, statement


def test_every_view_has_an_example() -> None:
    named = re.findall(r"CREATE OR REPLACE VIEW (\w+)", migrations()[-1].sql)
    examples = "\n".join(blocks())
    assert len(named) > 50
    assert [name for name in named if not re.search(rf"(FROM|JOIN) {name}\b", examples)] == []


@pytest.mark.parametrize("name", queries.BY_NAME)
def test_every_ready_question_answers(plant: tuple[Store, Settings], name: str) -> None:
    store, _ = plant
    between = {"start": "2026-03-02T08:00Z", "end": "2026-03-02T09:00Z"} if name == "why" else {}
    answer = queries.ask(store, name, between)
    assert answer.rows or name in ("restated", "parked", "mutes")
    asked = queries.question(name).parameters
    if "site" in asked:
        assert not queries.ask(store, name, {**between, "site": "nowhere"}).rows or name == "rows"
    if {"start", "end"} <= set(asked):
        queries.ask(store, name, {"start": "2026-03-02T08:00+01:00", "end": "2026-03-02T08:30:00.5+01:00"})


def test_downtime_and_waterfall_agree_with_the_facts(plant: tuple[Store, Settings]) -> None:
    store, _ = plant
    [facts] = told(store, "SELECT sum(adet_ms) AS adet, sum(aust_ms) AS aust, sum(pbt_ms) AS pbt FROM facts")
    lost = told(store, f"SELECT element, sum(lost_ms) AS lost FROM losses({EVERYTHING}) GROUP BY element")
    by_element = {row["element"]: row["lost"] for row in lost}
    assert (by_element["adet"], by_element.get("aust", 0)) == (facts["adet"], facts["aust"])
    steps = told(store, f"SELECT * FROM waterfall(level = 'site', grain = 'total', profile = '', {EVERYTHING})")
    assert [row["us"] for row in steps if row["step"] == "planned busy time"] == [facts["pbt"] * 1000]
    left = 0
    for row in sorted(steps, key=lambda row: row["number"]):
        left = row["us"] if row["number"] == 1 else left + (0 if row["is_total"] else row["us"])
        assert not row["is_total"] or row["us"] == left, row["step"]


@pytest.mark.parametrize("profile", ["", "iso22400", "vorne", "smrp"])
@pytest.mark.parametrize("level", ["machine", "line", "area", "site", "enterprise"])
def test_what_changed_oee_adds_up_exactly(plant: tuple[Store, Settings], level: str, profile: str) -> None:
    store, _ = plant
    rows = told(
        store,
        f"""SELECT * FROM oee_change(level = '{level}', profile = '{profile}', start_1 = {at(T0)},
        end_1 = {at(T0 + HOUR)}, start_2 = {at(T0 + HOUR)}, end_2 = {at(T0 + 2 * HOUR)})""",
    )
    places = {(row["site"], row["area"], row["line"], row["machine"]) for row in rows}
    assert len(places) == {"machine": 12, "line": 2, "area": 2, "site": 1, "enterprise": 1}[level]
    for place in places:
        own = [row for row in rows if (row["site"], row["area"], row["line"], row["machine"]) == place]
        [whole] = {row["difference_numerator"] for row in own}
        [denominator] = {row["denominator"] for row in own}
        assert sum(row["numerator"] for row in own) == whole
        before, after = own[0]["oee_1"], own[0]["oee_2"]
        assert whole / denominator == pytest.approx(after - before, abs=1e-12)
        assert sum(row["contribution"] for row in own) == pytest.approx(after - before, abs=1e-12)


def test_the_pareto_is_the_downtime_ranked_twice(plant: tuple[Store, Settings]) -> None:
    store, _ = plant
    for level in ("machine", "line", "area", "site", "enterprise"):
        rows = told(store, f"SELECT * FROM downtime_pareto(level = '{level}', {EVERYTHING}) ORDER BY by_time")
        assert sum(row["lost_ms"] for row in rows) == told(store, "SELECT sum(adet_ms) AS ms FROM facts")[0]["ms"]
        for place in {(row["site"], row["area"], row["line"], row["machine"]) for row in rows}:
            own = [row for row in rows if (row["site"], row["area"], row["line"], row["machine"]) == place]
            assert [row["lost_ms"] for row in own] == sorted((row["lost_ms"] for row in own), reverse=True)
            by_count = sorted(own, key=lambda row: row["by_count"])
            assert [row["times"] for row in by_count] == sorted((row["times"] for row in own), reverse=True)
            assert own[-1]["cumulative_share"] == pytest.approx(1)
    stops = told(store, f"SELECT sum(times) AS n FROM downtime({EVERYTHING}) WHERE state IN ('stopped', 'fault')")
    assert stops[0]["n"] >= told(store, "SELECT sum(stops) AS n FROM facts")[0]["n"]  # a fault within a stop is a cause


def test_a_reason_given_afterwards_has_its_name_and_big_loss(plant: tuple[Store, Settings]) -> None:
    store, _ = plant
    [kept] = queries.ask(store, "corrections").dicts()
    assert (kept["id"], kept["reason"], kept["issued_by"]) == ("lyon-L1-saw/1", "no operator", "ann")
    states = told(
        store,
        f"""SELECT DISTINCT reason FROM timeline WHERE machine = 'lyon-L1-saw'
        AND start >= {at(T0 + 20 * MINUTE)} AND until <= {at(T0 + 30 * MINUTE)}""",
    )
    assert [row["reason"] for row in states] == ["no operator"]
    tree = {row["code"]: (row["name"], row["path"], row["loss"]) for row in queries.ask(store, "reasons").dicts()}
    assert tree["no operator"] == ("Nobody there", "organisation > no operator", "idling")


def test_report(plant: tuple[Store, Settings]) -> None:
    store, _ = plant
    planted = [Planted("lyon-L1-saw", "nothing", "spike", T0, T0)]
    found = report.gather(store, "", T0, T0 + 2 * HOUR, planted)
    assert (found.site, len(found.machines), len(found.lines)) == ("lyon", 12, 2)
    assert found.found is not None
    assert [row["incident"] for row in found.found.planted] == [None]
    assert len(found.found.unfounded) == found.found.incidents == len(found.incidents)
    assert found.rows["telemetry"] > 100_000
    assert '"oee"' in report.as_json(found)
    with pytest.raises(UsageError, match="knows nothing of site 'paris'; sites: lyon"):
        report.gather(store, "paris")


def test_clickhouse_connect_reads_it_like_any_store(plant: tuple[Store, Settings]) -> None:
    _, settings = plant
    port = int(settings["store"].rpartition(":")[2])
    client = clickhouse_connect.get_client(
        host="127.0.0.1", port=port, username=settings["store_user"], password=settings.store_password,
        database=settings["database"],
    )  # fmt: skip
    with closing(client):
        table = client.query_arrow("SELECT machine, oee FROM oee_by_day ORDER BY machine")
        assert table.num_rows == 12
        bound = client.query("SELECT machine, oee FROM oee_by_shift WHERE machine = {m:String}", {"m": "lyon-L1-saw"})
        assert bound.result_rows
        assert client.command("SELECT count() FROM facts") > 0
