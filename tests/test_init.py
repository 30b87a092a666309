"""`openoee init`: what it writes is accepted by `factory check` and the adapters, and says what was answered."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline import mapping
from pipeline.cli.factory import command as factory_command
from pipeline.cli.init import command
from pipeline.cli.replay import command as replay
from pipeline.errors import UsageError
from pipeline.factory import load
from pipeline.starter import parse, state_of

CSV = """\
time,State,Total,Scrap,temp,article,operator
2026-03-02T07:00:00Z,RUN,0,0,20.5,A,Ann
2026-03-02T07:10:00Z,STOP jam,40,1,21.5,A,Ann
2026-03-02T07:15:00Z,RUN,40,1,21,A,
2026-03-02T07:30:00Z,Quux,100,1,22,B,Bob
"""
SHDR = """\
2026-03-02T07:00:00Z|execution|ACTIVE|PartCountAct|0
2026-03-02T07:00:01Z|load|12.5
2026-03-02T07:00:02Z|servo|Normal||||
2026-03-02T07:00:59Z|execution|READY
2026-03-02T07:01:00Z|execution|ACTIVE
2026-03-02T07:02:00Z|servo|Fault|7|||drive off
2026-03-02T07:02:01Z|execution|READY
2026-03-02T07:03:00Z|note|begin
"""


def init(folder: Path, *arguments: str, given: str | None = None) -> str:
    done = CliRunner().invoke(command, ["--out", str(folder / "plant"), *arguments], input=given)
    assert done.exit_code == 0, done.output + str(done.exception)
    return done.output


def facts(folder: Path, adapter: str, machine: str, file: Path) -> str:
    plant = folder / "plant"
    done = CliRunner().invoke(replay, [
        "--adapter", adapter, "--factory", str(plant / "factory.yaml"), "--mapping",
        str(plant / f"{machine}.mapping.yaml"), "--out", str(folder / "out"), str(file),
    ])  # fmt: skip
    assert done.exit_code == 0, done.output + str(done.exception)
    return done.output


def test_a_table_becomes_a_mapping_that_uses_every_column(tmp_path: Path) -> None:
    file = tmp_path / "cut-1.csv"
    file.write_text(CSV)
    said = init(
        tmp_path, "--yes", "--site", "lyon", "--timezone", "Europe/Paris", "--lines", "L1: cut, weld-a | weld b; saw",
        "--cycles", "cut=15; saw=3.5", "--shifts", "early 06:00-14:00 mon-fri; night 22:00-6:00 sun-thu",
        "--signals", "temp Cel ..90; load % 0..110.5", "--files", str(tmp_path / "*.csv"),
    )  # fmt: skip
    assert "--mapping '" in said, "names with blanks are quoted for the shell"
    plant = load(str(tmp_path / "plant" / "factory.yaml"))
    assert (plant.site, plant.timezone, list(plant.machines)) == (
        "lyon",
        "Europe/Paris",
        ["cut", "weld-a", "weld b", "saw"],
    )
    assert plant.lines["L1"].stations == (("cut",), ("weld-a", "weld b"))
    cut = plant.machines["cut"]
    assert cut.ideal_cycle_us == {"*": 15_000_000}
    assert {one.name: (one.unit, one.low, one.high) for one in cut.signals} == {
        "temp": ("Cel", None, 90.0), "load": ("%", 0.0, 110.5),
    }  # fmt: skip
    read = mapping.load(tmp_path / "plant" / "cut.mapping.yaml")
    assert read.state is not None
    assert dict(read.state.values) == {"RUN": "running", "STOP jam": "stopped", "Quux": "unknown"}
    assert dict(read.counters) == {"Total": "total", "Scrap": "reject"}
    assert read.context == {"article": ("product",)}
    assert set(read.signals) == {"temp"}
    assert read.ignore == {"operator"}
    assert "refused              0" in facts(tmp_path, "csv", "cut", file)


def test_a_log_of_a_control_becomes_a_mapping_with_cycles_and_conditions(tmp_path: Path) -> None:
    file = tmp_path / "mill-20260302.txt"
    file.write_text(SHDR)
    init(tmp_path, "--yes", "--lines", "mill", "--adapter", "shdr", "--files", str(file))
    read = mapping.load(tmp_path / "plant" / "mill.mapping.yaml")
    assert read.cycle is not None, "PartCountAct stands still: cycles are counted"
    assert read.conditions == {"servo"}
    assert set(read.signals) == {"load", "PartCountAct"}
    said = facts(tmp_path, "shdr", "mill", file)
    assert "refused              0" in said
    assert "2 parts" in said


def test_the_six_questions_are_asked_and_have_defaults(tmp_path: Path) -> None:
    said = init(tmp_path, given="lyon\nUTC\n\nL1: a, b\n12\n\n\n\n")
    for number in range(1, 7):
        assert f"{number}. " in said
    checked = CliRunner().invoke(factory_command, ["check", str(tmp_path / "plant" / "factory.yaml")])
    assert checked.exit_code == 0
    assert "site lyon, UTC, 2 machines" in checked.output
    assert load(str(tmp_path / "plant" / "factory.yaml")).machines["b"].ideal_cycle_us == {"*": 12_000_000}
    assert mapping.load(tmp_path / "plant" / "a.mapping.yaml").device == "a"


def test_nothing_is_written_over(tmp_path: Path) -> None:
    init(tmp_path, "--yes")
    done = CliRunner().invoke(command, ["--out", str(tmp_path / "plant"), "--yes"])
    assert isinstance(done.exception, UsageError)
    assert "--force" in str(done.exception)
    init(tmp_path, "--yes", "--force")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("shifts", "early 6-14"),
        ("shifts", "early 06:00-14:00 mon-xyz"),
        ("lines", " ; "),
        ("cycles", "cut=quick"),
        ("cycles", "other=5"),
        ("signals", "temperature 1..2 Cel"),
    ],
)
def test_an_answer_that_is_none_is_told_with_an_example(answer: str, text: str) -> None:
    good = {"site": "s", "timezone": "UTC", "shifts": "", "lines": "cut", "cycles": "none", "signals": ""}
    with pytest.raises(UsageError, match="write such as"):
        parse(**{**good, answer: text})


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("RUNNING", "running"), ("Auto", "running"), ("1", "running"), ("0", "idle"), ("E-Stop", "fault"),
        ("Feed_Hold", "stopped"), ("No material", "starved"), ("Setup", "setup"), ("Q7", "unknown"),
    ],
)  # fmt: skip
def test_words_of_machines_are_guessed(word: str, state: str) -> None:
    assert state_of(word) == state
