"""Control charts of the signals that factory.yaml asks for: one per signal and product, against a frozen base."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core import spc_kernels as kernels
from pipeline.core.minutes import Minute
from pipeline.core.model import SignalConfig
from pipeline.core.stretches import MINUTE_MS, Key, Said, Stretch, Stretches

CHARTS = 256  # charts per machine; the one longest unused makes room
QUIET_POINTS = 15  # a flag ends when so many points, or minutes, completed no rule
RULES = {"nelson": kernels.NELSON, "western_electric": kernels.WESTERN_ELECTRIC}


@dataclass(slots=True)
class _Chart:
    """`asked`: what its base was learned for; another wish begins it anew. `breaks`: breaks of the machine by then."""

    asked: tuple[int, int, int]
    breaks: int
    fields: NDArray[np.float64]


@dataclass(slots=True)
class _Partial:
    """A point that is being made: sum and number of samples, whole minutes, and their product."""

    sum: float = 0.0
    samples: float = 0.0
    minutes: int = 0
    product: str = ""


class Charts:
    """All control charts of a machine.

    A base outlasts maintenance: what a repair left different is what a chart is for. Its runs begin anew there, for
    points before and after it are not one process. `spc_since`, or another spacing or size, has a base learned anew.
    """

    __slots__ = ("_breaks", "_charts", "_partial", "_samples")

    def __init__(self) -> None:
        self._charts: dict[tuple[str, str], _Chart] = {}  # by signal and product, in order of last use
        self._partial: dict[str, _Partial] = {}
        self._samples: dict[str, list[tuple[int, float]]] = {}  # of signals of which every sample is a point
        self._breaks = 0

    def add(self, signal: str, at: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """Samples, in order of time, of a signal of which every sample taken while running is a point."""
        finite = np.isfinite(values)
        self._samples.setdefault(signal, []).extend(zip(at[finite].tolist(), values[finite].tolist(), strict=True))

    def look(
        self, minute: Minute, sums: dict[str, tuple[float, float]], asked: list[SignalConfig], open_: Stretches
    ) -> list[Said]:
        """The points that a minute completes, judged; flags that they open or go on with."""
        if any(piece.state == "maintenance" for piece in minute.pieces):
            self._breaks += 1
        said: list[Said] = []
        for config in asked:
            if config.spc_every_ms:
                said += self._mean(minute, sums.get(config.name), config, open_)
        for config in asked:
            if not config.spc_every_ms and config.name in self._samples:
                said += self._each(minute, config, open_)
        return said

    def _mean(
        self, minute: Minute, summed: tuple[float, float] | None, config: SignalConfig, open_: Stretches
    ) -> list[Said]:
        partial = self._partial.setdefault(config.name, _Partial())
        product = minute.pieces[0].product
        if minute.start % config.spc_every_ms == 0 or not minute.steady or partial.product != product:
            partial = self._partial[config.name] = _Partial(product=product)
        if not minute.steady or minute.start < config.spc_since:
            return []
        partial.minutes += 1
        if summed is not None:
            partial.sum, partial.samples = partial.sum + summed[0], partial.samples + summed[1]
        if partial.minutes * MINUTE_MS < config.spc_every_ms or not partial.samples:
            return []
        first = minute.end - config.spc_every_ms
        return self._judge(config, product, [(first, minute.end, partial.sum / partial.samples)], open_)

    def _each(self, minute: Minute, config: SignalConfig, open_: Stretches) -> list[Said]:
        waiting = self._samples[config.name]
        cut = bisect_left(waiting, (minute.end,))
        due, self._samples[config.name] = waiting[:cut], waiting[cut:]
        said = []
        for piece in minute.pieces:
            low, high = bisect_left(due, (piece.start,)), bisect_left(due, (piece.end,))
            points = [(at, at, value) for at, value in due[low:high] if at >= config.spc_since]
            if points and piece.state == "running":
                said += self._judge(config, piece.product, points, open_)
        return said

    def _chart(self, config: SignalConfig, product: str) -> _Chart:
        asked = (config.spc_every_ms, config.spc_points, config.spc_since)
        chart = self._charts.pop((config.name, product), None)
        if chart is None or chart.asked != asked:
            fields = np.zeros(kernels.FIELDS)
            fields[kernels.LAST] = np.nan
            chart = _Chart(asked, self._breaks, fields)
            if len(self._charts) >= CHARTS:
                del self._charts[next(iter(self._charts))]
        elif chart.breaks != self._breaks:
            chart.breaks = self._breaks
            chart.fields[kernels.BREAKS_FROM :] = 0.0
            chart.fields[kernels.LAST] = np.nan
        self._charts[config.name, product] = chart
        return chart

    def _judge(
        self, config: SignalConfig, product: str, points: list[tuple[int, int, float]], open_: Stretches
    ) -> list[Said]:
        c = self._chart(config, product).fields
        values = np.array([value for _, _, value in points])
        rules, sigmas = np.zeros(len(values)), np.zeros(len(values))
        kernels.chart(c, values, config.spc_points, rules, sigmas)
        wanted = RULES[config.spc]
        key, said = Key(config.name, "spc", product), []
        mean, reach = float(c[kernels.MEAN]), 3.0 * float(c[kernels.SIGMA])
        for (first, last, value), bits, z in zip(points, rules.tolist(), sigmas.tolist(), strict=True):
            found = int(bits) & wanted
            if not found:
                continue
            known = open_.get(key, last)
            found |= int(known.notes[0]) if known is not None else 0
            said += open_.see(
                key,
                Stretch(
                    first, last, QUIET_POINTS * max(config.spc_every_ms, MINUTE_MS), _score(abs(z), found),
                    value, mean, mean - reach, mean + reach, "running", product,
                    [found, config.spc == "western_electric"],
                ),
            )  # fmt: skip
        return said

    def warming(self, signal: str, product: str, points: int) -> bool:
        """Whether the base of a chart is not complete yet: then it judges nothing."""
        chart = self._charts.get((signal, product))
        return chart is None or chart.fields[kernels.POINTS] < points

    def pack(self) -> list[Any]:
        charts = [
            [*key, list(chart.asked), chart.breaks, chart.fields.tobytes()] for key, chart in self._charts.items()
        ]
        partial = [[name, one.sum, one.samples, one.minutes, one.product] for name, one in self._partial.items()]
        samples = [[name, [list(sample) for sample in waiting]] for name, waiting in self._samples.items()]
        return [charts, partial, samples, self._breaks]

    @classmethod
    def unpack(cls, packed: list[Any]) -> Charts:
        new = cls()
        for signal, product, asked, breaks, fields in packed[0]:
            new._charts[signal, product] = _Chart(tuple(asked), breaks, np.frombuffer(fields).copy())
        new._partial = {name: _Partial(*row) for name, *row in packed[1]}
        new._samples = {name: [(at, value) for at, value in waiting] for name, waiting in packed[2]}
        new._breaks = packed[3]
        return new


def _score(away: float, found: int) -> float:
    """0.5 for one rule; more for more rules, and for a point beyond three sigmas."""
    surprise = max(away / 3.0, 1.0) + 0.25 * (found.bit_count() - 1)
    return float(1.0 - 0.5 ** min(surprise, 50.0))
