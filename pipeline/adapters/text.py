"""Lines of a text file, plain or gzip, numbered, whatever is in it; and the time stamps that stand in them."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

LONGEST = 1_000_000
MINUTE_MS = 60_000
STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d):([0-5]\d)(?:[.,](\d{1,9}))?(?:Z|([+-])(\d\d):?(\d\d))?(?:@[\d.]+)?")


class Broken(Exception):
    """The file cannot be read further, at this line; what was read before is good."""


def lines(path: Path) -> Iterator[str]:
    """Lines without their ends. Bytes that are no UTF-8 are read as Latin-1; a line over 1 MB comes cut.

    Raises Broken where the file cannot be read further (a gzip file cut short or damaged).
    """
    try:
        with path.open("rb") as plain:
            packed = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            stream = gzip.GzipFile(fileobj=plain) if packed else plain
            first, rest = True, False
            while raw := stream.readline(LONGEST):
                whole = raw.endswith(b"\n")
                if not rest:
                    text = _decode(raw.rstrip(b"\r\n"))
                    yield text.removeprefix("\ufeff") if first else text
                first, rest = False, not whole
    except (OSError, EOFError, zlib.error) as error:
        raise Broken(f"cannot be read further: {error}") from error


def _decode(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


class Clock:
    """Time stamps (ISO 8601, UTC unless they say otherwise) to milliseconds; further digits are cut off."""

    def __init__(self) -> None:
        self._minutes: dict[str, int] = {}

    def ms(self, stamp: str) -> int | None:
        """Milliseconds since 1970, None when it is no time."""
        match = STAMP.fullmatch(stamp)
        if match is None:
            return None
        minute, second, fraction, sign, hours, minutes = match.groups()
        base = self._minutes.get(minute)
        if base is None:
            try:
                base = int(datetime.fromisoformat(minute + "+00:00").timestamp()) * 1000
            except (ValueError, OverflowError):
                return None
            if len(self._minutes) > 10_000:
                self._minutes.clear()
            self._minutes[minute] = base
        at = base + int(second) * 1000
        if fraction:
            at += int(fraction[:3].ljust(3, "0"))
        if sign:
            offset = (int(hours) * 60 + int(minutes)) * MINUTE_MS
            at += offset if sign == "-" else -offset
        return at
