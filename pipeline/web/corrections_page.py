"""The page of corrections and what is said on it: a stop's reason, and that a correction was none."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from pipeline import corrections as log
from pipeline.codec import Codec
from pipeline.core.model import Correction
from pipeline.settings import Settings
from pipeline.store.client import Store
from pipeline.web import corrections
from pipeline.web.downloads import FORMAT, TABLE, given
from pipeline.web.pages import MACHINE, SITE, Watch, shell, stream
from pipeline.web.writes import schema, write

MOST_SENT = 200
LAST_MS = 10_413_792_000_000  # the year 2300
EVERY = Query(False, description="also stops that have a reason, micro-stops, starved and blocked")


class StopReason(BaseModel):
    """The reason of the whole stop in which the moment `at` [UTC ms] lies, as `openoee correct reason --at` has it."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, title="StopReason")
    machine: str = Field(min_length=1, max_length=200)
    at: int = Field(ge=0, lt=LAST_MS, description="UTC milliseconds")
    reason: str = Field(min_length=1, max_length=200)
    note: str = Field("", max_length=1000, description="why, for people")
    by: str = Field(min_length=1, max_length=200, description="who says so")


class Withdrawal(BaseModel):
    """Takes a correction back, as `openoee correct withdraw` does."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, title="Withdrawal")
    id: str = Field(min_length=1, max_length=500)
    note: str = Field("", max_length=1000, description="why, for people")
    by: str = Field(min_length=1, max_length=200, description="who says so")


def add(app: FastAPI, watch: Watch, settings: Settings) -> None:
    """The page /corrections, /api/corrections to read and to say, the same live."""
    sent: deque[dict[str, Any]] = deque(maxlen=MOST_SENT)  # until the store has them
    read = partial(corrections.corrections, sent)
    shell(app, "/corrections", "corrections.html")

    @app.get("/api/corrections", summary="Stops of the last 3 days, reasons, and corrections with what came of them")
    async def figures(
        site: str = SITE, machine: str = MACHINE, every: bool = EVERY, kind: str = FORMAT, table: str = TABLE
    ) -> Response:  # fmt: skip
        return given(await watch(read, site, machine, every).now(), kind, table, ("stops", "corrections", "reasons"))

    @app.get("/api/live/corrections", summary="The same as server-sent events: all, same, away")
    async def events(site: str = SITE, machine: str = MACHINE, every: bool = EVERY) -> StreamingResponse:
        return stream(watch(read, site, machine, every))

    @app.post("/api/corrections", summary="Give a stop its reason", status_code=202, openapi_extra=schema(StopReason))
    async def say(request: Request) -> JSONResponse:
        return await write(request, StopReason, settings, keeping(sent, settings, _reason))

    @app.post(
        "/api/corrections/withdraw", summary="Take a correction back", status_code=202, openapi_extra=schema(Withdrawal)
    )
    async def withdraw(request: Request) -> JSONResponse:
        return await write(request, Withdrawal, settings, keeping(sent, settings, _withdrawal))


def keeping(
    sent: deque[dict[str, Any]], settings: Settings, build: Callable[[Any, Store], tuple[str, str, Correction]]
) -> Callable[[Any, Store, Codec], dict[str, Any]]:
    """Sends what `build` makes of the words (site, machine, correction), and remembers it until the store has it."""

    def act(said: Any, store: Store, codec: Codec) -> dict[str, Any]:
        site, machine, correction = build(said, store)
        issued = log.send([(machine, correction)], settings, codec, said.by, said.note)
        told = {"machine": machine, "site": site, **asdict(correction), "issued": issued, "issued_by": said.by}
        told["note"] = said.note
        sent.append(told)
        return told

    return act


def _reason(said: StopReason, store: Store) -> tuple[str, str, Correction]:
    place = log.places(store, [said.machine])[0]
    machine, correction = log.fresh(place, Correction(*log.stop_at(store, place, said.at), reason=said.reason))
    return place.site, machine, correction


def _withdrawal(said: Withdrawal, store: Store) -> tuple[str, str, Correction]:
    machine, correction = log.withdrawal(store, said.id)
    return log.places(store, [machine])[0].site, machine, correction
