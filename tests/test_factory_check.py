"""`openoee factory check`: what it says of a file without mistakes."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from pipeline.cli.factory import command
from pipeline.factory import loads
from pipeline.factory_check import describe

EXAMPLES = Path(__file__).parents[1] / "deploy/examples"
TEXT = """\
version: 1
site: lyon
timezone: UTC
calendar: SITE
lines: {L1: {stations: [a, [b, c]]}}
machines:
  a: {ideal_cycle_s: 1, calendar: {shifts: [{name: own, start: 06:00, end: 14:00}]}}
  b: {calendar: {breaks: [{start: 06:00, end: 07:00}]}}
  c: {calendar: {inherit: false, shifts: [{name: own, start: 06:00, end: 14:00}]}}
  d: {calendar: {shifts: [{name: own, start: 06:00, end: 14:00}]}}
"""


def said(site: str) -> list[str]:
    return list(describe(loads(TEXT.replace("SITE", site)), "2026-01-01"))


def test_lines_and_what_is_missing() -> None:
    assert said("{closed: [2026-01-01], shifts: [{name: s, start: 08:00, end: 16:00}]}") == [
        "site lyon, UTC, 4 machines",
        "  line L1: a -> b | c",
        "  on no line: d",
        "  without an ideal cycle time, so without performance and OEE: b, c, d",
        "  calendar of machine a, machine d: outside its own shifts, what site lyon plans counts too; "
        "`inherit: false` leaves it out",
        "  calendar of machine a, machine d: the closed dates of site lyon do not close its own shifts; "
        "name them here to close those",
    ]


def test_closed_dates_of_a_site_without_shifts_are_spoken_of_too() -> None:
    words = [line.partition(": ")[2] for line in said("{closed: [2026-01-01]}") if "calendar of" in line]
    assert words == ["the closed dates of site lyon do not close its own shifts; name them here to close those"]
    assert [line for line in said("{breaks: []}") if "calendar of" in line] == []


def test_ideal_cycles_that_are_hardly_in_seconds_are_asked_about() -> None:
    text = TEXT.replace("SITE", "always").replace("a: {ideal_cycle_s: 1,", "a: {ideal_cycle_s: {A: 0.009, B: 0.01},")
    lines = list(describe(loads(text.replace("inherit: false", "inherit: true")), "2026-01-01"))
    assert "  ideal cycle times that are unusual, are they in seconds? a 0.009 s for A" in lines
    slow = [
        f"  {name}: {{ideal_cycle_s: {seconds}}}\n" for name, seconds in zip("efghijk", range(3600, 3607), strict=True)
    ]
    asked = [line for line in describe(loads(text + "".join(slow)), "2026-01-01") if "unusual" in line]
    assert asked[0].endswith("a 0.009 s for A, f 3601 s, g 3602 s, h 3603 s, i 3604 s and 2 more")
    assert not [line for line in said("always") if "unusual" in line]


def test_the_examples_are_without_mistakes() -> None:
    for file in ("factory.yaml", "nist.factory.yaml"):
        done = CliRunner().invoke(command, ["check", str(EXAMPLES / file)])
        assert done.exit_code == 0, done.output
        assert "no mistake found" in done.output.splitlines()[0]
    shown = CliRunner().invoke(command, ["check", str(EXAMPLES / "factory.yaml")]).output
    assert "site lyon: 32 holidays from 2026-01-01 to 2028-12-25; next: " in shown
