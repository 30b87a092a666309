"""What SHDR lines mean: frames in order, late lines, states, conditions, parts, identity of a file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shdr_log import DAY, DEVICES, MAPPING, Log, ms

from pipeline.adapters import Refused, adapter
from pipeline.adapters.cutter import FRAME_ENTRIES
from pipeline.adapters.shdr import read
from pipeline.core.model import CountReading, EndOfSource, StateChange
from pipeline.errors import FactoryFileError, UsageError
from pipeline.mapping import Mapping, load


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
    said = ("17", "UNAVAILABLE", "-1", "1e25", "18")
    rows = "".join(f"{DAY}08:00:0{second}Z|made|{value}\n" for second, value in enumerate(said))
    log = Log(tmp_path, load(tmp_path / "m1.mapping.yaml"), rows)
    assert log.frames[0].counts == [
        CountReading(ms("08:00:00"), True, total=17),
        CountReading(ms("08:00:04"), True, total=18),
    ]
    assert [one.reason for one in log.refused] == ["a counter below 0", "a counter above 1,000,000,000,000"]


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
