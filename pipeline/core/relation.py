"""Several signals of a machine looked at together: which of them left its usual relation to the others."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core import relation_kernels as kernels
from pipeline.core.minutes import Minute
from pipeline.core.stretches import MINUTE_MS, Key, Said, Stretch, Stretches

SIGNALS = 24  # signals looked at together: the first ones that were sent while running, of one minute by name
WARMTHS = (5.0, 20.0, 60.0)  # minutes: how much it ran lately explains what warms up, and is never itself at fault
MEMORY, MEAN_MEMORY = 3000.0, 120.0  # minutes of running: of the relation; of the levels about which it holds
LEARNED, SETTLED = 240, 45  # minutes of running before anything is judged; after another product, or maintenance
YOUNG = 10  # minutes after which levels are good enough to learn the relation about them
SMOOTH = 8.0  # minutes over which departures are averaged
CLIP = 12.0  # a minute counts for so many scales at most
SMALLEST = 0.15  # usual size of an averaged departure, at least [scales of the regression]
FAR, FAR_LEAST = 6.0, 1.5  # flagged: so many times the usual size, and at least so many scales of the regression
YOUTH = 600.0  # minutes of running at which the thresholds are half as high again; at first they are doubled
HABIT, HABIT_MEMORY = 1.4, 2000.0  # flagged beyond so many times the largest of late; it fades over so many minutes
ALONG = 0.6  # another signal is named too when it is this share as far off
HELD_MS = 60 * MINUTE_MS
ACCEPTED, OVER = 240, 60  # flagged minutes after which the new relation is the usual one; minutes that make it past

PLAIN = ("_product", "_learned", "_level_minutes", "_flagged_minutes", "_quiet_minutes", "flagged")
ARRAYS = ("cov", "_levels", "_e", "_peak", "_rise", "_scale")

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Relation:
    """The relation between a machine's signals while it runs, learned from minute means.

    One covariance, of deviations from the levels of the last two hours on this product, says what each signal should
    be, given the others. A minute is judged by what was learned before it, then learned; what is flagged is not.
    """

    __slots__ = (
        "_e", "_flagged_minutes", "_learned", "_level_minutes", "_levels", "_names", "_peak", "_product",
        "_quiet_minutes", "_rise", "_scale", "_warmth", "cov", "flagged",
    )  # fmt: skip

    def __init__(self) -> None:
        self._names: list[str] = []
        self._product = ""
        self._learned = self._level_minutes = 0  # minutes of running; since the last change of levels
        self._flagged_minutes = self._quiet_minutes = 0
        self._warmth = [0.0] * len(WARMTHS)
        self.flagged = ""  # the signal of the flag that is open
        self._resize(len(WARMTHS))

    def _resize(self, size: int) -> None:
        self.cov, self._levels = np.zeros((size, size)), np.full(size, np.nan)
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
        said: list[Said] = []
        if any(piece.state == "maintenance" for piece in minute.pieces):
            said += self._forget_levels(open_)
        if minute.steady and sums:
            if minute.pieces[0].product != self._product:
                self._product = minute.pieces[0].product
                said += self._forget_levels(open_)
            self._take_in(sorted(name for name in sums if name not in left_out and name not in self._names))
            if len(self._names) > 1:
                said += self._minute(minute, sums, open_)
        share = minute.ran_ms / MINUTE_MS
        self._warmth = [w + (share - w) / memory for w, memory in zip(self._warmth, WARMTHS, strict=True)]
        return said

    def _forget_levels(self, open_: Stretches) -> list[Said]:
        """Levels may be others from here on: they are learned anew, the relation about them stays."""
        self._level_minutes = 0
        self._e[:], self._levels[:] = 0.0, np.nan
        said = open_.end(Key(self.flagged, "relation")) if self.flagged else []
        self.flagged = ""
        return said

    def _take_in(self, new: list[str]) -> None:
        new = new[: SIGNALS - len(self._names)]
        if not new:
            return
        old = len(self._names)
        self._names += new
        size = len(self._names) + len(WARMTHS)
        kept = [*range(old), *range(len(self._names), size)]  # the warmths stand last
        cov, *before = self.cov, self._levels, self._e, self._peak, self._rise, self._scale
        self._resize(size)
        self.cov[np.ix_(kept, kept)] = cov
        after = (self._levels, self._e, self._peak, self._rise, self._scale)
        for array, known in zip(after, before, strict=True):
            array[kept] = known
        self._learned = min(self._learned, LEARNED // 2)

    def _minute(self, minute: Minute, sums: dict[str, tuple[float, float]], open_: Stretches) -> list[Said]:
        x = np.array([_mean(sums.get(name)) for name in self._names] + self._warmth)
        self._levels = np.where(np.isnan(self._levels), x, self._levels)
        deviation = x - self._levels
        seen = ~np.isnan(deviation)
        deviation[~seen] = 0.0
        z, sigma = np.empty(len(x)), np.empty(len(x))
        kernels.residuals(self.cov, deviation, seen, z, sigma)
        judged = ~np.isnan(z)
        self._e[judged] += (np.clip(z[judged], -CLIP, CLIP) - self._e[judged]) / SMOOTH
        said, weight = self._judge(minute, x, z, sigma, open_)
        self._learn(deviation, seen, judged, weight)
        return said

    def _judge(self, minute: Minute, x: Floats, z: Floats, sigma: Floats, open_: Stretches) -> tuple[list[Said], float]:
        """Flags, and the weight with which the minute is to be learned."""
        count = len(self._names)
        size = np.abs(self._e[:count])
        youth = 1.0 + YOUTH / (YOUTH + self._learned)
        far = youth * np.maximum(FAR * np.maximum(self._scale[:count], SMALLEST), FAR_LEAST)
        limit = np.maximum(far, HABIT * self._peak[:count])
        if self._learned < LEARNED or self._level_minutes < SETTLED:
            return [], 1.0
        surprise = np.where(np.isnan(z[:count]), 0.0, size / limit)
        worst = int(np.where(surprise < 1.0, surprise, 1.0 + size).argmax())
        known = open_.get(Key(self.flagged, "relation"), minute.end) if self.flagged else None
        if known is not None:
            worst = self._names.index(self.flagged)
        if surprise[worst] < (1.0 if known is None else 0.7):
            self._quiet_minutes += 1
            self._flagged_minutes *= self._quiet_minutes < OVER
            return [], 1.0 if known is None and surprise[worst] < 0.6 else 0.2
        self._quiet_minutes = 0
        self._flagged_minutes += 1
        if self._flagged_minutes > ACCEPTED:
            return self._accept(open_), 0.0
        self.flagged = self._names[worst]
        first = minute.end - int(SMOOTH) * MINUTE_MS if known is None else known.first
        stretch = self._stretch(minute, first, worst, x, sigma, surprise, limit)
        return open_.see(Key(self.flagged, "relation"), stretch), 0.0

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
        self._flagged_minutes = 0
        self._learned = min(self._learned, LEARNED // 2)
        return self._forget_levels(open_)

    def _learn(self, deviation: Floats, seen: Flags, judged: Flags, weight: float) -> None:
        size = np.abs(self._e[judged])
        if not weight:
            self._rise[judged] = np.maximum(self._rise[judged], size)
            return
        self._level_minutes += 1
        share = 0.0
        if self._level_minutes > YOUNG:
            self._learned += 1
            share = weight / min(self._learned, MEMORY)
        level_share = weight / min(self._level_minutes + 1, MEAN_MEMORY)
        kernels.learn(self.cov, self._levels, deviation, seen, share, level_share)
        if self._learned >= LEARNED // 4 and self._level_minutes >= SETTLED:
            minutes = self._learned - LEARNED // 4 + 1
            self._scale[judged] += weight * (size - self._scale[judged]) / min(minutes, 1500.0)
            if self._learned >= LEARNED // 2:
                self._note_habit(judged, size)

    def _note_habit(self, judged: Flags, size: Floats) -> None:
        """Departures that are over count as usual, however far they went; one that still grows does not."""
        rise = np.maximum(self._rise[judged], size)
        over = size < 0.5 * rise
        peak = self._peak[judged] * (1.0 - 1.0 / HABIT_MEMORY)
        most = np.maximum(HABIT * np.maximum(peak, FAR * np.maximum(self._scale[judged], SMALLEST)), FAR_LEAST)
        self._peak[judged] = np.where(over, np.maximum(peak, np.minimum(rise, most)), peak)
        self._rise[judged] = np.where(over, size, rise)

    def pack(self) -> list[Any]:
        plain = [getattr(self, name) for name in PLAIN]
        return [self._names, plain, self._warmth, [getattr(self, name).tobytes() for name in ARRAYS]]

    @classmethod
    def unpack(cls, packed: list[Any]) -> Relation:
        new = cls()
        new._names, new._warmth = list(packed[0]), list(packed[2])
        for name, value in zip(PLAIN, packed[1], strict=True):
            setattr(new, name, value)
        for name, held in zip(ARRAYS, packed[3], strict=True):
            setattr(new, name, np.frombuffer(held).copy())
        size = len(new._levels)
        new.cov = new.cov.reshape(size, size)
        return new


def _mean(summed: tuple[float, float] | None) -> float:
    return np.nan if summed is None else summed[0] / summed[1]
