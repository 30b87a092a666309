"""Incidents in a real store: the current version of each, what was lost meanwhile, what follows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest
from live_stack import LiveStack
from sql_trial import EVERYTHING, HOUR, MINUTE, T0, fact, put, told

from pipeline import queries
from pipeline.core.model import Anomaly, Control, Incident, Interval, MachineConfig, Mute, OeeFact
from pipeline.errors import UsageError
from pipeline.incident_story import tell
from pipeline.store.client import Store
from pipeline.store.migrate import migrate

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


@pytest.fixture
def store(stack: LiveStack) -> Iterator[Store]:
    settings = stack.settings("incidents")
    migrate(settings)
    with closing(Store(settings)) as opened:
        yield opened


def incident(first: int, last: int, known_at: int = 1) -> Incident:
    return Incident(
        "saw", "lyon", "L1", f"saw/{first}", first, first, last, None, "warning", True, False, 1, ["load"], ["drift"],
        "load", "drift", 0.8, "running", "A", "load drifted away", known_at=known_at,
    )  # fmt: skip


def stop(start: int, end: int) -> Interval:
    return Interval("saw", "lyon", "", "L1", start, end, "fault", "adet", start, False, False, False, "drive", "early",
                    start // 86_400_000, "A", "", end)  # fmt: skip


def busy() -> list[OeeFact]:
    """Two hours of one good part a minute."""
    return [
        fact("saw", T0 + k * MINUTE, site="lyon", line="L1", t_ms=MINUTE, pbt_ms=MINUTE, apt_ms=MINUTE, total=1, good=1,
             ideal_total_us=10_000_000, ideal_good_us=10_000_000)
        for k in range(120)
    ]  # fmt: skip


def test_what_an_incident_cost_and_what_follows_it(store: Store) -> None:
    """incident |----10 min----|     stop     |--5 min, 4 of them inside--|     facts: 60 s busy, 10 s of good parts"""
    first, last = T0, T0 + 10 * MINUTE
    config = Control("saw", "c", T0, "ann", MachineConfig(site="lyon", line="L1", ideal_cycle_us={"*": 10_000_000}))
    windows = busy()
    old, new = incident(first, last - MINUTE), replace(incident(first, last, 2), acknowledged=T0 + HOUR, note="belt")
    put(store, config, *windows, stop(T0 + 6 * MINUTE, T0 + 11 * MINUTE), old, new)
    [row] = queries.ask(store, "incidents", {"site": "lyon"}).dicts()
    assert (row["id"], row["status"], row["minutes"], row["note"]) == (f"saw/{T0}", "open", 10.0, "belt")
    assert row["lost_minutes"] == 4.0
    assert row["lost_parts"] == 50.0, "10 minutes at 6 parts a minute, 10 were good"
    [after] = queries.ask(store, "after-incidents").dicts()
    assert (after["kind"], after["state"], after["reason"], after["times"]) == ("drift", "fault", "drive", 1)
    assert (after["share"], after["usual_share"], after["ratio"]) == (1.0, 0.5, 2.0)
    point = incident(T0 + 90 * MINUTE, T0 + 90 * MINUTE)
    put(store, point)
    [none] = told(store, f"SELECT lost_ms, lost_parts FROM incident_costs({EVERYTHING}) WHERE id = '{point.id}'")
    assert (none["lost_ms"], none["lost_parts"]) == (0, 0)


def test_one_incident_with_all_that_is_known_of_it(store: Store) -> None:
    """Its flags are those of its signals and kinds between first and last; what began within the hour followed it."""
    config = Control("saw", "c", T0, "ann", MachineConfig(site="lyon", line="L1", ideal_cycle_us={"*": 10_000_000}))
    one = replace(incident(T0, T0 + 10 * MINUTE), flags=2, kinds=["drift", "shift"])
    put(
        store, config, *busy(), one,
        flag("drift", T0, T0 + 10 * MINUTE), flag("shift", T0 + 2 * MINUTE, T0 + 4 * MINUTE),
        flag("spike", T0 + 3 * MINUTE, T0 + 3 * MINUTE), flag("drift", T0 + 2 * HOUR, T0 + 2 * HOUR),
        stop(T0 + 20 * MINUTE, T0 + 25 * MINUTE), stop(T0 + 90 * MINUTE, T0 + 95 * MINUTE),
    )  # fmt: skip
    story = tell(store, one.id)
    assert [row["kind"] for row in story.flags] == ["drift", "shift"]
    assert [(row["minutes"], row["state"], row["reason"]) for row in story.followed] == [(5.0, "fault", "drive")]
    assert [(row["kind"], row["reason"], row["times"]) for row in story.usually] == [("drift", "drive", 1)]
    said = "\n".join(story.lines())
    assert said.startswith(f"{one.id}: warning, open\nwhat      load drifted away\nwhere     saw, line L1; load\n")
    assert "2026-03-02 07:20:00  5.0 min fault drive" in said
    for ident in ("saw/1", "saw", "nobody/1772434800000", "saw/x"):
        with pytest.raises(UsageError, match="openoee incidents list"):
            tell(store, ident)


def flag(kind: str, first: int, last: int) -> Anomaly:
    return Anomaly("saw", "lyon", "L1", "load", kind, "default", 1, first, last, 0.8, 1.0, 0.0, 0.0, 0.0, "warning",
                   "running", "A", f"load: {kind}", known_at=1)  # fmt: skip


def test_mutes_that_hold(store: Store) -> None:
    until = 4_000_000_000_000
    holds, gone = Mute("saw/1", until, "load", why="being changed"), Mute("saw/2", until)
    for number, mute in enumerate((holds, gone, replace(gone, lifted=True))):
        put(store, Control("saw", f"{mute.id}/{number}", T0 + number, "ann", mute))
    [row] = queries.ask(store, "mutes").dicts()
    assert (row["id"], row["signal"], row["why"], row["issued_by"]) == ("saw/1", "load", "being changed", "ann")
