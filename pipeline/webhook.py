"""One JSON message to a webhook: what the receiver answered, and whether the same message may be sent again."""

from __future__ import annotations

import json
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from pipeline.errors import SettingError

ANSWER_S = 10.0
# The receiver is busy, or is not set up for us: a token, its rights or the address are wrong. No fault of the message.
LATER = {401, 403, 404, 407, 408, 425, 429}


class Answer(NamedTuple):
    """`status`: HTTP, 0: nobody answered. `why`: in words for a log; never holds the URL, whose path may be secret."""

    status: int
    why: str = ""

    @property
    def taken(self) -> bool:
        return 200 <= self.status < 300

    @property
    def again(self) -> bool:
        """Whether the same message may be taken later."""
        return self.status == 0 or self.status in LATER or self.status >= 500


class _Stay(HTTPRedirectHandler):
    """A redirected POST would go on as a GET, without the message."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Webhook:
    """Where messages go; `token` is sent as bearer token. Raises SettingError when `url` is no http(s) URL."""

    def __init__(self, url: str, token: str = "", answer_s: float = ANSWER_S) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingError("OPENOEE_WEBHOOK must be a http or https URL: --webhook https://receiver/path")
        self.host = parts.hostname
        self._url, self._answer_s = url, answer_s
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._opener = build_opener(_Stay)

    def post(self, message: dict[str, Any], key: str) -> Answer:
        """Send once, with `key` as Idempotency-Key; waits `answer_s` seconds at most for each step."""
        body = json.dumps(message, ensure_ascii=False).encode()
        request = Request(self._url, body, {**self._headers, "Idempotency-Key": key}, method="POST")
        try:
            with self._opener.open(request, timeout=self._answer_s) as answer:
                return Answer(answer.status)
        except HTTPError as error:
            with error:
                return Answer(error.code, f"{self.host} answers {error.code} {error.reason}")
        except (OSError, HTTPException) as error:
            return Answer(0, f"{self.host} does not answer: {getattr(error, 'reason', None) or error}")
