"""The ASGI application: the board's page, its figures as JSON, and as they change."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvicorn
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles

from pipeline.errors import SettingError
from pipeline.settings import Settings
from pipeline.web.live import Live

STATIC = Path(__file__).parent / "static"
MOST_SITES = 32
CLOSE_S = 2
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def create(settings: Settings) -> FastAPI:
    """The application on the store that the settings name. OpenAPI: /api/openapi.json."""
    app = FastAPI(title="openoee", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")
    watched: dict[str, Live] = {}

    def live(site: str) -> Live:
        if site not in watched and len(watched) >= MOST_SITES:
            raise HTTPException(400, f"more than {MOST_SITES} sites are asked for: leave `site` empty for all of them")
        return watched.setdefault(site, Live(settings, site))

    @app.middleware("http")
    async def guard(request: Request, handle: Callable[[Request], Awaitable[Response]]) -> Response:
        if not _is_here(request.url.hostname or ""):  # a page elsewhere whose name was made to point here
            return JSONResponse({"error": "ask for 127.0.0.1 or localhost: other names are not served"}, 421)
        answer = await handle(request)
        answer.headers.update(HEADERS)
        return answer

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "board.html")

    @app.get("/api/board", summary="Every machine: state, figures of its shift, newest flag")
    async def figures(site: str = Query("", max_length=200)) -> JSONResponse:
        told = await live(site).now()
        return JSONResponse(told, 503 if "error" in told else 200)

    @app.get("/api/live", summary="The same as server-sent events: board, changed, away")
    async def events(site: str = Query("", max_length=200)) -> StreamingResponse:
        return StreamingResponse(live(site).events(), media_type="text/event-stream")

    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app


def serve(settings: Settings) -> None:
    """Answer until SIGTERM or Ctrl-C. Raises SettingError for an address that others could reach."""
    host = settings["web_host"]
    if not _is_here(host):
        raise SettingError(
            f"OPENOEE_WEB_HOST is {host!r}: the board asks for no password, so it is served on 127.0.0.1 alone; "
            "put a proxy with a login in front of it for others"
        )
    port = settings.int("web_port")
    uvicorn.run(
        create(settings), host=host, port=port, log_level="warning", server_header=False,
        timeout_graceful_shutdown=CLOSE_S,
    )  # fmt: skip


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
