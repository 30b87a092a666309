"""OEE by the letter of the rules, slowly: every boundary is collected, every stretch between two is decided by itself.

Written from the rules alone, without the engine's arithmetic; only the records are shared. `facts` is the way in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from oracle_calendar import DAY, EPOCH, Level, instant, layers, levels, planned, wall
from oracle_log import Made, Told

from pipeline.core.model import Control, Frame, MachineConfig, OeeFact

EXTERNAL = ("starved", "blocked")
ELEMENTS = {
    "running": "apt", "setup": "aust", "idle": "adot", "off": "adot", "fault": "adet", "stopped": "adet",
    "starved": "adet", "blocked": "adet", "maintenance": "adet", "planned_stop": "pdot", "unknown": "unknown",
}  # fmt: skip
NOT_IN_FACTORY = MachineConfig()


@dataclass(slots=True)
class Piece:
    """A stretch in which nothing changes."""

    start: int
    end: int
    state: str
    element: str
    overtime: bool
    line_planned: bool | None  # None: the line has no calendar of its own
    segment: tuple[Any, ...]  # what a row has one of: configuration, shift, its date, today, product, order, ideal time
    row: OeeFact | None = None


class Days:
    """The days around a log, with the calendar of each configuration written out over them."""

    def __init__(self, told: Told, first: int, end: int) -> None:
        self.told, self.first, self.end = told, first, end
        self.calendars = {id(config): (config, *self._levels(config)) for config in [*told.configs, NOT_IN_FACTORY]}

    def _days(self, zone: str) -> list[date]:
        last = wall(zone, self.end).date() + DAY
        days = [wall(zone, self.first).date() - 2 * DAY]
        while days[-1] < last:
            days.append(days[-1] + DAY)
        return days

    def _levels(self, config: MachineConfig) -> tuple[list[Level], list[Level]]:
        """The machine's calendar, and its line's: that from the line's own level on, if it has one."""
        said, days = layers(config), self._days(config.timezone)
        line = [place for place, level in enumerate(said) if level.level == "line"]
        return levels(said, config.timezone, days), levels(said[line[0] :], config.timezone, days) if line else []

    def edges(self) -> set[int]:
        """Wherever anything may change."""
        told = self.told
        found = {config.effective for config in told.configs} | set(told.life)
        found |= {said.at for said in (*told.states, *told.contexts)}  # those of openings, too
        found |= {at for one in told.corrections for at in (one.start, one.end)}
        for config, calendar, of_line in self.calendars.values():
            found |= {at + (config.stale_after_ms or 0) for at in told.life}
            found |= {instant(config.timezone, day, "00:00") for day in self._days(config.timezone)}
            for level in (*calendar, *of_line):
                found |= {at for spell in (*level.shifts, *level.stops) for at in spell[:2]}
        return found

    def piece(self, start: int, end: int) -> Piece:
        """What holds between two edges: the rules of section 3, one after the other."""
        told = self.told
        config, calendar, of_line = self.calendars[id(told.config(start) or NOT_IN_FACTORY)]
        work, shift, shift_date = planned(calendar, start)
        word = told.corrected(start, "calendar")
        work = {None: work, "planned": "pdot", "unplanned": "pbt", "closed": "nonwork"}[word]
        state, fresh = told.state(start), told.fresh(start)
        overtime = state == "running" and fresh and work != "pbt"
        if overtime:
            element = "apt"
        elif work != "pbt":
            element = work
        else:
            element = ELEMENTS[state] if fresh else "unknown"
        today = wall(config.timezone, start).date().toordinal() - EPOCH
        segment = (
            config, shift, today if shift_date is None else shift_date, today, told.context(start, "product"),
            told.context(start, "order"), told.corrected(start, "ideal_cycle_us"),
        )  # fmt: skip
        line_planned = planned(of_line, start)[0] == "pbt" if of_line else None
        return Piece(start, end, state, element, overtime, line_planned, segment)


def facts(messages: Sequence[Frame | Control], window_ms: int, longest_split_ms: int) -> list[OeeFact]:
    """Every row of one machine's log up to the window in which its source ends; `messages` in order of arrival.

    A count over at most `longest_split_ms` [ms] is spread over the time since the one before, where that is asked for.
    """
    told = Told(messages)
    first, end = told.life[0] - told.life[0] % window_ms, told.ended + -told.ended % window_ms
    begin = min([first, *(count.at for count in told.counts)])
    days = Days(told, begin, end)
    edges = sorted({begin, end, *range(first, end, window_ms), *(at for at in days.edges() if begin < at < end)})
    pieces = list(map(days.piece, edges, edges[1:]))
    rows = _rows([piece for piece in pieces if piece.start >= first], window_ms, messages[0].machine)
    for piece in pieces:
        _add_time(piece)
    _add_stops(told, pieces, rows)
    for made in told.made():
        _add_made(told, made, pieces, rows, longest_split_ms)
    for one in told.corrections:
        _add_parts(told, _at(rows, one.start), one.start, one.good or 0, one.reject or 0, one.rework or 0)
    for row in rows:
        row.flags = sorted(set(row.flags))
    return rows


def _rows(pieces: Sequence[Piece], window_ms: int, machine: str) -> list[OeeFact]:
    """A row per window and segment, still without facts; each piece learns which row it is in."""
    rows: list[OeeFact] = []
    segment: tuple[Any, ...] = ()
    for piece in pieces:
        window = piece.start - piece.start % window_ms
        if not rows or rows[-1].window_start != window or piece.segment != segment:
            config, *names, _ = segment = piece.segment
            rows.append(
                OeeFact(
                    machine, config.site, config.area, config.line, window, window + window_ms, piece.start, piece.end,
                    *names, profile=config.profile, unknown_as=config.unknown_as,
                    flags=["not_in_factory"] if config is NOT_IN_FACTORY else [],
                )
            )  # fmt: skip
        piece.row, rows[-1].segment_end = rows[-1], piece.end
    return rows


def _at(rows: Sequence[OeeFact], at: int) -> OeeFact | None:
    return next((row for row in rows if row.segment_start <= at < row.segment_end), None)


def _add_time(piece: Piece) -> None:
    row, lasted = piece.row, piece.end - piece.start
    if row is None:
        return
    row.t_ms += lasted
    setattr(row, piece.element + "_ms", getattr(row, piece.element + "_ms") + lasted)
    busy = piece.element not in ("nonwork", "pdot")
    row.pbt_ms += lasted * busy
    row.overtime_ms += lasted * piece.overtime
    row.external_ms += lasted * (piece.element == "adet" and piece.state in EXTERNAL)
    if row.line:
        row.line_pbt_ms += lasted * (busy if piece.line_planned is None else piece.line_planned)


def _add_stops(told: Told, pieces: Sequence[Piece], rows: Sequence[OeeFact]) -> None:
    for whole, micro, parts in told.stops():
        if row := _at(rows, whole.start):
            row.stops += 1
            row.micro_stops += micro
        for part in parts:
            failure = part.state == "fault" and not micro
            if failure and (row := _at(rows, part.start)):
                row.failures += 1
            for piece in pieces:
                inside = part.start <= piece.start and (part.end is None or piece.end <= part.end)
                if inside and piece.element == "adet" and piece.row:
                    piece.row.micro_stop_ms += (piece.end - piece.start) * micro
                    piece.row.repair_ms += (piece.end - piece.start) * failure


def _add_made(told: Told, made: Made, pieces: Sequence[Piece], rows: Sequence[OeeFact], longest: int) -> None:
    """A count, at its instant or spread over the running time since the one before, whole parts each."""
    if row := _at(rows, made.at):
        row.flags.extend(made.flags)
    config = told.config(made.at)
    spread = config is not None and config.count_split == "proportional" and made.since is not None
    if not spread or made.at - (made.since or 0) > longest:
        _add_parts(told, _at(rows, made.at), made.at, made.good, made.reject, made.rework)
        return
    cut = [(max(piece.start, made.since), min(piece.end, made.at), piece) for piece in pieces]
    cut = [(start, end, piece) for start, end, piece in cut if start < end]
    ran = sum(end - start for start, end, piece in cut if piece.element == "apt")
    over, done = ran or made.at - made.since, 0
    for start, end, piece in cut:
        until = done + (end - start if piece.element == "apt" or not ran else 0)
        shares = (n * until // over - n * done // over for n in (made.good, made.reject, made.rework))
        _add_parts(told, piece.row, start, *shares)
        done = until


def _add_parts(told: Told, row: OeeFact | None, at: int, good: int, reject: int, rework: int) -> None:
    """Parts that were made at an instant, with the ideal cycle time of then."""
    if row is None:
        return
    total = good + reject
    row.total, row.good, row.reject, row.rework = (
        row.total + total, row.good + good, row.reject + reject, row.rework + rework,
    )  # fmt: skip
    config = told.config(at) or NOT_IN_FACTORY
    ideal = told.corrected(at, "ideal_cycle_us")
    if ideal is None:
        ideal = config.ideal_cycle_us.get(row.product, config.ideal_cycle_us.get("*"))
    if ideal is None:
        row.no_ideal_total += total
    else:
        row.ideal_total_us += ideal * total
        row.ideal_good_us += ideal * good
