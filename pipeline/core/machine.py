"""One machine's state: what it said, which windows are final, and what its next record makes known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.admission import admit, instants
from pipeline.core.history import History
from pipeline.core.model import (
    Control,
    DeadLetter,
    Emitted,
    EndOfSource,
    Frame,
    Interval,
    MachineConfig,
    OeeFact,
    Record,
    Tick,
)
from pipeline.core.scoring import Scorer
from pipeline.core.seen import Seen
from pipeline.core.settings import EngineSettings

LONGEST_SILENCE_MS = 40 * 86_400_000  # windows of a longer silence are not filled in: they would all say "no data"
NOTED_SILENCE_MS = 60_000  # silences longer than this are remembered, whatever the machine's staleness
TOO_LATE, INVALID = "too_late", "invalid"

ANSWERS = attrgetter(*(name for name in Interval.__dataclass_fields__ if name not in ("start", "end", "known_at")))


class Machine:
    """Folds one machine's records, in the order of its log, into rows.

    Everything emitted follows from the records and their arrival times alone. `known_at` of a row is the arrival time
    of the record that caused it, made strictly rising: the same key and `known_at` always carry the same content.
    """

    def __init__(self, name: str, settings: EngineSettings) -> None:
        self.name, self.settings = name, settings
        self.history, self.seen, self.scorer = History(name), Seen(), Scorer()
        self.newest = 0  # newest event time; 0: none yet
        self.said_until = 0  # sources ended: nothing will come before this
        self.opened: int | None = None  # start of the first window
        self.shown_from = 0  # windows from here on have been emitted
        self.final_until = 0  # windows before this are final
        self.known_at = 0
        self.provisional_at = 0
        self.provisional: dict[int, list[int]] = {}  # open window -> starts of the segments shown of it
        self.revisions: dict[int, int] = {}  # final window -> revision, where it is not 1
        self.interval_starts: list[int] = []  # of the intervals emitted, back to the horizon
        self.assumed_long: int | None = None  # start of a stop in final windows that may yet prove to be a micro-stop
        self.going_on: Interval | None = None  # the interval that is still open at final_until
        self.last_arrived = 0
        self.live = False
        self._stamped = False

    @property
    def watermark(self) -> int:
        return max(self.newest - self.settings.lateness_ms, self.said_until)

    @property
    def horizon(self) -> int:
        """What is older can no longer restate a window."""
        return self._floor(self.final_until - self.settings.retention_ms)

    def fold(self, record: Record, emitted: Emitted) -> None:
        """Apply one record; append what it makes known to `emitted`."""
        self._stamped = False
        message = record.message
        if isinstance(message, Control):
            self._control(message, record, emitted)
        elif self.seen.add(message.source, message.epoch, message.sequence):
            frame = self._admitted(message, record, emitted)
            if frame is not None:
                self._frame(frame, record, emitted)
        if self.opened is not None:
            self._advance(record, emitted)

    # What a record says

    def _admitted(self, message: Frame, record: Record, emitted: Emitted) -> Frame | None:
        frame, out = admit(message, record.arrived, self.settings.max_future_ms)
        if not frame.opening and self.opened is not None:
            frame, out[TOO_LATE] = _without_older(frame, self.horizon)
            out += Counter()
        for reason, entries in sorted(out.items()):
            detail = f"{entries} entries of frame {message.sequence} of {message.source}"
            emitted.dead_letters.append(self._dead_letter(record, reason, detail, entries))
        says_anything = frame.states or frame.counts or frame.contexts or frame.events or frame.signals
        return frame if says_anything or not out else None

    def _dead_letter(self, record: Record, reason: str, detail: str, entries: int) -> DeadLetter:
        return DeadLetter(
            "telemetry", record.partition, record.offset, record.arrived, self.name, reason, detail, entries
        )

    def _frame(self, frame: Frame, record: Record, emitted: Emitted) -> None:
        if frame.opening:
            since = min((entry.at for entry in _entries(frame)), default=self.final_until)
            self._restating(since, lambda: self.history.insert(frame), record, emitted, "late data")
            return
        at = instants(frame)
        if self.opened is not None and at[0] < self.horizon:
            at = at[at >= self.horizon]  # older samples are for the store alone
            if not len(at):
                return
        first, last = int(at[0]), int(at[-1])
        if self.opened is not None and first - self.newest > LONGEST_SILENCE_MS:
            self._reopen(first, record, emitted)
        self._open(first)

        def apply() -> None:
            self.history.insert(frame)
            stale_after = self.history.configs[-1].config.stale_after_ms
            gap = NOTED_SILENCE_MS if stale_after is None else min(stale_after, NOTED_SILENCE_MS)
            for begin, end in _without_gaps(at, gap):
                self.history.heard.add(begin, end, gap)

        self._restating(first, apply, record, emitted, "late data")
        self.scorer.add(frame)
        self.live = True
        if last >= self.newest:
            self.newest, self.last_arrived = last, record.arrived

    def _control(self, control: Control, record: Record, emitted: Emitted) -> None:
        body = control.body
        if isinstance(body, Tick | EndOfSource):
            self._time(body, record, emitted)
        elif isinstance(body, MachineConfig):
            if all(known.config != body for known in self.history.configs):
                apply = lambda: self.history.configure(body)  # noqa: E731
                self._restating(body.effective, apply, record, emitted, "factory file")
        elif body not in self.history.corrections:
            self._restating(body.start, lambda: self.history.correct(body), record, emitted, "correction")

    def _time(self, body: Tick | EndOfSource, record: Record, emitted: Emitted) -> None:
        """Time that somebody says has passed; never so much that a slip of the pen fills in years."""
        if self.opened is None:
            return
        if body.at > record.arrived + self.settings.max_future_ms or body.at - self.newest > LONGEST_SILENCE_MS:
            detail = f"{type(body).__name__} says {body.at}, the newest event is at {self.newest}"
            emitted.dead_letters.append(self._dead_letter(record, INVALID, detail, 0))
        elif isinstance(body, EndOfSource):
            self.live = False
            held = self._floor(self.newest) + self.settings.window_ms if self.newest <= body.at else 0
            self.said_until = max(self.said_until, self._ceil(body.at), held)
        elif body.at > self.newest:
            self.newest, self.last_arrived = body.at, record.arrived

    # Windows

    def _floor(self, at: int) -> int:
        return at - at % self.settings.window_ms

    def _ceil(self, at: int) -> int:
        return -(-at // self.settings.window_ms) * self.settings.window_ms

    def _open(self, first: int) -> None:
        window = self._floor(first)
        if self.opened is None:
            self.opened = self.shown_from = self.final_until = window
        elif window < self.opened:
            if self.opened == self.final_until:
                self.shown_from = self.final_until = window
            self.opened = window

    def _reopen(self, first: int, record: Record, emitted: Emitted) -> None:
        """After a silence too long to fill in: close what was open, and begin again."""
        self.said_until = max(self.said_until, self._floor(self.newest) + self.settings.window_ms)
        if self.said_until > self.final_until:
            self._finalise(self.said_until, record, emitted)
        if self.going_on is not None:
            emitted.intervals.append(replace(self.going_on, end=self.final_until, known_at=self._known(record)))
        self.opened = self.shown_from = self.final_until = self._floor(first)
        self.interval_starts, self.going_on, self.provisional = [], None, {}

    def _advance(self, record: Record, emitted: Emitted) -> None:
        until = self._floor(self.watermark)
        undecided = self.history.undecided_stop(self.watermark)
        if undecided is not None:  # held back, but not beyond the end of the source: then it counts as a long stop
            until = max(min(until, self._floor(undecided)), self.said_until)
        self.assumed_long = undecided if undecided is not None and undecided < until else None
        if until > self.final_until:
            self._finalise(until, record, emitted)
        self._score(record, emitted)
        if record.arrived >= self.provisional_at + self.settings.provisional_ms:
            self._show(record, emitted)

    def _score(self, record: Record, emitted: Emitted) -> None:
        history = self.history
        config = history.timeline.config(self.watermark).config
        for flag in self.scorer.score(self.watermark, history, config):
            flag.machine, flag.site, flag.line, flag.known_at = self.name, config.site, config.line, self._known(record)
            emitted.anomalies.append(flag)

    def _finalise(self, until: int, record: Record, emitted: Emitted) -> None:
        start = self.final_until
        pieces = self.history.pieces(start, until)
        rows = self.history.facts(pieces, self.settings.window_ms)
        rows.extend(self._overtaken(rows, until))
        for row in rows:
            row.known_at = self._known(record)
        emitted.facts.extend(rows)
        self.final_until = until
        self._extend_intervals(self.history.intervals(pieces), self._known(record), emitted)
        self._forget(self.horizon)

    def _overtaken(self, rows: list[OeeFact], until: int) -> list[OeeFact]:
        """Segments that provisional rows showed of windows before `until` and that the rows do not have."""
        current = {row.segment_start for row in rows}
        by_window = {row.window_start: row for row in rows}
        shown = {window: self.provisional.pop(window) for window in list(self.provisional) if window < until}
        return [
            _removed(replace(by_window[window], segment_start=start))
            for window, starts in shown.items()
            for start in starts
            if start not in current
        ]

    def _show(self, record: Record, emitted: Emitted) -> None:
        """Provisional rows of the open windows, up to the newest event."""
        self.provisional_at = record.arrived
        if self.newest <= self.final_until:
            return
        pieces = self.history.pieces(self.final_until, self.newest)
        shown = self.history.facts(pieces, self.settings.window_ms)
        rows = shown + self._overtaken(shown, self.newest)
        for row in rows:
            row.status, row.revision, row.known_at = "provisional", 0, self._known(record)
        emitted.facts.extend(rows)
        for row in shown:
            self.provisional.setdefault(row.window_start, []).append(row.segment_start)

    def _known(self, record: Record) -> int:
        """Version of the rows of this record: its arrival time, strictly rising from record to record."""
        if not self._stamped:
            self._stamped = True
            self.known_at = max(self.known_at + 1, record.arrived)
        return self.known_at

    # Intervals

    def _extend_intervals(self, rows: list[Interval], known_at: int, emitted: Emitted) -> None:
        """Emit intervals that ended or began; one that merely goes on is not repeated."""
        goes_on = self.going_on is not None and ANSWERS(self.going_on) == ANSWERS(rows[0])
        if self.going_on is not None and not goes_on:
            emitted.intervals.append(replace(self.going_on, end=rows[0].start, known_at=known_at))
        if self.going_on is not None and goes_on:
            rows[0].start = self.going_on.start
        self.interval_starts.extend(row.start for row in rows[goes_on:])
        emitted.intervals.extend(replace(row, known_at=known_at) for row in rows[goes_on and len(rows) == 1 :])
        self.going_on = rows[-1]

    # Late data, corrections, new factory files

    def _restating(self, since: int, apply: Callable[[], None], record: Record, emitted: Emitted, reason: str) -> None:
        """Apply a change that reaches back to `since`; emit again the final rows and intervals that it changes."""
        if self.assumed_long is not None:
            since = min(since, self.assumed_long)
        if self.opened is None or max(since, self.opened) >= self.final_until:
            apply()
            return
        oldest = max(self.opened, self.horizon)
        start = max(self._floor(self.history.stop_start(since)), oldest)
        edge = self._interval_edge(start)
        facts = {
            (row.window_start, row.segment_start): row
            for row in self._facts(start)
            if row.window_start >= self.shown_from
        }
        stretches = {row.start: row for row in self._stretches(edge, oldest)}
        apply()
        self._emit_changed(facts, start, self._known(record), reason, emitted)
        self._emit_stretches(stretches, edge, oldest, self._known(record), emitted)
        self.shown_from = min(self.shown_from, start)

    def _facts(self, start: int) -> list[OeeFact]:
        return self.history.facts(self.history.pieces(start, self.final_until), self.settings.window_ms)

    def _emit_changed(
        self, before: dict[tuple[int, int], OeeFact], start: int, known_at: int, reason: str, emitted: Emitted
    ) -> None:
        after = self._facts(start)
        changed = [row for row in after if before.pop((row.window_start, row.segment_start), None) != row]
        changed.extend(_removed(row) for row in before.values())
        for window in {row.window_start for row in changed if row.window_start >= self.shown_from}:
            self.revisions[window] = self.revisions.get(window, 1) + 1
        for row in changed:
            row.known_at = known_at
            if row.window_start >= self.shown_from:
                row.status, row.reason, row.revision = "restated", reason, self.revisions[row.window_start]
        emitted.facts.extend(changed)

    def _interval_edge(self, start: int) -> int:
        """Where the interval before the one that holds `start` begins: what follows may change, this may not."""
        before = [at for at in self.interval_starts if at < start]
        return before[-2] if len(before) > 1 else before[0] if before else start

    def _stretches(self, edge: int, oldest: int) -> list[Interval]:
        rows = self.history.intervals(self.history.pieces(max(edge, oldest), self.final_until))
        if edge < oldest:
            rows[0].start = edge
        return rows

    def _emit_stretches(
        self, before: dict[int, Interval], edge: int, oldest: int, known_at: int, emitted: Emitted
    ) -> None:
        shown = {at for at in self.interval_starts if at >= edge}
        after = self._stretches(edge, oldest)
        for row in after:
            if before.get(row.start) != row or row.start not in shown:
                emitted.intervals.append(replace(row, known_at=known_at))
        gone = sorted(shown - {row.start for row in after})
        emitted.intervals.extend(replace(after[0], start=at, end=at, known_at=known_at) for at in gone)
        self.interval_starts = [at for at in self.interval_starts if at < edge] + [row.start for row in after]
        self.going_on = after[-1]

    def _forget(self, horizon: int) -> None:
        self.history.forget(horizon)
        self.revisions = {window: count for window, count in self.revisions.items() if window >= horizon}
        old = sum(1 for at in self.interval_starts if at < horizon)
        del self.interval_starts[: max(old - 2, 0)]

    # Snapshots

    def pack(self) -> dict[str, Any]:
        """Plain values from which `unpack` makes the same machine again, bit for bit."""
        packed = {name: getattr(self, name) for name in PLAIN}
        packed["provisional"] = [[window, starts] for window, starts in self.provisional.items()]
        packed["revisions"] = [[window, count] for window, count in self.revisions.items()]
        packed["going_on"] = asdict(self.going_on) if self.going_on is not None else None
        packed["history"], packed["seen"] = self.history.pack(), self.seen.pack()
        packed["scorer"] = self.scorer.pack()
        return packed

    @classmethod
    def unpack(cls, name: str, settings: EngineSettings, packed: dict[str, Any]) -> Machine:
        machine = cls(name, settings)
        for plain in PLAIN:
            setattr(machine, plain, packed[plain])
        machine.interval_starts = list(packed["interval_starts"])
        machine.provisional = {window: list(starts) for window, starts in packed["provisional"]}
        machine.revisions = dict(packed["revisions"])
        machine.going_on = Interval(**packed["going_on"]) if packed["going_on"] is not None else None
        machine.history = History.unpack(name, packed["history"])
        machine.seen, machine.scorer = Seen.unpack(packed["seen"]), Scorer.unpack(packed["scorer"])
        return machine


PLAIN = (
    "newest", "said_until", "opened", "shown_from", "final_until", "known_at", "provisional_at", "interval_starts",
    "last_arrived", "live", "assumed_long",
)  # fmt: skip


def _entries(frame: Frame) -> list[Any]:
    return [*frame.states, *frame.counts, *frame.contexts]


def _without_gaps(at: NDArray[np.int64], gap: int) -> list[tuple[int, int]]:
    """Stretches [first, last] of ascending instants within which none is further than `gap` from the one before."""
    if at[-1] - at[0] <= gap:
        return [(int(at[0]), int(at[-1]))]
    breaks = np.flatnonzero(np.diff(at) > gap)
    firsts, lasts = [0, *(breaks + 1).tolist()], [*breaks.tolist(), len(at) - 1]
    return [(int(at[first]), int(at[last])) for first, last in zip(firsts, lasts, strict=True)]


def _without_older(frame: Frame, horizon: int) -> tuple[Frame, int]:
    if all(entry.at >= horizon for entry in _entries(frame)):
        return frame, 0
    states = [entry for entry in frame.states if entry.at >= horizon]
    counts = [entry for entry in frame.counts if entry.at >= horizon]
    contexts = [entry for entry in frame.contexts if entry.at >= horizon]
    gone = len(_entries(frame)) - len(states) - len(counts) - len(contexts)
    return replace(frame, states=states, counts=counts, contexts=contexts), gone


def _removed(row: OeeFact) -> OeeFact:
    """The row of a segment that no longer exists: no length, nothing in it."""
    return OeeFact(
        row.machine, row.site, row.area, row.line, row.window_start, row.window_end, row.segment_start,
        row.segment_start, row.shift, row.shift_date, row.local_date, row.product, row.order,
        flags=list(row.flags), profile=row.profile, unknown_as=row.unknown_as,
    )  # fmt: skip
