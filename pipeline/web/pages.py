"""What the pages beside the board share: a shell, its figures as JSON, and the same as they change."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from fastapi import FastAPI, Query
from fastapi.responses import FileResponse, StreamingResponse

from pipeline.web.live import Live

STATIC = Path(__file__).parent / "static"
SITE = Query("", max_length=200, description="only this site")
MACHINE = Query("", max_length=200, description="only this machine")


class Watch(Protocol):
    """The one reader that all who ask for the same share: `read(*of, store, now)`."""

    def __call__(self, read: Any, *of: Any) -> Live: ...


def shell(app: FastAPI, address: str, file: str) -> None:
    """Serve a page, the same for everybody; what it shows it asks for itself."""

    @app.get(address, include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / file)


def stream(live: Live) -> StreamingResponse:
    """What is read as server-sent events: all, same, away."""
    return StreamingResponse(live.whole(), media_type="text/event-stream")
