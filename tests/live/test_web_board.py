"""The board as a process of its own on a real store: figures, changes while watched, a store that is away."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from contextlib import closing
from dataclasses import replace

import pytest
from live_stack import LiveStack
from sql_trial import milliseconds, put, told
from web_server import event, get, served, simulated

from pipeline.core.incident_model import Incident
from pipeline.local.machine import free_port
from pipeline.queries import ask
from pipeline.settings import Settings
from pipeline.store.client import Store

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def settings(stack: LiveStack) -> Settings:
    return simulated(stack.settings("board"))


def test_figures_are_those_of_the_views(settings: Settings) -> None:
    with served(settings) as address, closing(Store(settings)) as store:
        machines = json.loads(get(f"{address}/api/board?site=lyon"))["machines"]
        assert len(machines) == 3
        for row in machines:
            of = f"WHERE machine = '{row['machine']}'"
            kept = told(store, f"SELECT * FROM oee_by_shift {of} AND shift != '' ORDER BY last DESC LIMIT 1")[0]
            names = ("shift", "oee", "a", "p", "q", "coverage", "good", "reject", "total", "pbt_ms")
            assert {name: row["shift"][name] for name in names} == {name: kept[name] for name in names}
            now = told(store, f"SELECT start, until, state, element FROM timeline {of} ORDER BY start DESC LIMIT 1")[0]
            assert (row["state"]["since"], row["state"]["until"]) == (
                milliseconds(now["start"]), milliseconds(now["until"])
            )  # fmt: skip
            assert (row["state"]["state"], row["state"]["element"]) == (now["state"], now["element"])
            newest = told(store, f"SELECT id, status FROM incident_list {of} ORDER BY opened DESC LIMIT 1")
            shown = row["incident"] and row["incident"]["id"]
            assert shown == next((one["id"] for one in newest if one["status"] == "open"), None)
        assert json.loads(get(f"{address}/api/board?site=nowhere"))["machines"] == []
        assert "/static/board.js" in get(address).decode()
        assert b"EventSource" in get(f"{address}/static/common.js")


def test_an_incident_comes_is_seen_and_goes_while_it_is_watched(settings: Settings) -> None:
    now = time.time_ns() // 1_000_000
    with served(settings) as address, closing(Store(settings)) as store:
        stream = urllib.request.urlopen(f"{address}/api/live?site=lyon", timeout=20)
        with closing(stream):
            name, body = event(stream)
            assert (name, len(body["machines"])) == ("board", 3)
            one = body["machines"][0]["machine"]
            opened = Incident(
                one, "lyon", "L1", f"{one}/{now}", now, now, now, None, "critical", True, False, 2, ["vibration"],
                ["limit"], "vibration", "limit", 0.9, "running", "A", "vibration is high", known_at=now,
            )  # fmt: skip
            seen = replace(opened, acknowledged=now + 1, acknowledged_by="ann", known_at=now + 1)
            for step in (opened, seen, replace(seen, closed=now + 2, known_at=now + 2)):
                put(store, step)
                deadline = time.monotonic() + 20
                while True:
                    assert time.monotonic() < deadline
                    name, body = event(stream)
                    assert name == "changed"
                    found = [row["incident"] for row in body["machines"] if row["machine"] == one]
                    if found:
                        break
                if step.closed:
                    assert (found[0] or {}).get("id") != opened.id
                else:
                    assert found[0]["message"] == "vibration is high"
                    assert (found[0]["acknowledged"], found[0]["acknowledged_by"]) == (
                        step.acknowledged, step.acknowledged_by
                    )  # fmt: skip


def test_incidents_are_those_of_the_command_in_its_order(settings: Settings) -> None:
    now = time.time_ns() // 1_000_000
    with served(settings) as address, closing(Store(settings)) as store:
        one = told(store, "SELECT machine FROM factory ORDER BY machine LIMIT 1")[0]["machine"]
        for number, severity in enumerate(("warning", "critical")):
            opened = now - (number + 2) * 60_000
            put(store, Incident(
                one, "lyon", "L1", f"{one}/{opened}", opened, opened, opened + 1000, opened + 2000, severity, True,
                False, 1, ["load"], ["limit"], "load", "limit", 0.9, "running", "A", "load is high", known_at=opened,
            ))  # fmt: skip
        shown = json.loads(get(f"{address}/api/incidents?site=lyon"))["incidents"]
        wanted = ask(store, "incidents", {"site": "lyon", "limit": "200"}).dicts()
        assert shown[0]["severity"] == "critical"
        names = ("id", "severity", "status", "minutes", "lost_minutes", "lost_parts", "message")
        assert [[row[name] for name in names] for row in shown] == [[row[name] for name in names] for row in wanted]
        assert all(row["timezone"] for row in shown)
        assert json.loads(get(f"{address}/api/incidents?site=nowhere"))["incidents"] == []
        assert "/static/incidents.js" in get(f"{address}/incidents").decode()


def test_a_store_that_is_away_is_said_and_nothing_old_is_shown(settings: Settings) -> None:
    with served(settings, OPENOEE_STORE=f"http://127.0.0.1:{free_port()}") as address:
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(f"{address}/api/board")
        assert refused.value.code == 503
        body = json.loads(refused.value.read())
        assert "does not answer" in body["error"]
        assert set(body) == {"error", "since"}


def test_other_names_are_not_served(settings: Settings) -> None:
    with served(settings) as address:
        request = urllib.request.Request(f"{address}/api/board", headers={"Host": "plant.example"})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=20)
        assert refused.value.code == 421
        refused.value.close()
