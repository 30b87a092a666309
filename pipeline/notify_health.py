"""Whether `openoee notify` can do its work, and its figures at this moment."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

from prometheus_client import Histogram

from pipeline import metrics
from pipeline.metrics import Value


class NotifyHealth:
    """Counted by the notifier; `messages` by what and outcome."""

    process = metrics.NOTIFY
    measured: tuple[Histogram, ...] = ()

    def __init__(self) -> None:
        self.messages: Counter[tuple[str, str]] = Counter()
        self.retries = 0
        self.joined = False
        self._why, self._since = "", 0.0

    def waits(self, why: str) -> None:
        """The receiver does not take a message; it is sent again."""
        self.retries += 1
        self._since = self._since or time.monotonic()
        self._why = why

    def answered(self) -> None:
        """The receiver has answered for good."""
        self._why, self._since = "", 0.0

    def unready(self) -> str:
        if not self.joined:
            return "it is not in its consumer group: Kafka is away, or partitions are dealt out"
        return f"it waits: {self._why}" if self._why else ""

    def values(self) -> Iterator[Value]:
        since = self._since
        yield Value("openoee_notify_retries_total", self.retries)
        yield Value("openoee_notify_waiting_seconds", time.monotonic() - since if since else 0.0)
        for labels, number in dict(self.messages).items():
            yield Value("openoee_notify_messages_total", number, labels)
