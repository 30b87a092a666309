"""The store is open: curl, Node, pandas and polars get the same figures, by the examples of docs/sql.md."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import polars
import pytest
from live_stack import LiveStack
from plant_in_store import SITE, fill

from pipeline import queries
from pipeline.settings import Settings
from pipeline.store.client import Store

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]
DOCS = Path(__file__).parents[2] / "docs" / "sql.md"
NODE_CLIENT = "@clickhouse/client@1.23.1"
Figures = list[tuple[str, str, int, float]]  # machine, day, good parts, OEE


@pytest.fixture(scope="module")
def store(stack: LiveStack) -> Settings:
    settings = stack.settings("clients")
    fill(settings)
    return settings


@pytest.fixture(scope="module")
def figures(store: Settings) -> Figures:
    sql = f"SELECT machine, day, good, oee FROM oee_by_day WHERE site = '{SITE}' ORDER BY machine, day"
    with closing(Store(store)) as ours:
        rows = plain(queries.sql(ours, sql).dicts())
    assert len(rows) == 12
    assert sum(good for _, _, good, _ in rows) > 100
    return rows


def plain(rows: list[dict[str, Any]]) -> Figures:
    return [(row["machine"], str(row["day"])[:10], int(row["good"]), float(row["oee"])) for row in rows]


def example(language: str, settings: Settings) -> str:
    """The block of the documentation, with the place of this store."""
    text = DOCS.read_text(encoding="utf-8").partition(f"```{language}\n")[2].partition("```")[0]
    assert text.count("8123") == 1
    text = text.replace("8123", settings["store"].rpartition(":")[2]).replace("=openoee&", f"={settings['database']}&")
    text = text.replace('database="openoee"', f'database="{settings["database"]}"')
    text = text.replace("database: 'openoee'", f"database: '{settings['database']}'")
    return text.replace(".openoee/", f"{settings['home']}/")


def needed(program: str) -> str:
    """Where it is. Without it the test says so: on CI by failing."""
    found = shutil.which(program)
    if found is None:
        say = pytest.fail if "CI" in os.environ else pytest.skip
        say(f"{program} is not installed (Debian: apt install curl nodejs npm): this client was not tried")
    return found


def ran(command: list[str], folder: Path, more: dict[str, str] | None = None) -> str:
    run = subprocess.run(
        command, cwd=folder, env={**os.environ, **(more or {})}, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_curl_reads_csv_and_json(store: Settings, figures: Figures, tmp_path: Path) -> None:
    needed("curl")
    script = example("sh", store)
    assert plain(list(csv.DictReader(io.StringIO(ran(["sh", "-c", script], tmp_path))))) == figures
    answer = json.loads(ran(["sh", "-c", script.replace("CSVWithNames", "JSON")], tmp_path))
    assert plain(answer["data"]) == figures
    assert [column["name"] for column in answer["meta"]] == ["machine", "day", "good", "oee"]


def test_the_client_of_node_reads_rows(store: Settings, figures: Figures, tmp_path: Path) -> None:
    """ClickHouse's own client from npm, in its pinned version; npm keeps it for the next run."""
    node, npm = needed("node"), needed("npm")
    (tmp_path / "package.json").write_text('{"type": "module", "private": true}')
    (tmp_path / "ask.js").write_text(f"const password = process.env.PASSWORD\n{example('js', store)}")
    ran([npm, "install", "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts", NODE_CLIENT], tmp_path)
    rows = json.loads(ran([node, "ask.js"], tmp_path, {"PASSWORD": store.store_password}))
    assert plain(rows) == figures


def test_pandas_and_polars_read_frames(store: Settings, figures: Figures) -> None:
    names: dict[str, Any] = {"password": store.store_password}
    exec(compile(example("python", store), DOCS.name, "exec"), names)
    names["client"].close()
    assert plain(names["in_pandas"].to_dict("records")) == figures
    frame = names["in_polars"]
    assert plain(frame.to_dicts()) == figures
    assert frame.select(polars.col("good").sum()).item() == sum(good for _, _, good, _ in figures)
