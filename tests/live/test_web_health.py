"""The page of the data's health on a real store: every figure is the views', the worst stands first."""

from __future__ import annotations

import json
import time
import urllib.error
from contextlib import closing
from datetime import UTC, datetime

import pytest
from live_stack import LiveStack
from sql_trial import milliseconds, put, told
from web_server import get, served, simulated

from pipeline.core.model import DeadLetter
from pipeline.local.machine import free_port
from pipeline.settings import Settings
from pipeline.store.client import Store
from pipeline.web.health import health

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def settings(stack: LiveStack) -> Settings:
    return simulated(stack.settings("health"))


def test_figures_are_those_of_the_views(settings: Settings) -> None:
    now = time.time_ns() // 1_000_000
    with served(settings) as address, closing(Store(settings)) as store:
        name = told(store, "SELECT machine FROM factory ORDER BY machine LIMIT 1")[0]["machine"]
        put(
            store,
            DeadLetter("telemetry", 0, 1, now - 2000, name, "too_late", "older", 3),
            DeadLetter("telemetry", 0, 2, now - 1000, name, "too_late", "newer", 4),
            DeadLetter("telemetry", 0, 3, now, None, "undecodable", "no Avro", 0),
        )
        body = json.loads(get(f"{address}/api/data?site=lyon"))
        assert len(body["machines"]) == 3
        for row in body["machines"]:
            of = f"WHERE machine = '{row['machine']}'"
            kept = told(store, f"""
                SELECT coverage, unknown_ms, pbt_ms, provisional, restated, flags
                FROM oee_by(level = 'machine', grain = 'total', profile = '', start = now64(3) - INTERVAL 1 DAY,
                            end = now64(3)) {of}""")[0]  # fmt: skip
            assert {key: row[key] for key in kept} == kept
            known = told(store, f"SELECT max(until) AS until FROM timeline {of}")[0]["until"]
            assert row["until"] == milliseconds(known)
        coverage = [row["coverage"] for row in body["machines"]]
        assert coverage == sorted(coverage)
        assert (body["records"], body["late"]) == (3, 2)
        letters = [
            (row["machine"], row["reason"], row["records"], row["entries"], row["detail"]) for row in body["letters"]
        ]
        assert letters == [("", "undecodable", 1, 0, "no Avro"), (name, "too_late", 2, 7, "newer")]
        restated = told(store, "SELECT count() AS n FROM facts WHERE revision > 1")[0]["n"]
        assert sum(row["windows"] for row in body["restated"]) == restated
        assert json.loads(get(f"{address}/api/data?site=nowhere"))["machines"] == []
        assert "/static/health.js" in get(f"{address}/data").decode()


def test_a_machine_without_news_stands_first_and_a_store_that_is_away_is_said(settings: Settings) -> None:
    with closing(Store(settings)) as store:
        later = datetime.fromtimestamp(time.time() + 40 * 3600, UTC)
        found = health("lyon", store, later)
        assert [(row["stale"], row["until"], row["coverage"]) for row in found["machines"]] == [(True, None, None)] * 3
        assert (found["records"], found["letters"], found["restated"]) == (0, [], [])
    with served(settings, OPENOEE_STORE=f"http://127.0.0.1:{free_port()}") as address:
        with pytest.raises(urllib.error.HTTPError) as away:
            get(f"{address}/api/data")
        assert away.value.code == 503
        assert set(json.loads(away.value.read())) == {"error", "since"}
