"""The page of the data's health."""

from __future__ import annotations

from fastapi import FastAPI, Response
from fastapi.responses import StreamingResponse

from pipeline.web.downloads import FORMAT, TABLE, given
from pipeline.web.health import health
from pipeline.web.pages import SITE, Watch, shell, stream


def add(app: FastAPI, watch: Watch) -> None:
    """The page /data, /api/data and the same live."""
    shell(app, "/data", "health.html")

    @app.get("/api/data", summary="Newest data, coverage, restated windows and dead letters of the last 24 h")
    async def figures(site: str = SITE, kind: str = FORMAT, table: str = TABLE) -> Response:
        return given(await watch(health, site).now(), kind, table, ("machines", "letters", "restated"))

    @app.get("/api/live/data", summary="The same as server-sent events: all, same, away")
    async def events(site: str = SITE) -> StreamingResponse:
        return stream(watch(health, site))
