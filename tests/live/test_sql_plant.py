"""A simulated plant in a real store: the examples of the documentation, the ready questions, the report."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import clickhouse_connect
import pytest
from live_stack import LiveStack
from sql_trial import EVERYTHING, HOUR, MINUTE, T0, put, told

from pipeline import inline, queries, report
from pipeline.core.model import Anomaly
from pipeline.core.plant import Plant
from pipeline.errors import UsageError
from pipeline.factory import Factory, controls
from pipeline.settings import Settings
from pipeline.store.client import Store
from pipeline.store.migrate import migrate

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]
PROJECT = Path(__file__).resolve().parents[2]
PAGES = (PROJECT / "docs" / "sql.md", PROJECT / "README.md")


@pytest.fixture(scope="module")
def plant(stack: LiveStack) -> Iterator[tuple[Store, Settings]]:
    """Two hours of a simulated plant in Lyon, through the engine into the store; and one flag more."""
    settings = stack.settings("plant")
    migrate(settings)
    made = Plant("lyon", 7, T0, 12)
    factory = Factory.of("lyon", made.habits.timezone, made.machines)
    end = T0 + 2 * HOUR
    inline.run([*controls(factory, T0, "test"), *made.frames(end), *made.ends(end, end)], settings)
    with closing(Store(settings)) as store:
        put(
            store,
            Anomaly(
                "lyon-L1-saw",
                "lyon",
                "L1",
                "vibration",
                "limit",
                "limit",
                1,
                T0 + HOUR,
                T0 + HOUR + MINUTE,
                0.9,
                7.5,
                2.0,
                None,
                7.0,
                "critical",
                "running",
                "A",
                "vibration is high",
                T0 + HOUR,
            ),
        )
        yield store, settings


def blocks() -> list[str]:
    """Every SQL example; those of the README ask for the demo's site, here for the one that is in the store."""
    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES).replace("demo-1", "lyon")
    return re.findall(r"```sql\n(.*?)```", pages, re.S)


@pytest.mark.parametrize("number", range(len(blocks())))
def test_every_example_of_the_documentation_answers(plant: tuple[Store, Settings], number: int) -> None:
    store, _ = plant
    statement = blocks()[number].strip().rstrip(";")
    answer = queries.sql(store, statement)
    assert answer.rows or "-- may be empty" in statement, statement


@pytest.mark.parametrize("name", queries.BY_NAME)
def test_every_ready_question_answers(plant: tuple[Store, Settings], name: str) -> None:
    store, _ = plant
    answer = queries.ask(store, name)
    assert answer.rows or name in ("restated", "parked")
    asked = queries.question(name).parameters
    if "site" in asked:
        assert not queries.ask(store, name, {"site": "nowhere"}).rows or name == "rows"
    if {"start", "end"} <= set(asked):
        queries.ask(store, name, {"start": "2026-03-02T08:00+01:00", "end": "2026-03-02T08:30:00.5+01:00"})


def test_downtime_and_waterfall_agree_with_the_facts(plant: tuple[Store, Settings]) -> None:
    store, _ = plant
    [facts] = told(store, "SELECT sum(adet_ms) AS adet, sum(aust_ms) AS aust, sum(pbt_ms) AS pbt FROM facts")
    lost = told(store, f"SELECT element, sum(lost_ms) AS lost FROM losses({EVERYTHING}) GROUP BY element")
    by_element = {row["element"]: row["lost"] for row in lost}
    assert (by_element["adet"], by_element.get("aust", 0)) == (facts["adet"], facts["aust"])
    steps = {row["step"]: row["minutes"] for row in queries.ask(store, "waterfall").dicts()}
    assert steps.pop("planned busy time") == pytest.approx(facts["pbt"] / MINUTE, abs=0.06)
    assert sum(-minutes for step, minutes in steps.items() if step != "fully productive") == pytest.approx(
        facts["pbt"] / MINUTE - steps["fully productive"], abs=0.6
    )


def test_report(plant: tuple[Store, Settings]) -> None:
    store, _ = plant
    planted = [report.Planted("lyon-L1-saw", "nothing", "spike", T0, T0)]
    found = report.gather(store, "", T0, T0 + 2 * HOUR, planted)
    assert (found.site, len(found.machines), len(found.lines)) == ("lyon", 12, 2)
    assert found.found is not None
    assert (found.found.planted, found.found.found, found.found.other_flags) == (1, 0, len(found.anomalies))
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
