"""The spool: a kill leaves a prefix of what was written, damage is told, the disk is bounded, nothing is mixed up."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import SpoolFull, SpoolUnusable
from pipeline.spool import Place, Spool
from pipeline.spool_entry import MAGIC, Damage, Entry, entries, pack

MB = 1 << 20
Record = tuple[bytes, bytes, bytes]
texts = st.one_of(st.binary(max_size=40), st.sampled_from([MAGIC, MAGIC * 9, b"\0" * 50, pack(b"k", b"a", b"v", 0)]))
records = st.lists(st.tuples(texts, texts, texts), min_size=1, max_size=12)


def laid_out(rows: list[Record]) -> tuple[bytes, list[Entry]]:
    """The bytes of a file with these records, and where each of them stands."""
    data, placed = b"", []
    for row in rows:
        entry = pack(*row, len(data))
        placed.append(Entry(len(data), len(data) + len(entry), *row))
        data += entry
    return data, placed


@given(records, st.data())
def test_any_cut_leaves_a_prefix_and_what_is_torn_is_told(rows: list[Record], data: st.DataObject) -> None:
    whole, placed = laid_out(rows)
    cut = data.draw(st.integers(0, len(whole)))
    found = list(entries(whole[:cut]))
    kept = [entry for entry in placed if entry.end <= cut]
    border = kept[-1].end if kept else 0
    assert found == kept + ([Damage(border, cut, True)] if border < cut else [])


@given(records, st.data())
def test_any_flipped_byte_is_found_and_costs_its_own_record_alone(rows: list[Record], data: st.DataObject) -> None:
    whole, placed = laid_out(rows)
    at, bits = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(1, 255))
    found = list(entries(whole[:at] + bytes([whole[at] ^ bits]) + whole[at + 1 :]))
    (hit,) = [entry for entry in placed if entry.start <= at < entry.end]
    assert found == [Damage(hit.start, hit.end, False) if entry is hit else entry for entry in placed]


@given(records, st.integers(1, 1 << 24))
def test_bytes_of_another_place_are_no_entry(rows: list[Record], shift: int) -> None:
    whole, placed = laid_out(rows)
    assert not [piece for piece in entries(whole, shift) if isinstance(piece, Entry)]
    assert list(entries(whole[placed[0].end :], placed[0].end)) == placed[1:]


def numbered(count: int, size: int = 100) -> list[Record]:
    return [(b"m%d" % (n % 3), b"m\ts\t0\t%d" % n, b"%08d" % n + b"x" * size) for n in range(count)]


def fill(spool: Spool, rows: list[Record]) -> list[Place]:
    return [spool.append(*row) for row in rows]


def rest(spool: Spool) -> list[tuple[Place, Record]]:
    """What is left to read."""
    found = []
    while (piece := spool.read()) is not None:
        place, entry = piece
        if entry is not None:
            found.append((place, (entry.key, entry.address, entry.value)))
    return found


@contextmanager
def opened(folder: Path, limit: int = 8 * MB, topic: str = "telemetry") -> Iterator[Spool]:
    spool = Spool(folder, limit)
    spool.open(topic)
    try:
        yield spool
    finally:
        spool.close()


def killed(folder: Path, copy: Path) -> Path:
    """The folder as a kill -9 of its process at this moment would leave it."""
    shutil.copytree(folder, copy)
    return copy


@given(st.integers(0, 60), st.integers(0, 60), st.data())
def test_a_kill_at_any_moment_leaves_what_was_not_acknowledged(written: int, stored: int, data: st.DataObject) -> None:
    stored = min(stored, written)
    rows = numbered(written, 20_000)  # several segments
    with tempfile.TemporaryDirectory() as name, opened(Path(name) / "a") as spool:
        places = fill(spool, rows)
        assert [row for _, row in rest(spool)] == rows
        if stored:
            spool.acknowledge(places[stored - 1], stored)
        if data.draw(st.booleans()):
            spool.save_position()
        image = killed(Path(name) / "a", Path(name) / "b")
        newest = max(image.glob("*.spool"), default=None)
        cut = data.draw(st.integers(0, newest.stat().st_size)) if newest else 0
        if newest:
            os.truncate(newest, cut)
        with opened(image) as heir:
            found = [row for _, row in rest(heir)]
            assert heir.left_over == len(found)
            whole = sum(place <= (int(newest.stem), cut) for place in places) if newest else 0
            assert found == rows[whole - len(found) : whole], "all that stands there whole, up to the last one"
            assert whole - len(found) <= stored, "and all that was not acknowledged"
            more = fill(heir, numbered(3))
            assert [place for place, _ in rest(heir)] == more, "what is new comes behind what was left"


def test_after_all_is_acknowledged_nothing_is_left_and_numbers_go_on(tmp_path: Path) -> None:
    rows = numbered(40, 20_000)
    with opened(tmp_path) as spool:
        last = fill(spool, rows)[-1]
        rest(spool)
        spool.acknowledge(last, len(rows))
        assert spool.drained
        assert spool.fill == (spool.used, 8 * MB, 0)
        assert spool.used < 8 * MB // 16, "whole segments are given back"
    assert list(tmp_path.glob("*.spool")) == []
    with opened(tmp_path) as spool:
        assert spool.left_over == 0
        assert spool.append(*rows[0]).segment > last.segment
        assert len(rest(spool)) == 1


def test_what_is_read_again_begins_at_the_first_record_without_acknowledgement(tmp_path: Path) -> None:
    rows = numbered(50, 20_000)
    with opened(tmp_path) as spool:
        places = fill(spool, rows)
        rest(spool)
        spool.acknowledge(places[16], 17)
        spool.rewind()
        assert [row for _, row in rest(spool)] == rows[17:]
        assert spool.level


def test_full_is_refused_with_the_alarm_long_before_and_room_comes_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with opened(tmp_path) as spool:
        places: list[Place] = []

        def until_refused() -> None:
            while True:
                places.append(spool.append(b"m", b"a", b"x" * 10_000))
                alarmed = [record for record in caplog.records if record.levelno == logging.WARNING]
                assert bool(alarmed) == (spool.used > 0.8 * spool.limit)

        with pytest.raises(SpoolFull, match=r"full \(8,\d{3},\d{3} of 8,388,608 bytes\)"):
            until_refused()
        assert [record.levelno for record in caplog.records] == [logging.WARNING], "told once"
        assert sum(path.stat().st_size for path in tmp_path.glob("*.spool")) == spool.used <= spool.limit
        rest(spool)
        spool.acknowledge(places[len(places) // 2], len(places) // 2 + 1)
        assert spool.used < 0.6 * spool.limit
        assert caplog.records[-1].levelno == logging.INFO
        places += [spool.append(b"m", b"a", b"y" * 10_000) for _ in range(100)]
        spool.acknowledge(places[-1], spool.records)
        assert spool.append(b"m", b"a", b"z" * 4_000_000).offset > 4_000_000, (
            "the largest record has room in the smallest"
        )


def test_a_full_disk_keeps_nothing_of_the_record_and_the_next_one_is_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = numbered(3)
    write = os.pwrite

    def half(file: int, data: bytes, at: int) -> int:
        if at < 150:  # the first record has 137 bytes
            return write(file, data[:60], at)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with opened(tmp_path) as spool:
        monkeypatch.setattr(os, "pwrite", half)
        with pytest.raises(SpoolFull, match=r"disk .* is full"):
            fill(spool, rows)
        monkeypatch.setattr(os, "pwrite", write)
        kept = spool.records
        fill(spool, rows[kept:])
        assert [row for _, row in rest(spool)] == rows


def test_damage_is_told_with_file_and_place_and_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = numbered(30)
    with opened(tmp_path / "a") as spool:
        places = fill(spool, rows)
        image = killed(tmp_path / "a", tmp_path / "b")
    (path,) = image.glob("*.spool")
    whole = bytearray(path.read_bytes())
    start = places[9].offset
    whole[start + 50] ^= 1
    path.write_bytes(whole)
    with opened(image) as heir:
        assert [row for _, row in rest(heir)] == rows[:10] + rows[11:]
        assert (heir.left_over, heir.damaged) == (29, 1)
    (told,) = [record.getMessage() for record in caplog.records]
    assert f"DAMAGED: {path} holds no sound record from byte {start} to {places[10].offset}" in told
    (kept,) = (image / "set-aside").iterdir()
    assert kept.read_bytes() == whole[start : places[10].offset]


def test_a_segment_that_is_cut_under_a_running_producer_ends_no_loop(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        places = fill(spool, numbered(10))
        (path,) = tmp_path.glob("*.spool")
        os.truncate(path, places[4].offset)
        assert len(rest(spool)) == 5
        assert spool.level
        assert spool.damaged == 1


def test_one_folder_has_one_producer_and_one_topic(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        with pytest.raises(SpoolUnusable, match=f"in use by process {os.getpid()}"):
            Spool(tmp_path, 8 * MB).open("telemetry")
        spool.append(b"m", b"a", b"v")
    with pytest.raises(SpoolUnusable, match="1 records for the topic telemetry, not for other"):
        Spool(tmp_path, 8 * MB).open("other")
    with opened(tmp_path) as spool:
        ((place, _),) = rest(spool)
        spool.acknowledge(place, 1)
    with opened(tmp_path, topic="other") as spool:
        assert spool.left_over == 0


@given(st.binary(max_size=30))
def test_a_position_that_cannot_be_read_costs_repeats_only(text: bytes) -> None:
    rows = numbered(5)
    with tempfile.TemporaryDirectory() as name, opened(Path(name) / "a") as spool:
        places = fill(spool, rows)
        rest(spool)
        spool.acknowledge(places[2], 3)
        image = killed(Path(name) / "a", Path(name) / "b")
        (image / "position").write_bytes(text)
        with opened(image) as heir:
            assert [row for _, row in rest(heir)] == rows
