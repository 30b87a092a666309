"""Tables: wide and long, with every damage named."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.adapters import Refused, Tally
from pipeline.adapters.csv_files import read
from pipeline.core.model import Control, Frame
from pipeline.mapping import load

MAPPING = """\
adapter: csv
device: press
state: {item: state, values: {run: running, stop: stopped}}
parts: {counters: {total: made}}
signals: {force: force, temp: {name: temperature, unit: Cel}}
ignore: [operator]
"""
T0 = 1_772_438_400_000  # 2026-03-02T08:00Z


def run(folder: Path, text: str) -> tuple[list[Frame], list[Refused], Tally]:
    (folder / "m.yaml").write_text(MAPPING)
    path = folder / "press-20260302.csv"
    path.write_bytes(text.encode())
    tally = Tally()
    records = list(read([path], [load(folder / "m.yaml")], tally=tally))
    assert tally.balanced
    frames = [one for one in records if isinstance(one, Frame)]
    assert bool(frames) == isinstance(records[-1] if records else None, Control)
    return frames, [one for one in records if isinstance(one, Refused)], tally


@pytest.mark.parametrize(
    "text",
    [
        "Time,state,made,force,temp,operator\n"
        "2026-03-02T08:00:00Z,run,7,1.5,,Ann\n2026-03-02 09:00:01+01:00,,8,2.5,40,\n",
        "timestamp;state;made;force;temp;operator\n"
        f'{T0};run;7;"1.5";;Ann\n\n{T0 + 1000};;8;2.5;40;\n',
        "time\titem\tvalue\n"
        "2026-03-02T08:00:00Z\tstate\trun\n2026-03-02T08:00:00Z\tmade\t7\n2026-03-02T08:00:00Z\tforce\t1.5\n"
        "2026-03-02T08:00:00Z\toperator\tAnn\n2026-03-02T08:00:01Z\tmade\t8\n2026-03-02T08:00:01Z\tforce\t2.5\n"
        "2026-03-02T08:00:01Z\ttemp\t40",
    ],
    ids=["wide", "semicolons and milliseconds", "long"],
)  # fmt: skip
def test_one_table_three_ways(tmp_path: Path, text: str) -> None:
    frames, refused, tally = run(tmp_path, text)
    assert refused == []
    (frame,) = frames
    assert (frame.machine, frame.source, frame.epoch) == ("press", "csv:press-20260302.csv", T0)
    assert [(change.at, change.state) for change in frame.states] == [(T0, "running")]
    assert [(count.at, count.cumulative, count.total) for count in frame.counts] == [
        (T0, True, 7),
        (T0 + 1000, True, 8),
    ]
    signals = {block.names[0]: (block.at.tolist(), block.values.tolist(), block.units) for block in frame.signals}
    assert signals == {
        "force": ([T0, T0 + 1000], [[1.5, 2.5]], [""]),
        "temperature": ([T0 + 1000], [[40.0]], ["Cel"]),
    }
    assert (tally.entries, tally.ignored) == (7, {"operator": 1})


def test_damage_is_named(tmp_path: Path) -> None:
    text = (
        "time,state,force\n"
        "2026-03-02T08:00:00Z,run,1\n"
        "yesterday,run,1\n"
        "2026-03-02T08:00:02Z,run\n"
        "2026-03-02T08:00:03Z,run,high\n"
        "2026-03-02T08:00:04Z,dance,2\n"
        "2027-03-02T08:00:05Z,stop,\n"
    )
    frames, refused, _ = run(tmp_path, text)
    assert [(one.line, one.reason) for one in refused] == [
        (3, "no time"),
        (4, "not as many cells as columns"),
        (5, "no number"),
        (6, "value not in the mapping's state.values (the state is unknown)"),
        (7, "later than now, or 32 days later than the day in the file's name"),
    ]
    assert [frame.signals[0].at.tolist() for frame in frames] == [[T0, T0 + 4000]]


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "time\n2026-03-02T08:00:00Z\n", "time,\rmade\n1,2\n"])
def test_no_table_at_all(tmp_path: Path, text: str) -> None:
    frames, refused, tally = run(tmp_path, text)
    assert frames == []
    assert len(refused) == tally.entries == text.count("\n")
