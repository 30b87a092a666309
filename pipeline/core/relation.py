"""Several signals of a machine looked at together: which of them left its usual relation to the others."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core import relation_kernels as kernels
from pipeline.core.minutes import Minute
from pipeline.core.stretches import MINUTE_MS, Key, Said, Stretch, Stretches

SIGNALS = 24  # signals looked at together: the first ones that were sent while running, of one minute by name
PRODUCTS = 12  # products whose means are remembered; the one longest unused makes room
WARMTHS = (5.0, 20.0, 60.0)  # minutes: how much it ran lately explains what warms up, and is never itself at fault
MEMORY, MEAN_MEMORY = 3000.0, 600.0  # minutes of running: of the relation; of a product's means
LEARNED, LEARNED_PRODUCT = 240, 30  # minutes of running before anything is judged; on a product, or after maintenance
SMOOTH = 8.0  # minutes over which departures are averaged
SMALLEST = 0.15  # usual size of an averaged departure, at least [scales of the regression]
CLIP = 12.0  # a minute counts for so many scales at most
FAR, FAR_LEAST = 6.0, 1.5  # flagged: so many times the usual size, and at least so many scales of the regression
HABIT, HABIT_MEMORY = 1.4, 2000.0  # flagged beyond so many times the largest of late; it fades over so many minutes
ALONG = 0.6  # another signal is named too when it is this share as far off
HELD_MS = 20 * MINUTE_MS
ACCEPTED_MS = 8 * 60 * MINUTE_MS  # of a flag: then the new relation is the usual one

Floats = NDArray[np.float64]


class Relation:
    """The relation between a machine's signals while it runs, learned from minute means.

    One covariance of deviations from each product's means says what each signal should be, given the others. A minute
    is judged by what was learned before it, then learned; what is flagged is not.
    """

    __slots__ = (
        "_e",
        "_lately",
        "_learned",
        "_means",
        "_names",
        "_peak",
        "_rise",
        "_scale",
        "_warmth",
        "cov",
        "flagged",
    )

    def __init__(self) -> None:
        self._names: list[str] = []
        self._means: dict[str, list[Any]] = {}  # by product, in order of last use: minutes learned, means
        self._learned = 0.0  # minutes
        self._lately = 0  # minutes of running since the last maintenance
        self._warmth = [0.0] * len(WARMTHS)
        self.flagged: str = ""
        self._resize(len(WARMTHS))

    def _resize(self, size: int) -> None:
        self.cov = np.zeros((size, size))
        self._e, self._peak, self._rise, self._scale = (np.zeros(size) for _ in range(4))

    @property
    def names(self) -> list[str]:
        """Signals looked at."""
        return self._names

    @property
    def full(self) -> bool:
        """Whether no more signals are taken in."""
        return len(self._names) >= SIGNALS

    def look(
        self, minute: Minute, sums: dict[str, tuple[float, float]], left_out: frozenset[str], open_: Stretches
    ) -> list[Said]:
        """Judge a minute, then learn it; `left_out` are signals that nobody wants learned."""
        if any(piece.state == "maintenance" for piece in minute.pieces):
            self._forget_levels()
        said: list[Said] = []
        if minute.steady and sums:
            self._take_in(sorted(name for name in sums if name not in left_out and name not in self._names))
            if len(self._names) > 1:
                said = self._minute(minute, sums, open_)
        share = minute.ran_ms / MINUTE_MS
        self._warmth = [w + (share - w) / memory for w, memory in zip(self._warmth, WARMTHS, strict=True)]
        return said

    def _forget_levels(self) -> None:
        """After maintenance levels may be others: they are learned anew, the relation stays."""
        self._lately = 0
        self._e[:] = 0.0
        for entry in self._means.values():
            entry[0] = min(entry[0], 10.0)

    def _take_in(self, new: list[str]) -> None:
        new = new[: SIGNALS - len(self._names)]
        if not new:
            return
        old = len(self._names)
        self._names += new
        size = len(self._names) + len(WARMTHS)
        kept = [*range(old), *range(len(self._names), size)]  # the warmths stand last
        before = (self.cov, self._e, self._peak, self._rise, self._scale)
        self._resize(size)
        self.cov[np.ix_(kept, kept)] = before[0]
        for array, known in zip((self._e, self._peak, self._rise, self._scale), before[1:], strict=True):
            array[kept] = known
        for entry in self._means.values():
            means = np.full(size, np.nan)
            means[kept] = entry[1]
            entry[1] = means
        self._learned = min(self._learned, LEARNED / 2)

    def _minute(self, minute: Minute, sums: dict[str, tuple[float, float]], open_: Stretches) -> list[Said]:
        product = minute.pieces[0].product
        x = np.array([_mean(sums.get(name)) for name in self._names] + self._warmth)
        entry = self._product(product, len(x))
        means = entry[1]
        new = np.isnan(means) & ~np.isnan(x)
        means[new] = x[new]
        deviation = x - means
        seen = ~np.isnan(deviation)
        deviation[~seen] = 0.0
        z, sigma = np.empty(len(x)), np.empty(len(x))
        kernels.residuals(self.cov, deviation, seen, z, sigma)
        judged = ~np.isnan(z)
        self._e[judged] += (np.clip(z[judged], -CLIP, CLIP) - self._e[judged]) / SMOOTH
        said, weight = self._judge(minute, x, z, sigma, entry[0], open_)
        self._learn(entry, deviation, seen, judged, weight)
        return said

    def _product(self, product: str, size: int) -> list[Any]:
        entry = self._means.pop(product, None)
        if entry is None:
            entry = [0.0, np.full(size, np.nan)]
            if len(self._means) >= PRODUCTS:
                del self._means[next(iter(self._means))]
        self._means[product] = entry
        return entry

    def _judge(
        self, minute: Minute, x: Floats, z: Floats, sigma: Floats, known: float, open_: Stretches
    ) -> tuple[list[Said], float]:
        """Flags, and the weight with which the minute is to be learned."""
        count = len(self._names)
        size = np.abs(self._e[:count])
        limit = np.maximum(np.maximum(FAR * np.maximum(self._scale[:count], SMALLEST), FAR_LEAST),
                           HABIT * self._peak[:count])  # fmt: skip
        ready = self._learned >= LEARNED and known >= LEARNED_PRODUCT and self._lately >= LEARNED_PRODUCT
        surprise = np.where(np.isnan(z[:count]), 0.0, size / limit)
        worst = int(np.where(surprise < 1.0, surprise, 1.0 + size).argmax())
        if not ready:
            return [], 1.0
        open_flag = open_.get(Key(self.flagged, "relation"), minute.end) if self.flagged else None
        if open_flag is None:
            self.flagged = ""
            if surprise[worst] < 1.0:
                return [], 1.0 if surprise[worst] < 0.6 else 0.2
            self.flagged = self._names[worst]
            first = minute.end - int(SMOOTH) * MINUTE_MS
        else:
            worst = self._names.index(self.flagged)
            if surprise[worst] < 0.7:
                return [], 0.2
            first = open_flag.first
            if minute.end - first > ACCEPTED_MS:
                return self._accept(open_), 1.0
        return open_.see(
            Key(self.flagged, "relation"), self._stretch(minute, first, worst, x, sigma, surprise, limit)
        ), 0.0

    def _stretch(
        self, minute: Minute, first: int, worst: int, x: Floats, sigma: Floats, surprise: Floats, limit: Floats
    ) -> Stretch:
        order = [int(k) for k in np.argsort(-surprise, kind="stable") if k != worst]
        along = [self._names[k] for k in order[:2] if surprise[k] >= max(1.0, ALONG * surprise[worst])]
        others = [self._names[k] for k in self._related(worst) if self._names[k] not in along][:2]
        scale = float(sigma[worst]) if np.isfinite(sigma[worst]) else 0.0
        value = float(x[worst])
        expected, reach = value - scale * float(self._e[worst]), scale * float(limit[worst])
        score = 1.0 - 0.5 ** min(max(float(surprise[worst]), 1.0), 50.0)
        return Stretch(
            first, minute.end, HELD_MS, score, value, expected, expected - reach, expected + reach, "running",
            minute.pieces[0].product, [others, along],
        )  # fmt: skip

    def _related(self, worst: int) -> list[int]:
        """The other signals, the most closely correlated first."""
        count = len(self._names)
        sd = np.sqrt(np.maximum(np.diag(self.cov)[:count], 1e-300))
        strength = np.abs(self.cov[worst, :count]) / (sd * sd[worst])
        strength[worst] = -1.0
        return [int(k) for k in np.argsort(-strength, kind="stable") if k != worst]

    def _accept(self, open_: Stretches) -> list[Said]:
        """It has been so for so long that it is the new relation: learned from here on."""
        said = open_.end(Key(self.flagged, "relation"))
        self.flagged = ""
        self._learned = min(self._learned, LEARNED / 2)
        self._forget_levels()
        return said

    def _learn(self, entry: list[Any], deviation: Floats, seen: Any, judged: Any, weight: float) -> None:
        self._lately += 1
        if not weight:
            self._rise[judged] = np.maximum(self._rise[judged], np.abs(self._e[judged]))
            return
        entry[0] += 1.0
        self._learned += 1.0
        share = weight / min(self._learned, MEMORY)
        kernels.learn(self.cov, entry[1], deviation, seen, share, weight / min(entry[0] + 1.0, MEAN_MEMORY))
        if self._learned >= LEARNED / 4:
            size = np.abs(self._e[judged])
            self._scale[judged] += (
                weight * (size - self._scale[judged]) / min(self._learned - LEARNED / 4 + 1.0, 1500.0)
            )
            if self._learned >= LEARNED / 2:
                self._note_habit(judged, size)

    def _note_habit(self, judged: Any, size: Floats) -> None:
        """Departures that are over count as usual, however far they went; one that still grows does not."""
        rise = np.maximum(self._rise[judged], size)
        over = size < 0.5 * rise
        peak = self._peak[judged] * (1.0 - 1.0 / HABIT_MEMORY)
        most = np.maximum(HABIT * np.maximum(peak, FAR * np.maximum(self._scale[judged], SMALLEST)), FAR_LEAST)
        self._peak[judged] = np.where(over, np.maximum(peak, np.minimum(rise, most)), peak)
        self._rise[judged] = np.where(over, size, rise)

    def pack(self) -> list[Any]:
        means = [[product, entry[0], entry[1].tobytes()] for product, entry in self._means.items()]
        arrays = [array.tobytes() for array in (self.cov, self._e, self._peak, self._rise, self._scale)]
        return [self._names, means, self._learned, self._lately, self._warmth, self.flagged, arrays]

    @classmethod
    def unpack(cls, packed: list[Any]) -> Relation:
        new = cls()
        names, means, new._learned, new._lately, warmth, new.flagged, arrays = packed
        new._names, new._warmth = list(names), list(warmth)
        size = len(names) + len(WARMTHS)
        new.cov = np.frombuffer(arrays[0]).reshape(size, size).copy()
        new._e, new._peak, new._rise, new._scale = (np.frombuffer(array).copy() for array in arrays[1:])
        new._means = {product: [n, np.frombuffer(held).copy()] for product, n, held in means}
        return new


def _mean(summed: tuple[float, float] | None) -> float:
    return np.nan if summed is None else summed[0] / summed[1]
