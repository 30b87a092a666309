"""Everything one machine said that can still change a window, and the facts that follow from it."""

from __future__ import annotations

from typing import Any

from pipeline.core.calendar import Calendar
from pipeline.core.counters import Counts
from pipeline.core.facts import UNCONFIGURED, intervals, window_facts
from pipeline.core.model import Correction, Frame, Interval, MachineConfig, OeeFact, Shift, SignalConfig
from pipeline.core.series import Heard, Key, Run, Series, runs_of
from pipeline.core.timeline import Configured, Piece, Timeline


class History:
    """A machine's states, contexts, counts, signs of life, configurations and corrections, by event time."""

    def __init__(self, machine: str) -> None:
        self.machine = machine
        self.configs: list[Configured] = [Configured(UNCONFIGURED, Calendar(UNCONFIGURED))]
        self.states, self.products, self.orders = Series(), Series(), Series()
        self.reasons: dict[Key, str] = {}
        self.runs: list[Run] = []
        self.counts, self.heard = Counts(), Heard()
        self.corrections: list[Correction] = []

    @property
    def timeline(self) -> Timeline:
        return Timeline(self.configs, self.runs, self.heard, self.products, self.orders, self.corrections)

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
            self._rerun()

    def configure(self, config: MachineConfig) -> None:
        """Take a configuration; one with the same effective date replaces the one before."""
        kept = [
            known
            for known in self.configs
            if known.config is not UNCONFIGURED and known.config.effective != config.effective
        ]
        self.configs = sorted([*kept, Configured(config, Calendar(config))], key=lambda known: known.config.effective)

    def correct(self, correction: Correction) -> None:
        self.corrections.append(correction)
        self._rerun()

    def _rerun(self) -> None:
        self.runs = runs_of(self.states, self.reasons, self.corrections)

    def pieces(self, start: int, end: int) -> list[Piece]:
        """[start, end) as pieces, for `facts` and `intervals`."""
        return self.timeline.pieces(start, end)

    def facts(self, pieces: list[Piece], window_ms: int) -> list[OeeFact]:
        """Rows per window and segment of consecutive pieces."""
        timeline = self.timeline
        start, end = (pieces[0].start, pieces[-1].end) if pieces else (0, 0)
        parts = self.counts.between(start, end, lambda at: timeline.config(at).config.counter_modulus)
        return window_facts(self.machine, timeline, pieces, parts, window_ms)

    def intervals(self, pieces: list[Piece]) -> list[Interval]:
        """Stretches of consecutive pieces; the last one is left open."""
        return intervals(self.machine, self.timeline, pieces)

    def stop_start(self, at: int) -> int:
        """Start of the stop that reaches `at`; `at` itself when there is none."""
        index = self.timeline.run(at)
        found = [run.stop.start for run in self.runs[max(index - 1, 0) : index + 1] if run.stop is not None]
        return min([at, *found])

    def undecided_stop(self, at: int) -> int | None:
        """Start of a stop that goes on at `at` and is still so short that it may turn out to be a micro-stop."""
        timeline = self.timeline
        index = timeline.run(at)
        stop = self.runs[index].stop if index >= 0 else None
        if stop is None or at - stop.start > timeline.config(stop.start).config.micro_stop_ms:
            return None
        return stop.start

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
            self.corrections = [correction for correction in self.corrections if correction.end > horizon]
            self._rerun()

    def pack(self) -> dict[str, Any]:
        return {
            "configs": [_packed_config(known.config) for known in self.configs if known.config is not UNCONFIGURED],
            "states": self.states.pack(),
            "products": self.products.pack(),
            "orders": self.orders.pack(),
            "reasons": [[*key, reason] for key, reason in self.reasons.items()],
            "counts": self.counts.pack(),
            "heard": [self.heard.first, self.heard.last],
            "corrections": [[c.start, c.end, c.state, c.calendar, c.reason, c.revision] for c in self.corrections],
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


def _packed_config(config: MachineConfig) -> dict[str, Any]:
    packed = {name: getattr(config, name) for name in MachineConfig.__dataclass_fields__}
    packed["shifts"] = [[s.name, s.start, s.end, list(s.days)] for s in config.shifts]
    packed["breaks"] = [[s.name, s.start, s.end, list(s.days)] for s in config.breaks]
    packed["planned_down"] = [list(span) for span in config.planned_down]
    packed["ideal_cycle_us"] = dict(config.ideal_cycle_us)
    packed["signals"] = [[s.name, s.unit, s.low, s.high, s.flatline_ms, s.learn] for s in config.signals]
    return packed


def _unpacked_config(packed: dict[str, Any]) -> MachineConfig:
    return MachineConfig(
        **{
            **packed,
            "shifts": tuple(Shift(name, start, end, tuple(days)) for name, start, end, days in packed["shifts"]),
            "breaks": tuple(Shift(name, start, end, tuple(days)) for name, start, end, days in packed["breaks"]),
            "planned_down": tuple((start, end) for start, end in packed["planned_down"]),
            "closed": tuple(packed["closed"]),
            "signals": tuple(SignalConfig(*row) for row in packed["signals"]),
        }
    )
