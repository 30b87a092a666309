"""A backup as files: compressed pieces of tables, and a manifest that is written last and says what must be there."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from pipeline.errors import BackupUnusable, UsageError
from pipeline.sink_offsets import Mark
from pipeline.store import native

FORMAT = 1
MANIFEST = "manifest.json"
LEVEL = 3  # of zstd
READ_BYTES = 1 << 20
TELL_EVERY_S = 10.0
Tell = Callable[[str], Any]


@dataclass(frozen=True)
class Piece:
    """One partition of a table, in a file of its own; the checksum is that of the file."""

    table: str
    partition: str
    file: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a backup is made of. Times in ISO 8601, UTC; `migrations`: number, name, checksum; `left_out`: why, by name.

    Everything before `offsets` is in it, and rows of later records may be, too: these are read again.
    """

    version: str
    database: str
    taken: str
    finished: str
    store: str
    migrations: list[tuple[int, str, str]]
    offsets: list[Mark]
    pieces: list[Piece]
    left_out: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def rows(self) -> dict[str, int]:
        """Rows by table."""
        found: dict[str, int] = {}
        for piece in self.pieces:
            found[piece.table] = found.get(piece.table, 0) + piece.rows
        return found

    def write(self, folder: Path) -> None:
        """Write it so that it is there as a whole or not at all."""
        text = json.dumps(asdict(self), ensure_ascii=False, indent=1) + "\n"
        draft = folder / (MANIFEST + ".part")
        with draft.open("w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(folder / MANIFEST)
        _sync(folder)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest in a folder. Raises BackupUnusable."""
        path = folder / MANIFEST
        try:
            row = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise BackupUnusable(
                f"{folder} is no finished backup: it has no {MANIFEST}, which is written last"
            ) from None
        except (OSError, ValueError) as error:
            raise BackupUnusable(f"{path} cannot be read: {error}") from None
        if not isinstance(row, dict) or row.get("format") != FORMAT:
            raise BackupUnusable(
                f"{path} is of a format that this version does not know: use the version that wrote it"
            )
        try:
            row["migrations"] = [(int(number), name, mark) for number, name, mark in row["migrations"]]
            row["offsets"] = [Mark(**mark) for mark in row["offsets"]]
            row["pieces"] = [Piece(**piece) for piece in row["pieces"]]
            return cls(**row)
        except (KeyError, TypeError, ValueError) as error:
            raise BackupUnusable(f"{path} is damaged: {error}") from None

    def check(self, folder: Path, tell: Tell) -> None:
        """Read every file. Raises BackupUnusable naming all that are missing or damaged."""
        wrong = []
        pace = Pace(tell)
        for piece in self.pieces:
            pace.tell(f"checking {piece.file}")
            path = folder / piece.file
            if not path.is_file():
                wrong.append(f"{piece.file} is missing")
            elif (size := path.stat().st_size) != piece.bytes:
                wrong.append(f"{piece.file} has {size:,} bytes, not {piece.bytes:,}")
            elif digest(path) != piece.sha256:
                wrong.append(f"{piece.file} is not what was written (checksum)")
        if wrong:
            raise BackupUnusable(f"{folder} is damaged, nothing was done: {'; '.join(wrong)}")


class Pace:
    """Lines about long work, not too many."""

    def __init__(self, tell: Tell) -> None:
        self._tell, self._told = tell, time.monotonic()

    def tell(self, line: str) -> None:
        if time.monotonic() - self._told > TELL_EVERY_S:
            self._told = time.monotonic()
            self._tell(line)


def prepare(folder: Path) -> None:
    """Make the folder of a new backup. Raises UsageError when there is something in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = next(folder.iterdir(), None)
    except OSError as error:
        raise UsageError(f"{folder} cannot be the folder of a backup: {error.strerror}") from None
    if there is None:
        return
    unfinished = "" if (folder / MANIFEST).exists() else " (an unfinished backup may be removed)"
    raise UsageError(f"{folder} is not empty: every backup gets a folder of its own{unfinished}")


def keep(folder: Path, table: str, partition: str, chunks: Iterable[bytes], tell: Tell) -> Piece:
    """Write rows in the format Native into a file of their own; memory is bounded.

    Raises StoreUnavailable when they break off, BackupUnusable when the disk does not take them.
    """
    import zstandard

    path = folder / f"{table}.{partition}.native.zst"
    try:
        with path.open("wb") as out:
            hashed = _Hashed(out, tell, path.name)
            packer = zstandard.ZstdCompressor(level=LEVEL).compressobj()

            def seen() -> Iterator[bytes]:
                for chunk in chunks:
                    hashed.write(packer.compress(chunk))
                    yield chunk

            rows = native.rows(seen())
            hashed.write(packer.flush())
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        raise BackupUnusable(f"{path} cannot be written: {error.strerror or error}") from None
    return Piece(table, partition, path.name, rows, hashed.size, hashed.digest.hexdigest())


def pieces_of(path: Path) -> Iterator[bytes]:
    """A file as it is, in pieces."""
    with path.open("rb") as file:
        while piece := file.read(READ_BYTES):
            yield piece


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Hashed:
    """A file that knows the checksum of what was written."""

    def __init__(self, out: IO[bytes], tell: Tell, name: str) -> None:
        self._out, self._name, self._pace = out, name, Pace(tell)
        self.digest, self.size = hashlib.sha256(), 0

    def write(self, data: bytes) -> None:
        self._out.write(data)
        self.digest.update(data)
        self.size += len(data)
        self._pace.tell(f"{self._name}: {self.size / 1e6:,.0f} MB so far")


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
