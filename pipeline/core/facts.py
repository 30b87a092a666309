"""Facts per window and segment, and intervals, from the pieces of a timeline."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import NamedTuple

from pipeline.core.counters import Parts
from pipeline.core.model import Interval, MachineConfig, OeeFact
from pipeline.core.oee import NOT_IN_FACTORY
from pipeline.core.timeline import Configured, Piece, Timeline

UNCONFIGURED = MachineConfig()
ANSWERS = attrgetter(*(name for name in Interval.__dataclass_fields__ if name not in ("start", "end", "known_at")))
MOST_IDEAL_US = 1 << 60  # beyond it the count is nonsense, and sums would leave 64 bits


class Spread(NamedTuple):
    """Parts of one count, spread evenly over [start, end): `done(t)` of `whole` has passed at t."""

    start: int
    end: int
    made: Parts
    done: Callable[[int], int]
    whole: int

    def within(self, low: int, high: int) -> Parts:
        """The share of a stretch of it: shares of stretches that follow each other add up to all parts."""
        first, last = self.done(max(low, self.start)), self.done(min(high, self.end))
        good, reject, rework = (
            count * last // self.whole - count * first // self.whole
            for count in (self.made.good, self.made.reject, self.made.rework)
        )
        return Parts(low, good + reject, good, reject, rework, ())


def window_facts(
    machine: str,
    timeline: Timeline,
    pieces: Sequence[Piece],
    parts: Iterable[Parts],
    window_ms: int,
    spreads: Iterable[Spread] = (),
) -> list[OeeFact]:
    """Facts of consecutive pieces and their parts, one row per window and segment, in order of time.

    A segment ends where shift, local day, product, order, configuration or ideal cycle time changes, so that a view
    by any of them is as exact as a view by window.
    """
    rows: list[OeeFact] = []
    cut: tuple[object, ...] = ()
    for piece in pieces:
        start = piece.start
        config = timeline.config(start).config
        key = (
            piece.shift, piece.shift_date, piece.local_date, piece.product, piece.order, config.effective,
            timeline.ideal_said(start),
        )  # fmt: skip
        while start < piece.end:
            window = start - start % window_ms
            end = min(piece.end, window + window_ms)
            if not rows or rows[-1].window_start != window or cut != key:
                rows.append(_row(machine, config, window, window_ms, start, piece))
                cut = key
            _add_time(rows[-1], piece, start, end)
            start = end
    starts = [row.segment_start for row in rows]
    for made in parts:
        _add_parts(rows[bisect_right(starts, made.at) - 1], made, timeline)
    for spread in spreads:
        first, last = bisect_right(starts, spread.start) - 1, bisect_left(starts, spread.end)
        for row in rows[max(first, 0) : last]:
            _add_parts(row, spread.within(row.segment_start, row.segment_end), timeline)
    for row in rows:
        _add_line_time(row, timeline.config(row.segment_start))
    return rows


def _row(machine: str, config: MachineConfig, window: int, window_ms: int, start: int, piece: Piece) -> OeeFact:
    flags = [NOT_IN_FACTORY] if config is UNCONFIGURED else []
    return OeeFact(
        machine, config.site, config.area, config.line, window, window + window_ms, start, start,
        piece.shift, piece.shift_date, piece.local_date, piece.product, piece.order,
        flags=flags, profile=config.profile, unknown_as=config.unknown_as,
    )  # fmt: skip


def _add_time(row: OeeFact, piece: Piece, start: int, end: int) -> None:
    length = end - start
    row.segment_end = end
    row.t_ms += length
    _add_stop(row, piece, start)
    if piece.element in ("nonwork", "pdot"):
        name = piece.element + "_ms"
        setattr(row, name, getattr(row, name) + length)
        return
    row.pbt_ms += length
    if piece.element == "apt":
        row.apt_ms += length
        row.overtime_ms += length if piece.overtime else 0
    elif piece.element == "adet":
        row.adet_ms += length
        row.micro_stop_ms += length if piece.micro else 0
        row.external_ms += length if piece.external else 0
        row.repair_ms += length if piece.state == "fault" and not piece.micro else 0
    elif piece.element == "aust":
        row.aust_ms += length
    elif piece.element == "adot":
        row.adot_ms += length
    else:
        row.unknown_ms += length


def _add_stop(row: OeeFact, piece: Piece, start: int) -> None:
    """Occurrences count where they start, whatever the calendar says there."""
    if piece.stop is not None and piece.stop.start == start:
        row.stops += 1
        row.micro_stops += piece.micro
    if piece.failure and piece.run_start == start:
        row.failures += 1


def _add_parts(row: OeeFact, made: Parts, timeline: Timeline) -> None:
    row.total += made.total
    row.good += made.good
    row.reject += made.reject
    row.rework += made.rework
    ideal = timeline.ideal_us(made.at, row.product)
    if ideal is None or abs(row.ideal_total_us) + ideal * (abs(made.total) + abs(made.good)) > MOST_IDEAL_US:
        row.no_ideal_total += made.total
    else:
        row.ideal_total_us += ideal * made.total
        row.ideal_good_us += ideal * made.good
    row.flags.extend(flag for flag in made.flags if flag not in row.flags)


def _add_line_time(row: OeeFact, configured: Configured) -> None:
    if configured.line is not None:
        row.line_pbt_ms = configured.line.busy_ms(row.segment_start, row.segment_end)
    elif row.line:
        row.line_pbt_ms = row.pbt_ms


def intervals(machine: str, timeline: Timeline, pieces: Sequence[Piece]) -> list[Interval]:
    """Pieces with the same answers joined; the last one is still open (end None)."""
    rows: list[Interval] = []
    for piece in pieces:
        config = timeline.config(piece.start).config
        row = Interval(
            machine, config.site, config.area, config.line, piece.start, None, piece.state, piece.element,
            piece.stop.start if piece.stop else None, piece.micro, piece.external, piece.overtime, piece.reason,
            piece.shift, piece.shift_date, piece.product, piece.order,
        )  # fmt: skip
        if rows and ANSWERS(rows[-1]) == ANSWERS(row):
            continue
        if rows:
            rows[-1].end = piece.start
        rows.append(row)
    return rows
