"""The pages of the plant and of one line."""

from __future__ import annotations

from fastapi import FastAPI, Response
from fastapi import Path as PathParameter
from fastapi.responses import JSONResponse, StreamingResponse

from pipeline.web.downloads import BOARD, FORMAT, LINES, TABLE, given
from pipeline.web.lines import line, plant
from pipeline.web.pages import SITE, Watch, shell, stream

NAME = PathParameter(max_length=200)


def add(app: FastAPI, watch: Watch) -> None:
    """The pages /plant and /lines/NAME, /api/plant, /api/lines/NAME and the same live."""
    shell(app, "/plant", "plant.html")
    shell(app, "/lines/{name:path}", "line.html")

    @app.get("/api/plant", summary="Every line: OEE of its shift, what holds it back, losses, the shifts of 7 days")
    async def figures(site: str = SITE, kind: str = FORMAT, table: str = TABLE) -> Response:
        return given(await watch(plant, site).now(), kind, table, ("lines",), LINES)

    @app.get("/api/live/plant", summary="The same as server-sent events: all, same, away")
    async def events(site: str = SITE) -> StreamingResponse:
        return stream(watch(plant, site))

    @app.get(
        "/api/lines/{name:path}", summary="One line: its shift by window and loss, its machines, the shifts of 7 days"
    )
    async def of_line(name: str = NAME, site: str = SITE, kind: str = FORMAT, table: str = TABLE) -> Response:
        told = await watch(line, site, name).now()
        if told.get("line", name) is None:
            known = ", ".join(f"?site={one}" for one in told["sites"])
            more = f"several sites have a line {name!r}: add one of {known}"
            return JSONResponse({"error": more if known else f"no factory file names a line {name!r}"}, 404)
        return given(told, kind, table, ("windows", "machines", "waterfall", "downtime", "trend"), BOARD)

    @app.get("/api/live/lines/{name:path}", summary="The same as server-sent events: all, same, away")
    async def line_events(name: str = NAME, site: str = SITE) -> StreamingResponse:
        return stream(watch(line, site, name))
