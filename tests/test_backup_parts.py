"""A backup's parts without Kafka or store: rows counted in the format Native, files, manifest, offsets set back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import backup, backup_files, restore
from pipeline.backup_files import Manifest, Piece
from pipeline.cli.restore import _lines
from pipeline.errors import BackupUnusable, StoreRefused, StoreUnavailable, UsageError
from pipeline.sink_offsets import Back, Mark, losses, reached
from pipeline.store import migrate, native


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def text(word: str) -> bytes:
    return varint(len(word.encode())) + word.encode()


def long(number: int) -> bytes:
    return number.to_bytes(8, "little")


def coded(*words: str) -> bytes:
    """LowCardinality(String): prefix aside, flags, the dictionary, codes of one byte."""
    keys = sorted({"", *words})
    return (
        long(1 << 9) + long(len(keys)) + b"".join(map(text, keys)) + long(len(words))
        + bytes(keys.index(word) for word in words)
    )  # fmt: skip


COLUMNS = {  # type -> the bytes of three values
    "UInt64": long(1) + long(2) + long(3),
    "DateTime64(3, 'UTC')": b"x" * 24,
    "Bool": b"\0\1\0",
    "String": text("") + text("öffen ⚙") + text("x" * 300),
    "Nullable(String)": b"\0\1\0" + text("a") + text("") + text("b"),
    "LowCardinality(String)": long(1) + coded("a", "b", "a"),
    "LowCardinality(Nullable(String))": long(1) + coded("a", "", "a"),
    "Array(LowCardinality(String))": long(1) + long(2) + long(2) + long(3) + coded("a", "b", "a"),
    "Array(String)": long(0) + long(0) + long(0),
    "Map(String, Int64)": long(1) + long(1) + long(2) + text("*") + text("p") + long(7) + long(8),
    "Tuple(Int8, FixedString(2))": b"123" + b"aabbcc",
}
BLOCK = varint(len(COLUMNS)) + varint(3) + b"".join(text("c") + text(kind) + data for kind, data in COLUMNS.items())
EMPTY = varint(2) + varint(0) + text("a") + text("String") + text("b") + text("Array(Int8)")
WORDS = "Code: 241. DB::Exception: Memory limit exceeded. (MEMORY_LIMIT_EXCEEDED)"
MARKED = f"\r\n__exception__\r\nabcdefabcdefabcd\r\n{WORDS}\n\r\n80 abcdefabcdefabcd\r\n__exception__\r\n".encode()


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[place : place + size] for place in range(0, len(data), size))


@pytest.mark.parametrize("size", [1, 7, 100, 1 << 20])
def test_rows_are_counted_however_they_come(size: int) -> None:
    assert native.rows([]) == 0
    assert native.rows(cut(EMPTY, size)) == 0
    assert native.rows(cut(BLOCK + EMPTY + BLOCK, size)) == 6


@given(st.integers(1, len(BLOCK) - 1))
def test_rows_that_break_off_are_found(end: int) -> None:
    with pytest.raises(StoreUnavailable, match="broke off half-way"):
        native.rows([BLOCK, BLOCK[:end]])


@pytest.mark.parametrize("size", [7, 1 << 20])
def test_a_server_that_fails_half_way_says_why(size: int) -> None:
    with pytest.raises(StoreUnavailable, match="broke off half-way: Memory limit exceeded"):
        native.rows(cut(BLOCK + MARKED, size))


def test_a_type_that_cannot_be_held_is_named() -> None:
    odd = varint(1) + varint(1) + text("shape") + text("Polygon") + b"123"
    with pytest.raises(StoreRefused, match="column shape is of type Polygon"):
        native.rows([odd])


# Files and the manifest


def kept(folder: Path) -> Manifest:
    """A backup of two files."""
    backup_files.prepare(folder)
    pieces = [
        backup_files.keep(folder, table, "202603", cut(BLOCK * 5, 100), print) for table in ("telemetry", "events")
    ]
    marks = [Mark("telemetry", 0, 40, 0, 50), Mark("oee", 1, 7, 7, 9)]
    migrations = [(one.number, one.name, one.checksum) for one in migrate.migrations()]
    manifest = Manifest("0.1.0", "plant", "2026-03-02T06:00:00.000Z", "2026-03-02T06:01:00.000Z", "26.1", migrations,
                        marks, pieces, {"mine": "no table of openoee"})  # fmt: skip
    manifest.write(folder)
    return manifest


def test_a_backup_is_read_as_it_was_written(tmp_path: Path) -> None:
    manifest = kept(tmp_path / "a" / "b")
    assert Manifest.read(tmp_path / "a" / "b") == manifest
    assert manifest.rows == {"telemetry": 15, "events": 15}
    manifest.check(tmp_path / "a" / "b", print)
    restore.check_version(manifest)
    assert {path.name for path in (tmp_path / "a" / "b").iterdir()} == {
        "manifest.json", "telemetry.202603.native.zst", "events.202603.native.zst",
    }  # fmt: skip


def test_damage_is_named(tmp_path: Path) -> None:
    manifest = kept(tmp_path)
    spoilt = bytearray((tmp_path / "events.202603.native.zst").read_bytes())
    spoilt[len(spoilt) // 2] ^= 1
    (tmp_path / "events.202603.native.zst").write_bytes(spoilt)
    with pytest.raises(BackupUnusable, match=r"nothing was done: events\.202603\.native\.zst is not what was written"):
        manifest.check(tmp_path, print)
    (tmp_path / "events.202603.native.zst").write_bytes(spoilt[:-1])
    (tmp_path / "telemetry.202603.native.zst").unlink()
    with pytest.raises(BackupUnusable, match=r"telemetry\.202603\.native\.zst is missing; events.* has \d+ bytes, not"):
        manifest.check(tmp_path, print)


def test_what_is_no_finished_backup_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackupUnusable, match="is no finished backup"):
        Manifest.read(tmp_path)
    kept(tmp_path)
    row = json.loads((tmp_path / "manifest.json").read_text())
    for change, words in (({"format": 99}, "a format that this version"), ({"pieces": [{}]}, "is damaged")):
        (tmp_path / "manifest.json").write_text(json.dumps(row | change))
        with pytest.raises(BackupUnusable, match=words):
            Manifest.read(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(BackupUnusable, match="cannot be read"):
        Manifest.read(tmp_path)


def test_a_backup_gets_a_folder_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "telemetry.all.native.zst").write_bytes(b"")
    with pytest.raises(UsageError, match="an unfinished backup may be removed"):
        backup_files.prepare(tmp_path)
    with pytest.raises(UsageError, match="cannot be the folder"):
        backup_files.prepare(tmp_path / "telemetry.all.native.zst")


def test_a_backup_of_another_version_is_refused(tmp_path: Path) -> None:
    manifest = kept(tmp_path)
    with pytest.raises(BackupUnusable, match="migration 0099_later, which this version does not know"):
        restore.check_version(replace(manifest, migrations=[*manifest.migrations, (99, "later", "x")]))
    with pytest.raises(BackupUnusable, match="0001_tables is not the one"):
        restore.check_version(replace(manifest, migrations=[(1, "tables", "x")]))
    restore.check_version(replace(manifest, migrations=[(2, "views", "x"), (0, "views", "of another version")]))


def test_every_table_of_the_migrations_is_meant() -> None:
    assert {"telemetry", "oee_facts", "oee_hours", "open_hours", "factory_files"} < backup.made_by_migrations()
    assert not {name for name in backup.made_by_migrations() if "view" in name}


# Offsets


@pytest.mark.parametrize(
    ("noted", "low", "high", "to", "gone"),
    [
        (40, 0, 50, 40, 0),  # everything after the backup is there
        (50, 0, 50, 50, 0),  # nothing came after it
        (40, 40, 40, 40, 0),  # everything before it was forgotten
        (40, 45, 50, 45, 5),  # retention took some of what came after it
        (40, 90, 90, 90, 50),
        (40, 0, 10, 0, None),  # the topic was made again
    ],
)
def test_where_the_sink_goes_on(noted: int, low: int, high: int, to: int, gone: int | None) -> None:
    assert reached("oee", 1, noted, low, high) == Back("oee", 1, noted, to, low, high, gone)


def test_losses_are_told_and_counted(tmp_path: Path) -> None:
    back = [reached("telemetry", 0, 40, 45, 50), reached("oee", 0, 40, 0, 50), reached("factory", 0, 40, 0, 3)]
    done = restore.Restored("plant", kept(tmp_path), 30, back)
    assert [one.topic for one in losses(back)] == ["telemetry", "factory"]
    assert (done.lost, done.exit_code) == (5, restore.LOST)
    assert done.as_dict()["lost_unknown"] is True
    said = "\n".join(_lines(done))
    assert "LOST  telemetry, partition 0: offsets 40 to 44 are gone for good (5)" in said
    assert "LOST  factory, partition 0: the log ends at 3, before the backup's offset 40" in said
    assert restore.Restored("plant", kept(tmp_path / "b"), 30, [back[1]]).exit_code == 0


def test_a_piece_knows_its_rows(tmp_path: Path) -> None:
    piece = backup_files.keep(tmp_path, "oee_facts", "all", cut(BLOCK, 1), print)
    assert isinstance(piece, Piece)
    assert (piece.rows, piece.bytes) == (3, (tmp_path / piece.file).stat().st_size)
    assert piece.sha256 == backup_files.digest(tmp_path / piece.file)
