"""The files around a spool's segments: who has the folder, how far it is acknowledged, what was set aside."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import zlib
from pathlib import Path

from pipeline.errors import SpoolFull, SpoolUnusable


def own(folder: Path) -> int:
    """Take a folder for this process; the kernel gives it back when the process ends, however it ends.

    Raises SpoolUnusable when another process has it.
    """
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(handle, 20).decode() or "unknown"
        os.close(handle)
        raise SpoolUnusable(
            f"the spool {folder} is in use by process {owner}: give each producer a folder of its own (--spool)"
        ) from None
    with contextlib.suppress(OSError):  # the number is for people; a full disk must not stop what empties it
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
    return handle


def save_position(folder: Path, segment: int, offset: int) -> None:
    """Note that everything up to this offset of this segment is acknowledged."""
    text = f"{segment} {offset}"
    fresh = folder / "position.new"
    with contextlib.suppress(OSError):  # on a full disk the old one stays: repeats, which count once
        fresh.write_text(f"{text} {zlib.crc32(text.encode())}\n")
        fresh.replace(folder / "position")


def saved_position(folder: Path) -> tuple[int, int]:
    """Segment and offset that were noted last; the beginning, which only costs repeats, when the note is unreadable."""
    try:
        segment, offset, check = (folder / "position").read_text().split()
        if zlib.crc32(f"{segment} {offset}".encode()) == int(check):
            return int(segment), int(offset)
    except (OSError, ValueError):
        pass
    return 0, 0


def keep_aside(folder: Path, segment: int, offset: int, data: bytes) -> str:
    """Put bytes that cannot be sent into a file of their own; tells where they are."""
    path = folder / "set-aside" / f"{segment:08}-{offset}.bytes"
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    except OSError as error:  # what is sound must go on all the same
        return f"could not be kept in {path} ({error.strerror})"
    return f"are kept in {path}"


def require_topic(folder: Path, topic: str, records: int) -> None:
    """Note what the records of the folder are for. Raises SpoolUnusable when it holds some for another topic."""
    path = folder / "topic"
    held = path.read_text(encoding="utf-8").strip() if path.exists() else ""
    if held == topic:
        return
    if held and records:
        raise SpoolUnusable(
            f"the spool {folder} holds {records:,} records for the topic {held}, not for {topic}: send them first "
            "(with the --topic-prefix of before), or name another folder (--spool)"
        )
    path.write_text(topic + "\n", encoding="utf-8")


def write(file: int, data: bytes, at: int, durable: bool) -> None:
    """All of these bytes at this offset, or none. Raises OSError."""
    written = 0
    try:
        while written < len(data):
            written += os.pwrite(file, data[written:] if written else data, at + written)
        if durable:
            os.fsync(file)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(file, at)
        raise


def sync(paths: list[Path]) -> None:
    """Has the disk write what the operating system holds of these files; those that are gone need not be."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def told(folder: Path, error: OSError) -> SpoolFull | SpoolUnusable:
    """An error of the disk as one of ours."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SpoolFull(f"the disk of the spool {folder} is full ({error.strerror}): free some of it")
    return SpoolUnusable(f"the spool {folder} cannot be used: {error.strerror or error}")
