"""What `produce` and `simulate` share: a producer through the spool that the settings name, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.codec import Codec
    from pipeline.producer import TelemetryProducer
    from pipeline.settings import Settings

SPOOL = ("spool", "spool_mb", "spool_sync_ms")  # the settings


def producer_of(
    values: Settings, codec: Codec, journal: Path | None, give_up: Callable[[], bool] = lambda: False
) -> TelemetryProducer:
    """The producer of a command."""
    from pipeline.spooled import open_producer

    return open_producer(values, codec, journal, give_up)


def spool_lines(producer: TelemetryProducer) -> list[str]:
    """What an earlier process had left in the spool, if it had."""
    from pipeline.spooled import SpooledProducer

    if isinstance(producer, SpooledProducer) and producer.spool.left_over:
        return [f"spool     {producer.earlier:>12,} records that an earlier producer had left, sent first"]
    return []
