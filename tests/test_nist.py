"""Logs of real machine tools (NIST Smart Manufacturing Systems Test Bed): all of them, and the control's own counters.

The data are not part of the project; they are looked for at `<project>/../shared/data/nist_sms` (docs/adapters.md).
"""

from __future__ import annotations

import csv
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import pytest

from pipeline import factory, mapping, replay
from pipeline.adapters import Refused, Tally
from pipeline.adapters.shdr import read
from pipeline.core.model import Control, EndOfSource, Frame, MachineConfig
from pipeline.settings import load

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared/data/nist_sms"
EXAMPLES = ROOT / "deploy/examples"
pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"the public logs are not there ({DATA.parent.parent.name}/data)"
)


def logs(machine: str, days: str = "*") -> list[Path]:
    return sorted((DATA / machine).glob(f"{machine}-{days}.txt.gz"))


def frames(machine: str, name: str, tally: Tally, days: str = "*") -> list[Frame | Control]:
    """Everything that the adapter makes of a machine's logs with one of the example mappings; nothing is refused."""
    rules = mapping.load(EXAMPLES / f"{name}.mapping.yaml")
    records = list(read(logs(machine, days), [rules], DATA / "Devices.xml", tally))
    assert not [record for record in records if isinstance(record, Refused)]
    return [record for record in records if not isinstance(record, Refused)]


@pytest.mark.parametrize(
    ("machine", "files", "lines", "parts"), [("Mazak01", 31, 1_003_088, 388), ("GFAgie01", 21, 431_020, 11)]
)
def test_every_line_of_every_file_is_accounted_for(machine: str, files: int, lines: int, parts: int) -> None:
    tally = Tally()
    records = frames(machine, machine.lower(), tally)
    assert (tally.files, tally.lines, tally.entries) == (files, lines, lines)
    assert tally.balanced
    assert not tally.refused
    assert not [item for item, count in tally.unmapped.items() if count > files]  # only what snapshots alone hold
    assert tally.parts == parts
    assert tally.opening == len({record.source for record in records if isinstance(record, Frame) and record.opening})
    sequences: dict[str, list[int]] = {}
    for record in records[:-1]:
        assert isinstance(record, Frame)
        sequences.setdefault(record.source, []).append(record.sequence)
    assert all(numbers == list(range(len(numbers))) for numbers in sequences.values())
    assert isinstance(records[-1], Control)
    assert isinstance(records[-1].body, EndOfSource)


def test_run_time_agrees_with_the_control() -> None:
    """The median over all days with work of |APT - auto_time| / auto_time, with the mapping that counts alike."""
    records = frames("Mazak01", "mazak01-auto-time", Tally())
    always = Control("Mazak01", "config", 0, "test", MachineConfig(site="nist"))
    facts = replay.current(replay.run([always, *records], load({}).engine()).facts)
    ran: Counter[str] = Counter()
    for fact in facts:
        ran[datetime.fromtimestamp(fact.window_start / 1000, UTC).strftime("%Y%m%d")] += fact.apt_ms
    with (DATA / "auto_time_oracle.csv").open() as file:
        days = list(csv.DictReader(file))
    assert len(days) == 14
    errors = {}
    for day in days:
        date, own = day["file"].split("-")[1], float(day["auto_time"])
        errors[date] = abs(ran[date] / 1000 - own) / own
        states = sum(float(day[state]) for state in ("ACTIVE", "INTERRUPTED", "FEED_HOLD", "PROGRAM_STOPPED"))
        assert ran[date] / 1000 == pytest.approx(states, abs=0.1)  # to the millisecond what the log itself says
    assert median(errors.values()) <= 0.025, errors
    assert all(fact.t_ms == fact.pbt_ms for fact in facts)


def test_three_days_give_oee_and_the_same_again_no_new_numbers() -> None:
    plant = factory.load(EXAMPLES / "nist.factory.yaml")
    configs = [control for control in factory.controls(plant, 0, "test") if control.machine == "Mazak01"]
    days = frames("Mazak01", "mazak01", Tally(), "2017111[4-6]*")
    once = replay.run([*configs, *days], load({}).engine())
    twice = replay.run([*configs, *(record for record in days for _ in range(2))], load({}).engine())
    facts, again = replay.current(once.facts), replay.current(twice.facts)
    keep = [(fact.window_start, fact.segment_start, fact.apt_ms, fact.pbt_ms, fact.total) for fact in facts]
    assert keep == [(fact.window_start, fact.segment_start, fact.apt_ms, fact.pbt_ms, fact.total) for fact in again]
    assert once.dead_letters == []
    made = sum(fact.total for fact in facts)
    assert made == sum(reading.total or 0 for frame in days if isinstance(frame, Frame) for reading in frame.counts)
    assert sum(fact.ideal_total_us for fact in facts) > 0
    assert {fact.product for fact in facts if fact.total} <= {
        "781",
        "782",
        "783",
        "784",
        "785",
        "786",
        "787",
        "788",
        "798",
    }
    shift = [fact for fact in facts if fact.shift == "day"]
    assert sum(fact.pbt_ms - fact.overtime_ms for fact in shift) % 60_000 == 0
