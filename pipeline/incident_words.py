"""What people say of incidents and flags: that they have seen one, that nobody wants to hear of some for a while."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable

from pipeline.codec import Codec
from pipeline.core.model import Acknowledge, Control, Mute
from pipeline.corrections import Place
from pipeline.errors import UsageError
from pipeline.producer import TelemetryProducer
from pipeline.settings import Settings


def acknowledgement(ident: str, note: str) -> tuple[str, Acknowledge]:
    """That somebody has seen the incident of that name. Raises UsageError for what cannot be a name."""
    machine = ident.rpartition("/")[0]
    if not machine:
        raise UsageError(f"{ident!r} is no incident; `openoee incidents list` shows them")
    return machine, Acknowledge(ident, note)


def mute(place: Place, until: int, signal: str, kind: str, why: str) -> tuple[str, Mute]:
    """No messages of a machine until then [UTC ms], of one signal and kind or of any (empty)."""
    return place.machine, Mute(f"{place.machine}/{uuid.uuid4().hex[:8]}", until, signal, kind, why)


def lifting(ident: str) -> tuple[str, Mute]:
    """That the mute of that name holds no more. Raises UsageError for what cannot be a name."""
    machine = ident.rpartition("/")[0]
    if not machine:
        raise UsageError(f"{ident!r} is no mute; `openoee incidents mutes` shows them")
    return machine, Mute(ident, 0, lifted=True)


def send(said: Iterable[tuple[str, Acknowledge | Mute]], settings: Settings, codec: Codec, by: str) -> None:
    """Into each machine's log. Raises BrokerUnavailable, TopicMismatch, DeliveryFailed; again is harmless."""
    issued = time.time_ns() // 1_000_000
    with TelemetryProducer(settings, codec) as producer:
        for machine, body in said:
            producer.send(Control(machine, uuid.uuid4().hex, issued, by, body))
        producer.flush()
