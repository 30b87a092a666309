"""Incidents: flags that touch are one, small ones page nobody, and how they are told apart does not change them."""

from __future__ import annotations

from dataclasses import replace

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.engine import Engine
from pipeline.core.incident import MOST_FLAGS, REFRACTORY_MS, TOUCH_MS
from pipeline.core.incidents import MUTES, PAST, SAID_LATE_MS, Incidents
from pipeline.core.model import (
    Acknowledge,
    Anomaly,
    Control,
    CountReading,
    Frame,
    Incident,
    Mute,
    Record,
    StateChange,
)
from pipeline.core.settings import EngineSettings

MINUTE, HOUR = 60_000, 3_600_000
T0 = 1_772_434_800_000


def flag(first: float, last: float | None = None, kind: str = "spike", signal: str = "load", **more: object) -> Anomaly:
    """A flag from minute `first` to minute `last`."""
    begin, end = T0 + round(first * MINUTE), T0 + round((first if last is None else last) * MINUTE)
    made = Anomaly("", "lyon", "L1", signal, kind, "default", 1, begin, end, 0.7, 1.0, 0.0, -1.0, 1.0, "warning",
                   "running", "A", f"{signal} {kind} at {first}")  # fmt: skip
    return replace(made, **more)  # type: ignore[arg-type]


def told(*steps: tuple[float, list[Anomaly]], incidents: Incidents | None = None) -> dict[str, Incident]:
    """The incidents as last said, by id; each step: the minute up to which samples were judged, and its flags."""
    folded = Incidents() if incidents is None else incidents
    found: dict[str, Incident] = {}
    for now, flags in steps:
        at = T0 + round(now * MINUTE)
        found |= {one.id: one for one in folded.fold("saw", flags, at, at)}
    return found


def test_flags_that_touch_are_one_incident_across_signals() -> None:
    """load  |--|      power     |-|       ten minutes apart at most"""
    found = told((3, [flag(1, 2)]), (12, [flag(11, signal="power", kind="shift", severity="critical", score=0.9)]))
    [one] = found.values()
    assert (one.id, one.opened, one.first, one.last) == (
        f"saw/{T0 + MINUTE}",
        T0 + MINUTE,
        T0 + MINUTE,
        T0 + 11 * MINUTE,
    )
    assert (one.flags, one.signals, one.kinds) == (2, ["load", "power"], ["shift", "spike"])
    assert (one.severity, one.signal, one.message) == ("critical", "power", "power shift at 11")
    assert (one.closed, one.page, one.site, one.line) == (None, True, "lyon", "L1")


def test_what_lies_further_apart_is_another_incident_and_the_first_is_closed() -> None:
    found = told((3, [flag(1, 2)]), (60, [flag(59, kind="drift", signal="power")]))
    first, second = found.values()
    assert (first.closed, second.closed) == (T0 + 2 * MINUTE + MINUTE + TOUCH_MS, None)
    assert second.opened == T0 + 59 * MINUTE


def test_quiet_closes_an_incident_by_itself() -> None:
    quiet = told((2, [flag(1)]), (11, []), (14, []))
    assert [one.closed for one in quiet.values()] == [T0 + MINUTE + TOUCH_MS]
    assert [one.closed for one in told((2, [flag(1)]), (11 + SAID_LATE_MS / MINUTE, [])).values()] == [None]


def test_the_same_flag_soon_after_opens_it_again_and_another_one_does_not() -> None:
    soon = 11 + REFRACTORY_MS / MINUTE
    [again] = told((2, [flag(1)]), (20, []), (soon + 1, [flag(soon)])).values()
    assert (again.flags, again.closed, again.last) == (2, None, T0 + round(soon * MINUTE))
    assert len(told((2, [flag(1)]), (20, []), (soon + 1, [flag(soon, kind="shift")]))) == 2
    assert len(told((2, [flag(1)]), (20, []), (soon + 2, [flag(soon + 0.1)]))) == 2


def test_a_flag_that_goes_on_keeps_its_incident_open_until_its_next_word() -> None:
    """A drift is said at 1 h and 2 h of age: in between nothing is heard of it."""
    [one] = told((60, [flag(0, 60, "drift")]), (100, []), (120, [flag(0, 120, "drift")]), (180, [])).values()
    assert (one.flags, one.last, one.closed) == (1, T0 + 2 * HOUR, None)
    ended = told((60, [flag(0, 60, "drift")]), (96, [flag(0, 90, "drift")]), (103, []))
    assert [one.closed for one in ended.values()] == [T0 + 90 * MINUTE + TOUCH_MS], (
        "said when it was quiet: it has ended"
    )


def test_a_silent_machine_is_one_incident_until_it_speaks_again() -> None:
    incidents, gap = Incidents(), flag(0, 10, "gap", "")
    incidents.fold("saw", [gap], T0 + 10 * MINUTE, T0)
    assert incidents.fold("saw", [], T0 + 29 * MINUTE, T0) == []
    [row] = incidents.fold("saw", [replace(gap, last=T0 + 25 * MINUTE)], T0 + 26 * MINUTE, T0 + 25 * MINUTE)
    assert row.closed is None
    [row] = incidents.fold("saw", [], T0 + 38 * MINUTE, T0 + 38 * MINUTE)
    assert (row.last, row.closed) == (T0 + 25 * MINUTE, T0 + 25 * MINUTE + TOUCH_MS)


def test_a_flag_said_late_belongs_to_the_incident_that_it_touches() -> None:
    [one] = told((31, [flag(30)]), (40, [flag(12, 40, "drift", "power")])).values()
    assert (one.opened, one.first, one.id) == (T0 + 30 * MINUTE, T0 + 12 * MINUTE, f"saw/{T0 + 30 * MINUTE}")


@pytest.mark.parametrize(
    ("flags", "severity", "page"),
    [
        ([flag(1, severity="info")], "info", False),
        ([flag(1, severity="info"), flag(2, severity="info")], "info", False),
        ([flag(1, severity="info"), flag(2, severity="info"), flag(3, severity="info")], "warning", True),
        ([flag(1, severity="info"), flag(2, severity="info", signal="power")], "warning", True),
        ([flag(1)], "warning", True),
        ([flag(1, severity="info"), flag(2, severity="critical", kind="limit")], "critical", True),
    ],
)  # fmt: skip
def test_one_small_spike_pages_nobody_and_several_do(flags: list[Anomaly], severity: str, page: bool) -> None:
    [one] = told((4, flags)).values()
    assert (one.severity, one.page) == (severity, page)


def test_the_leading_flag_is_the_worst_and_its_newest_sentence_counts() -> None:
    low, high = flag(1, score=0.6), flag(2, kind="shift", score=0.9, message="left its level")
    [one] = told(
        (3, [high, low]), (4, [replace(high, last=high.last + 1, message="left its level for 2 min")])
    ).values()
    assert (one.message, one.kind, one.score) == ("left its level for 2 min", "shift", 0.9)


def test_muted_flags_go_on_without_a_message() -> None:
    incidents = Incidents()
    incidents.mute(Mute("holiday", T0 + HOUR, signal="load", why="sensor is being changed"))
    [one] = told((2, [flag(1)]), incidents=incidents).values()
    assert (one.muted, one.page, one.severity) == (True, False, "warning")
    [one] = told((4, [flag(3, signal="power")]), incidents=incidents).values()
    assert (one.muted, one.page, one.flags) == (False, True, 2)
    *_, one = told((100, [flag(99)]), incidents=incidents).values()
    assert one.page, "the mute has ended"


def test_a_lifted_mute_does_not_hold() -> None:
    incidents = Incidents()
    incidents.mute(Mute("m", T0 + HOUR))
    incidents.mute(Mute("m", T0 + HOUR, lifted=True))
    assert [one.page for one in told((2, [flag(1)]), incidents=incidents).values()] == [True]


def test_who_has_seen_it_stays_with_it() -> None:
    incidents = Incidents()
    [one] = told((2, [flag(1)]), incidents=incidents).values()
    [seen] = incidents.acknowledge(Acknowledge(one.id, "belt is worn"), T0 + HOUR, "ann")
    assert (seen.acknowledged, seen.acknowledged_by, seen.note) == (T0 + HOUR, "ann", "belt is worn")
    assert [row.note for row in told((90, [flag(89)]), incidents=incidents).values()] == ["belt is worn", ""]
    assert [row.id for row in incidents.acknowledge(Acknowledge(one.id), T0, "bob")] == [one.id], "a past one, too"
    assert incidents.acknowledge(Acknowledge("saw/1"), T0, "bob") == []


def test_what_is_kept_is_bounded() -> None:
    incidents = Incidents()
    for k in range(PAST + 9):
        told((100 * k + 2, [flag(100 * k + 1)]), incidents=incidents)
    for k in range(MUTES + 9):
        incidents.mute(Mute(f"m{k}", T0 + 1000 * HOUR + k, kind="none"))
    *_, row = told((9000, [flag(8000 + k / 1000, signal=f"s{k}") for k in range(MOST_FLAGS + 44)]),
                 incidents=incidents).values()  # fmt: skip
    assert (row.flags, len(row.signals)) == (MOST_FLAGS + 44, 32)
    _, words, _, past, mutes = incidents.pack()
    assert (len(words), len(past), len(mutes)) == (MOST_FLAGS, PAST, MUTES)
    assert mutes[0][0] == "m9", "those that end first gave way"


FLAGS = st.builds(
    lambda first, length, kind, signal, severity, score: flag(first, first + length, kind, signal, severity=severity,
                                                               score=score),
    st.integers(0, 300), st.sampled_from([0, 0, 1, 20]), st.sampled_from(["spike", "drift"]),
    st.sampled_from(["load", "power"]), st.sampled_from(["info", "warning", "critical"]),
    st.sampled_from([0.5, 0.7, 0.9]),
)  # fmt: skip


def steps_of(flags: list[Anomaly]) -> list[tuple[int, list[Anomaly]]]:
    """Each flag said a minute after its last instant, those of a minute in one step, in order of time."""
    by: dict[int, list[Anomaly]] = {}
    for one in flags:
        by.setdefault(one.last // MINUTE * MINUTE + MINUTE, []).append(one)
    return [(now, sorted(by[now], key=lambda one: (one.first, one.signal, one.kind))) for now in sorted(by)]


def content(incidents: Incidents, steps: list[tuple[int, list[Anomaly]]], pack: bool) -> tuple[list[Incident], object]:
    rows: list[Incident] = []
    for now, flags in steps:
        rows += incidents.fold("saw", flags, now, now)
        if pack:
            incidents = Incidents.unpack(msgpack.unpackb(msgpack.packb(incidents.pack())))
    return rows, incidents.pack()


@given(st.lists(FLAGS, max_size=30))
def test_a_snapshot_after_every_step_changes_nothing(flags: list[Anomaly]) -> None:
    steps = steps_of(flags)
    assert content(Incidents(), steps, pack=False) == content(Incidents(), steps, pack=True)


@given(st.lists(FLAGS, max_size=30), st.lists(st.integers(0, 400), max_size=30))
def test_how_often_time_is_looked_at_changes_no_incident(flags: list[Anomaly], looks: list[int]) -> None:
    """Steps without a flag close an incident sooner, but never make another one of it."""
    steps = steps_of(flags)
    busy = {now for now, _ in steps}
    more = sorted([*steps, *((T0 + at * MINUTE, []) for at in set(looks) if T0 + at * MINUTE not in busy)])
    end: list[tuple[int, list[Anomaly]]] = [(T0 + 1000 * MINUTE, [])]
    coarse = {row.id: row for row in content(Incidents(), [*steps, *end], pack=False)[0]}
    fine = {row.id: row for row in content(Incidents(), [*more, *end], pack=False)[0]}
    assert fine == coarse


@given(st.lists(FLAGS, max_size=30, unique_by=lambda one: (one.first, one.signal, one.kind)))
def test_every_flag_is_in_an_incident_and_incidents_follow_each_other(flags: list[Anomaly]) -> None:
    rows = {row.id: row for row in content(Incidents(), steps_of(flags), pack=False)[0]}
    for one in flags:
        assert any(row.first <= one.first and one.last <= row.last for row in rows.values())
    assert sum(row.flags for row in rows.values()) == len({(one.first, one.signal, one.kind) for one in flags})
    opened = [row.opened for row in rows.values()]
    assert opened == sorted(set(opened))
    assert all(row.closed is not None for row in list(rows.values())[:-1])


def test_an_incident_was_seen_when_the_log_had_it_whatever_the_sender_s_clock_says() -> None:
    """Parts are counted while the machine says that it is idle; then somebody from the year 18 million saw it."""
    engine, frames = Engine(EngineSettings()), []
    for k in range(60):
        frame = Frame("saw", "plc", 1, k, T0 + k * 10_000, counts=[CountReading(T0 + k * 10_000, True, k, k)])
        if k in (0, 20):
            frame.states.append(StateChange(frame.sent, "running" if k == 0 else "idle"))
        frames.append(Record(frame.sent, frame))
    opened = engine.fold(frames).incidents[0]
    word = Control("saw", "c-1", 2**59, "ann", Acknowledge(opened.id, "counter is new"))
    emitted = engine.fold([Record(T0 + HOUR, word)])
    assert [(one.id, one.acknowledged, one.acknowledged_by) for one in emitted.incidents] == [
        (opened.id, T0 + HOUR, "ann")
    ]
    unknown = Control("saw", "c-2", T0, "ann", Acknowledge("saw/1"))
    [letter] = engine.fold([Record(T0 + HOUR + 1, unknown)]).dead_letters
    assert letter.reason == "invalid"
