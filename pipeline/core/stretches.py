"""Flags that last: said when they open, each time their age has doubled, and when they have ended."""

from __future__ import annotations

from dataclasses import astuple, dataclass, field, replace
from typing import Any, NamedTuple

MINUTE_MS = 60_000


class Key(NamedTuple):
    """What is wrong: of which signal (empty: the machine), which kind of flag, and which of the things it may say."""

    signal: str
    kind: str
    what: str = ""


@dataclass(slots=True)
class Stretch:
    """One flag from `first` to `last` (ms), with what was the worst of it.

    It ends when nothing was wrong for `quiet` ms. `notes`: what the sentence needs besides. `told`: its age when it was
    last said.
    """

    first: int
    last: int
    quiet: int
    score: float
    value: float | None = None
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    state: str = ""
    product: str = ""
    notes: list[Any] = field(default_factory=list)
    told: int = 0


class Said(NamedTuple):
    """A flag as it is to be said now."""

    key: Key
    stretch: Stretch


class Stretches:
    """The flags of one machine that have not ended yet. What is said of one follows from what was seen of it alone,
    not from when `close` was called in between."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: dict[Key, Stretch] = {}

    def __len__(self) -> int:
        return len(self._open)

    def get(self, key: Key, at: int) -> Stretch | None:
        """The flag that something seen at `at` (ms) goes on with; None: it would open one."""
        known = self._open.get(key)
        return None if known is None or _closing(known) <= at else known

    def see(self, key: Key, seen: Stretch) -> list[Said]:
        """Something is wrong until `seen.last`: opens a flag, or goes on with the one that is open."""
        known = self.get(key, seen.last)
        if known is None:
            said = self.end(key)
            taken = {other.first for name, other in self._open.items() if name[:2] == key[:2]}
            while seen.first in taken:  # signal, kind and first are a flag's identity
                seen.first += 1
            seen.told = max(seen.last - seen.first, 0)
            self._open[key] = seen
            return [*said, Said(key, replace(seen, notes=list(seen.notes)))]
        known.last = max(known.last, seen.last)
        if seen.score > known.score:
            known.score, known.value, known.expected = seen.score, seen.value, seen.expected
            known.low, known.high = seen.low, seen.high
        known.notes = list(seen.notes)
        age = known.last - known.first
        if age < max(2 * known.told, MINUTE_MS):
            return []
        known.told = age
        return [Said(key, replace(known, notes=list(known.notes)))]

    def end(self, key: Key) -> list[Said]:
        """It is over: said once more, as it was in the end."""
        known = self._open.pop(key, None)
        return [] if known is None else [Said(key, known)]

    def close(self, now: int) -> list[Said]:
        """Ends those that were quiet for long enough by `now` (ms)."""
        if not self._open:
            return []
        return [
            said for key in sorted(k for k, s in self._open.items() if _closing(s) <= now) for said in self.end(key)
        ]

    def pack(self) -> list[Any]:
        return [[list(key), list(astuple(stretch))] for key, stretch in self._open.items()]

    @classmethod
    def unpack(cls, packed: list[Any]) -> Stretches:
        stretches = cls()
        stretches._open = {Key(*key): Stretch(*row) for key, row in packed}
        return stretches


def _closing(stretch: Stretch) -> int:
    """The whole minute at which it ends when nothing more is seen."""
    return -(-(stretch.last + stretch.quiet) // MINUTE_MS) * MINUTE_MS
