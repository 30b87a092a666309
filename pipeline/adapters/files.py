"""Files of machines: which mapping each belongs to, in what order they are read, and how one becomes frames."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from pipeline.adapters import Refused, Tally
from pipeline.adapters import devices as device_file
from pipeline.adapters.devices import DataItem
from pipeline.adapters.fold import Entry, MachineFold
from pipeline.adapters.text import Clock
from pipeline.core.model import Control, EndOfSource, Frame
from pipeline.errors import FactoryFileError, UsageError
from pipeline.mapping import ANY, Mapping
from pipeline.yaml_lines import nearest

TOO_NEW = "later than now, or 32 days later than the day in the file's name"
LONGEST_FILE_MS = 32 * 86_400_000
Checked = tuple[Mapping, dict[str, DataItem]]
DAY = re.compile(r"(?<!\d)(\d{4})-?(\d\d)-?(\d\d)(?!\d)")


class EntryFile(ABC):
    """One file: its entries to frames; how its text becomes entries is what a subclass knows.

    Nothing is carried over to the next file. `latest` is the newest time [ms] that can be true.
    """

    kind = ""

    def __init__(
        self, path: Path, mapping: Mapping, items: dict[str, DataItem], tally: Tally, latest: int | None
    ) -> None:
        self.source = f"{self.kind}:{path.name}"
        self.newest: int | None = None
        self._began: int | None = None
        self._path, self._map, self._items, self._tally = path, mapping, items, tally
        self._clock = Clock()
        self._refused: list[Refused] = []
        self._start = self._day()
        bounds = [bound for bound in (latest, self._start and self._start + LONGEST_FILE_MS) if bound is not None]
        self._latest = min(bounds, default=1 << 62)
        units = {}
        for item, signal in mapping.signals.items():
            unit = signal.unit if signal.unit is not None else items[item].unit if item in items else ""
            units.update(dict.fromkeys(signal.names, unit))
        self._fold = MachineFold(mapping, self.source, units, tally)

    @abstractmethod
    def entries(self) -> Iterator[Entry]:
        """Entries of the items that the mapping uses, in the order of the file; all others are counted here.

        `moment` and `accept` are to be called for each time and each entry, `bad` for what is no entry.
        """

    def read(self) -> Iterator[Frame | Refused]:
        """The file's frames in order, each refused entry before the frame that it would have stood in."""
        self._tally.files += 1
        fold, start, latest = self._fold, self._start, self._latest
        head: list[Entry] = []
        opening = start is not None
        for entry in self.entries():
            if entry.at > latest:
                self._tally.refused[TOO_NEW] += 1
                self._refuse(entry, TOO_NEW)
                continue
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

    def moment(self, stamp: str) -> int | None:
        """The time that is written, None when there is none. The first one of the file's day is its epoch."""
        at = self._clock.ms(stamp)
        if self._began is None and at is not None and (self._start is None or at >= self._start):
            self._began = at
            self._fold.begin(at)
        return at

    def accept(self, item: str) -> str | None:
        """Counts an entry; the name that the mapping knows its item by, None when it is not used."""
        self._tally.entries += 1
        if item in self._fold.known:
            return item
        name = item.removeprefix(self._map.device + ":")
        if name in self._fold.known:
            return name
        counter = self._tally.ignored if name in self._map.ignore or ANY in self._map.ignore else self._tally.unmapped
        counter[name] += 1
        return None

    def bad(self, number: int, text: str, reason: str) -> None:
        """A line, or a part of one, that is no entry; it counts as one."""
        self._tally.entries += 1
        self._tally.refused[reason] += 1
        self._refused.append(Refused(self.source, number, text[:200], reason))

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


def read(
    file_type: type[EntryFile],
    paths: Sequence[Path],
    mappings: Sequence[Mapping],
    devices: Path | None,
    tally: Tally | None,
    any_name: bool,
    latest: int | None,
) -> Iterator[Frame | Control | Refused]:
    """Frames of all files, machine by machine in order of the days in the files' names, and what was refused.

    `latest` is the newest time [ms] that can be true, None when any can.

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
            file = file_type(path, mapping, items, tally, latest)
            yield from file.read()
            if file.newest is not None:
                newest, source = max(newest or 0, file.newest), file.source
        if newest is not None:
            yield Control(machine, f"end:{source}", newest, file_type.kind, EndOfSource(source, newest))


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
