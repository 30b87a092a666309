"""A bounded queue of records on disk: appended, read and acknowledged in one order, across kills of its process.

<folder>/00000001.spool ...   entries (`spool_entry.py`); each file is begun by one process and written by no other
<folder>/position             what is acknowledged: segment, offset, check; an old one costs repeats, never a record
<folder>/topic, lock          what the records are for; the process that has the folder
<folder>/set-aside/           bytes that were found damaged, named by segment and offset
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pipeline import spool_files as files
from pipeline.errors import SpoolFull
from pipeline.spool_entry import HEAD_BYTES, Damage, Entry, entries, pack

log = logging.getLogger("openoee.spool")
SEGMENT_BYTES = 16 << 20  # at most; small limits have smaller segments, as only whole ones are given back
ALARM, CALM = 0.8, 0.7


class Place(NamedTuple):
    """Behind an entry: the number of its segment, the offset in it."""

    segment: int
    offset: int


class Fill(NamedTuple):
    """How full a spool is: bytes on disk, bytes allowed, records that Kafka has not acknowledged."""

    used: int
    limit: int
    records: int


@dataclass(slots=True)
class _Segment:
    path: Path
    size: int


class Spool:
    """One process at a time has it (`open` to `close`); not thread-safe.

    `limit` is in bytes of all segments. With `durable` every record is on the disk when `append` returns; without,
    it is with the operating system then (a kill loses nothing), and `unsynced` tells what a power cut could take.
    """

    def __init__(self, folder: Path, limit: int, durable: bool = False) -> None:
        self.folder, self.limit, self.durable = folder, limit, durable
        self.used = self.records = self.left_over = self.damaged = 0
        self.alarmed = False
        self._segment_bytes = min(SEGMENT_BYTES, limit // 16)
        self._segments: dict[int, _Segment] = {}
        self._unsynced: set[int] = set()
        self._told: set[Place] = set()
        self._end = self._read = self._acked = Place(0, 0)
        self._pieces: Iterator[Entry | Damage] = iter(())
        self._file = self._lock = -1
        self._number = 0

    def open(self, topic: str) -> None:
        """Take the folder and find what an earlier process left in it: `left_over` records, which `read` gives first.

        Raises SpoolUnusable: another process has it, its records are for another topic, it cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = files.own(self.folder)
            self._recover()
            files.require_topic(self.folder, topic, self.records)
        except OSError as error:
            self._release()
            raise files.told(self.folder, error) from None
        except BaseException:
            self._release()
            raise

    def close(self) -> None:
        """Give the folder back; what is not acknowledged stays in it, on the disk."""
        try:
            if self.drained:
                for number in list(self._segments):
                    self._drop(number)
            files.sync(self.unsynced())
            self.save_position()
        except OSError as error:
            raise files.told(self.folder, error) from None
        finally:
            self._release()

    @property
    def fill(self) -> Fill:
        return Fill(self.used, self.limit, self.records)

    @property
    def level(self) -> bool:
        """Whether everything that was appended has been read (or taken)."""
        return self._read == self._end

    @property
    def drained(self) -> bool:
        """Whether everything that was appended has been acknowledged."""
        return self._acked == self._end

    def append(self, key: bytes, address: bytes, value: bytes) -> Place:
        """Keep a record.

        Raises SpoolFull when it would pass the limit or the disk is full, SpoolUnusable when the disk fails: nothing
        was kept then.
        """
        size = HEAD_BYTES + len(key) + len(address) + len(value)
        full = self.used + size > self.limit
        if self._file < 0 or (full and self.drained) or (self._end.offset + size > self._segment_bytes):
            self._roll()
            full = self.used + size > self.limit
        if full:
            raise SpoolFull(f"the spool {self.folder} is full ({self.used:,} of {self.limit:,} bytes)")
        segment, offset = self._end
        try:
            files.write(self._file, pack(key, address, value, offset), offset, self.durable)
        except OSError as error:
            raise files.told(self.folder, error) from None
        self._end = Place(segment, offset + size)
        self._segments[segment].size = offset + size
        self._unsynced.add(segment)
        self.used += size
        self.records += 1
        self._watch()
        return self._end

    def take(self, place: Place) -> None:
        """The record just appended needs not be read: whoever appended it sends it. Only where all before was read."""
        self._read, self._pieces = place, iter(())

    def read(self) -> tuple[Place, Entry | None] | None:
        """The next record and the place behind it, None when there is none; no entry where bytes are damaged."""
        while True:
            for piece in self._pieces:
                self._read = Place(self._read.segment, piece.end)
                if isinstance(piece, Entry):
                    return self._read, piece
                self._damage(self._read.segment, piece)
                return self._read, None
            if not self._load():
                return None

    def rewind(self) -> None:
        """Read again from the first record that is not acknowledged."""
        self._read, self._pieces = self._acked, iter(())

    def acknowledge(self, place: Place, records: int) -> None:
        """Everything up to this place, so many records, is stored elsewhere; whole segments of it are deleted."""
        while place.segment != self._end.segment and place.offset >= self._segments[place.segment].size:
            place = Place(self._after(place.segment), 0)
        self._acked = place
        self.records = 0 if self.drained else self.records - records
        if next(iter(self._segments), place.segment) < place.segment:
            for number in [number for number in self._segments if number < place.segment]:
                self._drop(number)
        if self.alarmed and self.used < CALM * self.limit:
            self.alarmed = False
            log.info("spool %s: down to %.0f %% full", self.folder, 100 * self.used / self.limit)

    def set_aside(self, place: Place, entry: Entry, why: str) -> None:
        """Keep a record that Kafka refuses for good in a file of its own, and tell."""
        kept = files.keep_aside(self.folder, place.segment, entry.start, entry.value)
        log.error("spool %s: %s; its bytes %s", self.folder, why, kept)

    def unsynced(self) -> list[Path]:
        """Files that hold what a power cut could take; the caller hands them to `spool_files.sync`."""
        numbers = [] if self.drained else [number for number in self._unsynced if number in self._segments]
        self._unsynced.clear()
        return [*(self._segments[number].path for number in numbers), *([self.folder] if numbers else [])]

    def save_position(self) -> None:
        """Note how far records are acknowledged."""
        files.save_position(self.folder, *self._acked)

    # What an earlier process left

    def _recover(self) -> None:
        self._acked = Place(*files.saved_position(self.folder))
        self._number = self._acked.segment
        for number, path in self._old_segments():
            self._number = max(self._number, number)
            start = self._acked.offset if number == self._acked.segment else 0
            if number < self._acked.segment or not self._recover_segment(number, path, start):
                path.unlink()
        if self._segments:
            first, last = min(self._segments), max(self._segments)
            self._acked = self._acked if self._acked.segment == first else Place(first, 0)
            self._end = Place(last, self._segments[last].size)
        else:
            self._acked = self._end = Place(self._number, 0)
        self._read = self._acked
        self.left_over = self.records
        self._watch()

    def _old_segments(self) -> list[tuple[int, Path]]:
        return sorted((int(path.stem), path) for path in self.folder.glob("*.spool") if path.stem.isdecimal())

    def _recover_segment(self, number: int, path: Path, start: int) -> bool:
        """Count what is left of a segment from `start` on, and cut off what is none; False when there is nothing."""
        size = path.stat().st_size
        self._segments[number] = _Segment(path, size)
        end, found = min(start, size), 0
        for piece in entries(self._bytes(number, end), end):
            if isinstance(piece, Entry):
                end, found = piece.end, found + 1
            else:
                self._damage(number, piece)
        if not found:
            del self._segments[number]
            return False
        os.truncate(path, end)
        self._segments[number].size = end
        self._unsynced.add(number)
        self.used += end
        self.records += found
        return True

    def _release(self) -> None:
        for handle in (self._file, self._lock):
            if handle >= 0:
                os.close(handle)
        self._file = self._lock = -1

    # Segments

    def _roll(self) -> None:
        """Begin the next segment."""
        level, drained = self.level, self.drained
        number = self._number + 1
        path = self.folder / f"{number:08}.spool"
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            files.sync([self.folder] if self.durable else [])
        except OSError as error:
            raise files.told(self.folder, error) from None
        if self._file >= 0:
            os.close(self._file)
        self._file, self._number, self._end = file, number, Place(number, 0)
        self._segments[number] = _Segment(path, 0)
        if level:
            self.take(self._end)
        if drained:
            self.acknowledge(self._end, 0)

    def _load(self) -> bool:
        """Have the next bytes at hand; False at the end."""
        while self._read.segment not in self._segments or self._read.offset >= self._segments[self._read.segment].size:
            if self._read.segment >= self._end.segment:
                return False
            self._read = Place(self._after(self._read.segment), 0)
        number, offset = self._read
        data = self._bytes(number, offset)
        gone = Damage(offset, self._segments[number].size, False)
        self._pieces = entries(data, offset) if data else iter((gone,))
        return True

    def _bytes(self, number: int, offset: int) -> bytes:
        segment = self._segments[number]
        try:
            with segment.path.open("rb") as file:
                file.seek(offset)
                return file.read(segment.size - offset)
        except OSError as error:
            raise files.told(self.folder, error) from None

    def _after(self, number: int) -> int:
        return min(other for other in self._segments if other > number)

    def _drop(self, number: int) -> None:
        segment = self._segments.pop(number)
        self.used -= segment.size
        segment.path.unlink(missing_ok=True)

    # What must be told

    def _damage(self, number: int, piece: Damage) -> None:
        place, path = Place(number, piece.start), self._segments[number].path
        if place in self._told:
            return
        self._told.add(place)
        if piece.torn:
            log.warning(
                "%s ends within a record: its %d bytes from byte %d on are cut off, as they are when the process is "
                "killed, or power is lost, before a record is written", path, piece.end - piece.start, piece.start,
            )  # fmt: skip
            return
        self.damaged += 1
        data = self._bytes(number, piece.start)[: piece.end - piece.start]
        kept = files.keep_aside(self.folder, number, piece.start, data)
        log.error(
            "DAMAGED: %s holds no sound record from byte %d to %d; going on behind it; the bytes %s",
            path, piece.start, piece.end, kept,
        )  # fmt: skip

    def _watch(self) -> None:
        if not self.alarmed and self.used > ALARM * self.limit:
            self.alarmed = True
            log.warning(
                "spool %s is %.0f %% full (%s bytes): %s records wait for Kafka; once it is full no more are taken",
                self.folder, 100 * self.used / self.limit, f"{self.used:,}", f"{self.records:,}",
            )  # fmt: skip
