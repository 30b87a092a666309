"""Mapping files: what they say, and one clear sentence with file, line and remedy for every mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import FactoryFileError
from pipeline.mapping import CycleRule, Override, Signal, StateRule, load

EXAMPLES = sorted((Path(__file__).parents[2] / "deploy/examples").glob("*.mapping.yaml"))

GOOD = """\
adapter: shdr
device: M1
machine: cell-7
timezone: Europe/Paris
state:
  item: execution
  values: {ACTIVE: running, ON: idle}
  overrides:
    - {when: {estop: TRIGGERED}, state: fault, reason: emergency stop}
    - {when: {mode: [A, B], execution: ACTIVE}, state: setup}
parts:
  cycle:
    item: execution
    running: ACTIVE
    hold: [HELD]
    through: LOST
    end: [READY, DONE]
    when: {mode: A}
    unless: {program: [P1, P2]}
    min_running_s: 1.5
context: {program: prog, product: prog}
signals:
  Srpm: speed
  pos: {name: [x, y], unit: mm, scale: 0.5}
conditions: {items: [system], severity: {Fault: fault}}
messages: {note: info}
ignore: [line, power]
"""


def test_everything_a_file_says(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(GOOD)
    mapping = load(path)
    assert (mapping.adapter, mapping.device, mapping.machine, mapping.timezone) == (
        "shdr",
        "M1",
        "cell-7",
        "Europe/Paris",
    )
    assert mapping.state == StateRule(
        "execution",
        {"ACTIVE": "running", "ON": "idle"},
        (
            Override({"estop": frozenset({"TRIGGERED"})}, "fault", "emergency stop"),
            Override({"mode": frozenset("AB"), "execution": frozenset({"ACTIVE"})}, "setup", "execution, mode"),
        ),
    )
    assert mapping.cycle == CycleRule(
        "execution",
        frozenset({"ACTIVE"}),
        frozenset({"HELD"}),
        frozenset({"LOST"}),
        frozenset({"READY", "DONE"}),
        {"mode": frozenset("A")},
        {"program": frozenset({"P1", "P2"})},
        1500,
    )
    assert mapping.context == {"prog": ("program", "product")}
    assert mapping.signals == {"Srpm": Signal(("speed",)), "pos": Signal(("x", "y"), "mm", 0.5)}
    assert (mapping.conditions, mapping.severities) == ({"system"}, {"Fault": "fault"})
    assert (mapping.messages, mapping.ignore) == ({"note": "info"}, {"line", "power"})
    assert mapping.watched == {"execution", "estop", "mode"}
    assert mapping.remembered == {"execution", "mode", "program"}


def test_counters_instead_of_cycles(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("adapter: shdr\ndevice: M1\nparts: {counters: {total: made, reject: bad}}\n")
    assert load(path).counters == {"made": "total", "bad": "reject"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_are_read(path: Path) -> None:
    assert load(path).state is not None


MISTAKES = {
    "unknown key": ("context:", "contexts:", 21, "unknown key 'contexts'", "did you mean `context`"),
    "missing key": ("device: M1\n", "", 1, "`device` is missing", "add `device: ...`"),
    "unknown zone": ("Europe/Paris", "Europe/Pari", 4, "no time zone 'Europe/Pari'", "IANA"),
    "unknown state": ("ACTIVE: running", "ACTIVE: runing", 7, "'runing' is unknown", "did you mean `running`"),
    "no states": ("  values: {ACTIVE: running, ON: idle}\n", "", 6, "`values` is missing", "add"),
    "override's state": ("state: setup", "state: set-up", 10, "'set-up'", "did you mean `setup`"),
    "empty when": ("{estop: TRIGGERED}", "{}", 9, "no item is named", "write `{item: value}`"),
    "two meanings": ("hold: [HELD]", "hold: [DONE]", 17, "'DONE' stands under `hold` too", "delete one"),
    "no end": ("    end: [READY, DONE]\n", "", 13, "`end` is missing", "add"),
    "time": ("min_running_s: 1.5", "min_running_s: 15 s", 20, "not a number of seconds", "alone (15)"),
    "negative time": ("min_running_s: 1.5", "min_running_s: -1", 20, "cannot be negative", "from 0"),
    "context": ("product: prog", "part: prog", 21, "unknown key 'part'", "known are"),
    "same signal": ("Srpm: speed", "Srpm: x", 24, "'x' stands here twice, first in line 23", "rename one"),
    "no name": ("name: [x, y], ", "", 24, "`name` is missing", "add"),
    "empty names": ("name: [x, y]", "name: []", 24, "no signal is named", "write a name"),
    "severity": ("Fault: fault", "Fault: bad", 25, "'bad' is unknown", "known are"),
    "no severity": ("severity: {Fault: fault}", "severity: {}", 25, "no level is named", "write such as"),
    "used and ignored": ("[line, power]", "[line, Srpm]", 27, "'Srpm' is used and ignored", "delete it"),
    "parts": (
        "parts:\n",
        "parts:\n  counters: {total: made}\n",
        12,
        "counters or from the end of cycles",
        "write one of",
    ),
}


@pytest.mark.parametrize(("old", "new", "line", "problem", "remedy"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, line: int, problem: str, remedy: str) -> None:
    path = tmp_path / "m.yaml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(FactoryFileError) as caught:
        load(path)
    text = str(caught.value)
    assert text.startswith(f"{path}:{line}: ")
    assert problem in text
    assert remedy in text
