"""What differs between two factory files is said in sentences that a person reads."""

from __future__ import annotations

import pytest

from pipeline.factory import changes, loads

TEXT = """\
version: 1
enterprise: {name: acme}
site: lyon
timezone: Europe/Berlin
calendar:
  shifts:
    - {name: early, start: 06:00, end: 14:00, days: [1, 2, 3, 4, 5]}
    - {name: early, start: 06:00, end: 12:00, days: [6]}
    - {name: late, start: 14:00, end: 22:00, days: [1, 3]}
  breaks: [{name: lunch, start: 12:00, end: 12:30}]
  holidays: {country: DE, years: 2026-2027}
  closed: [2026-12-24]
  exceptions:
    - {from: 2026-07-20, to: 2026-08-07, shifts: [{name: early, start: 06:00, end: 12:00}]}
    - {on: 2026-12-23}
lines:
  L1: {stations: [mill-1]}
machines:
  mill-1:
    ideal_cycle_s: {A: 12.5, "*": 15}
    calendar:
      shifts: [{name: early, start: 06:00, end: 14:00}]
    signals: {load: {high: 110}, heat: {unit: Cel}}
  mill-2: {units_per_cycle: 2}
reasons:
  technical: {loss: breakdown, reasons: {drive: {}, door: {}}}
"""
CHANGES = {
    "cycle": ("A: 12.5", "A: 12", ["mill-1: ideal_cycle_us[A]: 12500000 -> 12000000"]),
    "other product": (
        "A: 12.5", "B: 12.5",
        ["mill-1: ideal_cycle_us[A]: 12500000 -> none", "mill-1: ideal_cycle_us[B]: none -> 12500000"],
    ),
    "units": ("mill-2: {units_per_cycle: 2}", "mill-2: {units_per_cycle: 3, split: proportional}",
              ["mill-2: units_per_cycle[*]: 2 -> 3", "mill-2: count_split: none -> proportional"]),
    "signal": ("{high: 110}, heat", "{high: 120}, cold",
               ["mill-1: signals[load].high: 110.0 -> 120.0", "mill-1: signals[heat]: gone",
                "mill-1: signals[cold]: new"]),
    "machine's shift": ("shifts: [{name: early, start: 06:00, end: 14:00}]",
                        "shifts: [{name: early, start: 05:30, end: 13:30}]",
                        ["mill-1: calendar: shifts early 06:00-14:00 -> 05:30-13:30"]),
    "machine's calendar": ("    calendar:\n      shifts: [{name: early, start: 06:00, end: 14:00}]\n", "",
                           ["mill-1: calendar: gone", "mill-1: calendar: shifts early 06:00-14:00: gone"]),
    "line's calendar": ("{stations: [mill-1]}", "{stations: [mill-1], calendar: always}",
                        ["line L1: calendar: new", "line L1: calendar: always: no -> yes"]),
    "inherit": ("    calendar:\n", "    calendar:\n      inherit: false\n", ["mill-1: calendar: inherit: yes -> no"]),
    "site's shift": ("12:00, days: [6]", "13:00, days: [6]",
                     ["site lyon: calendar: shifts early 06:00-14:00 Mon-Fri and 06:00-12:00 Sat -> "
                      "06:00-14:00 Mon-Fri and 06:00-13:00 Sat"]),
    "shift gone": ("    - {name: late, start: 14:00, end: 22:00, days: [1, 3]}\n", "",
                   ["site lyon: calendar: shifts late 14:00-22:00 Mon Wed: gone"]),
    "break": ("end: 12:30", "end: 12:45", ["site lyon: calendar: breaks lunch 12:00-12:30 -> 12:00-12:45"]),
    "holidays": ("2026-2027", "2026-2030",
                 ["site lyon: calendar: holidays: 27 new, from 2028-01-01 to 2030-12-26"]),
    "closed": ("[2026-12-24]", "[2026-12-31]",
               ["site lyon: calendar: closed 2026-12-24: gone", "site lyon: calendar: closed 2026-12-31: new"]),
    "planned stop": ("  breaks:", "  planned_down: [{from: 2026-03-02T10:00:00Z, to: 2026-03-02T10:30:00Z}]\n  breaks:",
                     ["site lyon: calendar: planned_down 2026-03-02T10:00:00Z to 2026-03-02T10:30:00Z: new"]),
    "exception": ("{on: 2026-12-23}", "{on: 2026-12-23, shifts: [{name: early, start: 06:00, end: 10:00}],\n"
                  "       breaks: [{start: 08:00, end: 08:15}]}",
                  ["site lyon: calendar: exception 2026-12-23 closed -> early 06:00-10:00, break break 08:00-08:15"]),
    "exception gone": ("    - {on: 2026-12-23}\n", "", ["site lyon: calendar: exception 2026-12-23 closed: gone"]),
    "timezone": ("Europe/Berlin", "Europe/Paris", ["site lyon: timezone: Europe/Berlin -> Europe/Paris"]),
    "enterprise": ("name: acme", "name: umbrella", ["site lyon: enterprise: acme -> umbrella"]),
    "reason": ("{drive: {}, door: {}}", "{drive: {name: The drive}, jam: {loss: idling}}",
               ["reasons: drive: name: drive -> The drive", "reasons: door: gone", "reasons: jam: new"]),
    "reason's place": ("loss: breakdown, reasons: {drive: {}, door: {}}}", "reasons: {drive: {reasons: {door: {}}}}}",
                       ["reasons: technical: loss: breakdown -> none", "reasons: drive: loss: breakdown -> none",
                        "reasons: door: loss: breakdown -> none",
                        "reasons: door: place: technical > door -> technical > drive > door"]),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "sentences"), CHANGES.values(), ids=CHANGES)
def test_a_change_is_said_once(old: str, new: str, sentences: list[str]) -> None:
    assert TEXT.count(old) == 1
    before, after = loads(TEXT, year=2026), loads(TEXT.replace(old, new), year=2026)
    assert changes(before, after) == sentences
    assert changes(after, after) == []


def test_a_new_factory_is_its_machines() -> None:
    assert changes(None, loads(TEXT)) == ["mill-1: new", "mill-2: new"]
