"""A factory as YAML again, as control records, as an archive; and what differs between two."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.calendar import Calendar
from pipeline.core.model import MachineConfig, Shift
from pipeline.errors import FactoryFileError
from pipeline.factory import Factory, archive, changes, controls, dump, load, loads

EXAMPLE = Path(__file__).parents[1] / "deploy/examples/factory.yaml"
TEXT = EXAMPLE.read_text(encoding="utf-8")
DAY_MS = 86_400_000
NEW_YEAR = 1_767_225_600_000  # 2026-01-01


SMALL = """\
version: 1
site: lyon
timezone: Europe/Paris
lines:
  L1: {area: body, stations: [cut, [weld-a, weld-b]]}
machines:
  cut: {oee_target: 0.75}
  weld-a:
  weld-b:
  paint:
"""


def test_dump_is_read_back_equal() -> None:
    factory = load(EXAMPLE)
    again = loads(dump(factory))
    assert again.machines == factory.machines
    assert again.lines == factory.lines
    assert again.calendars == factory.calendars
    assert (again.site, again.timezone, again.enterprise) == (factory.site, factory.timezone, factory.enterprise)


def test_lines_follow_from_the_machines_places() -> None:
    factory = loads(SMALL)
    assert Factory.of("lyon", "Europe/Paris", factory.machines).lines == factory.lines


def test_a_calendar_that_machines_share_is_the_sites() -> None:
    early, late = (Shift("early", "06:00", "14:00"),), (Shift("late", "14:00", "22:00"),)
    shared = MachineConfig(always=False, shifts=early, closed=("2026-01-01",), line="L1", position=1)
    machines = {"cut": shared, "weld": replace(shared, position=2), "oven": MachineConfig(closed=("2026-01-02",)),
                "furnace": MachineConfig(), "saw": MachineConfig(always=False, shifts=late)}  # fmt: skip
    factory = Factory.of("lyon", "UTC", machines)
    levels = {name: config.calendar_level for name, config in factory.machines.items()}
    assert levels == {"cut": "site", "weld": "site", "oven": "machine", "furnace": "machine", "saw": "machine"}
    assert loads(dump(factory)).machines == factory.machines
    week = range(NEW_YEAR, NEW_YEAR + 7 * DAY_MS, DAY_MS)
    for name, config in factory.machines.items():
        for day in week:
            assert Calendar(config).spans(day, day + DAY_MS) == Calendar(machines[name]).spans(day, day + DAY_MS)


def test_a_factory_of_machines_with_levels_keeps_them() -> None:
    for factory in (load(EXAMPLE), loads(SMALL)):
        again = Factory.of(factory.site, factory.timezone, factory.machines)
        assert again.machines == factory.machines
        assert again.lines == factory.lines
        assert loads(dump(again)).machines == factory.machines


def test_controls_and_archive_carry_the_file() -> None:
    factory = loads(SMALL)
    sent = controls(factory, issued=5_000, by="anna", effective=1_000)
    assert [control.machine for control in sent] == list(factory.machines)
    assert len({control.id for control in sent + controls(factory, 5_001, "anna")}) == 8
    assert {(control.body.effective, control.issued, control.by) for control in sent} == {(1_000, 5_000, "anna")}
    kept = archive(factory, 5_000, "anna", 1_000)
    assert (kept.site, kept.effective, kept.applied, kept.by, kept.text) == ("lyon", 1_000, 5_000, "anna", SMALL)


def test_changes_are_named_by_machine_and_key() -> None:
    before, after = loads(SMALL), loads(SMALL.replace("0.75", "0.8").replace("paint", "dry"))
    assert changes(before, after) == [
        "paint: gone from the file; what was last said of it stays",
        "cut: oee_target: 0.75 -> 0.8",
        "dry: new",
    ]
    assert changes(before, before) == []
    assert changes(None, before)[0] == "cut: new"


FRAGMENTS = ["'", *'"{}[]:,#!%~*&\t\n\0é', "- ", "&a", "-1", "1e999"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(TEXT) - 1), st.integers(0, 8), st.sampled_from(FRAGMENTS)), max_size=3))
def test_whatever_is_mistyped_the_answer_is_a_factory_or_one_sentence(edits: list[tuple[int, int, str]]) -> None:
    text = TEXT
    for at, dropped, typed in edits:
        text = text[:at] + typed + text[at + dropped :]
    try:
        factory = loads(text)
    except FactoryFileError as refused:
        found = re.fullmatch(r"factory\.yaml:(\d+): .+; .+", str(refused))
        assert found
        assert int(found[1]) <= text.count("\n") + 1
    else:
        assert loads(dump(factory)).machines == factory.machines
