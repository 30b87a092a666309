"""Calendars by level of the hierarchy: what is written resolves to what the engine reckons with."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.calendar import Calendar, line_calendar, unusable
from pipeline.core.model import CalendarException, CalendarLevel, MachineConfig, Shift
from pipeline.errors import FactoryFileError
from pipeline.factory import Factory, dump, loads

DAY = {"shifts": [{"name": "day", "start": "06:00", "end": "14:00"}]}
LATE = {"shifts": [{"name": "late", "start": "12:00", "end": "20:00"}]}
DAY_SHIFT, LATE_SHIFT = Shift("day", "06:00", "14:00"), Shift("late", "12:00", "20:00")
Y2026 = date(2026, 1, 1)


def factory(*, timezone: str = "UTC", **calendars: Any) -> Factory:
    """One machine `m` on line L1 in area hall; a calendar per level that is named."""
    own = {level: {"calendar": calendar} for level, calendar in calendars.items()}
    said = {
        "version": 1, "enterprise": {"name": "acme", **own.get("enterprise", {})}, "site": "lyon", "timezone": timezone,
        **own.get("site", {}), "areas": {"hall": own["area"]} if "area" in own else {},
        "lines": {"L1": {"area": "hall", "stations": ["m"], **own.get("line", {})}},
        "machines": {"m": own.get("machine", {})},
    }  # fmt: skip
    if not said["areas"]:
        del said["areas"]
    return loads(json.dumps(said), year=2026)


def config(**calendars: Any) -> MachineConfig:
    return factory(**calendars).machines["m"]


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


def told(config: MachineConfig, start: str, end: str) -> list[tuple[str, str, str]]:
    """(local start, element, shift) of every span."""
    spans = Calendar(config).spans(at(start), at(end))
    return [(datetime.fromtimestamp(s.start / 1000, UTC).strftime("%dT%H:%M"), s.work, s.shift) for s in spans]


def test_the_lowest_calendar_is_the_machines_the_others_are_above_it() -> None:
    made = config(enterprise={"closed": ["2026-01-01"], **DAY}, site=DAY, area={"closed": ["2026-12-24"]}, line=LATE)
    assert (made.enterprise, made.calendar_level, made.always, made.shifts) == ("acme", "line", False, (LATE_SHIFT,))
    assert made.above == (
        CalendarLevel("area", closed=("2026-12-24",)),
        CalendarLevel("site", shifts=(DAY_SHIFT,)),
        CalendarLevel("enterprise", shifts=(DAY_SHIFT,), closed=("2026-01-01",)),
    )


@pytest.mark.parametrize(
    ("calendars", "levels"),
    [
        ({}, [("machine", True)]),
        ({"machine": "always"}, [("machine", True)]),
        ({"site": {"closed": ["2026-01-01"]}}, [("site", True)]),  # nobody has shifts: the topmost plans every instant
        ({"line": {"breaks": []}, "area": {"planned_down": []}}, [("line", False), ("area", True)]),
        ({"line": DAY, "site": {"closed": ["2026-01-01"]}}, [("line", False)]),  # it closes only what is above it
        ({"machine": {"breaks": []}, "site": DAY}, [("machine", False), ("site", False)]),
        ({"line": {**DAY, "inherit": False}, "site": DAY}, [("line", False)]),
        ({"line": {"inherit": False}, "site": DAY}, [("line", True)]),
        ({"machine": "always", "line": DAY, "site": LATE}, [("machine", True), ("line", False), ("site", False)]),
        ({"area": "always", "site": DAY, "line": {"breaks": []}}, [("line", False), ("area", True)]),
    ],
)
def test_which_levels_count(calendars: dict[str, Any], levels: list[tuple[str, bool]]) -> None:
    made = config(**calendars)
    assert [(made.calendar_level, made.always), *((one.level, one.always) for one in made.above)] == levels
    assert unusable(made) == ""


def test_a_machine_that_is_always_planned_leaves_its_line_the_lines_calendar() -> None:
    line = line_calendar(config(machine="always", line=DAY))
    assert line is not None
    assert line.busy_ms(at("2026-01-01"), at("2026-01-02")) == 8 * 3_600_000


def test_a_lower_level_overrides_where_they_overlap() -> None:
    #  site   06 day 14                   machine  12 late 20, a break 19:00-19:30 there, a planned stop 07-08
    machine = {**LATE, "breaks": [{"start": "19:00", "end": "19:30"}],
               "planned_down": [{"from": "2026-01-02T07:00:00Z", "to": "2026-01-02T08:00:00Z"}]}  # fmt: skip
    site = {**DAY, "breaks": [{"start": "12:30", "end": "13:00"}]}  # within the machine's own shift: overridden
    assert told(config(machine=machine, site=site), "2026-01-02", "2026-01-03") == [
        ("02T00:00", "nonwork", ""), ("02T06:00", "pbt", "day"), ("02T07:00", "pdot", "day"),
        ("02T08:00", "pbt", "day"), ("02T12:00", "pbt", "late"), ("02T19:00", "pdot", "late"),
        ("02T19:30", "pbt", "late"), ("02T20:00", "nonwork", ""),
    ]  # fmt: skip


def test_a_closed_date_closes_its_level_and_those_above() -> None:
    site = {**DAY, "closed": ["2026-01-02"]}
    assert told(config(site=site), "2026-01-02", "2026-01-03") == [("02T00:00", "nonwork", "")]
    assert told(config(site=DAY, line={"closed": ["2026-01-02"]}), "2026-01-02", "2026-01-03") == [
        ("02T00:00", "nonwork", "")
    ]
    assert [shift for _, _, shift in told(config(site=site, line=LATE), "2026-01-02", "2026-01-03")] == ["", "late", ""]
    alone = told(config(site={"closed": ["2026-01-02"]}), "2026-01-01", "2026-01-04")
    assert alone == [("01T00:00", "pbt", ""), ("02T00:00", "nonwork", ""), ("03T00:00", "pbt", "")]


def test_an_exception_takes_the_place_of_the_usual_day() -> None:
    short = {"on": "2026-12-24", "shifts": [{"name": "short", "start": "07:00", "end": "12:00"}],
             "breaks": [{"start": "09:00", "end": "09:15"}]}  # fmt: skip
    holiday = {"from": "2026-07-20", "to": "2026-07-21"}
    made = config(site={**DAY, "exceptions": [short, holiday]})
    assert made.exceptions == (
        CalendarException("2026-07-20", "2026-07-21"),
        CalendarException(
            "2026-12-24", "2026-12-24", (Shift("short", "07:00", "12:00"),), (Shift("break", "09:00", "09:15"),)
        ),
    )
    assert made.above == ()
    eve = [("24T00:00", "nonwork", ""), ("24T07:00", "pbt", "short"), ("24T09:00", "pdot", "short"),
           ("24T09:15", "pbt", "short"), ("24T12:00", "nonwork", "")]  # fmt: skip
    assert told(made, "2026-12-24", "2026-12-25") == eve
    assert [shift for _, _, shift in told(made, "2026-07-20", "2026-07-23")] == ["", "", "", "day", ""]


@pytest.mark.parametrize("site", [DAY, "always", {}], ids=["shifts", "always", "none"])
def test_an_exception_of_a_lower_level_speaks_for_the_whole_date(site: Any) -> None:
    exceptions = [{"on": "2026-12-24", "shifts": [{"name": "short", "start": "07:00", "end": "12:00"}]}]
    exceptions.append({"on": "2026-12-28"})
    above = {"site": site} if site else {}
    made = config(line={"exceptions": exceptions}, **above)
    eve = [("24T00:00", "nonwork", ""), ("24T07:00", "pbt", "short"), ("24T12:00", "nonwork", "")]
    assert told(made, "2026-12-24", "2026-12-25") == eve
    assert told(made, "2026-12-28", "2026-12-29") == [("28T00:00", "nonwork", "")]
    usual = ["", "day", ""] if site == DAY else [""]
    assert [shift for _, _, shift in told(made, "2026-12-23", "2026-12-24")] == usual


def test_nights_in_the_weeks_of_the_clocks_have_the_hours_that_these_give_them() -> None:
    night = {"shifts": [{"name": "night", "start": "22:00", "end": "06:00"}]}
    pause = {"breaks": [{"start": "02:30", "end": "03:30"}]}
    longer = {"on": "2026-10-24", "shifts": [{"name": "longer", "start": "20:00", "end": "06:00"}]}
    made = config(timezone="Europe/Berlin", site=night, line={**pause, "exceptions": [longer]})
    # In March the break begins at 03:00, the first instant after the gap, in October at the first of two 02:30.
    # The exception speaks for the breaks that start on its date too: the night into it has none.
    nights = [("03-27", 7.0), ("03-28", 6.5), ("03-29", 7.0), ("10-23", 8.0), ("10-24", 9.0), ("10-25", 7.0)]
    for on, hours in nights:
        noon = at(f"2026-{on}T12:00")
        assert (on, Calendar(made).busy_ms(noon, noon + 86_400_000) / 3_600_000) == (on, hours)
    assert told(made, "2026-10-24T18:00", "2026-10-25T12:00") == [
        ("24T18:00", "pbt", "longer"), ("24T22:00", "pbt", "longer"),  # a new local date
        ("25T00:30", "pdot", "longer"), ("25T02:30", "pbt", "longer"), ("25T05:00", "nonwork", ""),
    ]  # fmt: skip


def test_the_worked_example_of_the_documentation() -> None:
    page = (Path(__file__).parents[1] / "docs/factory.md").read_text(encoding="utf-8")
    machines = loads(page.split("```yaml\n")[2].split("```")[0]).machines

    def day(on: str, machine: str = "cut") -> str:
        """Local times of all that is planned on a date; the site is two hours before UTC."""
        midnight = at(on) - 2 * 3_600_000
        spans = Calendar(machines[machine]).spans(midnight, midnight + 86_400_000)
        return ", ".join(
            f"{span.shift}{' stop' if span.work == 'pdot' else ''} {(span.start - midnight) / 3_600_000:g}-"
            f"{(span.end - midnight) / 3_600_000:g}" for span in spans if span.work != "nonwork"
        )  # fmt: skip

    assert day("2026-04-30") == "early 6-8, early stop 8-9, early 9-14, late 14-18, late stop 18-18.5, late 18.5-22"
    assert day("2026-05-01") == day("2026-05-08") == "long 12-20"
    assert day("2026-05-04") == ""
    assert day("2026-05-15") == "early 6-12, long 12-20, late 20-22"
    assert (day("2026-05-01", "paint"), day("2026-05-01", "saw")) == (" 0-24", "day 8-16")


# ---- whatever is written, the engine's answer is that of a reading of oee.md section 3, hour by hour

HOURS = st.integers(0, 23)
DATES = st.integers(3, 8).map(lambda day: (Y2026 + timedelta(days=day)).isoformat())


@st.composite
def shifts(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Up to two shifts of one calendar, which do not overlap."""
    start, length, gap, other = draw(HOURS), draw(st.integers(1, 11)), draw(st.integers(0, 2)), draw(st.integers(0, 9))
    found = [{"name": "a", "start": f"{start:02}:00", "end": f"{(start + length) % 24:02}:00"}]
    if other:
        begin = start + length + gap
        found.append({"name": "b", "start": f"{begin % 24:02}:00", "end": f"{(begin + other) % 24:02}:00"})
    return found


@st.composite
def calendars(draw: st.DrawFn) -> Any:
    if draw(st.integers(0, 7)) == 0:
        return "always"
    made: dict[str, Any] = {"inherit": draw(st.integers(0, 3)) > 0}
    if draw(st.booleans()):
        made["shifts"] = draw(shifts())
    if draw(st.booleans()):
        start = draw(HOURS)
        made["breaks"] = [{"start": f"{start:02}:00", "end": f"{(start + draw(st.integers(1, 3))) % 24:02}:00"}]
    if draw(st.booleans()):
        made["closed"] = [draw(DATES)]
    days = [(Y2026 + timedelta(days=day)).isoformat() for day in sorted(draw(st.sets(st.integers(3, 8), max_size=2)))]
    made["exceptions"] = [
        {"on": day, **({"shifts": draw(shifts())} if day not in made.get("closed", ()) and draw(st.booleans()) else {})}
        for day in days
    ]
    return made


def reading(stack: list[Any], hour: datetime) -> tuple[str, str]:
    """(element, shift) of an hour by the calendars as they are written, lowest first."""
    cut = next((n for n, one in enumerate(stack, 1) if one == "always" or not one["inherit"]), len(stack))
    stack = [({"shifts": "always"} if one == "always" else dict(one)) for one in stack[:cut]]
    if not any("shifts" in one for one in stack):
        stack[-1]["shifts"] = "always"
    stopped, spoken_for = False, set[str]()
    for one in stack:
        spoken_for |= set(one.get("closed", ()))
        others = {other["on"]: other for other in one.get("exceptions", ())}
        running: list[tuple[datetime, str]] = []
        for start in (datetime.combine(hour, datetime.min.time()) - timedelta(days=back) for back in (0, 1)):
            on = start.date().isoformat()
            of_date = others.get(on, one)
            stopped = stopped or any(_covers(start, pause, hour) for pause in of_date.get("breaks", ()))
            usual = of_date.get("shifts", ())
            if on not in spoken_for and usual == "always" and start.date() == hour.date():
                running.append((datetime.min, ""))
            elif on not in spoken_for and usual != "always":
                found = [shift for shift in usual if _covers(start, shift, hour)]
                running += [(start + timedelta(hours=int(shift["start"][:2])), shift["name"]) for shift in found]
        if running:
            return "pdot" if stopped else "pbt", max(running)[1]
        spoken_for |= set(others)
    return "nonwork", ""


def _covers(day: datetime, entry: dict[str, str], hour: datetime) -> bool:
    first, last = int(entry["start"][:2]), int(entry["end"][:2])
    return first <= (hour - day) / timedelta(hours=1) < (last if last > first else last + 24)


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(st.sampled_from(["machine", "line", "site", "enterprise"]), calendars(), min_size=1))
def test_every_hour_is_what_a_reading_of_the_file_says(said: dict[str, Any]) -> None:
    plant = factory(**said)
    made = plant.machines["m"]
    stack = [said[level] for level in ("machine", "line", "site", "enterprise") if level in said]
    assert unusable(made) == ""
    for span in Calendar(made).spans(at("2026-01-03"), at("2026-01-12")):
        for hour in range(span.start, span.end, 3_600_000):
            when = datetime.fromtimestamp(hour / 1000, UTC).replace(tzinfo=None)
            assert (span.work, span.shift) == reading(stack, when), when
    assert loads(dump(plant)).machines == plant.machines


CLOSED = {"closed": ["2026-12-24"]}
MISTAKES = {
    "overlap": ([{"from": "2026-07-20", "to": "2026-08-07"}, {"on": "2026-08-01"}],
                "exceptions[2]: the exceptions of 2026-07-20 to 2026-08-07 and 2026-08-01 overlap", "in one of them"),
    "on and from": ([{"on": "2026-07-20", "from": "2026-07-21"}], "both `on` and `from`", "write `on` for one date"),
    "no end": ([{"from": "2026-07-21"}], "the key `to` is missing", "or write `on`"),
    "nothing": ([{"shifts": []}], "the key `from` is missing", "or write `on`"),
    "backwards": ([{"from": "2026-07-21", "to": "2026-07-20"}], "ends (2026-07-20) before it starts", "a later date"),
    "too long": ([{"from": "2026-01-01", "to": "2027-01-02"}], "367 days", "--effective"),
    "breaks alone": ([{"on": "2026-07-21", "breaks": [{"start": "1:00", "end": "2:00"}]}], "no shifts", "their shifts"),
    "on a closed date": ([{"on": "2026-12-24", **DAY}], "2026-12-24 is closed", "delete it under `closed`"),
    "shifts overlap": ([{"on": "2026-12-23", "shifts": [*DAY["shifts"], *LATE["shifts"]]}], "overlap on", "move"),
    "no date": ([{"on": "24.12.2026"}], "'24.12.2026' is no date", "year-month-day"),
    "unknown key": ([{"on": "2026-12-23", "shift": []}], "unknown key 'shift'", "`shifts`"),
}  # fmt: skip


@pytest.mark.parametrize(("exceptions", "problem", "remedy"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_an_exception_is_named(exceptions: list[Any], problem: str, remedy: str) -> None:
    with pytest.raises(FactoryFileError) as refused:
        config(site={**DAY, **CLOSED, "exceptions": exceptions})
    assert str(refused.value).startswith("factory.yaml:1: calendar.exceptions")
    what, cure = str(refused.value).split("; ", 1)
    assert problem in what
    assert remedy in cure


def test_an_overlap_names_the_line_of_the_other() -> None:
    text = dump(factory(site=DAY)).replace(
        "calendar:\n", "calendar:\n  exceptions:\n  - {on: 2026-01-02}\n  - {on: 2026-01-02}\n", 1
    )
    line = text[: text.index("- {on")].count("\n") + 1
    with pytest.raises(FactoryFileError, match=f"^factory.yaml:{line + 1}: .*; see line {line}; let each date"):
        loads(text)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"stale_after_ms": -7}, "a length of time is below 0"),
        ({"micro_stop_ms": -1}, "a length of time is below 0"),
        ({"counter_modulus": 1}, "a counter rolls over below 2"),
        ({"ideal_cycle_us": {"*": 0}}, "an ideal cycle time is not within 0 s and a week"),
    ],
)
def test_a_control_that_no_factory_file_would_make_is_unusable(wrong: dict[str, Any], why: str) -> None:
    assert unusable(MachineConfig(**wrong)) == why
