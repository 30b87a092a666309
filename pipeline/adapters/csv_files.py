"""Tables (CSV) to frames: `time` and a column per item, or the columns `time`, `item` and `value`.

The first line names the columns; comma, semicolon or tab stand between them. Times are ISO 8601 (UTC unless they say
otherwise) or milliseconds since 1970. An empty cell says nothing.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pipeline.adapters import Refused, Tally, files
from pipeline.adapters.fold import Entry
from pipeline.adapters.text import Broken, lines
from pipeline.core.model import Control, Frame
from pipeline.mapping import Mapping

TIMES = ("time", "timestamp", "ts")
NO_TIME = "no time"
NO_HEAD = "the first line names no column `time` beside others"
WIDTH = "not as many cells as columns"
UNREADABLE = "no line of a table"


def read(
    paths: Sequence[Path],
    mappings: Sequence[Mapping],
    devices: Path | None = None,
    tally: Tally | None = None,
    any_name: bool = False,
    latest: int | None = None,
) -> Iterator[Frame | Control | Refused]:
    """Frames of tables, what was refused, and each machine's EndOfSource (see files.read)."""
    return files.read(CsvFile, paths, mappings, devices, tally, any_name, latest)


class CsvFile(files.EntryFile):
    """One table."""

    kind = "csv"

    def entries(self) -> Iterator[Entry]:
        """Entries of all cells, row by row."""
        rows = self._rows()
        number, head = next(rows, (0, []))
        names = [name.strip() for name in head]
        place = next((at for at, name in enumerate(names) if name.lower() in TIMES), None)
        if place is None or len(names) < 2:
            if head:
                self.bad(number, ",".join(head), NO_HEAD)
            for number, row in rows:
                self.bad(number, ",".join(row), NO_HEAD)
            return
        lower = [name.lower() for name in names]
        pair = (lower.index("item"), lower.index("value")) if {"item", "value"} <= set(lower) else None
        for number, row in rows:
            if len(row) != len(names):
                self.bad(number, ",".join(row), WIDTH)
                continue
            at = self.moment(_iso(row[place]))
            if at is None:
                self.bad(number, ",".join(row), NO_TIME)
                continue
            cells = [(row[pair[0]], row[pair[1]])] if pair else zip(names, row, strict=True)
            for item, value in cells:
                if value != "" and item != names[place] and (name := self.accept(item)):
                    yield Entry(number, at, name, value)

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Numbered rows; blank lines are counted. Line numbers are those of a row's last line."""
        self._number = 0
        try:
            first = next(source := self._lines(), None)
            if first is None:
                return
            delimiter = max(",;\t", key=first.count)
            try:
                yield self._number, next(csv.reader([first], delimiter=delimiter))
            except csv.Error:  # no names of columns: whoever reads on says so of every line
                yield self._number, [first]
            table = csv.reader(source, delimiter=delimiter, strict=True)
            while True:
                try:
                    row = next(table)
                except csv.Error as error:
                    self.bad(self._number, str(error), UNREADABLE)
                    continue
                except StopIteration:
                    return
                if row:
                    yield self._number, row
        except Broken as broken:
            self.bad(self._number + 1, "", str(broken))

    def _lines(self) -> Iterator[str]:
        for line in lines(self._path):
            self._number += 1
            self._tally.lines += 1
            self._tally.blank += not line.strip()
            yield line + "\n"


def _iso(text: str) -> str:
    """The time as ISO 8601, whatever stands between date and time; milliseconds since 1970 are written out."""
    text = text.strip()
    if text.isascii() and text.isdigit() and len(text) in (12, 13):
        return datetime.fromtimestamp(int(text) // 1000, UTC).strftime(f"%Y-%m-%dT%H:%M:%S.{int(text) % 1000:03}")
    return text.replace(" ", "T", 1)
