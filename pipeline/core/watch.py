"""Flags that look at more than a signal's level: control charts, cycles, counts against states, relations, silence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.core.cycle import Cycles
from pipeline.core.history import History
from pipeline.core.minutes import SIGNALS, Sums, minute_of
from pipeline.core.model import Anomaly, MachineConfig, SignalBlock, SignalConfig
from pipeline.core.relation import Relation
from pipeline.core.silence import Silences
from pipeline.core.spc import Charts
from pipeline.core.stretches import MINUTE_MS, Said, Stretches
from pipeline.core.wording import sentence

VERSION = 1
DETECTOR = {"spc": "spc", "cycle": "cycle", "relation": "relation", "gap": "silence"}
CHARTED = 64  # signals with a chart per machine, in the order of the factory file


class Watch:
    """Beside the detectors of one machine: takes the samples that they take, and looks at whole minutes.

    A minute is looked at once, when all before its end is due; what comes later changes nothing that was judged.
    """

    __slots__ = ("_charts", "_cycles", "_flags", "_known", "_relation", "_silences", "_sums", "_units")

    def __init__(self) -> None:
        self._sums, self._flags = Sums(), Stretches()
        self._charts, self._cycles, self._relation = Charts(), Cycles(), Relation()
        self._silences = Silences()
        self._units: dict[str, str] = {}
        self._known: tuple[Mapping[str, SignalConfig], list[SignalConfig], frozenset[str], frozenset[str]] | None = None

    def observe(self, block: SignalBlock, state: str, product: str, configs: Mapping[str, SignalConfig]) -> None:
        """Samples in event-time order, each once, all in one state and product."""
        if not len(block.at):
            return
        self._silences.add(block)
        if state != "running":
            return
        asked, singles, _ = self._wishes(configs)
        wanted = None
        if self._relation.full:
            wanted = frozenset(self._relation.names) | {signal.name for signal in asked}
        self._sums.add(block, wanted)
        if block.units and len(self._units) < SIGNALS:
            self._units.update({name: unit for name, unit in zip(block.names, block.units, strict=True) if unit})
        if singles:
            for row, name in enumerate(block.names):
                if name in singles:
                    self._charts.add(name, block.at, block.values[row])

    def look(self, before: int, until: int, history: History) -> list[Anomaly]:
        """Whole minutes that have ended by `until` (ms) and were not looked at; `before`: until when it was scored."""
        flags: list[Anomaly] = []
        if self._sums.minute is None:
            first = max(history.heard.first[0] if history.heard.first else until, before)
            self._sums.minute = first // MINUTE_MS * MINUTE_MS
        while self._sums.minute + MINUTE_MS <= until:
            flags += self._minute(self._sums.minute, history)
        if self._relation.full:
            known = self._known[1] if self._known else []
            names = frozenset(self._relation.names) | {signal.name for signal in known}
            self._sums.keep_only(names)
            self._units = {name: unit for name, unit in self._units.items() if name in names}
        return flags

    def _minute(self, start: int, history: History) -> list[Anomaly]:
        config = history.timeline.config(start).config
        minute, sums = minute_of(history, start), self._sums.take()
        asked, _, left_out = self._wishes({signal.name: signal for signal in config.signals})
        said = self._charts.look(minute, sums, asked, self._flags) if asked else []
        if config.watch_cycle:
            said += self._cycles.look(minute, self._flags)
        if config.watch_relations:
            said += self._relation.look(minute, sums, left_out, self._flags)
        said += self._silences.look(minute, left_out, self._flags)
        said += self._flags.close(minute.end)
        return [self._anomaly(one, config) for one in said]

    def _wishes(self, configs: Mapping[str, SignalConfig]) -> tuple[list[SignalConfig], frozenset[str], frozenset[str]]:
        """Signals with a chart, those of which every sample is a point, and those that are not to be learned."""
        if self._known is None or self._known[0] != configs:
            asked = [signal for signal in configs.values() if signal.spc][:CHARTED]
            singles = frozenset(signal.name for signal in asked if not signal.spc_every_ms)
            left_out = frozenset(signal.name for signal in configs.values() if not signal.learn)
            self._known = (dict(configs), asked, singles, left_out)
        return self._known[1:]

    def _anomaly(self, said: Said, config: MachineConfig) -> Anomaly:
        key, stretch = said
        configured = next((signal.unit for signal in config.signals if signal.name == key.signal), "")
        return Anomaly(
            machine="", site="", line="", signal=key.signal, kind=key.kind, detector=DETECTOR[key.kind],
            detector_version=VERSION, first=stretch.first, last=stretch.last, score=stretch.score, value=stretch.value,
            expected=stretch.expected, expected_low=stretch.low, expected_high=stretch.high, severity="warning",
            state=stretch.state, product=stretch.product,
            message=sentence(key, stretch, configured or self._units.get(key.signal, "")),
        )  # fmt: skip

    def pack(self) -> list[Any]:
        """The whole state, for msgpack; `unpack` goes on bit for bit."""
        parts = (self._sums, self._flags, self._charts, self._cycles, self._relation)
        return [VERSION, *(part.pack() for part in parts), self._units, self._silences.pack()]

    @classmethod
    def unpack(cls, packed: list[Any] | None) -> Watch:
        """What was packed; None, or another version: begins to learn."""
        new = cls()
        if packed is None or packed[0] != VERSION:
            return new
        new._sums, new._flags = Sums.unpack(packed[1]), Stretches.unpack(packed[2])
        new._charts, new._cycles = Charts.unpack(packed[3]), Cycles.unpack(packed[4])
        new._relation, new._units = Relation.unpack(packed[5]), dict(packed[6])
        if len(packed) > 7:  # before, no silence was watched
            new._silences = Silences.unpack(packed[7])
        return new
