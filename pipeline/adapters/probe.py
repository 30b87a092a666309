"""What the items of a file look like: a first look at a machine's data, before there is a mapping for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from pipeline.adapters import Tally, adapter
from pipeline.adapters.files import EntryFile
from pipeline.adapters.meaning import UNAVAILABLE
from pipeline.mapping import Mapping

MOST_ENTRIES = 50_000
MOST_VALUES = 30


@dataclass
class Seen:
    """One item: its first different values (none of them UNAVAILABLE), and whether it is a condition or numbers."""

    values: list[str] = field(default_factory=list)
    condition: bool = False

    @property
    def numeric(self) -> bool:
        """Whether every value is a number, and there is one."""
        return bool(self.values) and all(map(_is_number, self.values))


def look(name: str, paths: Sequence[Path], device: str) -> dict[str, Seen]:
    """The items of files of one machine, in order of their first appearance, from the first 50,000 entries of each.

    Raises UsageError when there is no adapter of that name.
    """
    module = adapter(name)
    [kind] = [one for one in vars(module).values() if isinstance(one, type) and issubclass(one, EntryFile)]
    looking = type("Looking", (kind,), {"accept": _accept})
    found: dict[str, Seen] = {}
    for path in paths:
        file = looking(path, Mapping("", name, device, device), {}, Tally(), None)
        for entry in islice(file.entries(), MOST_ENTRIES):
            seen = found.setdefault(entry.item, Seen())
            seen.condition |= bool(entry.rest)
            value = entry.value
            if value.upper() != UNAVAILABLE and value not in seen.values and len(seen.values) < MOST_VALUES:
                seen.values.append(value)
    return found


def _accept(file: EntryFile, item: str) -> str:
    """Every item is welcome."""
    return item.removeprefix(file._map.device + ":")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
