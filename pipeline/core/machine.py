"""One machine: what its next record says, how far its time has come, and what that makes known."""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.admission import (
    INVALID,
    admit,
    between,
    entries_of,
    instants,
    is_empty,
    is_sensible,
    without_older,
)
from pipeline.core.burst import Burst
from pipeline.core.calendar import unusable
from pipeline.core.history import History
from pipeline.core.model import (
    Acknowledge,
    Control,
    Correction,
    DeadLetter,
    Emitted,
    EndOfSource,
    Frame,
    Incident,
    MachineConfig,
    Mute,
    Record,
    Tick,
)
from pipeline.core.scoring import Scorer
from pipeline.core.seen import Seen
from pipeline.core.settings import Clock, EngineSettings, stopped
from pipeline.core.windows import Windows

LONGEST_SILENCE_MS = 40 * 86_400_000  # windows of a longer silence are not filled in: they would all say "no data"
# Silences longer than this are remembered whatever the machine's staleness is; a shorter `stale_after` tells silences
# from when it was known on, for every machine would otherwise keep the borders of each of its messages.
NOTED_SILENCE_MS = 60_000
TOO_LATE = "too_late"
NO_SILENCE = np.array([], dtype=np.intp)
PLAIN = ("newest", "said_until", "known_at", "provisional_at", "last_arrived", "live")


class Machine:
    """Folds one machine's records, in the order of its log, into rows.

    Everything emitted follows from the records and their arrival times alone. `known_at` of a row is the arrival time
    of the record that caused it, made strictly rising: the same key and `known_at` always carry the same content.
    """

    def __init__(self, name: str, settings: EngineSettings, clock: Clock = stopped) -> None:
        self.name, self.settings, self._clock = name, settings, clock
        self.history, self.seen, self.scorer = History(name), Seen(), Scorer()
        self.windows = Windows(self.history, settings, self._version)
        self.newest = 0  # newest event time; 0: none yet
        self.said_until = 0  # sources ended: nothing will come before this
        self.known_at = 0
        self.provisional_at = 0  # arrival of the record that showed provisional rows last
        self.last_arrived = 0  # arrival of the record that brought `newest`
        self.live = False
        self._arrived = 0  # of the record at hand
        self._stamped = False

    @property
    def watermark(self) -> int:
        return max(self.newest - self.settings.lateness_ms, self.said_until)

    def fold(self, record: Record, emitted: Emitted) -> None:
        """Apply one record; append what it makes known to `emitted`."""
        self._arrived, self._stamped = record.arrived, False
        message = record.message
        if isinstance(message, Control):
            self._control(message, record, emitted)
        elif self.seen.add(message.source, message.epoch, message.sequence):
            frame = self._admitted(message, record, emitted)
            if frame is not None:
                self._frame(frame, record, emitted)
        if self.windows.opened is not None:
            self._advance(emitted)

    def fold_burst(self, burst: Burst, emitted: Emitted) -> None:
        """As `fold` of its frames one by one: the same rows, the same versions.

        What lies between two instants at which something becomes due goes in at once.
        """
        first = 0
        while first < len(burst):
            last = self._until_due(burst, first)
            if last == first:
                self.fold(burst.record(first), emitted)
                last += 1
            else:
                self._heard_plainly(burst, first, last)
                self._advance(emitted)
            first = last

    def _until_due(self, burst: Burst, first: int) -> int:
        """Frames [first, last) are new, plain, change nothing that was final; at most the last makes anything due."""
        start, end, windows, limits = burst.starts[first], burst.ends[-1], self.windows, self.settings
        if windows.opened is None or start < windows.final_until:
            return first
        if not self.seen.is_beyond(burst.source, burst.epoch, burst.sequence + first):
            return first
        latest = min(burst.first_arrived + limits.max_future_ms, min(self.newest, start) + LONGEST_SILENCE_MS)
        if end > latest or not windows.cannot_restate(start, end):
            return first
        watermark = self.watermark
        due_at = windows.next_due(watermark)
        if limits.detect:
            if self.scorer.is_late(start, watermark):
                return first
            due_at = min(due_at, self.scorer.due_at(burst.last_arrived))
        due = first if watermark >= due_at else bisect_left(burst.ends, due_at + limits.lateness_ms, first)
        show_at = self.provisional_at + limits.provisional_ms
        if burst.last_arrived >= show_at:
            due = next((k for k in range(first, due) if burst.arrived[k] >= show_at), due)
        return min(due + 1, len(burst))

    def _heard_plainly(self, burst: Burst, first: int, last: int) -> None:
        block, at = burst.block(first, last), burst.at[burst.edges[first] : burst.edges[last]]
        self._arrived, self._stamped = burst.arrived[last - 1], False
        self.seen.extend(burst.source, burst.epoch, burst.sequence + first, burst.sequence + last - 1)
        counts = burst.counted(first, last)
        for k, reading in counts:
            self.history.counts.insert((reading.at, burst.source, burst.epoch, burst.sequence + k, 0), reading)
        if counts:
            at = np.sort(np.append(at, [reading.at for _, reading in counts]))
        self._sign_of_life(at)
        if self.settings.detect:
            self.scorer.add(burst.source, burst.epoch, burst.sequence + first, block)
        self.live = True
        if burst.ends[last - 1] >= self.newest:
            self.newest, self.last_arrived = burst.ends[last - 1], self._arrived

    def _version(self) -> int:
        """`known_at` of this record's rows: its arrival, strictly rising from record to record."""
        if not self._stamped:
            self._stamped = True
            self.known_at = max(self.known_at + 1, self._arrived)
        return self.known_at

    # What a record says

    def _admitted(self, message: Frame, record: Record, emitted: Emitted) -> Frame | None:
        frame, out = admit(message, record.arrived, self.settings.max_future_ms)
        if not frame.opening and self.windows.opened is not None:
            frame, older = without_older(frame, self.windows.changeable)
            if older:
                out[TOO_LATE] += older
        if not out:
            return frame
        for reason, entries in sorted(out.items()):
            detail = f"{entries} entries of frame {message.sequence} of {message.source}"
            self._park(record, reason, detail, emitted, entries)
        return None if is_empty(frame) else frame

    def _park(self, record: Record, reason: str, detail: str, emitted: Emitted, entries: int = 0) -> None:
        emitted.dead_letters.append(
            DeadLetter("telemetry", record.partition, record.offset, record.arrived, self.name, reason, detail, entries)
        )

    def _frame(self, frame: Frame, record: Record, emitted: Emitted) -> None:
        if frame.opening:
            self._score_first(0, emitted)
            since = min((entry.at for entry in entries_of(frame)), default=self.windows.final_until)
            self.windows.restating(since, lambda: self.history.insert(frame), emitted, "late data")
            return
        at = instants(frame)
        silences = _silences(at, LONGEST_SILENCE_MS)
        if len(silences):
            for first, last in pairwise([0, *(int(at[place + 1]) for place in silences), 1 << 62]):
                self._frame(between(frame, first, last), record, emitted)
            return
        if self.windows.opened is not None and at[0] < self.windows.horizon:
            at = at[at >= self.windows.horizon]  # older samples are for the store alone
            if not len(at):
                return
        first, last = int(at[0]), int(at[-1])
        self._score_first(first, emitted)
        if self.windows.opened is not None and first - self.newest > LONGEST_SILENCE_MS:
            self._begin_again(first, emitted)
        self.windows.open(first)
        self.windows.restating(first, lambda: self._heard(frame, at), emitted, "late data")
        if self.settings.detect:
            for block in frame.signals:
                self.scorer.add(frame.source, frame.epoch, frame.sequence, block)
        self.live = True
        if last >= self.newest:
            self.newest, self.last_arrived = last, record.arrived

    def _heard(self, frame: Frame, at: NDArray[np.int64]) -> None:
        self.history.insert(frame)
        self._sign_of_life(at)

    def _sign_of_life(self, at: NDArray[np.int64]) -> None:
        gap = min(NOTED_SILENCE_MS, self.history.shortest_stale_ms)
        for begin, end in _without_gaps(at, gap):
            self.history.heard.add(begin, end, gap)

    def _control(self, control: Control, record: Record, emitted: Emitted) -> None:
        body = control.body
        if isinstance(body, Tick | EndOfSource):
            self._time(body, record, emitted)
            return
        self._score_first(0, emitted)
        if isinstance(body, MachineConfig):
            fault = unusable(body)
            if fault:
                self._park(record, INVALID, f"factory file: {fault}", emitted)
            elif all(known.config != body for known in self.history.configs):
                reach = self.settings.longest_split_ms if body.count_split else 0  # counts reach back before it
                since = body.effective - reach
                self.windows.restating(since, lambda: self.history.configure(body), emitted, "factory file")
        elif isinstance(body, Mute):
            self.scorer.incidents.mute(body)
        elif isinstance(body, Acknowledge):
            found = self.scorer.incidents.acknowledge(body, record.arrived, control.by)
            if not found:
                self._park(record, INVALID, f"no incident {body.incident} is known, or it is long past", emitted)
            self._incidents(found, emitted)
        else:
            self._correct(body, record, emitted)

    def _correct(self, body: Correction, record: Record, emitted: Emitted) -> None:
        known = self.history.replaced(body)
        if body in self.history.corrections or (known is not None and known.revision >= body.revision):
            return
        since = body.start if known is None else min(body.start, known.start)
        named = f"correction {body.id} of [{body.start}, {body.end})"
        if not is_sensible(body):
            self._park(record, INVALID, f"{named} says nothing, or nothing that can be", emitted)
        elif self.windows.opened is not None and since < self.windows.changeable:
            detail = f"{named} reaches back before {self.windows.changeable}: what is older cannot change any more"
            self._park(record, TOO_LATE, detail, emitted)
        else:
            self.windows.restating(since, lambda: self.history.correct(body), emitted, "correction")

    # How far its time has come

    def _time(self, body: Tick | EndOfSource, record: Record, emitted: Emitted) -> None:
        """Time that somebody says has passed; never so much that a slip of the pen fills in years."""
        if self.windows.opened is None:
            return
        if body.at > record.arrived + self.settings.max_future_ms or body.at - self.newest > LONGEST_SILENCE_MS:
            detail = f"{type(body).__name__} says {body.at}, the newest event is at {self.newest}"
            self._park(record, INVALID, detail, emitted)
        elif isinstance(body, EndOfSource):
            self.live = False
            window = self.settings.window_ms
            held = self.windows.floor(self.newest) + window if self.newest <= body.at else 0
            self.said_until = max(self.said_until, -(-body.at // window) * window, held)
        elif body.at > self.newest:
            self.newest, self.last_arrived = body.at, record.arrived

    def _begin_again(self, first: int, emitted: Emitted) -> None:
        """After a silence too long to fill in: close what was open, and begin again."""
        self.said_until = max(self.said_until, self.windows.floor(self.newest) + self.settings.window_ms)
        self.windows.finalise(self.said_until, emitted)
        self.windows.begin_again(first, emitted)

    def _advance(self, emitted: Emitted) -> None:
        until = self.windows.floor(self.watermark)
        undecided = self.history.undecided_stop(self.watermark)
        if undecided is not None:  # held back, but not beyond the end of the source: then it counts as a long stop
            until = max(min(until, self.windows.floor(undecided)), self.said_until)
        self.windows.finalise(until, emitted)
        if self.settings.detect and self.scorer.due(self.watermark, self._arrived, self.live):
            self._score(emitted)
        if self._arrived >= self.provisional_at + self.settings.provisional_ms:
            self.provisional_at = self._arrived
            self.windows.show(self.newest, emitted)

    def _score_first(self, at: int, emitted: Emitted) -> None:
        """Score what is due before something late, at `at`, is heard: it shall not matter when that was done."""
        if self.settings.detect and self.scorer.is_late(at, self.watermark):
            self._score(emitted)

    def _score(self, emitted: Emitted) -> None:
        began = self._clock()
        config = self.history.timeline.config(self.watermark).config
        flags = self.scorer.score(self.watermark, self._arrived, self.history)
        for flag in flags:
            flag.machine, flag.site, flag.line, flag.known_at = self.name, config.site, config.line, self._version()
        emitted.anomalies += flags
        until = self.scorer.until
        heard = max((last for _, last in self.history.heard.looks(until, until)), default=0)
        self._incidents(self.scorer.incidents.fold(self.name, flags, until, heard), emitted)
        emitted.detector_s += self._clock() - began

    def _incidents(self, changed: list[Incident], emitted: Emitted) -> None:
        for incident in changed:
            incident.known_at = self._version()
        emitted.incidents += changed

    # Snapshots

    def pack(self) -> dict[str, Any]:
        """Plain values from which `unpack` makes the same machine again, bit for bit."""
        return {
            **{name: getattr(self, name) for name in PLAIN},
            "history": self.history.pack(),
            "windows": self.windows.pack(),
            "seen": self.seen.pack(),
            "scorer": self.scorer.pack(),
        }

    @classmethod
    def unpack(cls, name: str, settings: EngineSettings, packed: dict[str, Any], clock: Clock = stopped) -> Machine:
        machine = cls(name, settings, clock)
        for plain in PLAIN:
            setattr(machine, plain, packed[plain])
        machine.history = machine.windows.history = History.unpack(name, packed["history"])
        machine.windows.unpack(packed["windows"])
        machine.seen, machine.scorer = Seen.unpack(packed["seen"]), Scorer.unpack(packed["scorer"])
        return machine


def _silences(at: NDArray[np.int64], longer_than: int) -> NDArray[np.intp]:
    """Places in ascending instants after which nothing comes for so long."""
    if at[-1] - at[0] <= longer_than:
        return NO_SILENCE
    return np.flatnonzero(np.diff(at) > longer_than)


def _without_gaps(at: NDArray[np.int64], gap: int) -> list[tuple[int, int]]:
    """Stretches [first, last] of ascending instants within which none is further than `gap` from the one before."""
    breaks = _silences(at, gap)
    if not len(breaks):
        return [(int(at[0]), int(at[-1]))]
    firsts, lasts = [0, *(breaks + 1).tolist()], [*breaks.tolist(), len(at) - 1]
    return [(int(at[first]), int(at[last])) for first, last in zip(firsts, lasts, strict=True)]
