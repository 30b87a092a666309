"""MTConnect adapter logs: every kind of line, every kind of damage, and the account of all of it."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from shdr_log import DAY, DEVICES, MAPPING, Log, ms

from pipeline.core.model import Context, Control, EndOfSource, MachineEvent, StateChange
from pipeline.mapping import Mapping, load


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
    assert [context[1:4] for context in opening.contexts] == [("O1", None, "O1")]
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
