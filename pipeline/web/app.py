"""The ASGI application: the pages, their figures as JSON, and as they change."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Hashable
from datetime import datetime
from functools import partial
from typing import Any

import uvicorn
from fastapi import FastAPI, Query, Response
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles

from pipeline.errors import SettingError
from pipeline.settings import Settings
from pipeline.store.client import Store
from pipeline.web import corrections_page, health_page, incidents_said, lines_page, signals
from pipeline.web.board import Row, board
from pipeline.web.downloads import BOARD, FORMAT, TABLE, given
from pipeline.web.guard import Guard, Names
from pipeline.web.incidents import incidents
from pipeline.web.live import Live
from pipeline.web.login import Login, routes
from pipeline.web.machine import machine
from pipeline.web.packed import Packed
from pipeline.web.pages import SITE, STATIC, Watch, shell
from pipeline.web.people import People

MOST_WATCHED = 256
CLOSE_S = 2


def _board(site: str, store: Store, now: datetime) -> Row:
    return {"machines": board(store, site, now)}


def _machine(name: str, before: int, store: Store, now: datetime) -> Row:
    return machine(store, name, before, now) or {"machine": None}


def _incidents(site: str, store: Store, now: datetime) -> Row:
    return {"incidents": incidents(store, site, now)}


NAME = PathParameter(max_length=200)
TABLES = ("windows", "timeline", "waterfall", "downtime", "trend", "flags", "incidents")
BEFORE = Query(0, ge=0, le=2, description="so many shifts before the newest, within 26 h")


def create(settings: Settings) -> FastAPI:
    """The application on the store that the settings name. OpenAPI: /api/openapi.json."""
    app = FastAPI(title="openoee", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")
    watched: dict[tuple[Any, ...], Live] = {}

    def watch(read: Callable[..., Row], *of: Hashable) -> Live:
        """The one reader that all who ask for this share; of too many, the one asked for longest ago is forgotten."""
        key = (read, *of)
        found = watched.pop(key, None) or Live(settings, partial(read, *of))
        watched[key] = found
        if len(watched) > MOST_WATCHED:
            del watched[next(iter(watched))]
        return found

    names = Names.of(settings)
    login = Login(settings) if names.is_open else None
    app.add_middleware(Guard, names=names, login=login)
    app.add_middleware(Packed)
    routes(app, login)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "board.html")

    @app.get("/api/board", summary="Every machine: state, figures of its shift, open incident")
    async def figures(site: str = SITE, kind: str = FORMAT, table: str = TABLE) -> Response:
        return given(await watch(_board, site).now(), kind, table, ("machines",), BOARD)

    @app.get("/api/live", summary="The same as server-sent events: board, changed, away")
    async def events(site: str = SITE) -> StreamingResponse:
        return StreamingResponse(watch(_board, site).tiles(), media_type="text/event-stream")

    _machines(app, watch)
    _list(app, watch)
    corrections_page.add(app, watch, settings)
    incidents_said.add(app, settings)
    health_page.add(app, watch)
    lines_page.add(app, watch)
    signals.add(app, watch)
    shell(app, "/api/docs", "docs.html")
    app.mount("/api/docs/files", StaticFiles(packages=[("fastapi_offline", "static")]), name="docs")
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app


def _machines(app: FastAPI, watch: Watch) -> None:
    @app.get("/machines/{name:path}", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "machine.html")

    @app.get("/api/machines/{name:path}", summary="One machine: its shift by state, window and loss; flags, incidents")
    async def of_machine(
        name: str = NAME, before: int = BEFORE, kind: str = FORMAT, table: str = TABLE
    ) -> Response:  # fmt: skip
        told = await watch(_machine, name, before).now()
        if told.get("machine", name) is None:
            return JSONResponse({"error": f"no factory file names a machine {name!r}"}, 404)
        return given(told, kind, table, TABLES)

    @app.get("/api/live/machines/{name:path}", summary="The same as server-sent events: all, same, away")
    async def machine_events(name: str = NAME, before: int = BEFORE) -> StreamingResponse:
        return StreamingResponse(watch(_machine, name, before).whole(), media_type="text/event-stream")


def _list(app: FastAPI, watch: Watch) -> None:
    @app.get("/incidents", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "incidents.html")

    @app.get("/api/incidents", summary="Incidents of the last 7 days, the worst first, with what was lost meanwhile")
    async def listed(site: str = SITE, kind: str = FORMAT, table: str = TABLE) -> Response:
        return given(await watch(_incidents, site).now(), kind, table, ("incidents",))

    @app.get("/api/live/incidents", summary="The same as server-sent events: all, same, away")
    async def events(site: str = SITE) -> StreamingResponse:
        return StreamingResponse(watch(_incidents, site).whole(), media_type="text/event-stream")


def serve(settings: Settings) -> None:
    """Answer until SIGTERM or Ctrl-C. Raises SettingError where others can reach it and nobody could log in."""
    if Names.of(settings).is_open and not People(settings.people_file).all():
        raise SettingError(
            f"OPENOEE_WEB_HOST is {settings['web_host']!r}: others can reach the board there, and nobody could log in: "
            f"`openoee access person NAME` lets somebody in ({settings.people_file})"
        )
    certificate, key = _certificate(settings)
    uvicorn.run(
        create(settings), host=settings["web_host"], port=settings.int("web_port"), log_level="warning",
        server_header=False, timeout_graceful_shutdown=CLOSE_S, ssl_certfile=certificate, ssl_keyfile=key,
    )  # fmt: skip


def _certificate(settings: Settings) -> tuple[str | None, str | None]:
    """Files of certificate and key, None without TLS. Raises SettingError."""
    certificate, key = settings["web_cert"], settings["web_key"] or settings["web_cert"]
    if not certificate:
        return None, None
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    except OSError as error:
        raise SettingError(
            f"OPENOEE_WEB_CERT is {certificate!r}, OPENOEE_WEB_KEY {key!r}: no certificate with its key ({error})"
        ) from None
    return certificate, key
