"""State tables: every state of PackML, MTConnect and ISO 22400 has a meaning, and a mapping file picks one by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from shdr_log import DAY, DEVICES, MAPPING, Log, ms

from pipeline.adapters import Refused, Tally
from pipeline.adapters.csv_files import read
from pipeline.core.model import STATES, Frame, StateChange
from pipeline.errors import FactoryFileError
from pipeline.mapping import StateRule, load
from pipeline.state_tables import ISO22400, MODES, MTCONNECT, PACKML, TABLES

DOCS = (Path(__file__).parents[2] / "docs/adapters.md").read_text(encoding="utf-8")
# ISA-TR88.00.02, numbers of the PackTag Status.StateCurrent
NUMBERS = {
    1: "Clearing", 2: "Stopped", 3: "Starting", 4: "Idle", 5: "Suspended", 6: "Execute", 7: "Stopping", 8: "Aborting",
    9: "Aborted", 10: "Holding", 11: "Held", 12: "Unholding", 13: "Suspending", 14: "Unsuspending", 15: "Resetting",
    16: "Completing", 17: "Complete",
}  # fmt: skip
EXECUTION = {
    "READY", "ACTIVE", "INTERRUPTED", "FEED_HOLD", "STOPPED", "OPTIONAL_STOP", "PROGRAM_STOPPED", "PROGRAM_COMPLETED",
    "WAIT", "PROGRAM_OPTIONAL_STOP", "UNAVAILABLE",
}  # fmt: skip
T0 = 1_772_438_400_000  # 2026-03-02T08:00Z
PACKED = "{item: state, table: packml, mode: mode}"


def said(folder: Path, state: str, rows: list[str]) -> tuple[list[tuple[str, str | None]], list[str]]:
    """State and reason after each row (state, mode, blocked; one row a second), and why entries were refused."""
    (folder / "m.yaml").write_text(f"adapter: csv\ndevice: press\nstate: {state}\nignore: ['*']\n")
    path = folder / "press-20260302.csv"
    lines = [f"2026-03-02T08:{at // 60:02}:{at % 60:02}Z,{row}\n" for at, row in enumerate(rows)]
    path.write_text("time,state,mode,blocked\n" + "".join(lines))
    tally = Tally()
    records = list(read([path], [load(folder / "m.yaml")], tally=tally))
    assert tally.balanced
    changes = [change for one in records if isinstance(one, Frame) for change in one.states]
    in_force = [[change for change in changes if change.at <= T0 + at * 1000][-1:] for at in range(len(rows))]
    states = [(change.state, change.reason) for found in in_force for change in found]
    return states, [one.reason for one in records if isinstance(one, Refused)]


def rule(folder: Path, state: str) -> StateRule:
    (folder / "m.yaml").write_text(f"adapter: csv\ndevice: press\nstate: {state}\n")
    found = load(folder / "m.yaml").state
    assert found is not None
    return found


def test_packml_is_whole() -> None:
    assert {state.number: state.name for state in PACKML} == NUMBERS
    assert len(TABLES["packml"]) == len(PACKML) == len(NUMBERS)
    for state in PACKML:
        assert {state.meaning(mode) for mode in MODES} <= set(STATES)
        assert TABLES["packml"][state.name] == TABLES["packml"][str(state.number)] == state.meaning("Production")
    assert [state.name for state in PACKML if state.production == "running"] == ["Execute", "Completing"]
    assert [state.name for state in PACKML if state.manual != "setup"] == ["Aborting", "Aborted"]
    assert {state.maintenance for state in PACKML} == {"maintenance"}


def test_mtconnect_and_iso_are_whole() -> None:
    assert set(MTCONNECT) == EXECUTION
    assert set(MTCONNECT.values()) <= set(STATES)
    elements = {"APT": "running", "AUST": "setup", "ADET": "stopped", "ADOT": "idle", "PDOT": "planned_stop"}
    for names, state in ISO22400.items():
        assert {TABLES["iso22400"][name] for name in names} == {state}
        assert state in STATES
    assert {name: TABLES["iso22400"][name] for name in elements} == elements
    assert len({name for names in ISO22400 for name in names}) == sum(map(len, ISO22400))


@pytest.mark.parametrize("mode", range(len(MODES)))
def test_every_state_in_every_mode_by_name_and_by_number(tmp_path: Path, mode: int) -> None:
    named, refused = said(tmp_path, PACKED, [f"{state.name},{MODES[mode]}," for state in PACKML])
    assert (named, refused) == ([(state.meaning(MODES[mode]), state.name) for state in PACKML], [])
    numbered, refused = said(tmp_path, PACKED, [f"{state.number},{mode}," for state in PACKML])
    assert (numbered, refused) == ([(state.meaning(MODES[mode]), str(state.number)) for state in PACKML], [])


def test_a_shift_of_a_packing_machine(tmp_path: Path) -> None:
    """Runs, waits for parts, jams, is mended in Manual, aborts there, is maintained, goes on in a mode of its own."""
    rows = [
        "EXECUTE,,", "Un-Suspending,Production,", "un_holding,,", " Held ,,", ",Manual,", "Aborted,,", "Stopped,2,",
        "Completed,produce,", "6,4,", "DREAMING,,", ",Maintenance,", "UNAVAILABLE,,", "6,1,",
    ]  # fmt: skip
    states, refused = said(tmp_path, PACKED, rows)
    assert states == [
        ("running", "EXECUTE"),  # no mode said yet
        ("starved", "Un-Suspending"),
        ("stopped", "un_holding"),
        ("stopped", " Held "),
        ("setup", " Held "),  # the mode alone changed
        ("fault", "Aborted"),
        ("maintenance", "Stopped"),
        ("idle", "Completed"),
        ("running", "6"),
        ("unknown", "DREAMING"),
        ("unknown", "DREAMING"),  # not even Maintenance knows what it is
        ("unknown", "UNAVAILABLE"),
        ("running", "6"),
    ]
    assert refused == ["value not in the mapping's state.values (the state is unknown)"]


def test_no_mode_item_is_production(tmp_path: Path) -> None:
    states, _ = said(tmp_path, "{item: state, table: packml}", ["Execute,Maintenance,", "5,Manual,"])
    assert states == [("running", "Execute"), ("starved", "5")]


def test_values_and_overrides_go_before_the_table(tmp_path: Path) -> None:
    state = (
        "{item: state, table: packml, mode: mode, values: {Held: blocked, '3': stopped, Deactivated: off}, overrides: ["
        "{when: {state: [Suspended, 13], blocked: '1'}, state: blocked},"
        "{when: {mode: [cleaning, 4]}, state: planned_stop, reason: cleaning}]}"
    )
    rows = [
        "HELD,1,", "11,,", "Starting,,", "de activated,,", "SUSPENDED,,1", "5,,", "Suspending,,", "5,,0", "5,CLEANING,",
        "5,4,", "11,Maintenance,",
    ]  # fmt: skip
    states, refused = said(tmp_path, state, rows)
    blocked = ("blocked", "blocked, state")
    assert (states, refused) == (
        [
            ("blocked", "HELD"), ("blocked", "11"), ("stopped", "Starting"), ("off", "de activated"), blocked, blocked,
            blocked, ("starved", "5"), ("planned_stop", "cleaning"), ("planned_stop", "cleaning"),
            ("maintenance", "11"),
        ],
        [],
    )  # fmt: skip


def test_an_iso_table(tmp_path: Path) -> None:
    rows = ["Production,,", "ADET,,", "ActualUnitDownTime,,", "planned down time,,", "busy,,"]
    states, refused = said(tmp_path, "{item: state, table: iso22400}", rows)
    assert [state for state, _ in states] == ["running", "stopped", "idle", "planned_stop", "unknown"]
    assert len(refused) == 1


def test_an_mtconnect_log_with_a_table(tmp_path: Path) -> None:
    (tmp_path / "Devices.xml").write_text(DEVICES)
    path = tmp_path / "m1.mapping.yaml"
    values = "values: {ACTIVE: running, INTERRUPTED: stopped, READY: idle}"
    assert values in MAPPING
    path.write_text(MAPPING.replace(values, "table: mtconnect"))
    words = ["ACTIVE", "FEED_HOLD", "WAIT", "PROGRAM_COMPLETED", "UNAVAILABLE"]
    rows = "".join(f"{DAY}08:0{minute}:00Z|execution|{word}\n" for minute, word in enumerate(words))
    log = Log(tmp_path, load(path), rows)
    states = ["running", "stopped", "starved", "idle", "unknown"]
    assert log.refused == []
    assert log.states() == [
        StateChange(ms(f"08:0{minute}:00"), state, word)
        for minute, (state, word) in enumerate(zip(states, words, strict=True))
    ]


MISTAKES = {
    "unknown table": ("table: pack-ml", 5, "'pack-ml' is unknown", "did you mean `packml`"),
    "neither": ("overrides: []", 4, "`values` is missing", "table: ..."),
    "mode without table": ("values: {a: idle}\n  mode: unit_mode", 6, "belong to the table `packml`", "delete `mode`"),
    "mode elsewhere": ("table: mtconnect\n  mode: unit_mode", 6, "belong to the table `packml`", "delete `mode`"),
    "one item for both": ("table: packml\n  mode: state", 6, "'state' is the item of the state", "unit mode"),
    "no mode": ("table: packml\n  mode:", 6, "nothing is given here", "write an item's name"),
    "one word twice": (
        "table: packml\n  values:\n    Held: idle\n    '11': setup",
        8,
        "'11' and 'Held' are one word of the table",
        "delete one of them",
    ),
    "unknown state": ("table: packml\n  values: {Held: halted}", 6, "'halted' is unknown", "known are"),
    "mode is ignored": ("table: packml\n  mode: power", 7, "'power' is used and ignored", "delete it"),
}


@pytest.mark.parametrize(("text", "line", "problem", "remedy"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes_are_named(tmp_path: Path, text: str, line: int, problem: str, remedy: str) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(f"adapter: csv\ndevice: press\nstate:\n  item: state\n  {text}\nignore: [power]\n")
    with pytest.raises(FactoryFileError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert problem in str(caught.value)
    assert remedy in str(caught.value)


def test_the_documentation_shows_the_tables(tmp_path: Path) -> None:
    section = DOCS.partition("### State tables")[2].partition("\n### ")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line.startswith("|")]
    starts = [at for at, row in enumerate(rows) if set(row[0]) == {"-"}]
    packml, mtconnect, iso = (
        rows[at + 1 : end] for at, end in zip(starts, [at - 1 for at in (*starts[1:], len(rows) + 1)], strict=True)
    )
    assert [row[:-1] for row in packml] == [
        [str(state.number), state.name, state.production, state.maintenance, state.manual] for state in PACKML
    ]
    assert [(row[0], row[1]) for row in mtconnect] == list(MTCONNECT.items())
    assert [((row[0], *row[1].split(", ")), row[2]) for row in iso] == list(ISO22400.items())
    examples = [line.strip() for line in section.splitlines() if line.startswith("    state: ")]
    assert len(examples) == 2
    for example in examples:
        assert rule(tmp_path, example.removeprefix("state: ")).values
