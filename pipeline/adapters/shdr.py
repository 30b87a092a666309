"""MTConnect adapter logs (SHDR) to frames.

Lines are `time|item|value[|item|value...]`, for conditions `time|item|level|code|severity|qualifier|text`, for
messages `time|item|code|text`; a value `--multiline--TAG` goes on to the line TAG; `* ...` are commands.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from pipeline.adapters import Refused, Tally
from pipeline.adapters import devices as device_file
from pipeline.adapters.devices import DataItem
from pipeline.adapters.fold import Entry, MachineFold
from pipeline.adapters.text import LONGEST, Broken, Clock, lines
from pipeline.core.model import Control, EndOfSource, Frame
from pipeline.errors import FactoryFileError, UsageError
from pipeline.mapping import ANY, Mapping
from pipeline.yaml_lines import nearest

NOTHING: tuple[str, ...] = ()
MULTILINE = "--multiline--"
MOST_LINES = 10_000
TOO_LONG = "longer than 1 MB"
NO_TIME = "does not begin with a time"
NO_VALUE = "an item without a value"
NO_END = "a multi-line value without its end"
Checked = tuple[Mapping, dict[str, DataItem]]
DAY = re.compile(r"(?<!\d)(\d{4})-?(\d\d)-?(\d\d)(?!\d)")


def read(
    paths: Sequence[Path],
    mappings: Sequence[Mapping],
    devices: Path | None = None,
    tally: Tally | None = None,
    any_name: bool = False,
) -> Iterator[Frame | Control | Refused]:
    """Frames of all files, machine by machine in order of the days in the files' names, and what was refused.

    A file belongs to the mapping whose device its name begins with (`any_name`: to the only mapping). The last
    record of each machine is its EndOfSource. Raises FactoryFileError when mapping and device file disagree,
    UsageError when a file belongs to no mapping.
    """
    tally = Tally() if tally is None else tally
    _distinct(paths)
    known = device_file.load(devices) if devices else {}
    checked = [_check(mapping, known, devices) for mapping in mappings]
    groups: dict[str, list[tuple[Path, Mapping, dict[str, DataItem]]]] = {}
    for path in sorted(paths, key=lambda path: (_digits(path), path.name)):
        mapping, items = _owner(path, checked, any_name)
        groups.setdefault(mapping.machine, []).append((path, mapping, items))
    for machine, group in groups.items():
        newest, source = None, ""
        for path, mapping, items in group:
            file = _File(path, mapping, items, tally)
            yield from file.read()
            if file.newest is not None:
                newest, source = max(newest or 0, file.newest), file.source
        if newest is not None:
            yield Control(machine, f"end:{source}", newest, "shdr", EndOfSource(source, newest))


def _digits(path: Path) -> str:
    day = DAY.search(path.name)
    return "".join(day.groups()) if day else ""


def _distinct(paths: Sequence[Path]) -> None:
    """A file is known by its name: two of one name would be taken for the same."""
    seen: dict[str, Path] = {}
    for path in paths:
        if path.name in seen:
            raise UsageError(f"{path} and {seen[path.name]} have the same name: rename one")
        seen[path.name] = path


def _owner(path: Path, checked: list[Checked], any_name: bool) -> Checked:
    if any_name and len(checked) == 1:
        return checked[0]
    for mapping, items in checked:
        if re.match(re.escape(mapping.device) + r"(?![A-Za-z0-9])", path.name):
            return mapping, items
    names = ", ".join(mapping.device for mapping, _ in checked)
    raise UsageError(f"{path}: its name begins with no device of the mappings ({names}); rename it, or use --machine")


def _check(mapping: Mapping, known: dict[str, dict[str, DataItem]], path: Path | None) -> Checked:
    """The mapping with `*` of its conditions resolved, beside its device's data items."""
    if path is None:
        if ANY in mapping.conditions:
            raise FactoryFileError(
                f"{mapping.file}:{mapping.lines[ANY]}: which items are conditions stands in the device file; name it "
                "with --devices, or list the items"
            )
        return mapping, {}
    if mapping.device not in known:
        remedy = nearest(mapping.device, known)
        raise FactoryFileError(f"{mapping.file}:1: {path} has no device {mapping.device!r}; {remedy}")
    items = known[mapping.device]
    for item, line in mapping.lines.items():
        if item not in items and item not in mapping.ignore and item != ANY:
            remedy = nearest(item, items)
            raise FactoryFileError(f"{mapping.file}:{line}: the device {mapping.device} has no item {item!r}; {remedy}")
    if ANY in mapping.conditions:
        every = frozenset(name for name, item in items.items() if item.category == "CONDITION")
        mapping = replace(mapping, conditions=every - mapping.ignore)
    return mapping, items


class _File:
    """One file: its lines to entries, its entries to frames. Nothing is carried over to the next file."""

    def __init__(self, path: Path, mapping: Mapping, items: dict[str, DataItem], tally: Tally) -> None:
        self.source = f"shdr:{path.name}"
        self.newest: int | None = None
        self._began: int | None = None
        self._path, self._map, self._items, self._tally = path, mapping, items, tally
        self._clock = Clock()
        self._refused: list[Refused] = []
        self._start = self._day()
        units = {}
        for item, signal in mapping.signals.items():
            unit = signal.unit if signal.unit is not None else items[item].unit if item in items else ""
            units.update(dict.fromkeys(signal.names, unit))
        self._fold = MachineFold(mapping, self.source, units, tally)

    def read(self) -> Iterator[Frame | Refused]:
        """The file's frames in order, each refused entry before the frame that it would have stood in."""
        self._tally.files += 1
        fold, start = self._fold, self._start
        head: list[Entry] = []
        opening = start is not None
        for entry in self._entries():
            if opening:
                if start is not None and entry.at < start:
                    head.append(entry)
                    continue
                opening = False
                yield from self._open(head)
            frame = fold.room(entry.at)
            if frame is not None:
                yield from self._give(frame)
            if reason := fold.entry(entry):
                self._refuse(entry, reason)
        if opening:
            yield from self._open(head)
        yield from self._give(fold.close())

    def _day(self) -> int | None:
        """First instant of the day that the file's name begins with, in the mapping's time zone."""
        day = DAY.search(self._path.name)
        if day is None:
            return None
        year, month, date = map(int, day.groups())
        try:
            return int(datetime(year, month, date, tzinfo=ZoneInfo(self._map.timezone)).timestamp() * 1000)
        except ValueError:
            return None

    def _open(self, head: list[Entry]) -> Iterator[Frame | Refused]:
        """The values at the head of the file that are older than its day: one frame of what they come to."""
        if self._began is None and head:
            self._fold.begin(max(entry.at for entry in head))
        frame, refused = self._fold.opening(head)
        for entry, reason in refused:
            self._refuse(entry, reason)
        yield from self._give(frame)

    def _give(self, frame: Frame | None) -> Iterator[Frame | Refused]:
        yield from self._refused
        self._refused.clear()
        if frame is not None:
            if not frame.opening:
                self.newest = max(self.newest or 0, frame.sent)
            yield frame

    def _refuse(self, entry: Entry, reason: str) -> None:
        text = "|".join((entry.item, entry.value, *entry.rest))
        self._refused.append(Refused(self.source, entry.line, text[:200], reason))

    def _bad(self, number: int, text: str, reason: str) -> None:
        """A line, or a part of one, that is no entry; it counts as one."""
        self._tally.entries += 1
        self._tally.refused[reason] += 1
        self._refused.append(Refused(self.source, number, text[:200], reason))

    def _entries(self) -> Iterator[Entry]:
        """Entries of the items that the mapping uses; all others are counted here."""
        tally, known, clock = self._tally, self._fold.known, self._clock.ms
        prefix = self._map.device + ":"
        last, at = "", None
        for number, fields in self._fields():
            if fields[0] != last:
                last = fields[0]
                at = clock(last)
                if self._began is None and at is not None and (self._start is None or at >= self._start):
                    self._began = at
                    self._fold.begin(at)
            if at is None:
                self._odd(number, fields)
                continue
            pairs = ((fields[1], fields[2], NOTHING),) if len(fields) == 3 else self._pairs(number, fields)
            for item, value, rest in pairs:
                tally.entries += 1
                name = item if item in known else item.removeprefix(prefix)
                if name in known:
                    yield Entry(number, at, name, value, rest)
                elif name in self._map.ignore or ANY in self._map.ignore:
                    tally.ignored[name] += 1
                else:
                    tally.unmapped[name] += 1

    def _odd(self, number: int, fields: list[str]) -> None:
        if len(fields) == 1 and not fields[0].strip():
            self._tally.blank += 1
        elif fields[0].startswith("*"):
            self._tally.commands += 1
        else:
            self._bad(number, "|".join(fields), NO_TIME)

    def _pairs(self, number: int, fields: list[str]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        """Item, value and what else belongs to it, of every entry of a line that is not just one item and value."""
        if len(fields) < 3:
            self._bad(number, "|".join(fields), NO_VALUE)
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
                self._bad(number, fields[-1], NO_VALUE)

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
                    self._bad(number, line, TOO_LONG)
                elif MULTILINE in line:
                    yield from self._multiline(number, line, source, waiting)
                else:
                    yield number, line.split("|")
        except Broken as broken:
            self._bad(number + 1, "", str(broken))

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
        self._bad(number, line, NO_END)
