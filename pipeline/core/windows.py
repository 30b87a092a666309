"""Which windows of a machine are final, what was shown of them, and what a change of the past makes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from pipeline.core.facts import ANSWERS
from pipeline.core.history import History
from pipeline.core.model import Emitted, Interval, OeeFact
from pipeline.core.settings import EngineSettings
from pipeline.core.timeline import Piece

PLAIN = ("opened", "shown_from", "final_until", "interval_starts")


class Windows:
    """The windows and intervals of one machine, over its history.

    Rows get their `known_at` from `version`, which is called when the first row of a record is emitted.
    """

    def __init__(self, history: History, settings: EngineSettings, version: Callable[[], int]) -> None:
        self.history, self.settings, self._version = history, settings, version
        self.opened: int | None = None  # start of the first window
        self.shown_from = 0  # windows from here on have been emitted
        self.final_until = 0  # windows before this are final
        self.provisional: dict[int, list[int]] = {}  # open window -> starts of the segments shown of it
        self.revisions: dict[int, int] = {}  # final window -> revision, where it is not 1
        self.interval_starts: list[int] = []  # of the intervals emitted, back to the horizon
        self.going_on: Interval | None = None  # the interval that is still open at final_until

    def floor(self, at: int) -> int:
        """Start of the window that holds an instant."""
        return at - at % self.settings.window_ms

    @property
    def horizon(self) -> int:
        """What is older can no longer restate a window."""
        return self.floor(self.final_until - self.settings.retention_ms)

    @property
    def changeable(self) -> int:
        """From here on anything may still change; earlier where counts are spread over the time before them."""
        return self.horizon + (self.settings.longest_split_ms if self.history.splits else 0)

    def open(self, first: int) -> None:
        """See to it that the window of a message at `first` is open."""
        window = self.floor(first)
        if self.opened is None:
            self.opened = self.shown_from = self.final_until = window
        elif window < self.opened:
            if self.opened == self.final_until:
                self.shown_from = self.final_until = window
            self.opened = window

    def next_due(self, watermark: int) -> int:
        """First watermark from which on `finalise` may have anything to do; nothing is due at this one."""
        if self.floor(watermark) <= self.final_until:
            return self.final_until + self.settings.window_ms
        return self.history.undecided_until(watermark)

    def cannot_restate(self, first: int, last: int) -> bool:
        """Whether samples of [first, last], none of which is final, can change nothing that is."""
        reach = min(
            self.history.span_start(first, self.settings.longest_split_ms),
            self.history.short_stop_start(first, last),
        )
        return self.opened is not None and reach >= self.final_until

    def begin_again(self, first: int, emitted: Emitted) -> None:
        """Leave out everything between the final windows and the window of `first`."""
        if self.going_on is not None:
            emitted.intervals.append(replace(self.going_on, end=self.final_until, known_at=self._version()))
        self.opened = self.shown_from = self.final_until = self.floor(first)
        self.interval_starts, self.going_on, self.provisional = [], None, {}

    def finalise(self, until: int, emitted: Emitted) -> None:
        """Emit the windows before `until` as final, and the intervals that ended or began in them."""
        if until <= self.final_until:
            return
        pieces = self.history.pieces(self.final_until, until)
        rows = self._rows(pieces)
        rows.extend(self._overtaken(rows, until))
        for row in rows:
            row.known_at = self._version()
        emitted.facts.extend(rows)
        self.final_until = until
        self._extend_intervals(self.history.intervals(pieces), emitted)
        self._forget()

    def show(self, newest: int, emitted: Emitted) -> None:
        """Provisional rows of the open windows, up to the newest event."""
        if newest <= self.final_until:
            return
        shown = self._rows(self.history.pieces(self.final_until, newest))
        rows = shown + self._overtaken(shown, newest)
        for row in rows:
            row.status, row.revision, row.known_at = "provisional", 0, self._version()
        emitted.facts.extend(rows)
        for row in shown:
            self.provisional.setdefault(row.window_start, []).append(row.segment_start)

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

    def _extend_intervals(self, rows: list[Interval], emitted: Emitted) -> None:
        """Emit intervals that ended or began; one that merely goes on is not repeated."""
        known_at = self._version()
        goes_on = self.going_on is not None and ANSWERS(self.going_on) == ANSWERS(rows[0])
        if self.going_on is not None and not goes_on:
            emitted.intervals.append(replace(self.going_on, end=rows[0].start, known_at=known_at))
        if self.going_on is not None and goes_on:
            rows[0].start = self.going_on.start
        self.interval_starts.extend(row.start for row in rows[goes_on:])
        emitted.intervals.extend(replace(row, known_at=known_at) for row in rows[goes_on and len(rows) == 1 :])
        self.going_on = rows[-1]

    def _forget(self) -> None:
        horizon = self.horizon
        self.history.forget(horizon - (self.settings.longest_split_ms if self.history.splits else 0))
        self.revisions = {window: count for window, count in self.revisions.items() if window >= horizon}
        old = sum(1 for at in self.interval_starts if at < horizon)
        del self.interval_starts[: max(old - 2, 0)]

    # Late data, corrections, new factory files

    def restating(self, since: int, apply: Callable[[], None], emitted: Emitted, reason: str) -> None:
        """Apply a change that reaches back to `since`; emit again the final rows and intervals that it changes."""
        spread = self.history.span_start(since, self.settings.longest_split_ms)
        since = min(spread, self.history.short_stop_start(since))
        if self.opened is None or max(since, self.opened) >= self.final_until:
            apply()
            return
        oldest = max(self.opened, self.horizon)
        start = max(self.floor(self.history.stop_start(since)), oldest)
        edge = self._interval_edge(start)
        facts = {(row.window_start, row.segment_start): row for row in self._facts(start)}
        facts = {key: row for key, row in facts.items() if row.window_start >= self.shown_from}
        stretches = {row.start: row for row in self._stretches(edge, oldest)}
        apply()
        self._emit_changed(facts, self._facts(start), reason, emitted)
        self._emit_stretches(stretches, self._stretches(edge, oldest), edge, emitted)
        self.shown_from = min(self.shown_from, start)

    def _facts(self, start: int) -> list[OeeFact]:
        return self._rows(self.history.pieces(start, self.final_until))

    def _rows(self, pieces: list[Piece]) -> list[OeeFact]:
        return self.history.facts(pieces, self.settings.window_ms, self.settings.longest_split_ms)

    def _emit_changed(
        self, before: dict[tuple[int, int], OeeFact], after: list[OeeFact], reason: str, emitted: Emitted
    ) -> None:
        changed = [row for row in after if before.pop((row.window_start, row.segment_start), None) != row]
        changed.extend(_removed(row) for row in before.values())
        for window in {row.window_start for row in changed if row.window_start >= self.shown_from}:
            self.revisions[window] = self.revisions.get(window, 1) + 1
        for row in changed:
            row.known_at = self._version()
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

    def _emit_stretches(self, before: dict[int, Interval], after: list[Interval], edge: int, emitted: Emitted) -> None:
        known_at = self._version()
        shown = {at for at in self.interval_starts if at >= edge}
        changed = [row for row in after if before.get(row.start) != row or row.start not in shown]
        emitted.intervals.extend(replace(row, known_at=known_at) for row in changed)
        gone = sorted(shown - {row.start for row in after})
        emitted.intervals.extend(replace(after[0], start=at, end=at, known_at=known_at) for at in gone)
        self.interval_starts = [at for at in self.interval_starts if at < edge] + [row.start for row in after]
        self.going_on = after[-1]

    # Snapshots

    def pack(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) for name in PLAIN},
            "provisional": [[window, starts] for window, starts in self.provisional.items()],
            "revisions": [[window, count] for window, count in self.revisions.items()],
            "going_on": None if self.going_on is None else asdict(self.going_on),
        }

    def unpack(self, packed: dict[str, Any]) -> None:
        """Take the state that `pack` gave."""
        for name in PLAIN:
            setattr(self, name, packed[name])
        self.interval_starts = list(packed["interval_starts"])
        self.provisional = {window: list(starts) for window, starts in packed["provisional"]}
        self.revisions = dict(packed["revisions"])
        self.going_on = None if packed["going_on"] is None else Interval(**{"area": "", **packed["going_on"]})


def _removed(row: OeeFact) -> OeeFact:
    """The row of a segment that no longer exists: no length, nothing in it."""
    return OeeFact(
        row.machine, row.site, row.area, row.line, row.window_start, row.window_end, row.segment_start,
        row.segment_start, row.shift, row.shift_date, row.local_date, row.product, row.order,
        flags=list(row.flags), profile=row.profile, unknown_as=row.unknown_as,
    )  # fmt: skip
