"""MTConnect adapter logs (SHDR) to frames.

Lines are `time|item|value[|item|value...]`, for conditions `time|item|level|code|severity|qualifier|text`, for
messages `time|item|code|text`; a value `--multiline--TAG` goes on to the line TAG; `* ...` are commands.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.adapters import Refused, Tally, files
from pipeline.adapters.fold import Entry
from pipeline.adapters.text import LONGEST, Broken, lines
from pipeline.core.model import Control, Frame
from pipeline.mapping import Mapping

NOTHING: tuple[str, ...] = ()
MULTILINE = "--multiline--"
MOST_LINES = 10_000
TOO_LONG = "longer than 1 MB"
NO_TIME = "does not begin with a time"
NO_VALUE = "an item without a value"
NO_END = "a multi-line value without its end"


def read(
    paths: Sequence[Path],
    mappings: Sequence[Mapping],
    devices: Path | None = None,
    tally: Tally | None = None,
    any_name: bool = False,
    latest: int | None = None,
) -> Iterator[Frame | Control | Refused]:
    """Frames of adapter logs, what was refused, and each machine's EndOfSource (see files.read)."""
    return files.read(ShdrFile, paths, mappings, devices, tally, any_name, latest)


class ShdrFile(files.EntryFile):
    """One log; conditions and messages are told apart by the device file, else by the mapping."""

    kind = "shdr"

    def entries(self) -> Iterator[Entry]:
        """Entries of all lines, in the order of the log."""
        last, at = "", None
        for number, fields in self._fields():
            if fields[0] != last:
                last = fields[0]
                at = self.moment(last)
            if at is None:
                self._odd(number, fields)
                continue
            pairs = ((fields[1], fields[2], NOTHING),) if len(fields) == 3 else self._pairs(number, fields)
            for item, value, rest in pairs:
                if name := self.accept(item):
                    yield Entry(number, at, name, value, rest)

    def _odd(self, number: int, fields: list[str]) -> None:
        if len(fields) == 1 and not fields[0].strip():
            self._tally.blank += 1
        elif fields[0].startswith("*"):
            self._tally.commands += 1
        else:
            self.bad(number, "|".join(fields), NO_TIME)

    def _pairs(self, number: int, fields: list[str]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        """Item, value and what else belongs to it, of every entry of a line that is not just one item and value."""
        if len(fields) < 3:
            self.bad(number, "|".join(fields), NO_VALUE)
            return
        item = fields[1].removeprefix(self._map.device + ":")
        known = self._items.get(item)
        condition = item in self._map.conditions or (known is not None and known.category == "CONDITION")
        if condition or item.startswith("@") or (known is None and len(fields) == 7 and item not in self._fold.known):
            yield item, fields[2], (*fields[3:6], "|".join(fields[6:]))
        elif (known is not None and known.kind == "MESSAGE") or (len(fields) == 4 and item in self._map.messages):
            yield item, "|".join(fields[3:]), (fields[2],)
        else:
            for place in range(1, len(fields) - 1, 2):
                yield fields[place], fields[place + 1], ()
            if len(fields) % 2 == 0:
                self.bad(number, fields[-1], NO_VALUE)

    def _fields(self) -> Iterator[tuple[int, list[str]]]:
        """Numbered lines, split; the lines of a multi-line value are put together into its last field."""
        tally, waiting = self._tally, deque[tuple[int, str]]()
        source = enumerate(lines(self._path), 1)
        number = 0
        try:
            while (numbered := waiting.popleft() if waiting else next(source, None)) is not None:
                number, line = numbered
                tally.lines += 1
                if len(line) >= LONGEST - 2:
                    self.bad(number, line, TOO_LONG)
                elif MULTILINE in line:
                    yield from self._multiline(number, line, source, waiting)
                else:
                    yield number, line.split("|")
        except Broken as broken:
            self.bad(number + 1, "", str(broken))

    def _multiline(
        self, number: int, line: str, source: Iterator[tuple[int, str]], waiting: deque[tuple[int, str]]
    ) -> Iterator[tuple[int, list[str]]]:
        head, _, tag = line.rpartition(MULTILINE)
        gathered: list[tuple[int, str]] = []
        while len(gathered) < MOST_LINES:
            following = waiting.popleft() if waiting else next(source, None)
            if following is None:
                break
            gathered.append(following)
            if following[1] == tag:
                self._tally.lines += len(gathered)
                self._tally.continued += len(gathered)
                text = "\n".join(text for _, text in gathered[:-1])
                fields = head.split("|")
                yield number, [*fields[:-1], fields[-1] + text]
                return
        waiting.extendleft(reversed(gathered))
        self.bad(number, line, NO_END)
