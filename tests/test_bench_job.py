"""The benchmark's job: its truth is the engine's, its topic is the same every time, its decoders agree."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # bench is no part of the package

from bench.speed.answers import NOTHING_KNOWN, Machine, Seen, answer, avro_reader, entries, newest, pieces
from bench.speed.broker import Source
from bench.speed.columns import frame_of, singles
from bench.speed.job import LATEST_MS, SIGNALS, T0, Job
from bench.speed.measure import judge
from pipeline.codec import Codec
from pipeline.core.engine import EngineSettings
from pipeline.core.model import Control, Frame, MachineConfig, Record
from pipeline.replay import current, run

LENGTHS = (1, 50, 200, 1000)


def job_for(samples: int) -> Job:
    return Job(seconds=samples * 2 + 300, machines=5, seed=3)


def frames_of(job: Job, samples: int) -> list[Frame]:
    decode = Codec().decode
    return [frame for record in job.sent(samples) if isinstance(frame := decode(record.value), Frame)]


@pytest.mark.parametrize("samples", LENGTHS)
def test_the_engine_finds_the_truth(samples: int) -> None:
    job, decode = job_for(samples), Codec().decode
    config = MachineConfig(site="bench")
    log = [Record(T0, Control(life.name, f"config-{life.name}", T0, "bench", config)) for life in job.lives]
    log += [Record(record.at, decode(record.value)) for record in job.sent(samples)]
    emitted = run(log, EngineSettings())
    found: dict[tuple[str, int], tuple[int, int, int]] = {}
    for fact in current(emitted.facts):
        run_ms, stopped_ms, parts = found.get((fact.machine, fact.window_start), (0, 0, 0))
        made = (run_ms + fact.apt_ms, stopped_ms + fact.adet_ms, parts + fact.total)
        found[fact.machine, fact.window_start] = made
    verdict = judge(Source("job", job, samples), found)
    assert (verdict.wrong, verdict.missing) == (0, 0), verdict.example
    assert verdict.right > 10
    assert not emitted.dead_letters
    assert all(fact.reason == "" for fact in emitted.facts), "a frame later than the lateness restated a window"


@pytest.mark.parametrize("samples", LENGTHS)
def test_a_loop_by_hand_finds_the_truth(samples: int) -> None:
    job, read = job_for(samples), avro_reader()
    machines: dict[str, Machine] = {}
    rows = []
    for record in job.sent(samples):
        frame = read(record.value)
        machine = machines.setdefault(record.machine, Machine(record.machine))
        if machine.seen.is_new(frame["sequence"]):
            machine.add(*entries(frame))
            rows += [json.loads(row) for row in machine.reach(frame["signals"][0]["start"], newest(frame))]
    found = {(row["machine"], row["window_start"]): (row["run_ms"], row["stopped_ms"], row["parts"]) for row in rows}
    assert len(found) == len(rows), "a window was answered twice"
    assert not judge(Source("job", job, samples), found).example


def test_a_wrong_answer_is_found() -> None:
    source = Source("job", job_for(1), 1)
    found = dict(source.truth)
    (machine, start), (run_ms, stopped_ms, parts) = next(iter(found.items()))
    found[machine, start] = (run_ms + 1, stopped_ms, parts)
    assert judge(source, found).wrong == 1
    del found[machine, start]
    assert judge(source, found).missing == 1


def test_the_truth_is_the_same_for_every_length_of_frame_and_every_time() -> None:
    job = Job(seconds=600, machines=4, seed=9)
    assert list(job.sent(50)) == list(Job(seconds=600, machines=4, seed=9).sent(50))
    assert list(job.sent(50)) != list(Job(seconds=600, machines=4, seed=10).sent(50))
    said = []
    for samples in (1, 50, 200):
        by_machine: dict[str, set[object]] = {}
        for _, frame in job.frames(samples):
            by_machine.setdefault(frame.machine, set()).update(frame.states, frame.counts)
        said.append(by_machine)
    assert said[0] == said[1] == said[2]


def test_signals_are_the_same_for_every_length_of_frame() -> None:
    job = Job(seconds=1200, machines=1)
    told = [np.hstack([frame.signals[0].values for _, frame in job.frames(samples)]) for samples in (1, 7, 200, 1000)]
    assert told[0].shape == (len(SIGNALS), 1200)
    assert all(np.array_equal(told[0], other) for other in told[1:])
    assert np.array_equal(told[0], np.round(told[0], 2))


def test_some_frames_are_late_and_some_come_twice() -> None:
    job = Job(seconds=1200, machines=20)
    frames = frames_of(job, 1)
    times = Counter((frame.machine, frame.sequence) for frame in frames)
    assert len(times) == 20 * 1200
    assert 5 < sum(times.values()) - len(times) < 60
    newest_of: dict[str, int] = {}
    late = 0
    for frame in frames:
        at = int(frame.signals[0].at[0])
        behind = newest_of.get(frame.machine, at) - at
        assert behind <= LATEST_MS
        late += behind > 0 and times[frame.machine, frame.sequence] == 1
        newest_of[frame.machine] = max(at, newest_of.get(frame.machine, at))
    assert 0.005 < late / len(frames) < 0.02


def test_states_change_every_five_minutes_and_counters_are_read_every_half() -> None:
    job = Job(seconds=6 * 3600, machines=20)
    changes = sum(len(life.changes) for life in job.lives)
    reads = sum(len(life.reads) for life in job.lives)
    assert 250 < 20 * 6 * 3600 / changes < 350
    assert 29 < 20 * 6 * 3600 / reads < 31


def test_decoders_by_hand_agree_with_fastavro() -> None:
    job, read = job_for(50), avro_reader()
    for samples in (1, 50, 1000):
        for record in job.sent(samples):
            frame, mine = read(record.value), frame_of(record.value)
            block = frame["signals"][0]
            assert (mine.machine.decode(), mine.sequence) == (frame["machine"], frame["sequence"])
            assert (mine.changes, mine.readings) == entries(frame)
            assert mine.at.tolist() == [block["start"] + offset for offset in block["offsets"]]
            assert mine.values.ravel().tolist() == block["values"]
    values = [record.value for record in job.sent(1)]
    small, rows = singles(values), [read(value) for value in values]
    assert [name.decode() for name in small.machines.tolist()] == [row["machine"] for row in rows]
    assert small.at.tolist() == [newest(row) for row in rows]
    assert small.values.tolist() == [row["signals"][0]["values"] for row in rows]
    assert len(small.bearing) == sum(bool(row["states"] or row["counts"]) for row in rows)


def test_a_frame_is_cut_at_the_borders_of_windows() -> None:
    #        0 s         60 s          120 s
    #        |  c    r   |       c     |
    #  frame:  [..............................]
    frame = {
        "states": [{"at": 20_000, "state": "running"}, {"at": 90_000, "state": "stopped"}],
        "counts": [{"at": 50_000, "total": 4}],
        "signals": [{"start": 10_000, "offsets": [0, 115_000]}],
    }
    assert list(pieces(frame)) == [
        (0, 59_999, [(20_000, "running")], [(50_000, 4)]),
        (60_000, 119_999, [(90_000, "stopped")], []),
        (120_000, 125_000, [], []),
    ]


def test_a_window_hands_state_and_counter_to_the_next() -> None:
    carry, facts = answer(NOTHING_KNOWN, 0, [(20_000, "running")], [(50_000, 4)])
    assert (carry, facts) == (("running", 4), (40_000, 0, 0))
    carry, facts = answer(carry, 60_000, [], [(70_000, 9), (65_000, 6)])
    assert (carry, facts) == (("running", 9), (60_000, 0, 5))
    assert answer(carry, 120_000, [(130_000, "idle")], []) == (("idle", 9), (10_000, 0, 0))


def test_a_sequence_number_counts_once_and_the_memory_of_them_stays_small() -> None:
    seen = Seen()
    assert [seen.is_new(k) for k in (0, 1, 3, 3, 0, 2, 2, 4)] == [True, True, True, False, False, True, False, True]
    assert (seen.next, seen.above) == (5, set())
