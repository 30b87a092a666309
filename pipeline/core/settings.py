"""What the engine has to be told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Clock = Callable[[], float]


def stopped() -> float:
    """A clock that stands still, for callers who do not ask how long things take."""
    return 0.0


@dataclass(frozen=True)
class EngineSettings:
    """Window length, allowed lateness, quarantine of the future, history kept, pace of provisional rows, all in ms;
    whether the anomaly detectors run."""

    window_ms: int = 60_000
    lateness_ms: int = 30_000
    max_future_ms: int = 300_000
    retention_ms: int = 86_400_000
    provisional_ms: int = 2_000
    detect: bool = True

    @property
    def longest_split_ms(self) -> int:
        """Counts that span more than this belong to their own instant: what they span must still be open to change."""
        return self.retention_ms // 2
