"""The pages of the plant and of a line on a real store: every figure the views', lines of one name apart."""

from __future__ import annotations

import json
import time
import urllib.error
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
from live_stack import LiveStack
from sql_trial import HOUR, MINUTE, fact, milliseconds, put, told
from web_server import get, served, simulated

from pipeline.core.model import Control, MachineConfig
from pipeline.local.machine import free_port
from pipeline.settings import Settings
from pipeline.store.client import Store
from pipeline.web.lines import line, plant

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]
FIGURES = ("shift", "oee", "coverage", "oee_null", "good", "total", "pbt_ms", "external_ms", "constraint_machine")


@pytest.fixture(scope="module")
def settings(stack: LiveStack) -> Settings:
    return simulated(stack.settings("lines"))


def newest(store: Store, where: str) -> dict[str, Any]:
    return told(store, f"SELECT * FROM line_oee_by_shift WHERE {where} AND shift != '' ORDER BY first DESC LIMIT 1")[0]


def test_every_line_of_the_plant_is_as_the_views_have_it(settings: Settings) -> None:
    with served(settings) as address, closing(Store(settings)) as store:
        lines = json.loads(get(f"{address}/api/plant?site=lyon"))["lines"]
        assert [row["line"] for row in lines] == [
            row["line"] for row in told(store, "SELECT DISTINCT line FROM factory WHERE line != '' ORDER BY line")
        ]
        for row in lines:
            kept = newest(store, f"line = '{row['line']}'")
            assert {name: row["shift"][name] for name in FIGURES} == {name: kept[name] for name in FIGURES}
            assert [row["shift"][name] for name in "apq"] == [kept[f"constraint_{name}"] for name in "apq"]
            assert row["trend"][-1] == row["shift"]
            steps = told(store, f"""
                SELECT step, us FROM waterfall(level = 'line', grain = 'shift', profile = '',
                    start = now64(3) - INTERVAL 26 HOUR, end = now64(3))
                WHERE line = '{row["line"]}' AND shift = '{kept["shift"]}' AND toDate(period) = '{kept["date"]}'
                  AND NOT is_total AND us < 0 AND step NOT IN ('not scheduled', 'planned stops')
                ORDER BY us, step LIMIT 3
            """)  # fmt: skip
            assert [(one["step"], one["us"]) for one in row["losses"]] == [(one["step"], one["us"]) for one in steps]
        assert json.loads(get(f"{address}/api/plant?site=nowhere"))["lines"] == []
        assert "/static/plant.js" in get(f"{address}/plant").decode()


def test_a_line_by_window_and_loss(settings: Settings) -> None:
    with served(settings) as address, closing(Store(settings)) as store:
        name = told(store, "SELECT line FROM factory WHERE line != '' ORDER BY line LIMIT 1")[0]["line"]
        body = json.loads(get(f"{address}/api/lines/{name}"))
        kept = newest(store, f"line = '{name}'")
        assert (body["shift"]["oee"], body["shift"]["last"]) == (kept["oee"], milliseconds(kept["last"]))
        names = told(store, f"SELECT machine FROM factory WHERE line = '{name}' ORDER BY position, machine")
        assert [row["machine"] for row in body["machines"]] == [row["machine"] for row in names]
        inside = [row for row in body["windows"] if row["start"] >= body["shift"]["first"]]
        assert sum(row["good"] for row in inside) + sum(row["good"] for row in body["windows"][:1]) >= kept["good"]
        assert body["windows"] == sorted(body["windows"], key=lambda row: row["start"])
        steps = {row["step"]: row["us"] for row in body["waterfall"]}
        assert len(body["waterfall"]) == len(steps) == 14
        summed = told(store, f"""
            SELECT sum(apt_ms) AS apt_ms FROM oee_by_shift
            WHERE line = '{name}' AND shift = '{kept["shift"]}' AND date = '{kept["date"]}'""")[0]  # fmt: skip
        assert steps["running"] == 1000 * summed["apt_ms"]
        assert body["downtime"] == sorted(body["downtime"], key=lambda row: -row["minutes"])
        assert "/static/line.js" in get(f"{address}/lines/{name}").decode()


def test_lines_of_one_name_are_told_apart_and_one_without_stations_is_the_sum(settings: Settings) -> None:
    now = time.time_ns() // 1_000_000
    start = now // MINUTE * MINUTE - 5 * MINUTE
    with served(settings) as address, closing(Store(settings)) as store:
        name = told(store, "SELECT line FROM factory WHERE line != '' ORDER BY line LIMIT 1")[0]["line"]
        for number in range(2):
            machine = f"other-{number}"
            config = MachineConfig(site="oslo", line=name, oee_target=0.5 + number / 10)
            put(store, Control(machine, f"{machine}/1", now - HOUR, "ann", config))
            times = {"t_ms": MINUTE, "pbt_ms": MINUTE, "line_pbt_ms": MINUTE, "apt_ms": 30_000, "adet_ms": 30_000}
            made = {
                "total": 2,
                "good": 1 + number,
                "ideal_total_us": 20_000_000,
                "ideal_good_us": 10_000_000 * (1 + number),
            }
            put(store, fact(machine, start, site="oslo", line=name, **times, **made))
        with pytest.raises(urllib.error.HTTPError) as several:
            get(f"{address}/api/lines/{name}")
        assert several.value.code == 404
        assert "?site=lyon, ?site=oslo" in json.loads(several.value.read())["error"]
        with pytest.raises(urllib.error.HTTPError) as none:
            get(f"{address}/api/lines/no/such")
        assert "no factory file names a line 'no/such'" in json.loads(none.value.read())["error"]
        body = json.loads(get(f"{address}/api/lines/{name}?site=oslo"))
        assert (body["shift"]["serial"], body["shift"]["good"], body["oee_target"]) == (False, 3, None)
        assert body["shift"]["oee"] == 30_000_000 / (1000 * 2 * MINUTE)
        assert body["shift"]["a"] == 0.5


def test_without_a_shift_and_without_a_store_that_is_said(settings: Settings) -> None:
    with closing(Store(settings)) as store:
        later = datetime.fromtimestamp(time.time() + 40 * 3600, UTC)
        found = plant("lyon", store, later)["lines"]
        assert [(row["shift"], row["stale"], row["losses"]) for row in found] == [(None, True, [])] * len(found)
        assert all(row["trend"] for row in found)  # the last 7 days are still shown
        body = line("lyon", found[0]["line"], store, later)
        assert (body["shift"], body["windows"], body["waterfall"], body["downtime"]) == (None, [], [], [])
    with served(settings, OPENOEE_STORE=f"http://127.0.0.1:{free_port()}") as address:
        for path in ("plant", "lines/L1"):
            with pytest.raises(urllib.error.HTTPError) as away:
                get(f"{address}/api/{path}")
            assert away.value.code == 503
            assert set(json.loads(away.value.read())) == {"error", "since"}
