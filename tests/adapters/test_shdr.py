"""MTConnect adapter logs: every kind of line, every kind of damage, and the account of all of it."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adapters import Refused, Tally, adapter
from pipeline.adapters.cutter import FRAME_ENTRIES
from pipeline.adapters.shdr import read
from pipeline.core.model import Context, Control, CountReading, EndOfSource, Frame, MachineEvent, StateChange
from pipeline.errors import FactoryFileError, UsageError
from pipeline.mapping import Mapping, load

DEVICES = """\
<MTConnectDevices xmlns='urn:mtconnect.org:MTConnectDevices:1.3'><Devices><Device name='M1' id='M1'><DataItems>
<DataItem category='EVENT' id='M1_1' name='avail' type='AVAILABILITY'/>
<DataItem category='EVENT' id='M1_2' name='execution' type='EXECUTION'/>
<DataItem category='EVENT' id='M1_3' name='mode' type='CONTROLLER_MODE'/>
<DataItem category='EVENT' id='M1_4' name='program' type='PROGRAM'/>
<DataItem category='SAMPLE' id='M1_5' name='speed' type='ROTARY_VELOCITY' units='REVOLUTION/MINUTE'/>
<DataItem category='SAMPLE' id='M1_6' name='load' type='LOAD' units='PERCENT'/>
<DataItem category='SAMPLE' id='M1_7' name='place' type='PATH_POSITION' units='MILLIMETER_3D'/>
<DataItem category='CONDITION' id='M1_8' name='system' type='SYSTEM'/>
<DataItem category='EVENT' id='M1_9' name='note' type='MESSAGE'/>
<DataItem category='EVENT' id='M1_10' name='made' type='PART_COUNT'/>
</DataItems></Device></Devices></MTConnectDevices>
"""
MAPPING = """\
adapter: shdr
device: M1
state:
  item: execution
  values: {ACTIVE: running, INTERRUPTED: stopped, READY: idle}
  overrides:
    - {when: {avail: UNAVAILABLE}, state: off, reason: switched off}
    - {when: {system: Fault, execution: [READY, INTERRUPTED]}, state: fault, reason: alarm}
parts:
  cycle: {item: execution, running: ACTIVE, hold: INTERRUPTED, end: READY, when: {mode: AUTOMATIC}, min_running_s: 10}
context: {program: program, product: program}
signals:
  speed: spindle_speed
  load: {name: spindle_load, scale: 0.01, unit: "1"}
  place: {name: [x, y, z]}
conditions: {items: "*", severity: {Normal: normal, Warning: warning, Fault: fault}}
messages: {note: warning}
ignore: [line]
"""
DAY = "2017-11-06T"


def ms(clock: str) -> int:
    return int(datetime.fromisoformat(f"{DAY}{clock}+00:00").timestamp() * 1000)


@pytest.fixture
def mapping(tmp_path: Path) -> Mapping:
    (tmp_path / "Devices.xml").write_text(DEVICES)
    (tmp_path / "m1.mapping.yaml").write_text(MAPPING)
    return load(tmp_path / "m1.mapping.yaml")


class Log:
    """A log of M1 in a folder: what the adapter makes of it."""

    def __init__(
        self, folder: Path, mapping: Mapping, text: str | bytes, name: str = "M1-20171106-20171107.txt"
    ) -> None:
        self.path = folder / name
        self.path.write_bytes(text.encode() if isinstance(text, str) else text)
        self.tally = Tally()
        self.all = list(read([self.path], [mapping], folder / "Devices.xml", self.tally))
        self.frames = [one for one in self.all if isinstance(one, Frame)]
        self.refused = [one for one in self.all if isinstance(one, Refused)]
        self.controls = [one for one in self.all if isinstance(one, Control)]
        assert self.tally.balanced

    def states(self) -> list[StateChange]:
        return [change for frame in self.frames for change in frame.states]

    def samples(self) -> dict[str, list[tuple[int, float]]]:
        found: dict[str, list[tuple[int, float]]] = {}
        for frame in self.frames:
            for block in frame.signals:
                for name, values in zip(block.names, block.values, strict=True):
                    found.setdefault(name, []).extend(zip(block.at.tolist(), values.tolist(), strict=True))
        return found


def test_one_of_everything(tmp_path: Path, mapping: Mapping) -> None:
    log = Log(
        tmp_path,
        mapping,
        f"{DAY}08:00:00.123456Z|program|O100\n"
        f"{DAY}08:00:00.123456Z|execution|ACTIVE\n"
        f"{DAY}08:00:01Z|speed|1200.5|load|37|line|5\n"
        f"{DAY}08:00:01.5Z|place|1 -2 3.5\n"
        f"{DAY}08:00:02Z|system|Fault|31||HIGH|SERVO | X AXIS\n"
        f"{DAY}08:00:03+01:00|note|N7|change the tool\n",
    )
    assert log.refused == []
    first, second = log.frames
    assert (first.machine, first.source, first.sequence) == ("M1", "shdr:M1-20171106-20171107.txt", 0)
    assert first.epoch == ms("08:00:00.123")
    assert first.sent == ms("08:00:02")
    assert first.states == [StateChange(ms("08:00:00.123"), "running", "ACTIVE")]
    assert first.contexts == [Context(ms("08:00:00.123"), "O100", None, "O100")]
    assert first.events == [MachineEvent(ms("08:00:02"), "condition", "fault", "system/31", "SERVO | X AXIS (HIGH)")]
    assert log.samples() == {
        "spindle_speed": [(ms("08:00:01"), 1200.5)],
        "spindle_load": [(ms("08:00:01"), 0.37)],
        "x": [(ms("08:00:01.500"), 1.0)],
        "y": [(ms("08:00:01.500"), -2.0)],
        "z": [(ms("08:00:01.500"), 3.5)],
    }
    units = {name: unit for block in first.signals for name, unit in zip(block.names, block.units, strict=True)}
    assert units == {"spindle_speed": "1/min", "spindle_load": "1", "x": "mm", "y": "mm", "z": "mm"}
    assert second.sequence == 1
    assert second.events == [MachineEvent(ms("07:00:03"), "message", "warning", "N7", "change the tool")]
    end = Control("M1", f"end:{first.source}", first.sent, "shdr", EndOfSource(first.source, first.sent))
    assert log.controls == [end]
    assert (log.tally.lines, log.tally.entries, log.tally.ignored) == (6, 8, {"line": 1})


def test_signals_with_the_same_instants_share_a_block(tmp_path: Path, mapping: Mapping) -> None:
    rows = "".join(f"{DAY}08:00:0{i}Z|speed|{i}|load|{i}\n" for i in range(3)) + f"{DAY}08:00:03Z|speed|3\n"
    frame = Log(tmp_path, mapping, rows + f"{DAY}08:00:04Z|load|4\n").frames[0]
    assert [block.names for block in frame.signals] == [["spindle_speed"], ["spindle_load"]]
    frame = Log(tmp_path, mapping, rows.replace("|speed|3", "|speed|3|load|3")).frames[0]
    assert [block.names for block in frame.signals] == [["spindle_speed", "spindle_load"]]
    assert not any(np.isnan(block.values).any() for block in frame.signals)


def test_the_snapshot_at_the_head_becomes_one_opening_frame(tmp_path: Path, mapping: Mapping) -> None:
    log = Log(
        tmp_path,
        mapping,
        "2017-11-05T20:00:00Z|avail|UNAVAILABLE\n"
        "2017-11-05T21:00:00Z|execution|ACTIVE\n"
        "2017-01-23T18:33:25Z|mode|AUTOMATIC\n"
        "2017-01-23T18:33:25Z|program|O1\n"
        "2017-11-05T20:30:00Z|avail|AVAILABLE\n"
        "2017-11-05T20:30:00Z|speed|12\n"
        "2017-11-05T20:31:00Z|speed|13\n"
        "2017-11-05T20:30:00Z|system|Normal||||\n"
        f"{DAY}08:00:00Z|execution|READY\n"
        "2017-11-05T23:59:59Z|speed|14\n",
    )
    opening, late = log.frames[0], log.frames[-1]
    day_before = ms("00:00:00") - 86_400_000
    assert opening.opening
    assert opening.states == [StateChange(day_before + 21 * 3_600_000, "running", "ACTIVE")]
    assert [context[1:] for context in opening.contexts] == [("O1", None, "O1")]
    assert opening.events == []
    assert [(block.names, block.values.tolist()) for block in opening.signals] == [(["spindle_speed"], [[13.0]])]
    assert [frame.opening for frame in log.frames] == [True, False, False]
    assert late.signals[0].values.tolist() == [[14.0]]
    assert log.tally.opening == 1
    assert log.tally.parts == 1  # the cycle stood in the snapshot; its end is in the file


def test_quiet_day_has_no_end(tmp_path: Path, mapping: Mapping) -> None:
    log = Log(tmp_path, mapping, "2017-11-01T20:00:00Z|execution|UNAVAILABLE\n")
    assert [frame.opening for frame in log.frames] == [True]
    assert log.states() == [StateChange(ms("20:00:00") - 5 * 86_400_000, "unknown", "UNAVAILABLE")]
    assert log.controls == []


def test_the_day_of_the_name_is_in_the_mapping_s_zone(tmp_path: Path) -> None:
    (tmp_path / "Devices.xml").write_text(DEVICES)
    (tmp_path / "m1.mapping.yaml").write_text(MAPPING + "timezone: Asia/Tokyo\n")
    tokyo = load(tmp_path / "m1.mapping.yaml")
    text = "2017-11-05T14:59:59Z|execution|READY\n2017-11-05T15:00:00Z|execution|ACTIVE\n"
    assert [frame.opening for frame in Log(tmp_path, tokyo, text).frames] == [True, False]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("nonsense", "does not begin with a time"),
        ("2017-13-06T08:00:00Z|speed|1", "does not begin with a time"),
        ("2017-11-06T08:00:60Z|speed|1", "does not begin with a time"),
        ("1234567|speed|1", "does not begin with a time"),
        ("|speed|1", "does not begin with a time"),
        (f"{DAY}08:00:00Z", "an item without a value"),
        (f"{DAY}08:00:00Z|speed", "an item without a value"),
        (f"{DAY}08:00:00Z|speed|", "no number"),
        (f"{DAY}08:00:00Z|speed|fast", "no number"),
        (f"{DAY}08:00:00Z|speed|nan", "no number"),
        (f"{DAY}08:00:00Z|speed|1e999", "no number"),
        (f"{DAY}08:00:00Z|speed|1_000", "no number"),
        (f"{DAY}08:00:00Z|place|1 2", "not 3 numbers"),
        (f"{DAY}08:00:00Z|system|Worried|1|||x", "unknown level of a condition"),
        (f"{DAY}08:00:00Z|execution|DREAMING", "value not in the mapping's state.values (the state is unknown)"),
        (f"{DAY}08:00:00Z|program|--multiline--AB", "a multi-line value without its end"),
        (f"{DAY}08:00:00Z|speed|" + "1" * 1_000_000, "longer than 1 MB"),
    ],
)  # fmt: skip
def test_what_is_refused_is_named_with_its_line(tmp_path: Path, mapping: Mapping, line: str, reason: str) -> None:
    log = Log(tmp_path, mapping, f"{DAY}07:00:00Z|speed|1\n\n{line}\n{DAY}09:00:00Z|speed|2\n")
    assert [(one.source, one.line, one.reason) for one in log.refused] == [("shdr:M1-20171106-20171107.txt", 3, reason)]
    assert log.tally.refused == {reason: 1}
    assert log.samples()["spindle_speed"] == [(ms("07:00:00"), 1.0), (ms("09:00:00"), 2.0)]
    assert (log.tally.lines, log.tally.blank) == (4, 1)


def test_the_rest_of_a_line_with_a_bad_entry_is_used(tmp_path: Path, mapping: Mapping) -> None:
    log = Log(tmp_path, mapping, f"{DAY}08:00:00Z|speed|x|load|50|mode\n")
    assert sorted(one.reason for one in log.refused) == ["an item without a value", "no number"]
    assert log.samples() == {"spindle_load": [(ms("08:00:00"), 0.5)]}


def test_commands_assets_and_multi_line_values(tmp_path: Path, mapping: Mapping) -> None:
    log = Log(
        tmp_path,
        mapping,
        "* PONG 10000\r\n"
        f"{DAY}08:00:00Z|@ASSET@|T1|CuttingTool|--multiline--0FED\r\n"
        f"<Tool>\r\n{DAY}08:00:00Z|speed|1\r\n</Tool>\r\n0FED\r\n"
        f"{DAY}08:00:01Z|M1:program|--multiline--X\nO1\n|second\nX\n"
        f"{DAY}08:00:02Z|C9travel|Unavailable||||\n"
        f"{DAY}08:00:03Z|speed@x|7\n"
        f"{DAY}08:00:04Z@10.5|speed|8",
    )
    assert log.refused == []
    tally = log.tally
    assert (tally.lines, tally.commands, tally.continued, tally.entries) == (13, 1, 7, 5)
    assert tally.unmapped == {"@ASSET@": 1, "C9travel": 1, "speed@x": 1}
    assert log.frames[0].contexts == [Context(ms("08:00:01"), "O1\n|second", None, "O1\n|second")]
    assert log.samples() == {"spindle_speed": [(ms("08:00:04"), 8.0)]}


def test_an_unfinished_multi_line_value_swallows_nothing(tmp_path: Path, mapping: Mapping) -> None:
    rows = [f"{DAY}08:00:00Z|program|--multiline--{i}" for i in range(20)] + [f"{DAY}08:00:01Z|speed|1"]
    log = Log(tmp_path, mapping, "\n".join(rows))
    assert [one.line for one in log.refused] == list(range(1, 21))
    assert log.samples() == {"spindle_speed": [(ms("08:00:01"), 1.0)]}
    assert log.tally.lines == 21


def test_bytes_that_are_no_utf_8_and_a_byte_order_mark(tmp_path: Path, mapping: Mapping) -> None:
    text = f"\ufeff{DAY}08:00:00Z|program|O1\n".encode() + f"{DAY}08:00:01Z|program|Gehäuse\n".encode("latin-1")
    log = Log(tmp_path, mapping, text)
    assert [context.program for context in log.frames[0].contexts] == ["O1", "Gehäuse"]


def test_gzip_by_content_and_cut_short(tmp_path: Path, mapping: Mapping) -> None:
    rows = "".join(f"{DAY}08:{i // 60:02}:{i % 60:02}Z|speed|{i * 7919 % 1009}\n" for i in range(3600 // 2))
    packed = gzip.compress(rows.encode())
    whole = Log(tmp_path, mapping, packed)
    assert len(whole.samples()["spindle_speed"]) == 1800
    cut = Log(tmp_path, mapping, packed[: len(packed) // 2])
    got = cut.samples().get("spindle_speed", [])
    assert whole.samples()["spindle_speed"][: len(got) - 1] == got[:-1]
    assert [one.reason.startswith("cannot be read further") for one in cut.refused][-1]
    assert cut.refused[-1].line == cut.tally.lines + 1


def test_frames_are_cut_by_event_time_and_size_and_never_lose_a_late_line(tmp_path: Path, mapping: Mapping) -> None:
    seconds = [0, 9, 10, 25, 24, 1, 26]
    log = Log(tmp_path, mapping, "".join(f"{DAY}08:00:{i:02}Z|speed|{i}\n" for i in seconds))
    spans = [[round((at - ms("08:00:00")) / 1000) for at in frame.signals[0].at] for frame in log.frames]
    assert spans == [[0, 9], [10], [24, 25], [1], [26]]
    assert [frame.sequence for frame in log.frames] == [0, 1, 2, 3, 4]
    same = Log(tmp_path, mapping, f"{DAY}08:00:00Z|note|a|b\n" * (FRAME_ENTRIES + 1))
    assert [len(frame.events) for frame in same.frames] == [FRAME_ENTRIES, 1]


def test_a_late_state_line_is_put_where_it_belongs(tmp_path: Path, mapping: Mapping) -> None:
    """08:00 ACTIVE ---- 08:02 INTERRUPTED ---- 08:05 switched off; 08:03 READY comes last."""
    log = Log(
        tmp_path,
        mapping,
        f"{DAY}08:00:00Z|execution|ACTIVE\n{DAY}08:02:00Z|execution|INTERRUPTED\n{DAY}08:05:00Z|avail|UNAVAILABLE\n"
        f"{DAY}08:03:00Z|execution|READY\n{DAY}08:06:00Z|avail|AVAILABLE\n",
    )
    said: dict[int, str] = {}
    for change in log.states():
        said[change.at] = change.state
    assert said == {
        ms("08:00:00"): "running",
        ms("08:02:00"): "stopped",
        ms("08:03:00"): "idle",
        ms("08:05:00"): "off",
        ms("08:06:00"): "idle",
    }


def test_the_last_state_of_an_instant_counts_and_repeats_are_left_out(tmp_path: Path, mapping: Mapping) -> None:
    log = Log(
        tmp_path,
        mapping,
        f"{DAY}08:00:00Z|avail|UNAVAILABLE\n{DAY}08:00:00Z|execution|ACTIVE\n{DAY}08:00:00Z|avail|AVAILABLE\n"
        f"{DAY}08:00:30Z|execution|ACTIVE\n{DAY}08:01:00Z|avail|AVAILABLE\n{DAY}08:02:00Z|execution|UNAVAILABLE\n",
    )
    assert log.states() == [
        StateChange(ms("08:00:00"), "running", "ACTIVE"),
        StateChange(ms("08:02:00"), "unknown", "UNAVAILABLE"),
    ]


def test_conditions_make_events_and_decide_states(tmp_path: Path, mapping: Mapping) -> None:
    log = Log(
        tmp_path,
        mapping,
        f"{DAY}08:00:00Z|system|Normal||||\n{DAY}08:00:00Z|execution|READY\n"
        f"{DAY}08:00:01Z|system|fault|31|||SERVO\n{DAY}08:00:02Z|system|Warning|7|||OIL\n"
        f"{DAY}08:00:03Z|system|Normal|31|||\n{DAY}08:00:04Z|system|Normal||||\n{DAY}08:00:05Z|system|Normal||||\n"
        f"{DAY}08:00:06Z|system|Unavailable||||\n",
    )
    assert [(event.at - ms("08:00:00"), event.severity, event.code) for event in log.frames[0].events] == [
        (1000, "fault", "system/31"),
        (2000, "warning", "system/7"),
        (3000, "normal", "system/31"),
        (4000, "normal", "system"),
    ]
    assert [(change.at - ms("08:00:00"), change.state) for change in log.states()] == [
        (0, "idle"),
        (1000, "fault"),
        (3000, "idle"),
    ]


def test_parts_come_from_the_end_of_cycles(tmp_path: Path, mapping: Mapping) -> None:
    def cycle(minute: int, *steps: tuple[int, str], mode: str = "AUTOMATIC") -> str:
        rows = [f"{DAY}08:{minute:02}:00Z|mode|{mode}"]
        return "".join(
            f"{row}\n" for row in rows + [f"{DAY}08:{minute:02}:{at:02}Z|execution|{to}" for at, to in steps]
        )

    log = Log(
        tmp_path,
        mapping,
        cycle(0, (1, "READY"), (2, "ACTIVE"), (30, "READY"))  # a part
        + cycle(1, (2, "ACTIVE"), (8, "READY"))  # too short
        + cycle(2, (2, "ACTIVE"), (40, "READY"), mode="MANUAL")  # by hand
        + cycle(3, (2, "ACTIVE"), (8, "INTERRUPTED"), (50, "READY"))  # ran only 6 s
        + cycle(4, (2, "ACTIVE"), (8, "INTERRUPTED"), (20, "ACTIVE"), (24, "READY"))  # a part: 6 s + 4 s
        + cycle(5, (2, "ACTIVE"), (30, "UNAVAILABLE"), (40, "READY"))  # its end was not seen
        + cycle(6, (2, "ACTIVE"), (30, "READY"), (31, "READY")),  # one part, not two
    )
    counts = [count for frame in log.frames for count in frame.counts]
    assert counts == [CountReading(ms(f"08:{at}"), False, total=1) for at in ("00:30", "04:24", "06:30")]


def test_counters_are_passed_on_as_they_stand(tmp_path: Path) -> None:
    (tmp_path / "Devices.xml").write_text(DEVICES)
    text = MAPPING.replace(
        MAPPING[MAPPING.index("  cycle:") : MAPPING.index("context:")], "  counters: {total: made}\n"
    )
    (tmp_path / "m1.mapping.yaml").write_text(text)
    rows = f"{DAY}08:00:00Z|made|17\n{DAY}08:00:01Z|made|UNAVAILABLE\n{DAY}08:00:02Z|made|-1\n{DAY}08:00:03Z|made|18\n"
    log = Log(tmp_path, load(tmp_path / "m1.mapping.yaml"), rows)
    assert log.frames[0].counts == [
        CountReading(ms("08:00:00"), True, total=17),
        CountReading(ms("08:00:03"), True, total=18),
    ]
    assert [one.reason for one in log.refused] == ["a counter below 0"]


def test_files_in_order_of_their_days_and_one_end(tmp_path: Path, mapping: Mapping) -> None:
    names = ["M1-20171107-20171108.txt", "M1-20171106-20171107.txt"]
    for name in names:
        (tmp_path / name).write_text(f"{name[3:7]}-{name[7:9]}-{name[9:11]}T08:00:00Z|execution|READY\n")
    records = list(read([tmp_path / name for name in names], [mapping], tmp_path / "Devices.xml"))
    assert [getattr(record, "source", "end") for record in records] == [f"shdr:{names[1]}", f"shdr:{names[0]}", "end"]
    again = list(read([tmp_path / names[1]], [mapping], tmp_path / "Devices.xml"))
    assert records[0] == again[0]  # the same file alone: the same frames


def test_times_that_cannot_be_are_refused(tmp_path: Path, mapping: Mapping) -> None:
    """One broken time would drag the machine's clock into the future, and everything after it would be too late."""
    text = f"{DAY}08:00:00Z|speed|1\n2107-11-06T08:00:01Z|speed|2\n{DAY}08:00:02Z|speed|3\n{DAY}09:00:00Z|speed|4\n"
    log = Log(tmp_path, mapping, text)
    assert [(one.line, one.reason[:14]) for one in log.refused] == [(2, "later than now")]
    assert log.controls[0].body == EndOfSource(log.frames[0].source, ms("09:00:00"))
    (tmp_path / "M1.txt").write_text(text)
    records = read([tmp_path / "M1.txt"], [mapping], tmp_path / "Devices.xml", latest=ms("08:30:00"))
    assert [one.line for one in records if isinstance(one, Refused)] == [2, 4]


def test_a_file_is_known_by_its_name_and_its_first_time(tmp_path: Path, mapping: Mapping) -> None:
    """A log that is written over under the same name is another source; one that is longer begins with the same."""
    snapshot, name = "2017-11-05T20:00:00Z|execution|READY\n", "M1-20171106.log"
    first = Log(tmp_path, mapping, f"{snapshot}{DAY}08:00:00Z|line|1\n{DAY}08:00:01Z|speed|1\n", name).frames
    grown = Log(
        tmp_path, mapping, f"{snapshot}{DAY}08:00:00Z|line|1\n{DAY}08:00:01Z|speed|1\n{DAY}08:01:00Z|speed|2\n", name
    )
    over = Log(tmp_path, mapping, f"{snapshot}{DAY}09:00:00Z|speed|1\n", name).frames
    assert [(frame.epoch, frame.sequence) for frame in first] == [(ms("08:00:00"), 0), (ms("08:00:00"), 1)]
    assert [(frame.epoch, frame.sequence) for frame in grown.frames[:2]] == [(ms("08:00:00"), 0), (ms("08:00:00"), 1)]
    assert {frame.epoch for frame in over} == {ms("09:00:00")}
    other = tmp_path / "other" / name
    other.parent.mkdir()
    other.write_text(snapshot)
    with pytest.raises(UsageError, match="have the same name: rename one"):
        list(read([tmp_path / name, other], [mapping], tmp_path / "Devices.xml"))


def test_files_of_no_mapping_and_other_mistakes_are_refused(tmp_path: Path, mapping: Mapping) -> None:
    stray = tmp_path / "M10-20171106.txt"
    stray.write_text(f"{DAY}08:00:00Z|execution|READY\n")
    with pytest.raises(UsageError, match=r"M10-20171106.txt: its name begins with no device .*\(M1\)"):
        list(read([stray], [mapping], tmp_path / "Devices.xml"))
    assert list(read([stray], [mapping], tmp_path / "Devices.xml", any_name=True))
    with pytest.raises(FactoryFileError, match=r"m1.mapping.yaml:16: .*--devices"):
        list(read([stray], [mapping], None, any_name=True))
    (tmp_path / "m1.mapping.yaml").write_text(MAPPING.replace("speed: spindle_speed", "sped: spindle_speed"))
    with pytest.raises(FactoryFileError, match=r"m1.mapping.yaml:13: .*no item 'sped'; did you mean `speed`"):
        list(read([stray], [load(tmp_path / "m1.mapping.yaml")], tmp_path / "Devices.xml", any_name=True))
    for text, words in (("<a><b></a>", ":1: no XML"), ("<a/>", "holds no <Device>")):
        (tmp_path / "bad.xml").write_text(text)
        with pytest.raises(FactoryFileError, match=words):
            list(read([stray], [mapping], tmp_path / "bad.xml", any_name=True))
    with pytest.raises(UsageError, match="there is no adapter 'opcua': use one of csv, shdr"):
        adapter("opcua")


ENTRY = st.tuples(
    st.integers(0, 120_000),
    st.sampled_from(["execution|ACTIVE", "execution|READY", "avail|UNAVAILABLE", "avail|AVAILABLE", "execution|X",
                     "speed|1.5", "speed|a", "load|7", "system|Fault|1|||x", "system|Normal||||", "line|3", "?|1",
                     "@"]),
)  # fmt: skip


@given(st.lists(ENTRY, max_size=60))
def test_any_order_any_mixture_balances_and_ends_in_the_same_states(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[int, str]]
) -> None:
    """Whatever the order of the lines, what is true at each instant in the end is what the ordered log says."""
    folder = tmp_path_factory.mktemp("logs")
    (folder / "Devices.xml").write_text(DEVICES)
    (folder / "m1.mapping.yaml").write_text(MAPPING)
    mapping = load(folder / "m1.mapping.yaml")
    base = ms("08:00:00")

    def text(rows: list[tuple[int, str]]) -> str:
        stamps = (datetime.fromtimestamp((base + at) / 1000, UTC).isoformat(timespec="milliseconds") for at, _ in rows)
        return "".join(f"{stamp}|{entry}\n" for stamp, (_, entry) in zip(stamps, rows, strict=True))

    distinct = list({at: (at, entry) for at, entry in entries}.values())
    shuffled, ordered = Log(folder, mapping, text(distinct)), Log(folder, mapping, text(sorted(distinct)))
    assert shuffled.tally.entries == ordered.tally.entries == len(distinct)
    assert shuffled.tally.samples == ordered.tally.samples

    def in_force(log: Log) -> list[tuple[int, str]]:
        said = {change.at: change.state for change in log.states()}
        runs: list[tuple[int, str]] = []
        for at in sorted(said):
            if not runs or runs[-1][1] != said[at]:
                runs.append((at, said[at]))
        return runs

    assert in_force(shuffled) == in_force(ordered)
