"""Migration 0006: what machines said gets its arrival, whatever was in the store before, however often it is begun."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime

import numpy as np
import pytest
from live_stack import LiveStack
from sql_trial import MINUTE, T0, told

from pipeline.core.model import CountReading, Frame, MachineEvent, SignalBlock, StateChange
from pipeline.rows import Rows
from pipeline.settings import Settings
from pipeline.store import migrate
from pipeline.store.client import Store

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]
ARRIVALS = next(one for one in migrate.migrations() if one.name == "arrivals")
NEVER = datetime(1970, 1, 1)


def frame(number: int) -> Frame:
    at = T0 + number * MINUTE
    return Frame(
        "m", "gateway", 1, number, at, states=[StateChange(at, "running")], counts=[CountReading(at, False, number)],
        events=[MachineEvent(at, "alarm", "fault", "7", "hot")],
        signals=[SignalBlock(np.array([at]), ["load"], np.array([[float(number)]]))],
    )  # fmt: skip


def put(store: Store, arrived: int, *frames: Frame, before: bool = False) -> None:
    """As the sink does it; `before`: as the sink of a version without arrivals did."""
    rows = Rows(MINUTE)
    for one in frames:
        rows.add(arrived, one)
    for name, table in rows.tables():
        store.insert(name, table.drop_columns(["arrived"]) if before else table, None)


@pytest.fixture
def older(stack: LiveStack) -> Iterator[tuple[Store, Settings]]:
    """A store of the version before, with views and four frames in it, one of them sent twice."""
    settings = stack.settings("arrivals")
    migrate.create(settings)
    with closing(Store(settings)) as store:
        store.command(migrate.JOURNAL)
        for one in migrate.migrations():
            if one.number < ARRIVALS.number and one.number != migrate.VIEWS:
                migrate.apply(store, one)
        views = migrate.Migration(migrate.VIEWS, "views", migrate.migrations()[-1].sql.partition("\n")[2])
        migrate.apply(store, views)
        put(store, T0 + 5 * MINUTE, *map(frame, range(4)), frame(1), before=True)
        yield store, settings


@pytest.mark.parametrize("stopped_after", range(0, len(list(ARRIVALS.statements())) + 1, 4))
def test_a_store_of_before_loses_nothing_wherever_the_migration_stopped(
    older: tuple[Store, Settings], stopped_after: int
) -> None:
    store, settings = older
    for statement in list(ARRIVALS.statements())[:stopped_after]:
        store.command(statement)
    put(store, T0 + 5 * MINUTE, frame(4), before=True)
    done = [one.name for one in migrate.migrate(settings)]
    assert (done[0], done[-1]) == ("arrivals", "views")
    for table, rows in (("telemetry", 5), ("events", 10), ("counts", 5)):
        [found] = told(store, f"SELECT count() AS n, max(arrived) AS last FROM {table} FINAL")
        assert (found["n"], found["last"]) == (rows, NEVER)
    assert not told(store, "SELECT name FROM system.tables WHERE database = currentDatabase() AND name LIKE '%_by_%'"
                           " AND engine NOT LIKE '%View'")  # fmt: skip
    assert migrate.migrate(settings) == []


def test_views_show_the_arrival_and_of_what_is_sent_again_the_first(older: tuple[Store, Settings]) -> None:
    store, settings = older
    migrate.migrate(settings)
    first, again = T0 + 8 * MINUTE, T0 + 9 * MINUTE
    put(store, first, frame(7))
    put(store, again, frame(7), frame(0))
    shown = "SELECT DISTINCT toUnixTimestamp64Milli(arrived) AS came"
    for view in ("machine_events", "part_counts"):
        came = {row["ts"]: row["came"] for row in told(store, f"{shown}, toUnixTimestamp64Milli(ts) AS ts FROM {view}")}
        assert came == {T0: again, T0 + MINUTE: 0, T0 + 2 * MINUTE: 0, T0 + 3 * MINUTE: 0, T0 + 7 * MINUTE: first}
    [sample] = told(store, f"{shown} FROM telemetry FINAL WHERE ts = toDateTime64({(T0 + 7 * MINUTE) / 1000}, 3)")
    assert sample["came"] == again
