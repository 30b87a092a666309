"""The views on a real store, against a plain Python computation that shares nothing with them."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from live_stack import LiveStack
from sql_trial import (
    EVERYTHING,
    GRAINS,
    HOUR,
    LEVELS,
    MINUTE,
    T0,
    at,
    current,
    fact,
    kpis,
    milliseconds,
    put,
    random_facts,
    told,
)

from pipeline.core.model import FACTS, Control, Interval, MachineConfig, OeeFact
from pipeline.errors import StoreRefused
from pipeline.store.client import Store
from pipeline.store.migrate import migrate, migrations, pending

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]
KEYS = ("site", "area", "line", "machine", "shift", "product", "order")


@pytest.fixture
def store(stack: LiveStack) -> Iterator[Store]:
    """A database of its own with all tables and views."""
    settings = stack.settings("sql")
    migrate(settings)
    with closing(Store(settings)) as opened:
        yield opened


@pytest.fixture(scope="module")
def mixed(stack: LiveStack) -> Iterator[tuple[Store, list[OeeFact]]]:
    """Random facts in the store: out of order, in several inserts, some of them twice."""
    settings = stack.settings("mixed")
    migrate(settings)
    facts = random_facts(11)
    shuffled = facts + facts[::3]
    random.Random(3).shuffle(shuffled)
    with closing(Store(settings)) as store:
        for part in range(0, len(shuffled), 400):
            put(store, *shuffled[part : part + 400])
        yield store, facts


@pytest.mark.parametrize("grain", GRAINS)
def test_every_kpi_equals_the_plain_computation(mixed: tuple[Store, list[OeeFact]], grain: str) -> None:
    store, facts = mixed
    for level in LEVELS if grain in ("hour", "total") else ("machine",):
        for profile in ("", "smrp") if grain == "total" else ("",):
            groups = defaultdict(list)
            for row in current(facts):
                place, (period, *rest) = LEVELS[level](row), GRAINS[grain](row)
                groups[(*place, *rest, period)].append(row)
            source = f"oee_by(level = '{level}', grain = '{grain}', profile = '{profile}', {EVERYTHING})"
            rows = told(store, f"SELECT * FROM {source}")
            found = {(*(row[key] for key in KEYS), milliseconds(row["period"])): row for row in rows}
            assert len(rows) == len(found)
            assert found.keys() == groups.keys()
            for key, members in groups.items():
                for name in FACTS:
                    assert found[key][name] == sum(getattr(row, name) for row in members), (key, name)
                for name, want in kpis(members, profile).items():
                    got = found[key][name]
                    assert (got is None) == (want is None), (key, name, got, want)
                    assert got is None or got == pytest.approx(float(want or 0), rel=1e-12, abs=1e-15), (key, name)
                assert (found[key]["oee"] is None) == (found[key]["oee_null"] != "")
                assert found[key]["provisional"] == sum(row.status == "provisional" for row in members)


def test_friendly_views_and_ranges_are_the_same_figures(mixed: tuple[Store, list[OeeFact]]) -> None:
    store, facts = mixed
    rows = current(facts)
    half = T0 + 12 * HOUR
    part = [row for row in rows if row.machine == "m1" and T0 <= row.window_start < half]
    [one] = told(store, "SELECT oee, apt_ms FROM oee_by(level = 'machine', grain = 'total', profile = '',"
                        f" start = {at(T0)}, end = {at(half)}) WHERE machine = 'm1'")  # fmt: skip
    assert one["apt_ms"] == sum(row.apt_ms for row in part)
    hours = told(store, f"SELECT sum(apt_ms) AS apt FROM oee_by_hour WHERE machine = 'm1' AND hour < {at(half)}")
    assert hours == [{"apt": one["apt_ms"]}]
    for view in ("window", "hour", "shift", "day", "week", "month", "product", "order"):
        [summed] = told(store, f"SELECT sum(apt_ms) AS apt, sum(ideal_good_us) AS ideal FROM oee_by_{view}")
        assert summed == {"apt": sum(row.apt_ms for row in rows), "ideal": sum(row.ideal_good_us for row in rows)}
    for level in ("area", "site", "enterprise"):
        for view in ("hour", "shift", "day", "week", "month", "product", "order"):
            [summed] = told(store, f"SELECT sum(pbt_ms) AS pbt FROM {level}_oee_by_{view}")
            assert summed == {"pbt": sum(row.pbt_ms for row in rows)}


def test_what_was_known_when(mixed: tuple[Store, list[OeeFact]]) -> None:
    store, facts = mixed
    when = T0 + 9 * HOUR
    known = current([row for row in facts if row.known_at <= when])
    [seen] = told(store, f"SELECT count() AS rows, sum(apt_ms) AS apt FROM facts_as_known(at = {at(when)})")
    assert seen == {"rows": len(known), "apt": sum(row.apt_ms for row in known)}


def station(machine: str, position: int, effective: int = 0, **cycles: int) -> Control:
    rates = {name.replace("any", "*"): us for name, us in cycles.items()}
    config = MachineConfig(effective, site="lyon", line="L1", position=position, ideal_cycle_us=rates)
    return Control(machine, f"{machine}-{effective}", T0 + effective, "test", config)


def line_facts(
    machine: str, good: int, total: int, minutes: int = 60, product: str = "A", first: int = 0
) -> list[OeeFact]:
    return [
        fact(machine, T0 + (first + number) * MINUTE, line="L1", product=product, t_ms=MINUTE, pbt_ms=MINUTE,
             line_pbt_ms=MINUTE, apt_ms=45_000, adet_ms=15_000, external_ms=6_000, total=total, good=good,
             reject=total - good)
        for number in range(minutes)
    ]  # fmt: skip


def line_row(store: Store, grain: str = "total") -> dict[str, Any]:
    [row] = told(store, f"SELECT * FROM line_oee_by(grain = '{grain}', profile = '', {EVERYTHING})")
    return row


def test_serial_line(store: Store) -> None:
    put(store, station("a", 1, any=10_000_000), station("b", 2, any=12_000_000), station("c", 3, any=9_000_000))
    put(store, *line_facts("a", 5, 5), *line_facts("b", 4, 5), *line_facts("c", 3, 4))
    row = line_row(store)
    assert row["oee"] == pytest.approx(12 * 3 * 60 / 3600, rel=1e-12)
    assert (row["pbt_ms"], row["good"], row["constraint_machine"]) == (HOUR, 180, "b")
    assert row["external_ms"] == 3 * 60 * 6_000
    assert row["constraint_a"] == 0.75


def test_machines_in_parallel_add_their_rates_and_share_the_planned_time(store: Store) -> None:
    put(store, station("a", 1, any=10_000_000), station("b1", 2, any=24_000_000), station("b2", 2, any=24_000_000),
        station("c1", 3, A=20_000_000, any=99_000_000), station("c2", 3, A=30_000_000, any=99_000_000))  # fmt: skip
    put(store, *line_facts("c1", 2, 2), *line_facts("c2", 1, 2), *line_facts("b1", 2, 2), *line_facts("b2", 3, 3))
    # positions: 10 s, 12 s, 1 / (1/20 + 1/30) = 12 s; another product than A: the last one takes 49.5 s
    row = line_row(store)
    assert row["oee"] == pytest.approx(12 * 3 * 60 / 3600, rel=1e-12)
    assert row["pbt_ms"] == HOUR
    put(store, *line_facts("c1", 1, 1, 60, "B", 60))
    assert line_row(store)["oee"] == pytest.approx((12 * 3 * 60 + 49.5 * 60) / 7200, rel=1e-12)


def test_a_line_whose_cycle_times_change_and_one_that_knows_none(store: Store) -> None:
    changed = T0 + 30 * MINUTE
    put(store, station("a", 1, any=10_000_000), station("b", 2, any=6_000_000))
    put(store, station("a", 1, changed, any=20_000_000))
    put(store, *line_facts("b", 2, 2))
    assert line_row(store)["oee"] == pytest.approx((10 * 2 * 30 + 20 * 2 * 30) / 3600, rel=1e-12)
    put(store, station("a", 1, changed + 10 * MINUTE, B=5_000_000))
    row = line_row(store)
    assert (row["oee"], row["oee_null"], row["no_ideal_total"]) == (None, "no_ideal_rate", 40)
    [early] = told(store, "SELECT oee FROM line_oee_by(grain = 'total', profile = '', "
                          f"start = {at(T0)}, end = {at(changed)})")  # fmt: skip
    assert early["oee"] == pytest.approx(10 * 2 * 30 / 1800, rel=1e-12)


@pytest.mark.parametrize(
    ("numbers", "want", "why"),
    [
        ({"pbt_ms": 0, "nonwork_ms": MINUTE}, (None, None, None, None), "not_planned"),
        ({"adet_ms": MINUTE}, (0, None, None, 0), ""),
        ({"apt_ms": MINUTE}, (1, 0, None, 0), ""),
        ({"adet_ms": MINUTE, "total": 2, "good": 2, "ideal_total_us": 30_000_000, "ideal_good_us": 30_000_000},
         (0, None, 1, 0.5), ""),
        ({"apt_ms": MINUTE, "total": 2, "reject": 2, "ideal_total_us": 30_000_000}, (1, 0.5, 0, 0), ""),
        ({"unknown_ms": MINUTE}, (None, None, None, None), "no_data"),
        ({"apt_ms": MINUTE, "total": 1, "good": 1, "no_ideal_total": 1}, (1, None, None, None), "no_ideal_rate"),
        ({"apt_ms": MINUTE, "flags": ["not_in_factory"]}, (1, 0, None, None), "not_in_factory"),
    ],
)  # fmt: skip
def test_edges(store: Store, numbers: dict[str, Any], want: tuple[float | None, ...], why: str) -> None:
    put(store, fact("m", T0, **{"t_ms": MINUTE, "pbt_ms": MINUTE, **numbers}))
    [row] = told(store, "SELECT a, p, q, oee, oee_null, teep FROM oee_by_window")
    assert (row["a"], row["p"], row["q"], row["oee"]) == want
    assert row["oee_null"] == why
    if not numbers.get("total"):
        assert row["teep"] == (None if why == "not_in_factory" else 0)


def interval(start: int, end: int | None, state: str, element: str, known: int = 0, **more: Any) -> Interval:
    usual = Interval("m", "lyon", "", "L1", start, end, state, element, None, False, False, False, "", "early", 20_514,
                     "A", "", start + known)  # fmt: skip
    return replace(usual, **more)


def test_losses_are_clipped_counted_once_and_restated(store: Store) -> None:
    put(store, fact("m", T0 + 59 * MINUTE, t_ms=MINUTE, pbt_ms=MINUTE, adet_ms=MINUTE))
    put(store,
        interval(T0, T0 + 10 * MINUTE, "running", "apt"),
        interval(T0 + 10 * MINUTE, T0 + 20 * MINUTE, "fault", "adet", reason="drive", stop=T0 + 10 * MINUTE),
        interval(T0 + 20 * MINUTE, T0 + 30 * MINUTE, "stopped", "adet", reason="drive", stop=T0 + 10 * MINUTE),
        interval(T0 + 30 * MINUTE, T0 + 40 * MINUTE, "setup", "aust"),
        interval(T0 + 40 * MINUTE, T0 + 41 * MINUTE, "running", "apt"),
        interval(T0 + 50 * MINUTE, None, "fault", "adet", stop=T0 + 50 * MINUTE))  # fmt: skip
    put(store, interval(T0 + 30 * MINUTE, T0 + 35 * MINUTE, "setup", "aust", known=1))  # it was shorter
    put(store, interval(T0 + 40 * MINUTE, T0 + 40 * MINUTE, "running", "apt", known=1))  # it never was
    columns = "state, reason, lost_ms, times"
    rows = told(store, f"SELECT {columns} FROM losses({EVERYTHING}) ORDER BY lost_ms, state, reason")
    assert [(row["state"], row["reason"], row["lost_ms"] // MINUTE, row["times"]) for row in rows] == [
        ("setup", "", 5, 1), ("fault", "", 10, 1), ("fault", "drive", 10, 1), ("stopped", "drive", 10, 1),
    ]  # fmt: skip
    span = f"start = {at(T0 + 15 * MINUTE)}, end = {at(T0 + 25 * MINUTE)}"
    assert told(store, f"SELECT sum(lost_ms) AS lost FROM downtime({span})") == [{"lost": 10 * MINUTE}]
    open_one = told(store, "SELECT duration_ms, going_on FROM timeline WHERE going_on")
    assert [(row["duration_ms"], bool(row["going_on"])) for row in open_one] == [(10 * MINUTE, True)]


def test_migrations_run_once_and_know_their_past(store: Store) -> None:
    assert pending(store) == []
    store.command("INSERT INTO schema_migrations (number, name, checksum) VALUES (1, 'tables', 'other')")
    store.command("OPTIMIZE TABLE schema_migrations FINAL")
    with pytest.raises(StoreRefused, match="0001_tables was changed after"):
        pending(store)
    store.command(f"INSERT INTO schema_migrations SELECT 1, 'tables', '{migrations()[0].checksum}', now64(3)")
    store.command("INSERT INTO schema_migrations (number, name, checksum) VALUES (9999, 'later', 'x')")
    with pytest.raises(StoreRefused, match="9999_later, which this version does not know"):
        pending(store)
