"""The local stack for real: Kafka and the store answer ordinary clients."""

from __future__ import annotations

import json
import secrets
import subprocess
from urllib.request import Request, urlopen

import clickhouse_connect
import pyarrow as pa
import pytest
from live_stack import LiveStack

pytestmark = pytest.mark.live


def test_clickhouse_connect_inserts_arrow_once_per_token(stack: LiveStack) -> None:
    settings = stack.settings("tokens")
    port = int(settings["store"].rsplit(":", 1)[1])
    client = clickhouse_connect.get_client(
        host="127.0.0.1", port=port, username=settings["store_user"], password=settings.store_password
    )
    database = settings["database"]
    client.command(f"CREATE DATABASE {database}")
    client.command(
        f"CREATE TABLE {database}.t (machine LowCardinality(String), ts DateTime64(3, 'UTC'), value Float64) "
        "ENGINE = ReplacingMergeTree ORDER BY (machine, ts) SETTINGS non_replicated_deduplication_window = 100"
    )
    rows = pa.table(
        {"machine": ["m1", "m1"], "ts": pa.array([1, 2], pa.timestamp("ms", tz="UTC")), "value": [1.5, -2.0]}
    )
    for _ in range(2):
        client.insert_arrow(f"{database}.t", rows, settings={"insert_deduplication_token": "0-1"})
    assert client.query_arrow(f"SELECT machine, ts, value FROM {database}.t ORDER BY ts")["value"].to_pylist() == [
        1.5,
        -2,
    ]
    client.insert_arrow(f"{database}.t", rows, settings={"insert_deduplication_token": "2-3"})
    assert client.command(f"SELECT count() FROM {database}.t") == 4
    client.close()


def test_curl_asks_the_store(stack: LiveStack) -> None:
    settings = stack.settings("curl")
    user = f"{settings['store_user']}:{settings.store_password}"
    answer = subprocess.run(
        ["curl", "-sS", "--fail-with-body", "-u", user, settings["store"], "-d", "SELECT 6 * 7 FORMAT TSV"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert answer.stdout == "42\n"


def test_the_registry_keeps_schemas(registry: str) -> None:
    schema = json.dumps({"type": "record", "name": "Kept", "fields": [{"name": "x", "type": "int"}]})
    subject = f"{registry}/subjects/kept-{secrets.token_hex(3)}/versions"
    request = Request(subject, json.dumps({"schema": schema}).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=60) as posted:
        number = json.load(posted)["id"]
    with urlopen(f"{registry}/schemas/ids/{number}", timeout=60) as found:
        assert json.loads(json.load(found)["schema"]) == json.loads(schema)
