"""Adapters: one file per kind of source, which turns what machines write into frames.

An adapter is a module with

    read(paths, mappings, devices, tally, any_name, latest) -> Iterator[Frame | Control | Refused]

It yields the frames of each machine in order, a `Refused` for everything that it could not use, and one
`EndOfSource` control per machine after the last frame. It is a pure function of the files and mappings: the same
file read twice gives the same frames under the same numbers, so that producing it twice counts once. Nothing else in
the project knows a machine's dialect. To add one: write the module, add its row to ADAPTERS.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from pipeline.errors import UsageError

ADAPTERS: dict[str, str] = {
    "shdr": "pipeline.adapters.shdr",  # MTConnect adapter logs
    "csv": "pipeline.adapters.csv_files",  # tables: a column per item, or columns item and value
}


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that an adapter could not use: where it stands, what it says (cut to 200 characters), and why."""

    source: str
    line: int
    text: str
    reason: str


@dataclass(slots=True)
class Tally:
    """What became of everything that was read. An entry is one item with its value; `balanced` must hold."""

    files: int = 0
    lines: int = 0
    blank: int = 0
    commands: int = 0
    continued: int = 0
    entries: int = 0
    used: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    unmapped: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    frames: int = 0
    opening: int = 0
    states: int = 0
    parts: int = 0
    contexts: int = 0
    events: int = 0
    samples: int = 0

    @property
    def balanced(self) -> bool:
        """True when every entry was used, ignored or refused, and none twice."""
        return self.entries == sum(map(Counter.total, (self.used, self.ignored, self.unmapped, self.refused)))


def adapter(name: str) -> Any:
    """The adapter module of this name. Raises UsageError with the names there are."""
    if name not in ADAPTERS:
        raise UsageError(f"there is no adapter {name!r}: use one of {', '.join(sorted(ADAPTERS))}")
    return import_module(ADAPTERS[name])
