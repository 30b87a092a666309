"""Saved state: the highest cover wins, state and position agree, records stay small."""

from __future__ import annotations

import random
from itertools import chain, permutations
from typing import Any

import pytest

from pipeline.codec import StateRecord
from pipeline.errors import StateUnreadable
from pipeline.state import RECORD_BYTES, Snapshots, bucket_of, pack, state_key, unpack


class Summing:
    """An engine of one number per machine."""

    def __init__(self) -> None:
        self.sums: dict[str, Any] = {}
        self.changed: set[str] = set()

    def add(self, machine: str, value: Any) -> None:
        self.sums[machine] = value
        self.changed.add(machine)

    def snapshot(self, machine: str) -> dict[str, Any]:
        return {"sum": self.sums[machine]}

    def restore(self, machine: str, snapshot: dict[str, Any]) -> None:
        self.sums[machine] = snapshot["sum"]


MACHINES = [f"m{n}" for n in range(20)]


def filled(value: int) -> Summing:
    engine = Summing()
    for machine in MACHINES:
        engine.add(machine, value)
    return engine


def loaded(records: list[StateRecord], buckets: int = 4) -> tuple[Snapshots, Summing]:
    snapshots, engine = Snapshots(3, buckets, 1, records), Summing()
    snapshots.restore(engine)
    return snapshots, engine


def test_what_is_saved_comes_back():
    saved = Snapshots(3, 4, 1).renew(filled(7), cover=100)
    snapshots, engine = loaded(saved)
    assert engine.sums == dict.fromkeys(MACHINES, 7)
    assert snapshots.start == 100
    assert {state_key(record) for record in saved} == {b"3/4/0", b"3/4/1", b"3/4/2", b"3/4/3"}


def test_order_of_records_does_not_matter_and_the_highest_cover_wins():
    old, new = Snapshots(3, 1, 1).renew(filled(1), 50), Snapshots(3, 1, 1).renew(filled(2), 90)
    for order in permutations(old + new):
        snapshots, engine = loaded(list(order), buckets=1)
        assert (snapshots.start, engine.sums["m0"]) == (90, 2)


def test_only_changed_buckets_are_saved_and_each_machine_knows_its_cover():
    engine, snapshots = filled(1), Snapshots(3, 4, 1)
    saved = snapshots.renew(engine, 100)
    engine.add("m0", 2)
    later = snapshots.renew(engine, 200)
    assert [record.bucket for record in later] == [bucket_of(b"m0", 4)]
    again, restored = loaded(saved + later)
    assert again.start == 100
    assert again.cover(b"m0") == 200
    assert restored.sums["m0"] == 2
    other = next(machine for machine in MACHINES if bucket_of(machine.encode(), 4) != bucket_of(b"m0", 4))
    assert again.cover(other.encode()) == 100


def test_nothing_is_saved_while_the_log_is_read_again():
    """0 ---- bucket A's cover 100 ---- bucket B's 200: at 150 B's machines are already those of 200."""
    engine, snapshots = filled(1), Snapshots(3, 4, 1)
    saved = snapshots.renew(engine, 100)
    engine.add("m0", 2)
    again, restored = loaded(saved + snapshots.renew(engine, 200))
    restored.add("m5", 9)
    assert again.renew(restored, 150) == []
    assert {record.cover for record in again.renew(restored, 200)} == {200}


def test_whole_renews_every_cover():
    engine, snapshots = filled(1), Snapshots(3, 4, 1)
    snapshots.renew(engine, 100)
    assert snapshots.renew(engine, 150) == []
    assert {record.cover for record in snapshots.renew(engine, 160, whole=True)} == {160}


def test_half_a_first_save_covers_nothing():
    saved = Snapshots(3, 4, 1).renew(filled(1), 100)
    snapshots, engine = loaded(saved[:2])
    assert snapshots.start == 0
    assert all(snapshots.cover(machine.encode()) == 100 for machine in engine.sums)


def test_large_records_are_split_and_a_half_written_split_loses_nothing():
    engine = Summing()
    for n, machine in enumerate(MACHINES):
        engine.add(machine, random.Random(n).randbytes(200_000))
    snapshots = Snapshots(3, 1, 1)
    before = Snapshots(3, 1, 1, []).renew(filled(1), 50)
    saved = snapshots.renew(engine, 100)
    assert snapshots.buckets > 1
    assert all(sum(map(len, record.machines.values())) <= RECORD_BYTES for record in saved)
    assert loaded(saved, buckets=1)[1].sums == engine.sums
    half, restored = loaded(before + saved[:1], buckets=1)
    assert half.start == 50
    for machine, value in restored.sums.items():
        split = bucket_of(machine.encode(), snapshots.buckets) == saved[0].bucket
        assert value == (engine.sums[machine] if split else 1)
        assert half.cover(machine.encode()) == (100 if split else 50)


def test_another_engine_is_refused_but_never_hides_our_own():
    other = Snapshots(3, 1, 2).renew(filled(5), 500)
    with pytest.raises(StateUnreadable, match="version"):
        loaded(other)
    assert loaded(other + Snapshots(3, 1, 1).renew(filled(1), 50), buckets=1)[0].start == 50


def test_older_versions_are_read_and_written_anew():
    """Versions 2 to 3 are read, 3 is written: 1 and 4 are refused, and hide nothing."""
    first, second, third, fourth = (Snapshots(3, 1, version).renew(filled(version), 50) for version in (1, 2, 3, 4))

    def read(*found: list[StateRecord]) -> tuple[Snapshots, Summing]:
        snapshots, engine = Snapshots(3, 1, 3, chain(*found), oldest=2), Summing()
        snapshots.restore(engine)
        return snapshots, engine

    for only, known in ((second, 2), (third, 3)):
        for found in ((only,), (first, only), (only, fourth)):
            assert read(*found)[1].sums == dict.fromkeys(MACHINES, known)
    for wrong in (first, fourth):
        with pytest.raises(StateUnreadable, match=f"by version .{wrong[0].engine}. of the engine, this is version 3"):
            read(wrong)
    with pytest.raises(StateUnreadable, match="version"):
        Snapshots(3, 1, 3, second)
    snapshots, engine = read(second)
    engine.add("m0", 7)
    saved = snapshots.renew(engine, 60)
    assert [(record.engine, record.cover) for record in saved] == [(3, 60)]
    for order in permutations(second + saved):
        again, restored = read(list(order))
        assert (again.start, restored.sums["m0"], restored.sums["m1"]) == (60, 7, 2)


def test_damaged_state_is_named():
    saved = Snapshots(3, 1, 1).renew(filled(1), 50)
    saved[0].machines["m4"] = saved[0].machines["m4"][:-3]
    with pytest.raises(StateUnreadable, match="m4"):
        loaded(saved, buckets=1)


def test_packing_is_exact():
    snapshot = {"a": [1, 2**62, -1.5, None, True], "b": {"x": "ü", "y": b"\x00"}}
    assert unpack(pack(snapshot)) == snapshot
