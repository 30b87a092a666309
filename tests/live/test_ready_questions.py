"""Ready questions about short stops and about trust, asked of a simulated plant in a real store."""

from __future__ import annotations

from contextlib import closing

import pytest
from live_stack import LiveStack
from plant_in_store import SITE, fill

from pipeline.queries import ask, sql
from pipeline.store.client import Store

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


def test_short_stops_and_trust_are_those_of_the_facts(stack: LiveStack) -> None:
    settings = stack.settings("ready")
    fill(settings)
    with closing(Store(settings)) as store:
        told = sql(
            store, "SELECT machine, sum(micro_stops) AS stops, sum(unknown_ms) AS unknown FROM facts GROUP BY machine"
        )
        facts = {row["machine"]: row for row in told.dicts()}
        short = ask(store, "micro-stops", {"site": SITE}).dicts()
        assert {row["machine"]: row["micro_stops"] for row in short} == {
            name: row["stops"] for name, row in facts.items()
        }
        assert [row["minutes"] for row in short] == sorted((row["minutes"] for row in short), reverse=True)
        trust = ask(store, "trust", {"site": SITE}).dicts()
        assert {row["machine"]: row["unknown_min"] for row in trust} == {
            name: round(row["unknown"] / 60_000, 1) for name, row in facts.items()
        }
