"""Everything one machine said that can still change a window, and the facts that follow from it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import asdict, astuple
from itertools import accumulate
from typing import Any

from pipeline.core.counters import Counts, Parts
from pipeline.core.facts import UNCONFIGURED, Spread, intervals, window_facts
from pipeline.core.model import (
    CalendarException,
    CalendarLevel,
    Correction,
    Frame,
    Interval,
    MachineConfig,
    OeeFact,
    Shift,
    SignalConfig,
)
from pipeline.core.series import Heard, Key, Run, Series, runs_of
from pipeline.core.timeline import Configured, Piece, Timeline

NEVER = 1 << 62  # ms


class History:
    """A machine's states, contexts, counts, signs of life, configurations and corrections, by event time."""

    def __init__(self, machine: str) -> None:
        self.machine = machine
        self.states, self.products, self.orders = Series(), Series(), Series()
        self.reasons: dict[Key, str] = {}
        self.runs: list[Run] = []
        self.counts, self.heard = Counts(), Heard()
        self.corrections: list[Correction] = []  # as they came, the withdrawn ones too
        self.standing: list[Correction] = []  # those that hold, in the order in which they are laid over each other
        self._take([Configured.of(UNCONFIGURED)])

    def insert(self, frame: Frame) -> None:
        source, epoch, sequence = frame.source, frame.epoch, frame.sequence
        for place, change in enumerate(frame.states):
            key = (change.at, source, epoch, sequence, place)
            self.states.insert(key, change.state)
            if change.reason:
                self.reasons[key] = change.reason
        for place, context in enumerate(frame.contexts):
            key = (context.at, source, epoch, sequence, place)
            if context.product is not None:
                self.products.insert(key, context.product)
            if context.order is not None:
                self.orders.insert(key, context.order)
        for place, reading in enumerate(frame.counts):
            self.counts.insert((reading.at, source, epoch, sequence, place), reading)
        if frame.states:
            self._rerun_from(min(change.at for change in frame.states))

    def configure(self, config: MachineConfig) -> None:
        """Take a configuration; one with the same effective date replaces the one before."""
        kept = [
            known
            for known in self.configs
            if known.config is not UNCONFIGURED and known.config.effective != config.effective
        ]
        self._take(sorted([*kept, Configured.of(config)], key=lambda known: known.config.effective))

    def _take(self, configs: list[Configured]) -> None:
        self.configs = configs
        self._packed_configs: list[dict[str, Any]] | None = None  # worked out when it is first asked for
        limits = [known.config.stale_after_ms for known in configs]
        self.shortest_stale_ms = min((limit for limit in limits if limit is not None), default=NEVER)
        self.splits = any(known.config.count_split for known in configs)  # counts over the time that they span
        self._look_anew()

    def _look_anew(self) -> None:
        """A view over what has just been replaced; what is merely added to shows in the one that is there."""
        self.timeline = Timeline(self.configs, self.runs, self.heard, self.products, self.orders, self.standing)

    def replaced(self, correction: Correction) -> Correction | None:
        """The known correction with the same id."""
        return next((known for known in self.corrections if correction.id and known.id == correction.id), None)

    def correct(self, correction: Correction) -> None:
        """Take a correction; one with the same id takes the place of the one before."""
        self.corrections = [known for known in self.corrections if known is not self.replaced(correction)]
        self.corrections.append(correction)
        self._rerun()

    def _rerun(self) -> None:
        self.standing = sorted((c for c in self.corrections if not c.withdrawn), key=lambda c: c.revision)
        self.runs = runs_of(self.states, self.reasons, self.standing)
        self._look_anew()

    def _rerun_from(self, at: int) -> None:
        """As `_rerun` when only states at `at` or later are new: a state is said thousands of times a day, and what
        lies before the last run that is no stop and wholly before it stays as it is."""
        place = bisect_left(self.runs, at, key=_start) - 1
        while place >= 0 and self.runs[place].stop is not None:
            place -= 1
        laid = max((c.end for c in self.standing if c.state or c.reason is not None), default=-NEVER)
        if place < 0 or self.runs[place].start <= laid:
            self._rerun()
            return
        first = bisect_left(self.states.keys, (self.runs[place].start,))
        self.runs[place:] = runs_of(self.states, self.reasons, (), first)

    def pieces(self, start: int, end: int) -> list[Piece]:
        """[start, end) as pieces, for `facts` and `intervals`."""
        return self.timeline.pieces(start, end)

    def facts(self, pieces: list[Piece], window_ms: int, longest_split_ms: int = 0) -> list[OeeFact]:
        """Rows per window and segment of consecutive pieces; counts that span more than that are not split."""
        timeline = self.timeline
        start, end = (pieces[0].start, pieces[-1].end) if pieces else (0, 0)
        parts = self._parts(timeline, start, end)
        spreads: list[Spread] = []
        if self.splits:
            parts, spreads = self._split(timeline, start, end, longest_split_ms)
        parts += [_corrected_parts(c) for c in self.standing if start <= c.start < end and _counts(c)]
        return window_facts(self.machine, timeline, pieces, parts, window_ms, spreads)

    def _parts(self, timeline: Timeline, start: int, end: int) -> list[Parts]:
        """Parts counted in [start, end), each count times the parts per cycle of the product at its instant."""
        counted = self.counts.between(start, end, lambda at: timeline.config(at).config.counter_modulus)
        if not any(known.config.units_per_cycle for known in self.configs):
            return counted
        return [made.times(timeline.units(made.at, timeline.product(made.at))) for made in counted]

    def _split(self, timeline: Timeline, start: int, end: int, longest_ms: int) -> tuple[list[Parts], list[Spread]]:
        """Counts that touch [start, end): those of their own instant, and those spread over the time that it ran."""
        following = self.counts.following(end)
        own: list[Parts] = []
        spreads: list[Spread] = []
        for made in self._parts(timeline, start, end if following is None else following + 1):
            before = self.counts.before(made.at)
            split = timeline.config(made.at).config.count_split and before is not None
            if before is None or not split or not 0 < made.at - before <= longest_ms:
                own += [made] if made.at < end else []
                continue
            spreads.append(_spread(timeline, before, made))
            own += [Parts(made.at, 0, 0, 0, 0, made.flags)] if made.flags and made.at < end else []
        return own, spreads

    def intervals(self, pieces: list[Piece]) -> list[Interval]:
        """Stretches of consecutive pieces; the last one is left open."""
        return intervals(self.machine, self.timeline, pieces)

    def stop_start(self, at: int) -> int:
        """Start of the stop that reaches `at`; `at` itself when there is none."""
        index = self.timeline.run(at)
        found = [run.stop.start for run in self.runs[max(index - 1, 0) : index + 1] if run.stop is not None]
        return min([at, *found])

    def short_stop_start(self, at: int, last: int | None = None) -> int:
        """Start of the stop that reaches `at` and is so short there that a change at `at` may decide whether it is a
        micro-stop; `at` itself when there is none. With `last`: the first of the stops that reach into [at, last].

        Windows wait for such a stop, but not for one that is told late, nor beyond the end of the source.
        """
        timeline = self.timeline
        index = timeline.run(at)
        end = index if last is None else timeline.run(last)
        stops = [run.stop for run in self.runs[max(index - 1, 0) : end + 1] if run.stop is not None]
        short = [stop.start for stop in stops if at - stop.start <= timeline.config(stop.start).config.micro_stop_ms]
        return min([at, *short])

    def span_start(self, at: int, longest_ms: int) -> int:
        """Start of the count that is spread over `at`; `at` itself when there is none."""
        before = self.counts.before(at) if self.splits else None
        return at if before is None or at - before > longest_ms else before

    def undecided_stop(self, at: int) -> int | None:
        """Start of a stop that goes on at `at` and is still so short that it may turn out to be a micro-stop."""
        timeline = self.timeline
        index = timeline.run(at)
        stop = self.runs[index].stop if index >= 0 else None
        if stop is None or at - stop.start > timeline.config(stop.start).config.micro_stop_ms:
            return None
        return stop.start

    def undecided_until(self, at: int) -> int:
        """The next instant after `at` from which on `undecided_stop` may say something else."""
        timeline = self.timeline
        index = timeline.run(at)
        stop = self.runs[index].stop if index >= 0 else None
        if stop is None:
            return at
        long = stop.start + timeline.config(stop.start).config.micro_stop_ms + 1
        return max(at, min([long, *(run.start for run in self.runs[index + 1 : index + 2])]))

    def forget(self, horizon: int) -> None:
        """Drop what can no longer change a window from `horizon` on."""
        index = self.timeline.run(horizon)
        stop = self.runs[index].stop if index >= 0 else None
        horizon = min(horizon, stop.start) if stop is not None else horizon
        for series in (self.states, self.products, self.orders):
            series.prune(horizon)
        self.counts.prune(horizon)
        self.heard.prune(horizon)
        oldest = self.states.keys[0] if self.states.keys else None
        if oldest is not None and self.runs and self.runs[0].start < oldest[0]:
            self.reasons = {key: reason for key, reason in self.reasons.items() if key >= oldest}
            if self.corrections:
                self.corrections = [correction for correction in self.corrections if correction.end > horizon]
                self._rerun()
            else:  # what is left begins with the oldest state; a stop is kept whole
                del self.runs[: bisect_right(self.runs, oldest[0], key=_start) - 1]
                self.runs[0] = self.runs[0]._replace(start=oldest[0])

    def pack(self) -> dict[str, Any]:
        if self._packed_configs is None:
            known = [one.config for one in self.configs if one.config is not UNCONFIGURED]
            self._packed_configs = [_packed_config(config) for config in known]
        return {
            "configs": self._packed_configs,
            "states": self.states.pack(),
            "products": self.products.pack(),
            "orders": self.orders.pack(),
            "reasons": [[*key, reason] for key, reason in self.reasons.items()],
            "counts": self.counts.pack(),
            "heard": [self.heard.first, self.heard.last],
            "corrections": [list(astuple(correction)) for correction in self.corrections],
        }

    @classmethod
    def unpack(cls, machine: str, packed: dict[str, Any]) -> History:
        history = cls(machine)
        for config in packed["configs"]:
            history.configure(_unpacked_config(config))
        history.states = Series.unpack(packed["states"])
        history.products, history.orders = Series.unpack(packed["products"]), Series.unpack(packed["orders"])
        history.reasons = {(row[0], row[1], row[2], row[3], row[4]): row[5] for row in packed["reasons"]}
        history.counts = Counts.unpack(packed["counts"])
        history.heard.first, history.heard.last = (list(times) for times in packed["heard"])
        history.corrections = [Correction(*row) for row in packed["corrections"]]
        history._rerun()
        return history


def _start(run: Run) -> int:
    return run.start


def _counts(correction: Correction) -> bool:
    return any((correction.good, correction.reject, correction.rework))


def _corrected_parts(correction: Correction) -> Parts:
    good, reject = correction.good or 0, correction.reject or 0
    return Parts(correction.start, good + reject, good, reject, correction.rework or 0, ())


def _spread(timeline: Timeline, before: int, made: Parts) -> Spread:
    """A count spread over the time that the machine ran since the count before; over all of it when it never ran."""
    ran = [piece for piece in timeline.pieces(before, made.at) if piece.element == "apt"]
    if not ran:
        return Spread(before, made.at, made, lambda at: at - before, made.at - before)
    starts = [piece.start for piece in ran]
    sums = list(accumulate((piece.end - piece.start for piece in ran), initial=0))

    def done(at: int) -> int:
        place = bisect_right(starts, at) - 1
        return sums[place] + min(at - starts[place], ran[place].end - starts[place]) if place >= 0 else 0

    return Spread(before, made.at, made, done, sums[-1])


def _packed_config(config: MachineConfig) -> dict[str, Any]:
    packed = asdict(config)
    packed["signals"] = [[s.name, s.unit, s.low, s.high, s.flatline_ms, s.learn, s.detector] for s in config.signals]
    return packed


def _unpacked_config(packed: dict[str, Any]) -> MachineConfig:
    return MachineConfig(
        **{
            **packed,
            **_calendar(packed),
            "above": tuple(CalendarLevel(**{**level, **_calendar(level)}) for level in packed.get("above", ())),
            "signals": tuple(SignalConfig(*row) for row in packed["signals"]),
        }
    )


def _calendar(packed: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {name: tuple(map(_shift, packed[name])) for name in ("shifts", "breaks")}
    if "closed" in packed:
        found["planned_down"] = tuple((start, end) for start, end in packed["planned_down"])
        found["closed"] = tuple(packed["closed"])
        exceptions = packed.get("exceptions", ())
        found["exceptions"] = tuple(CalendarException(**{**one, **_calendar(one)}) for one in exceptions)
    return found


def _shift(packed: Any) -> Shift:
    """A shift as this version packs it, or as version 1 did: a list."""
    if isinstance(packed, dict):
        return Shift(**{**packed, "days": tuple(packed["days"])})
    name, start, end, days = packed
    return Shift(name, start, end, tuple(days))
