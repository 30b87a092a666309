"""What is said on the page of incidents: that somebody has seen one, that a machine's flags are muted for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from pipeline import corrections, incident_words
from pipeline.codec import Codec
from pipeline.settings import Settings
from pipeline.store.client import Store
from pipeline.web.writes import schema, write

HOUR_MS = 3_600_000
BY = Field(min_length=1, max_length=200, description="who says so")


class Seen(BaseModel):
    """Somebody has seen the incident `id`, as `openoee incidents acknowledge` has it."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, title="Seen")
    id: str = Field(min_length=1, max_length=500)
    note: str = Field("", max_length=1000, description="what is known of it")
    by: str = BY


class Muting(BaseModel):
    """No messages of a machine for some hours from now, as `openoee incidents mute` has it; empty: any."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, title="Muting")
    machine: str = Field(min_length=1, max_length=200)
    hours: float = Field(gt=0, le=8784)
    signal: str = Field("", max_length=200)
    kind: str = Field("", max_length=200)
    why: str = Field(min_length=1, max_length=1000)
    by: str = BY


def add(app: FastAPI, settings: Settings) -> None:
    """POST /api/incidents/acknowledge and /api/incidents/mute."""

    @app.post(
        "/api/incidents/acknowledge", summary="Somebody has seen an incident", status_code=202,
        openapi_extra=schema(Seen),
    )  # fmt: skip
    async def acknowledge(request: Request) -> JSONResponse:
        return await write(request, Seen, settings, _seen(settings))

    @app.post(
        "/api/incidents/mute", summary="No messages of a machine for some hours", status_code=202,
        openapi_extra=schema(Muting),
    )  # fmt: skip
    async def mute(request: Request) -> JSONResponse:
        return await write(request, Muting, settings, _muted(settings))


def _seen(settings: Settings) -> Callable[[Seen, Store, Codec], dict[str, Any]]:
    def act(said: Seen, store: Store, codec: Codec) -> dict[str, Any]:
        machine, words = incident_words.acknowledgement(said.id, said.note)
        corrections.places(store, [machine])
        incident_words.send([(machine, words)], settings, codec, said.by)
        return {"machine": machine, "id": said.id}

    return act


def _muted(settings: Settings) -> Callable[[Muting, Store, Codec], dict[str, Any]]:
    def act(said: Muting, store: Store, codec: Codec) -> dict[str, Any]:
        place = corrections.places(store, [said.machine])[0]
        until = time.time_ns() // 1_000_000 + round(said.hours * HOUR_MS)
        machine, words = incident_words.mute(place, until, said.signal, said.kind, said.why)
        incident_words.send([(machine, words)], settings, codec, said.by)
        return {"machine": machine, "id": words.id, "until": until}

    return act
