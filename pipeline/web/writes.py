"""What people say in the browser: read, signed, and sent the way of the commands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError

from pipeline.codec import Codec
from pipeline.errors import OpenOeeError, RetryError, UsageError
from pipeline.settings import Settings
from pipeline.store.client import Store
from pipeline.web.login import author

MOST_BYTES = 10_000
AT_ONCE = 4  # what more people say at the same time waits its turn
Said = TypeVar("Said", bound=BaseModel)
_turn = asyncio.Semaphore(AT_ONCE)


class Refused(Exception):
    """A request that is not taken: status and text of the answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def schema(model: type[BaseModel]) -> dict[str, Any]:
    """What OpenAPI says of the body of a request."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": model.model_json_schema()}}}}


async def write(
    request: Request, model: type[Said], settings: Settings, act: Callable[[Said, Store, Codec], dict[str, Any]]
) -> JSONResponse:
    """Read the body, act on it in a thread, answer 202 with what `act` gives, or with `error` and why.

    `by` becomes whoever is logged in. 400 is what the command calls a usage error, 413, 415 and 422 a body that is
    none, 503 Kafka or the store away: nothing was kept then, or not all of it, and the same may be said again.
    """
    try:
        said = model.model_validate_json(await _body(request))
        said = said.model_copy(update={"by": author(request, getattr(said, "by", ""))})
        async with _turn:
            told = await asyncio.to_thread(_act, settings, act, said)
    except Refused as refused:
        return JSONResponse({"error": str(refused)}, refused.status)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in error.errors())
        return JSONResponse({"error": wrong}, 422)
    except OpenOeeError as error:
        status = 400 if isinstance(error, UsageError) else 503 if isinstance(error, RetryError) else 500
        return JSONResponse({"error": str(error)}, status)
    return JSONResponse(told, 202)


async def _body(request: Request) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused(415, "send JSON: content type application/json")
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BYTES:
            raise Refused(413, f"send no more than {MOST_BYTES} bytes")
    return body


def _act(settings: Settings, act: Callable[[Said, Store, Codec], dict[str, Any]], said: Said) -> dict[str, Any]:
    with closing(Store(settings)) as store:
        return act(said, store, Codec.agreed(settings.registry))
