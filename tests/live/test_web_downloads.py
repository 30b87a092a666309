"""The tables of the pages as CSV and Parquet: the same rows as the JSON, times as times, columns that do not change."""

from __future__ import annotations

import io
import json
import urllib.error
import urllib.request
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from live_stack import LiveStack
from sql_trial import milliseconds
from web_server import get, served, simulated

from pipeline.settings import Settings
from pipeline.web.downloads import BOARD, given

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def settings(stack: LiveStack) -> Settings:
    return simulated(stack.settings("downloads"))


def files(
    address: str, path: str, table: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows as JSON, CSV and Parquet have them."""
    mark = "&" if "?" in path else "?"
    told = json.loads(get(f"{address}/api/{path}"))[table]
    text, columns = (get(f"{address}/api/{path}{mark}table={table}&format={kind}") for kind in ("csv", "parquet"))
    read = pyarrow.csv.read_csv(io.BytesIO(text)).to_pylist()
    return told, read, pyarrow.parquet.read_table(io.BytesIO(columns)).to_pylist()


def test_a_file_has_the_rows_of_the_page(settings: Settings) -> None:
    with served(settings) as address:
        board = json.loads(get(f"{address}/api/board"))
        name, line = board["machines"][0]["machine"], board["machines"][0]["line"]
        for path, table, key, time in (
            (f"machines/{name}?before=0", "windows", "good", "start"),
            (f"machines/{name}", "timeline", "state", "until"),
            (f"machines/{name}", "trend", "good", "first"), (f"lines/{line}", "windows", "good", "until"),
            ("corrections?every=true", "stops", "ms", "start"), ("data", "machines", "pbt_ms", "until"),
        ):  # fmt: skip
            told, read, columns = files(address, path, table)
            assert told, path
            if path == "data":  # a look into the store later other rows may stand elsewhere
                told, read, columns = (sorted(rows, key=lambda row: row["machine"]) for rows in (told, read, columns))
            assert [row[key] for row in told] == [row[key] for row in read] == [row[key] for row in columns], path
            assert [row[time] for row in told] == [milliseconds(row[time]) for row in columns]
            assert isinstance(columns[0][time], datetime)
            assert columns[0][time].tzinfo is not None
            assert milliseconds(read[0][time]) == told[0][time]
        told, read, columns = files(address, "board", "machines")
        assert [row["state"]["state"] for row in told] == [row["state_state"] for row in read]
        assert [row["shift"]["good"] for row in told] == [row["shift_good"] for row in columns]
        values = pyarrow.parquet.read_table(io.BytesIO(get(f"{address}/api/signals/{name}?format=parquet"))).to_pylist()
        signals = json.loads(get(f"{address}/api/signals/{name}"))["signals"]
        assert len(values) == sum(len(one["points"]) for one in signals)
        assert values[0]["mean"] == signals[0]["points"][0][1]


def test_what_is_no_file_is_said(settings: Settings) -> None:
    with served(settings) as address:
        for query, status in (("format=csv&table=nothing", 400), ("format=xlsx", 422)):
            with pytest.raises(urllib.error.HTTPError) as refused:
                get(f"{address}/api/board?{query}")
            assert refused.value.code == status
            refused.value.close()
        with urllib.request.urlopen(f"{address}/api/incidents?format=csv", timeout=20) as answer:
            assert answer.headers["Content-Disposition"] == 'attachment; filename="openoee-incidents.csv"'
            assert answer.headers["Content-Type"].startswith("text/csv")


def test_columns_do_not_depend_on_what_goes_on() -> None:
    quiet = {"machine": "a", "state": None, "shift": None, "incident": None, "stale": True}
    loud = {**quiet, "state": {"state": "running", "since": 1}, "incident": {"signals": ["load", "power"], "first": 5}}
    names = [
        pa.csv.read_csv(io.BytesIO(bytes(given({"machines": rows}, "csv", "", ("machines",), BOARD).body))).column_names
        for rows in ([quiet], [loud], [loud, quiet])
    ]
    assert names[0] == names[1] == names[2]
    assert {"state_since", "shift_plan", "incident_signals"} <= set(names[0])
    body = bytes(given({"machines": [loud, quiet]}, "parquet", "", ("machines",), BOARD).body)
    [one, two] = pyarrow.parquet.read_table(io.BytesIO(body)).to_pylist()
    assert (one["incident_signals"], milliseconds(one["state_since"]), two["state_since"]) == ("load; power", 1, None)
    assert given({"error": "away", "since": 1}, "csv", "", ("machines",)).status_code == 503
    assert given({"machines": []}, "csv", "", ("machines",)).status_code == 200
