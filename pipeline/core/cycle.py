"""Counts against states: cycle times off their own history, parts without run time, run time without parts."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, field
from typing import Any

from pipeline.core.minutes import Minute, Piece
from pipeline.core.stretches import MINUTE_MS, Key, Said, Stretch, Stretches

PRODUCTS = 32  # products remembered per machine; the one longest unused makes room
STANDS = frozenset({"idle", "off", "fault", "stopped", "starved", "blocked", "maintenance", "planned_stop"})
HOUR_MS = 60 * MINUTE_MS
# An observation: mean cycle time between two counts, over so many parts and so much running at least.
LEAST_PARTS, LEAST_RUN_MS = 5, 10 * MINUTE_MS
LEARNED = 6  # observations of a product before one is judged
MEMORY = 60.0  # observations
OFF_SCALES, OFF_LEAST = 5.0, 0.13  # an observation is off beyond so many scales, and so much of the logarithm
SCALE_LEAST = 0.02
OFF_IN_A_ROW = 2
GAPS = 12  # counts of a product before a run without one is judged
RUN_LEAST_MS = 5 * MINUTE_MS
STOOD_MS = 2 * MINUTE_MS  # parts so soon after a stop were made before it
SLOW, FAST, RUN, PARTS = (Key("", "cycle", what) for what in ("slow", "fast", "run", "parts"))


@dataclass(slots=True)
class _Product:
    """What is usual on a product: logarithm of the cycle time in ms, its scale; running time between counts in ms."""

    seen: int = 0
    level: float = 0.0
    scale: float = 0.0
    gaps: int = 0
    gap: float = 0.0
    longest: float = 0.0


@dataclass(slots=True)
class _Now:
    """Where the machine stands; times in ms. `since` None: no count yet from which on to observe."""

    product: str = ""
    since: int | None = None
    ran: int = 0
    parts: int = 0
    off: int = 0  # observations off in a row, negative: fast
    off_first: int = 0
    counted: bool = False  # a part was ever counted
    ran_since: bool = True  # it has run since the last part
    gap: int = 0  # running time, in minutes with a sign of life, since the last part
    gap_first: int = 0
    gap_whole: bool = False  # a part of this product stands at the beginning of the gap
    idle_counts: int = 0
    idle_parts: int = 0
    idle_first: int = 0


@dataclass(slots=True)
class Cycles:
    """Watches one machine's counts and states, minute by minute. Machines that count many parts at once, or rarely, are
    judged by what is usual for them: all limits are multiples of the machine's own times between counts."""

    now: _Now = field(default_factory=_Now)
    products: dict[str, _Product] = field(default_factory=dict)

    def look(self, minute: Minute, open_: Stretches) -> list[Said]:
        """What a minute says; flags that it opens, goes on with, or ends."""
        said: list[Said] = []
        for piece in minute.pieces:
            if piece.counted:
                said += self._counted(piece, open_)
            if piece.product != self.now.product:
                self._change(piece.product)
                said += open_.end(RUN)
            self._pass(piece, minute.heard)
        return said + self._run_without(minute, open_)

    def _change(self, product: str) -> None:
        now = self.now
        now.product, now.since, now.off = product, None, 0
        now.gap, now.gap_whole = 0, False

    def _pass(self, piece: Piece, heard: bool) -> None:
        """The time of a piece."""
        now = self.now
        if piece.state == "unknown":
            now.since = None
        if piece.state != "running":
            return
        now.ran += piece.end - piece.start
        now.ran_since = True
        now.idle_counts = now.idle_parts = 0
        if heard:
            now.gap_first = now.gap_first if now.gap else piece.start
            now.gap += piece.end - piece.start

    def _counted(self, piece: Piece, open_: Stretches) -> list[Said]:
        now = self.now
        if piece.reset:
            now.since = None
        if not piece.parts or piece.reset:
            return []
        said = open_.end(RUN)
        usual = self._usual(now.product)
        if said:
            now.since = None  # a run without parts is no cycle
        elif now.gap and now.gap_whole:
            _learn_gap(usual, now.gap)
        said += self._parts_without(piece, open_)
        if now.since is not None:
            now.parts += piece.parts
            if now.parts >= LEAST_PARTS and now.ran >= LEAST_RUN_MS:
                said += self._observe(piece.start, usual, open_)
                now.since = None
        if now.since is None:
            now.since, now.ran, now.parts = piece.start, 0, 0
        now.counted, now.ran_since = True, False
        now.gap, now.gap_whole = 0, True
        return said

    def _usual(self, product: str) -> _Product:
        usual = self.products.pop(product, None)
        if usual is None:
            usual = _Product()
            if len(self.products) >= PRODUCTS:
                del self.products[next(iter(self.products))]
        self.products[product] = usual
        return usual

    def _observe(self, at: int, usual: _Product, open_: Stretches) -> list[Said]:
        """A mean cycle time against those before it, then learned."""
        now = self.now
        assert now.since is not None
        value = math.log(now.ran / now.parts)
        deviation, scale = value - usual.level, max(usual.scale, SCALE_LEAST)
        reach = max(OFF_SCALES * scale, OFF_LEAST)
        said: list[Said] = []
        if usual.seen >= LEARNED and abs(deviation) > reach:
            step = 1 if deviation > 0 else -1
            if now.off * step <= 0:
                now.off, now.off_first = 0, now.since
            now.off += step
            if abs(now.off) >= OFF_IN_A_ROW:
                said += open_.end(FAST if step > 0 else SLOW)
                stretch = Stretch(
                    now.off_first, at, 4 * HOUR_MS, 1.0 - 0.5 ** min(abs(deviation) / reach, 50.0),
                    math.exp(value) / 1000.0, math.exp(usual.level) / 1000.0, math.exp(usual.level - reach) / 1000.0,
                    math.exp(usual.level + reach) / 1000.0, "running", now.product,
                )  # fmt: skip
                said += open_.see(SLOW if step > 0 else FAST, stretch)
        else:
            now.off = 0
            said += open_.end(SLOW) + open_.end(FAST)
        if not usual.seen:
            usual.level = value
        usual.seen += 1
        clipped = min(max(deviation, -3.0 * scale), 3.0 * scale) if usual.seen > LEARNED else deviation
        if usual.seen > 1:
            usual.level += clipped / min(usual.seen, MEMORY)
            usual.scale += (1.25 * abs(clipped) - usual.scale) / min(usual.seen - 1, MEMORY)
        return said

    def _parts_without(self, piece: Piece, open_: Stretches) -> list[Said]:
        now = self.now
        stands = piece.state in STANDS and piece.start - piece.state_since >= STOOD_MS
        if not now.counted or now.ran_since or not stands:
            return open_.end(PARTS) if now.ran_since else []
        if not now.idle_counts:
            now.idle_first = piece.start
        now.idle_counts += 1
        now.idle_parts += piece.parts
        if now.idle_counts < 2 or now.idle_parts < 3:
            return []
        score = 1.0 - 0.5 ** min(1.0 + now.idle_parts / 20.0, 50.0)
        stretch = Stretch(
            now.idle_first, piece.start, HOUR_MS, score, float(now.idle_parts), 0.0, None, None, piece.state,
            piece.product,
        )  # fmt: skip
        return open_.see(PARTS, stretch)

    def _run_without(self, minute: Minute, open_: Stretches) -> list[Said]:
        now, last = self.now, minute.pieces[-1]
        usual = self.products.get(now.product)
        if not minute.heard or last.state != "running" or usual is None or usual.gaps < GAPS:
            return []
        limit = max(2.0 * usual.longest, 3.0 * usual.gap, RUN_LEAST_MS) * (1.0 if now.gap_whole else 2.0)
        if now.gap <= limit:
            return []
        stretch = Stretch(
            now.gap_first, minute.end, 4 * HOUR_MS, 1.0 - 0.5 ** min(now.gap / limit, 50.0), now.gap / 1000.0,
            usual.gap / 1000.0, 0.0, limit / 1000.0, "running", now.product,
        )  # fmt: skip
        return open_.see(RUN, stretch)

    def pack(self) -> list[Any]:
        return [list(astuple(self.now)), [[name, *astuple(one)] for name, one in self.products.items()]]

    @classmethod
    def unpack(cls, packed: list[Any]) -> Cycles:
        return cls(_Now(*packed[0]), {name: _Product(*row) for name, *row in packed[1]})


def _learn_gap(usual: _Product, gap: int) -> None:
    usual.gaps += 1
    usual.gap += (gap - usual.gap) / min(usual.gaps, 200)
    usual.longest = max(float(gap), usual.longest * 0.999)
