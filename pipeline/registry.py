"""A Confluent-compatible schema registry over HTTP: look an id up, register the bundle, compare it with the bundle."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from pipeline.errors import RegistryUnavailable, UnknownSchema

ANSWER_S = 3.0


class Registry:
    """The calls that we need; every one raises RegistryUnavailable when the registry is away."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of a call; a status of 5xx counts as away."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/vnd.schemaregistry.v1+json", "Accept": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
                return int(answer.status), json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode(errors="replace")
            if error.code >= 500:
                raise RegistryUnavailable(f"registry at {self.url}: {method} {path}: {error.code} {text}") from None
            try:
                return error.code, json.loads(text)
            except ValueError:
                return error.code, {"message": text[:200]}
        except (OSError, ValueError) as error:
            raise RegistryUnavailable(f"registry at {self.url} does not answer: {error}") from None

    def schema(self, ident: int) -> Any | None:
        """The schema with this id, or None."""
        status, answer = self.call("GET", f"/schemas/ids/{ident}")
        return json.loads(answer["schema"]) if status == 200 else None


class Lookup:
    """Ids that the bundle does not know: asked with bounded patience, refusals remembered for a while."""

    patience_s = 10.0  # how long one unknown id may hold the line while the registry is away
    memory_s = 30.0  # how long a refusal is believed without asking again

    def __init__(self, url: str) -> None:
        self._registry = Registry(url)
        self._refused: dict[int, float] = {}
        self._away_until = 0.0

    def schema(self, ident: int) -> Any:
        """The schema with this id. Raises UnknownSchema when there is none, or the registry stays away."""
        now = time.monotonic()
        if now < self._away_until:
            raise UnknownSchema(f"schema id {ident} is not in the bundle, and {self._registry.url} is away")
        if self._refused.get(ident, 0.0) <= now:
            schema = self._ask(ident, now + self.patience_s)
            if schema is not None:
                return schema
            if len(self._refused) > 10_000:
                self._refused.clear()
            self._refused[ident] = now + self.memory_s
        raise UnknownSchema(f"schema id {ident} is neither in the bundle nor in {self._registry.url}")

    def _ask(self, ident: int, deadline: float) -> Any | None:
        pause = 0.1
        while True:
            try:
                return self._registry.schema(ident)
            except RegistryUnavailable as error:
                if time.monotonic() + pause > deadline:
                    self._away_until = time.monotonic() + self.memory_s
                    raise UnknownSchema(f"schema id {ident} is not in the bundle, and {error}") from None
            time.sleep(pause)
            pause = min(2 * pause, 2.0)
