"""Logging in to the board: the page, its cookie, HTTP Basic for programs, and who it is that asks."""

from __future__ import annotations

import asyncio
import base64
import binascii
import getpass
import hashlib
import hmac
import html
import logging
import math
import os
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from urllib.parse import parse_qs, quote

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse

from pipeline.errors import SettingError
from pipeline.settings import Settings
from pipeline.web.people import People, matches
from pipeline.web.sessions import Session, Sessions, Throttle

STATIC = Path(__file__).parent / "static"
MOST_FORM = 8192
MOST_BASIC = 256
WRONG = "This name and password do not belong together."
UNREADABLE = "The board's list of people cannot be read: its log says why."
logger = logging.getLogger("openoee.web")


def author(request: Request, given: str = "") -> str:
    """Who signs what this request changes: whoever is logged in; without a login the name that is given, or the user
    who runs the board.
    """
    return getattr(request.state, "person", None) or given or getpass.getuser()


class TooMany(Exception):
    """So many attempts failed that the next one has to wait for `wait_s` seconds."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"too many attempts: wait {wait_s:.0f} s")
        self.wait_s = wait_s


class Login:
    """Tells who asks; one for each board."""

    def __init__(self, settings: Settings) -> None:
        self.people = People(settings.people_file)
        self.cookie = f"openoee_{settings.int('web_port')}"  # browsers do not tell ports apart
        kept = settings.home / "secrets" / f"web_sessions_{settings.int('web_port')}"
        self.sessions = Sessions(self.people, 3600 * settings.float("web_session_h"), kept)
        self._throttle = Throttle()
        self._hashing = ThreadPoolExecutor(1, "login")  # a hash takes 32 MB and a core; looks into the store wait apart
        self._key = os.urandom(32)
        self._basic: OrderedDict[bytes, Session] = OrderedDict()

    def by_cookie(self, request: Request) -> Session | None:
        """The session of the request's cookie, while it lasts."""
        return self.sessions.of(request.cookies.get(self.cookie, ""))

    async def by_basic(self, request: Request) -> Session | None:
        """Who sends name and password along (HTTP Basic), if they are right. Raises TooMany."""
        pair = _basic(request.headers.get("authorization", ""))
        if pair is None:
            return None
        seen = hmac.digest(self._key, "\0".join(pair).encode(), "sha256")
        known = self._basic.get(seen)
        if known is not None and self.sessions.lasts(known):
            return known
        found = await self.attempt(request, *pair)
        if found is not None:
            known = self._basic[seen] = self.sessions.once(pair[0], found)
            while len(self._basic) > MOST_BASIC:
                self._basic.popitem(last=False)
            return known
        return None

    async def attempt(self, request: Request, name: str, password: str) -> str | None:
        """The hash of a person's password when it is this one. Raises TooMany."""
        address = request.client.host if request.client else ""
        wait_s = self._throttle.wait_s(address, name)
        if wait_s > 0:
            raise TooMany(wait_s)
        last = self._throttle.count(address, name)
        known = self.people.hash_of(name)
        right = await asyncio.get_running_loop().run_in_executor(self._hashing, matches, password, known)
        who = repr(name) if known else "a name that nobody has"  # it may be a password in the wrong field
        if not right:
            logger.warning("login refused: %s from %s%s", who, address, ": no more for 5 minutes" if last else "")
            return None
        self._throttle.forgive(address, name)
        logger.info("login: %s from %s", who, address)
        return known


def routes(app: FastAPI, login: Login | None) -> None:
    """`/login`, `/logout`, and who I am; without a login there is nothing to do at the first two."""

    @app.get("/login", include_in_schema=False)
    async def page(request: Request) -> Response:
        if login is None or login.by_cookie(request):
            return RedirectResponse(_way(request.query_params.get("next", "")), 303)
        return _page(request.query_params.get("next", ""))

    @app.post("/login", include_in_schema=False)
    async def enter(request: Request) -> Response:
        form = await _form(request)
        if login is None or form is None:
            return JSONResponse({"error": "no form of /login"}, 400)
        name, password, way = (form.get(key, [""])[0] for key in ("name", "password", "next"))
        try:
            known = await login.attempt(request, name, password)
        except TooMany as error:
            return _page(way, f"Too many attempts. Wait {math.ceil(error.wait_s / 60)} min.", 429)
        except SettingError as error:
            logger.error("%s", error)
            return _page(way, UNREADABLE, 503)
        if known is None:
            return _page(way, WRONG, 401)
        login.sessions.end(request.cookies.get(login.cookie, ""))
        answer = RedirectResponse(_way(way), 303)
        answer.set_cookie(
            login.cookie, login.sessions.begin(name, known), max_age=round(login.sessions.length_s),
            httponly=True, samesite="strict", secure=request.url.scheme == "https",
        )  # fmt: skip
        return answer

    @app.post("/logout", include_in_schema=False)
    async def leave(request: Request) -> Response:
        answer = RedirectResponse("/login", 303)
        if login is not None:
            logger.info("logout: %r", author(request))
            login.sessions.end(request.cookies.get(login.cookie, ""))
            answer.delete_cookie(login.cookie)
        return answer

    @app.get("/api/me", summary="Who is logged in; null where nobody has to be")
    async def me(request: Request) -> JSONResponse:
        return JSONResponse({"name": getattr(request.state, "person", None)})


def _basic(header: str) -> tuple[str, str] | None:
    kind, _, coded = header.partition(" ")
    if kind.lower() != "basic" or len(coded) > MOST_FORM:
        return None
    try:
        name, colon, password = base64.b64decode(coded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (name, password) if colon else None


async def _form(request: Request) -> dict[str, list[str]] | None:
    """The fields of a form, None for one that is too long or none."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_FORM:
            return None
    try:
        return parse_qs(body.decode(), keep_blank_values=True, max_num_fields=8)
    except ValueError:
        return None


def _way(wanted: str) -> str:
    """Where to go after logging in: a path of the board and nowhere else."""
    inside = wanted.startswith("/") and not wanted.startswith(("//", "/\\", "/login", "/logout"))
    return quote(wanted, safe="/?=&%:+,~") if inside and wanted.isprintable() else "/"


@cache
def _text() -> tuple[str, str]:
    """The page with its style in it, so that nothing else is served before the login; and the hash of the style."""
    style = "".join((STATIC / name).read_text(encoding="utf-8") for name in ("board.css", "login.css"))
    text = (STATIC / "login.html").read_text(encoding="utf-8").replace("{style}", style)
    return text, base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()


def _page(way: str, told: str = "", status: int = 200) -> HTMLResponse:
    text, style = _text()
    text = text.replace("{told}", html.escape(told)).replace("{next}", html.escape(_way(way), quote=True))
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{style}'; frame-ancestors 'none'; base-uri 'none'; "
        "form-action 'self'"
    )
    return HTMLResponse(text, status, {"Content-Security-Policy": policy, "Cache-Control": "no-store"})
