"""Every SQL of the dashboards in deploy/grafana, asked of a real store with a simulated plant in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from live_stack import PROJECT, LiveStack
from plant_in_store import HOUR, SITE, START, fill

from pipeline.store.client import Store

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]
FOLDER = PROJECT / "deploy" / "grafana" / "dashboards"
BOARDS: dict[str, dict[str, Any]] = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
PANELS = [(name, panel["title"]) for name, board in BOARDS.items() for panel in board["panels"]]
MAY_BE_EMPTY = {("openoee-health", "Dead letters by reason")}  # the plant's records are all good


@pytest.fixture(scope="module")
def store(stack: LiveStack) -> Iterator[Store]:
    settings = stack.settings("grafana")
    fill(settings, 8.0)
    with closing(Store(settings)) as opened:
        yield opened


def filled(sql: str, values: dict[str, str]) -> str:
    """The SQL as the plugin sends it: macros and variables replaced."""
    for name, ms in (("$__fromTime", START), ("$__toTime", START + 8 * HOUR)):
        sql = sql.replace(name, f"toDateTime('{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S}', 'UTC')")
    for name, value in values.items():
        sql = sql.replace(f"${name}", value)
    assert "$" not in sql, sql
    return sql


@pytest.fixture(scope="module")
def values(store: Store) -> dict[str, str]:
    chosen: dict[str, str] = {}
    for board in BOARDS.values():
        for variable in board["templating"]["list"]:
            rows = store.query(filled(variable["query"], chosen)).result_rows
            assert rows, variable["name"]
            chosen.setdefault(variable["name"], rows[0][0])
    assert chosen["site"] == SITE
    return chosen


@pytest.mark.parametrize(("board", "title"), PANELS)
def test_every_panel_has_an_answer(store: Store, values: dict[str, str], board: str, title: str) -> None:
    [panel] = [one for one in BOARDS[board]["panels"] if one["title"] == title]
    assert len(panel["targets"]) == 1
    answer = store.query(filled(panel["targets"][0]["rawSql"], values))
    if (board, title) not in MAY_BE_EMPTY:
        assert answer.result_rows
        assert any(cell is not None for cell in answer.result_rows[0])
    if panel["type"] in ("timeseries", "state-timeline"):
        assert answer.column_names[0] == "time"


def test_each_dashboard_is_one_that_grafana_takes() -> None:
    assert set(BOARDS) == {"openoee-plant", "openoee-machine", "openoee-health"}
    provisioned = Path(PROJECT / "deploy/grafana/provisioning/datasources/openoee.yml").read_text()
    for name, board in BOARDS.items():
        assert board["uid"] == name
        numbers = [panel["id"] for panel in board["panels"]]
        assert len(set(numbers)) == len(numbers)
        for panel in board["panels"]:
            assert panel["datasource"] == {"type": "grafana-clickhouse-datasource", "uid": "openoee"}
            assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
    assert re.search(r"uid: openoee\n\s+type: grafana-clickhouse-datasource", provisioned)
