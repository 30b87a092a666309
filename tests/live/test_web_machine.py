"""One machine's page on a real store: every figure is the views', changes are told, what is not there is said."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import closing
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from live_stack import LiveStack
from sql_trial import at, milliseconds, put, told
from web_server import event, get, served, simulated

from pipeline.core.model import Anomaly
from pipeline.local.machine import free_port
from pipeline.settings import Settings
from pipeline.store.client import Store

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]
MINUTE = 60_000


@pytest.fixture(scope="module")
def settings(stack: LiveStack) -> Settings:
    return simulated(stack.settings("machine"))


@pytest.fixture(scope="module")
def names(settings: Settings) -> list[str]:
    with closing(Store(settings)) as store:
        return [row["machine"] for row in told(store, "SELECT machine FROM factory ORDER BY machine")]


def test_figures_are_those_of_the_views(settings: Settings, names: list[str]) -> None:
    with served(settings) as address, closing(Store(settings)) as store:
        for name in names:
            body = json.loads(get(f"{address}/api/machines/{urllib.parse.quote(name, safe='')}"))
            of = f"WHERE machine = '{name}'"
            kept = told(store, f"SELECT * FROM oee_by_shift {of} AND shift != '' ORDER BY last DESC LIMIT 1")[0]
            figures = ("shift", "oee", "a", "p", "q", "coverage", "good", "reject", "total", "pbt_ms")
            assert {figure: body["shift"][figure] for figure in figures} == {figure: kept[figure] for figure in figures}
            assert (body["start"], body["until"]) == (milliseconds(kept["first"]), milliseconds(kept["last"]))
            assert_windows_and_states_make_up_the_shift(body, kept)
            assert_losses_are_those_of_the_report(store, body, kept)
            flags = told(store, f"SELECT * FROM anomaly_flags {of} ORDER BY first DESC LIMIT 50")
            for shown, flag in zip(body["flags"], flags, strict=True):
                assert shown["first"] == milliseconds(flag["first"])
                same = ("signal", "kind", "value", "expected_low", "expected_high", "message")
                assert {key: shown[key] for key in same} == {key: flag[key] for key in same}
            incidents = told(store, f"SELECT id FROM incident_list {of} ORDER BY opened DESC")
            assert [row["id"] for row in body["incidents"]] == [row["id"] for row in incidents]


def assert_windows_and_states_make_up_the_shift(body: dict[str, Any], kept: dict[str, Any]) -> None:
    assert sum(row["good"] for row in body["windows"]) >= kept["good"]  # the shift may begin within a window
    inside = [row for row in body["windows"] if row["start"] >= body["start"]]
    assert kept["good"] - sum(row["good"] for row in inside) <= sum(row["good"] for row in body["windows"][:1])
    assert body["windows"] == sorted(body["windows"], key=lambda row: row["start"])
    spans = body["timeline"]
    assert spans[0]["start"] == body["start"]
    assert all(one["until"] == two["start"] for one, two in pairwise(spans))
    running = sum(row["until"] - row["start"] for row in spans if row["element"] == "apt")
    assert running == kept["apt_ms"]


def assert_losses_are_those_of_the_report(store: Store, body: dict[str, Any], kept: dict[str, Any]) -> None:
    steps = {row["step"]: row["us"] for row in body["waterfall"]}
    assert len(steps) == 14
    assert steps["running"] == 1000 * kept["apt_ms"]
    assert steps["planned busy time"] == 1000 * kept["pbt_ms"]
    assert steps["fully productive"] == kept["ideal_good_us"]
    left = 0
    for row in body["waterfall"]:
        assert not row["is_total"] or left in (0, row["us"])
        left = row["us"] if row["is_total"] else left + row["us"]
    within = f"start = {exact(body['start'])}, end = {exact(body['until'])}"
    causes = told(store, f"""
        SELECT state, reason, micro, lost_ms, times FROM downtime_pareto(level = 'machine', {within})
        WHERE machine = '{body["machine"]}' ORDER BY by_time LIMIT 12
    """)  # fmt: skip
    shown = [(row["state"], row["reason"], row["micro"], row["minutes"], row["stops"]) for row in body["downtime"]]
    assert shown == [
        (row["state"], row["reason"], row["micro"], round(row["lost_ms"] / MINUTE, 1), row["times"]) for row in causes
    ]


def exact(ms: int) -> str:
    return f"'{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S.%f}'"


def test_a_flag_comes_while_it_is_watched(settings: Settings, names: list[str]) -> None:
    now = time.time_ns() // 1_000_000
    with served(settings) as address, closing(Store(settings)) as store:
        stream = urllib.request.urlopen(f"{address}/api/live/machines/{names[0]}", timeout=20)
        with closing(stream):
            name, body = event(stream)
            assert (name, body["machine"]) == ("all", names[0])
            put(store, Anomaly(
                names[0], "lyon", "L1", "vibration", "limit", "limit", 1, now - 1000, now, 0.9, 7.5, 2.0, None, 7.0,
                "critical", "running", "A", "vibration is high", now,
            ))  # fmt: skip
            deadline = time.monotonic() + 20
            name, body = event(stream)
            while name == "same":
                assert set(body) == {"at"}
                assert time.monotonic() < deadline
                name, body = event(stream)
            newest = body["flags"][0]
            assert (name, newest["message"], newest["first"]) == ("all", "vibration is high", now - 1000)
            assert (newest["expected_low"], newest["expected_high"]) == (None, 7.0)


def test_signals_are_those_of_the_store_with_the_bands_of_their_flags(settings: Settings, names: list[str]) -> None:
    with served(settings) as address, closing(Store(settings)) as store:
        for name in names:
            body = json.loads(get(f"{address}/api/signals/{name}"))
            within = f"ts >= {exact(body['start'])} AND ts < {exact(body['until'])}"
            kept = told(store, f"""
                SELECT signal, min(value) AS low, max(value) AS high, avg(value) AS mean FROM signals
                WHERE machine = '{name}' AND {within} GROUP BY signal ORDER BY signal""")  # fmt: skip
            assert kept
            assert [row["signal"] for row in body["signals"]] == [row["signal"] for row in kept]
            for shown, row in zip(body["signals"], kept, strict=True):
                points = shown["points"]
                assert (min(one[2] for one in points), max(one[3] for one in points)) == (row["low"], row["high"])
                assert 1 < len(points) <= 121
                assert row["low"] <= min(one[1] for one in points) <= row["mean"] <= max(one[1] for one in points)
                assert all(one["first"] < body["until"] and one["last"] >= body["start"] for one in shown["flags"])
            at_most = body["until"] - 1000
            signal = body["signals"][0]["signal"]
            put(store, Anomaly(
                name, "lyon", "L1", signal, "spike", "limit", 1, at_most, at_most, 0.9, 7.5, 2.0, 1.5, 2.5,
                "warning", "running", "A", "it jumped", at_most,
            ))  # fmt: skip
            deadline = time.monotonic() + 20
            while not (flags := json.loads(get(f"{address}/api/signals/{name}"))["signals"][0]["flags"]):
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert (flags[0]["expected_low"], flags[0]["expected_high"], flags[0]["message"]) == (1.5, 2.5, "it jumped")
        assert json.loads(get(f"{address}/api/signals/nobody"))["signals"] == []


def test_the_trend_is_that_of_the_views(settings: Settings, names: list[str]) -> None:
    with served(settings) as address, closing(Store(settings)) as store:
        body = json.loads(get(f"{address}/api/machines/{names[0]}"))
        kept = told(store, f"""
            SELECT shift, oee, good, pbt_ms FROM oee_by_shift
            WHERE machine = '{names[0]}' AND shift != '' ORDER BY first
        """)  # fmt: skip
        assert [{key: row[key] for key in ("shift", "oee", "good", "pbt_ms")} for row in body["trend"]] == kept


def test_what_is_not_there_is_said(settings: Settings, names: list[str]) -> None:
    with served(settings) as address:
        page = get(f"{address}/machines/{names[0]}").decode()
        assert "/static/machine.js" in page
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(f"{address}/api/machines/no/such")
        assert refused.value.code == 404
        assert "no factory file names a machine 'no/such'" in json.loads(refused.value.read())["error"]
    with served(settings, OPENOEE_STORE=f"http://127.0.0.1:{free_port()}") as address:
        with pytest.raises(urllib.error.HTTPError) as away:
            get(f"{address}/api/machines/{names[0]}")
        assert away.value.code == 503
        assert set(json.loads(away.value.read())) == {"error", "since"}


def test_without_a_shift_there_is_no_oee_and_old_news_is_marked(settings: Settings, names: list[str]) -> None:
    from pipeline.web.machine import machine

    later = datetime.fromtimestamp(time.time() + 30 * 3600, UTC)
    with closing(Store(settings)) as store:
        assert (
            told(store, f"SELECT 1 AS one FROM facts WHERE window_start > {at(milliseconds(later) - 26 * 3_600_000)}")
            == []
        )
        body = machine(store, names[0], 0, later)
        assert body is not None
        assert (body["shift"], body["state"], body["stale"]) == (None, None, True)
        assert (body["timeline"], body["windows"], body["waterfall"], body["downtime"]) == ([], [], [], [])
        assert machine(store, "nobody", 0, later) is None


def test_a_shift_before_that_is_not_there_is_none(settings: Settings, names: list[str]) -> None:
    with served(settings) as address:
        ids = set()
        for before in (0, 1, 2):
            shift = json.loads(get(f"{address}/api/machines/{names[0]}?before={before}"))["shift"]
            if shift is not None:
                ids.add((shift["period"], shift["shift"]))
                assert len(ids) == before + 1
        assert 1 <= len(ids) < 3  # two hours are never in three shifts
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(f"{address}/api/machines/{names[0]}?before=9")
        assert refused.value.code == 422
        refused.value.close()
