"""Sums per hour on a real store: the same figures as the facts themselves, whatever comes late or is corrected."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from typing import Any

import pytest
from live_stack import LiveStack
from sql_trial import EVERYTHING, HOUR, MINUTE, T0, at, fact, put, told

from pipeline import inline
from pipeline.core.model import Control, Correction
from pipeline.core.plant import Plant
from pipeline.core.plant_dirt import Dirt, disturb
from pipeline.factory import Factory, controls
from pipeline.settings import Settings
from pipeline.store import hours, retention
from pipeline.store.client import Store
from pipeline.store.migrate import migrate, migrations

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]
FIGURES = "site, area, line, machine, period, shift, product, order, t_ms, pbt_ms, apt_ms, adet_ms, external_ms, stops,"
FIGURES += " total, good, ideal_good_us, line_pbt_ms, provisional, restated, oee, a, p, q, coverage, first, last"
RANGES = (
    (T0 - HOUR, T0 + 24 * HOUR),
    (T0 + 17 * MINUTE, T0 + 3 * HOUR + 43 * MINUTE),
    (T0 + 17 * MINUTE, T0 + 43 * MINUTE),
    (T0 + 2 * HOUR, T0 + 3 * HOUR),
)


@pytest.fixture(scope="module")
def dirty(stack: LiveStack) -> Iterator[tuple[Store, Settings]]:
    """Six hours of a plant whose data come late, twice and with gaps, with corrections of hours that were final."""
    settings = stack.settings("hours")
    migrate(settings)
    plant = Plant("lyon", 11, T0, 6, dirt=Dirt(repeat=0.02, late=0.03, gaps=4))
    factory = Factory.of("lyon", plant.habits.timezone, plant.machines)
    end = T0 + 6 * HOUR
    one, other = list(plant.machines)[:2]
    said = [
        Control(one, "c1", end, "t", Correction(T0 + 50 * MINUTE, T0 + 130 * MINUTE, state="setup", id="c1")),
        Control(one, "c2", end, "t", Correction(T0 + HOUR, T0 + 2 * HOUR, product="P9", order="O9", id="c2")),
        Control(other, "c3", end, "t", Correction(T0 + 3 * HOUR, T0 + 3 * HOUR + 1, good=-2, reject=2, id="c3")),
        Control(
            one, "c1", end, "t", Correction(T0 + 50 * MINUTE, T0 + 70 * MINUTE, state="fault", revision=2, id="c1")
        ),
    ]
    frames = disturb(plant.frames(end), plant.dirt, 3)
    inline.run([*controls(factory, T0, "test"), *frames, *said, *plant.ends(end, end)], settings)
    with closing(Store(settings)) as store:
        yield store, settings


@pytest.mark.parametrize("grain", ["hour", "shift", "day", "week", "month", "product", "order", "total"])
def test_hours_say_what_the_facts_say(dirty: tuple[Store, Settings], grain: str) -> None:
    store, _ = dirty
    assert told(store, "SELECT count() AS n FROM oee_hours FINAL")[0]["n"] > 36
    for start, end in RANGES:
        span = f"grain = '{grain}', profile = '', start = {at(start)}, end = {at(end)}"
        summed = told(store, f"SELECT {FIGURES} FROM oee_by(level = 'machine', {span}) ORDER BY ALL")
        plain = told(
            store,
            f"SELECT {FIGURES} FROM oee_known(level = 'machine', {span}, at = '2298-01-01 00:00:00') ORDER BY ALL",
        )
        assert summed
        assert summed == plain


def test_losses_of_hours_are_those_of_the_intervals_and_of_the_facts(dirty: tuple[Store, Settings]) -> None:
    store, _ = dirty
    for start, end in RANGES:
        rows = told(
            store,
            f"""SELECT machine, element, state, reason, sum(lost_ms) AS ms
            FROM losses(start = {at(start)}, end = {at(end)}) GROUP BY ALL ORDER BY ALL""",
        )
        clipped = told(
            store,
            f"""SELECT machine, element, state, reason, sum(lost) AS ms FROM
            (SELECT *, dateDiff('millisecond', greatest(start, toDateTime64({at(start)}, 3, 'UTC')),
                                least(until, toDateTime64({at(end)}, 3, 'UTC'))) AS lost FROM timeline)
            WHERE lost > 0 AND element NOT IN ('apt', 'nonwork') GROUP BY ALL ORDER BY ALL""",
        )
        assert rows == clipped
        by_element = {(row["machine"], row["element"]): 0 for row in rows}
        for row in rows:
            by_element[row["machine"], row["element"]] += row["ms"]
        facts = told(
            store,
            f"""SELECT machine, sum(adet_ms) AS adet, sum(aust_ms) AS aust, sum(adot_ms) AS adot,
            sum(unknown_ms) AS unknown, sum(pdot_ms) AS pdot FROM oee_by(level = 'machine', grain = 'total',
            profile = '', start = {at(start)}, end = {at(end)}) GROUP BY machine""",
        )
        for fact_row in facts:
            for element in ("adet", "aust", "adot", "unknown", "pdot"):
                assert by_element.get((fact_row["machine"], element), 0) == fact_row[element]


def test_a_cause_counts_once_over_borders_of_hours(dirty: tuple[Store, Settings]) -> None:
    store, _ = dirty
    [whole] = told(store, f"SELECT sum(times) AS n, sum(lost_ms) AS ms FROM losses({EVERYTHING})")
    cuts = sorted({T0 - HOUR, T0 + 24 * HOUR, *(T0 + random.Random(5).randrange(6 * HOUR) for _ in range(4))})
    parts = [
        told(store, f"SELECT sum(times) AS n, sum(lost_ms) AS ms FROM losses(start = {exact(a)}, end = {exact(b)})")[0]
        for a, b in pairwise(cuts)
    ]
    assert sum(part["n"] or 0 for part in parts) == whole["n"]
    assert sum(part["ms"] or 0 for part in parts) == whole["ms"]


def exact(ms: int) -> str:
    return f"fromUnixTimestamp64Milli({ms}, 'UTC')" if ms % 1000 else at(ms)


def test_hours_are_filled_for_facts_that_have_none(dirty: tuple[Store, Settings]) -> None:
    store, _ = dirty
    query = f"SELECT {FIGURES} FROM oee_by(level = 'machine', grain = 'shift', profile = '', {EVERYTHING}) ORDER BY ALL"
    before = told(store, query)
    lost = told(store, f"SELECT * FROM losses({EVERYTHING}) ORDER BY ALL")
    for table in ("oee_hours", "loss_hours", "open_hours"):
        store.command(f"TRUNCATE TABLE {table}")
    assert told(store, query) == []
    assert hours.fill(store) == 6
    assert told(store, query) == before
    assert told(store, f"SELECT * FROM losses({EVERYTHING}) ORDER BY ALL") == lost
    assert hours.fill(store) == 0


def test_a_batch_that_is_summed_again_changes_nothing(stack: LiveStack) -> None:
    settings = stack.settings("again")
    migrate(settings)
    with closing(Store(settings)) as store:
        rows = [fact("m", T0 + number * MINUTE, t_ms=MINUTE, pbt_ms=MINUTE, apt_ms=MINUTE) for number in range(90)]
        query = f"SELECT {FIGURES} FROM oee_by(level = 'machine', grain = 'hour', profile = '', {EVERYTHING})"
        put(store, *rows)
        first = told(store, query)
        assert [row["apt_ms"] for row in sorted(first, key=lambda row: row["period"])] == [HOUR, HOUR // 2]
        put(store, *rows)
        put(store, *rows[:10])
        assert sorted(told(store, query), key=str) == sorted(first, key=str)
        gone = [fact("m", T0, segment_end=T0, known_at=T0 + HOUR), fact("m", T0 + MINUTE, product="B", t_ms=MINUTE,
                pbt_ms=MINUTE, adet_ms=MINUTE, known_at=T0 + HOUR, revision=2, status="restated")]  # fmt: skip
        put(store, *gone)
        products = told(
            store,
            f"""SELECT product, apt_ms, adet_ms, restated FROM oee_by(level = 'machine',
            grain = 'product', profile = '', {EVERYTHING}) ORDER BY product""",
        )
        assert [tuple(row.values()) for row in products] == [("A", 88 * MINUTE, 0, 0), ("B", 0, MINUTE, 1)]


def test_times_to_live_follow_the_settings_and_hours_outlive_minutes(stack: LiveStack) -> None:
    settings = stack.settings("kept", keep_minutes_days=30, keep_telemetry_days=7)
    migrate(settings)
    with closing(Store(settings)) as store:
        ttl = "SELECT name, engine_full LIKE '% TTL %' AS lives FROM system.tables WHERE database = currentDatabase()"
        lives = {row["name"]: bool(row["lives"]) for row in told(store, ttl)}
        assert [lives[name] for name in ("telemetry", "counts", "oee_facts", "intervals")] == [True] * 4
        assert [lives[name] for name in ("oee_hours", "loss_hours", "oee_revisions", "corrections")] == [False] * 4
        now = time.time_ns() // 1_000_000
        known = now - 30 * 24 * HOUR + 5_000  # five seconds younger than what is let go
        old = [fact("m", T0 + n * MINUTE, t_ms=MINUTE, pbt_ms=MINUTE, known_at=known) for n in range(60)]
        put(store, *old, fact("m", T0 + 3 * HOUR, t_ms=MINUTE, pbt_ms=MINUTE, known_at=now))
        deadline = time.monotonic() + 60
        while told(store, "SELECT count() AS n FROM facts")[0]["n"] > 1:
            assert time.monotonic() < deadline
            store.command("OPTIMIZE TABLE oee_facts FINAL")
        day = f"grain = 'day', profile = '', start = {at(T0)}, end = {at(T0 + HOUR)}"
        [kept] = told(store, f"SELECT sum(t_ms) AS ms FROM oee_by(level = 'machine', {day})")
        assert kept == {"ms": HOUR}
        statements: list[Any] = []
        plain = store.command
        store.command = lambda sql, parameters=None: statements.append(sql) or plain(sql, parameters)  # type: ignore[method-assign]
        retention.apply(store, settings)
        assert statements == []
        retention.apply(store, stack.settings("kept"))
        assert len(statements) == 5


@pytest.mark.parametrize("stopped_after", range(1, 36, 2))
def test_a_migration_that_was_stopped_half_way_is_done_whole_the_next_time(
    stack: LiveStack, stopped_after: int
) -> None:
    settings = stack.settings("halfway")
    by_time = next(migration for migration in migrations() if migration.name == "by_time")
    with closing(Store(settings, database="default")) as server:
        server.command(f"CREATE DATABASE {settings['database']}")
    with closing(Store(settings)) as store:
        for migration in migrations():
            if 0 < migration.number < by_time.number:
                for statement in migration.statements():
                    store.command(statement)
        put(store, fact("m", T0), fact("m", T0 + MINUTE))
        for statement in list(by_time.statements())[:stopped_after]:
            store.command(statement)
        put(store, fact("m", T0 + 2 * MINUTE))
        for statement in by_time.statements():
            store.command(statement)
        assert store.query("SELECT count() FROM oee_facts FINAL").result_rows == [(3,)]
        keys = dict(store.query(
            "SELECT name, sorting_key FROM system.tables WHERE database = currentDatabase()").result_rows)  # fmt: skip
    assert keys["oee_facts"].startswith("toStartOfHour(window_start), machine")
    assert keys["intervals"].startswith("toDate(start), machine")
    assert keys["oee_hours"].startswith("toDate(hour), machine")
    assert keys["loss_hours"].startswith("toDate(hour), machine")
    assert not [name for name in keys if name.endswith("_by_time")]
