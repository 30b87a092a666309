"""The incidents of one machine: flags in, incidents out; who has seen them, and what nobody wants to hear of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.core import incident as one
from pipeline.core.incident import SEVERITIES, Key, Word
from pipeline.core.model import Acknowledge, Anomaly, Incident, Mute

SAID_LATE_MS = 120_000  # flags are said up to so long after they began: an incident is closed that much later
PAST = 16  # incidents before the newest one that can still be acknowledged
MUTES = 64  # in force at a time; of more, the one that ends first gives way
DAY_MS = 86_400_000


class Incidents:
    """At most one incident of a machine is open; the newest one is remembered when it is closed, for it may go on.

    What it holds is bounded, and depends on the log alone.
    """

    __slots__ = ("_leading", "_mutes", "_newest", "_past", "_words")

    def __init__(self) -> None:
        self._newest: Incident | None = None
        self._words: dict[Key, Word] = {}  # of its flags, in order of their coming
        self._leading: Key = (0, "", "")
        self._past: list[Incident] = []
        self._mutes: dict[str, tuple[int, str, str]] = {}  # by id: until, signal, kind

    def fold(self, machine: str, flags: Sequence[Anomaly], now: int, heard: int) -> list[Incident]:
        """The incidents that flags open, change or close, in order of opening; `known_at` is left to the caller.

        `flags`: those of one step, in order of their first instant; `now` [ms]: samples before it have been judged;
        `heard` [ms]: the machine's last message before it.
        """
        for known in [known for known, mute in self._mutes.items() if mute[0] < now - DAY_MS]:
            del self._mutes[known]
        changed: dict[str, Incident] = {}
        for flag in flags:
            incident = self._for(machine, flag, changed)
            until = one.may_go_on_until(flag, now, heard)
            word = Word(until, SEVERITIES.index(flag.severity), self._is_muted(flag))
            self._leading = one.take(incident, flag, self._words, word, self._leading)
            changed[incident.id] = incident
        if self._newest is not None and self._newest.closed is None and now > self._until() + SAID_LATE_MS:
            self._newest.closed = self._until()
            changed[self._newest.id] = self._newest
        return [one.copy(incident) for incident in sorted(changed.values(), key=_opened)]

    def mute(self, mute: Mute) -> None:
        """Put a mute in force, in the place of the one of the same id, or lift that."""
        self._mutes.pop(mute.id, None)
        if mute.lifted:
            return
        self._mutes[mute.id] = (mute.until, mute.signal, mute.kind)
        if len(self._mutes) > MUTES:
            del self._mutes[min(self._mutes, key=lambda known: (self._mutes[known], known))]

    def acknowledge(self, seen: Acknowledge, at: int, by: str) -> list[Incident]:
        """The incident as somebody has now seen it; none when no incident of that id is known any more."""
        for incident in (*self._past, *([] if self._newest is None else [self._newest])):
            if incident.id == seen.incident:
                incident.acknowledged, incident.acknowledged_by, incident.note = at, by, seen.note
                return [one.copy(incident)]
        return []

    def _for(self, machine: str, flag: Anomaly, changed: dict[str, Incident]) -> Incident:
        """The incident that a flag belongs to: the newest one, or a new one that takes its place."""
        newest = self._newest
        if newest is not None and (one.key(flag) in self._words or one.joins(flag, newest, self._until())):
            return newest
        if newest is not None:
            if newest.closed is None:
                newest.closed = self._until()
                changed[newest.id] = newest
            self._past = [*self._past, newest][-PAST:]
        self._words, self._leading = {}, (0, "", "")
        self._newest = one.opened_by(flag, machine)
        return self._newest

    def _until(self) -> int:
        return max(word.until for word in self._words.values())

    def _is_muted(self, flag: Anomaly) -> bool:
        return any(
            flag.first < until and signal in ("", flag.signal) and kind in ("", flag.kind)
            for until, signal, kind in self._mutes.values()
        )

    def pack(self) -> list[Any]:
        """Plain values, for msgpack; `unpack` goes on bit for bit."""
        return [
            None if self._newest is None else one.pack(self._newest),
            [[*known, *word] for known, word in self._words.items()],
            list(self._leading),
            [one.pack(incident) for incident in self._past],
            [[known, *mute] for known, mute in self._mutes.items()],
        ]

    @classmethod
    def unpack(cls, packed: list[Any]) -> Incidents:
        newest, words, leading, past, mutes = packed
        incidents = cls()
        incidents._newest = None if newest is None else one.unpack(newest)
        incidents._words = {(row[0], row[1], row[2]): Word(*row[3:]) for row in words}
        incidents._leading = (leading[0], leading[1], leading[2])
        incidents._past = [one.unpack(row) for row in past]
        incidents._mutes = {known: (until, signal, kind) for known, until, signal, kind in mutes}
        return incidents


def _opened(incident: Incident) -> int:
    return incident.opened
