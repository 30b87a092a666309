"""What every request passes before a page sees it: is it for us, from our own pages, and from whom."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from fastapi import Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.errors import SettingError
from pipeline.settings import Settings
from pipeline.web.login import UNREADABLE, Login, TooMany, logger
from pipeline.web.sessions import Session

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
SAFE = ("GET", "HEAD", "OPTIONS")
OPEN = "/login"  # the one path that answers before the login


@dataclass(frozen=True)
class Names:
    """By which names the board may be asked for. A page elsewhere could make a name of its own point here."""

    named: frozenset[str]
    is_open: bool  # others can reach it

    @classmethod
    def of(cls, settings: Settings) -> Names:
        named = frozenset(name.strip().lower() for name in settings["web_names"].split(",") if name.strip())
        return cls(named, bool(named) or not is_here(settings["web_host"]))

    def serve(self, host: str) -> bool:
        """An address cannot be made to point elsewhere, so that where others may come every address will do."""
        return host in self.named or is_here(host) or (self.is_open and _address(host) is not None)


def is_here(host: str) -> bool:
    """Whether this is a name or address of this machine alone."""
    found = _address(host)
    return host == "localhost" or (found is not None and found.is_loopback)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


class _Over(Exception):
    """The session of whoever watches is over."""


class Guard:
    """ASGI middleware. `login` None: nobody has to log in. Whoever may not is told so before the application runs."""

    def __init__(self, app: ASGIApp, names: Names, login: Login | None) -> None:
        self._app, self._names, self._login = app, names, login

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close"})
        request = Request(scope, receive)
        answer, session = await self._look(request)
        began = ended = False

        async def guarded(message: Message) -> None:
            nonlocal began, ended
            if message["type"] == "http.response.start":
                began = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            elif session is not None and not self._lasts(session):
                raise _Over
            ended = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        if answer is not None:
            return await answer(scope, receive, guarded)
        scope.setdefault("state", {})["person"] = session.name if session else None
        try:
            await self._app(scope, receive, guarded)
        except _Over:
            if began and not ended:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        return None

    def _lasts(self, session: Session) -> bool:
        try:
            return self._login is not None and self._login.sessions.lasts(session)
        except SettingError:
            return False

    async def _look(self, request: Request) -> tuple[Response | None, Session | None]:
        """What it is answered with instead, and who asks."""
        host = _host(request)
        if not self._names.serve(host):
            return JSONResponse(
                {"error": f"not served under the name {host!r}: OPENOEE_WEB_NAMES allows it"}, 421
            ), None
        own = _is_own(request)
        if request.method not in SAFE and own is False:
            return JSONResponse({"error": "a page of another place may not ask for this"}, 403), None
        if self._login is None or request.scope["path"] == OPEN:
            return None, None
        try:
            session = self._login.by_cookie(request)
            if session is not None and request.method not in SAFE and not own:
                return JSONResponse({"error": "the browser does not say which page asks for this"}, 403), None
            session = session or await self._login.by_basic(request)
        except TooMany as error:
            wait = {"Retry-After": str(round(error.wait_s) + 1)}
            return JSONResponse({"error": "too many attempts"}, 429, wait), None
        except SettingError as error:
            logger.error("%s", error)
            return JSONResponse({"error": UNREADABLE}, 503), None
        if session is not None:
            return None, session
        return _refusal(request), None


def _refusal(request: Request) -> Response:
    """A page leads to the login. No challenge of HTTP Basic: browsers would ask, and send it wherever they go."""
    if request.method in SAFE and "text/html" in request.headers.get("accept", ""):
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"{OPEN}?next={quote(request.scope['path'] + query, safe='')}", 303)
    error = "log in at /login, or send name and password along (HTTP Basic)"
    return JSONResponse({"error": error}, 401, {"WWW-Authenticate": 'Cookie realm="openoee"'})


def _host(request: Request) -> str:
    """Empty for what is no name: some versions of the framework take a path out of it."""
    host = request.headers.get("host", "")
    try:
        return "" if set(host) & set("/?#@\\") else (urlsplit("//" + host).hostname or "").lower()
    except ValueError:
        return ""


def _is_own(request: Request) -> bool | None:
    """Whether one of our own pages asks; None: nothing tells."""
    site, origin = (request.headers.get(name) for name in ("sec-fetch-site", "origin"))
    if site is not None:
        return site in ("same-origin", "none")
    if origin is None:
        return None
    try:
        return urlsplit(origin).netloc == request.headers.get("host")
    except ValueError:
        return False
