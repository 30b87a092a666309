"""A Confluent-compatible schema registry over HTTP: look an id up, register the bundle, compare it with the bundle."""

from __future__ import annotations

import base64
import json
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline import schemas
from pipeline.errors import AccessRefused, RegistryUnavailable, SchemaMismatch, UnknownSchema
from pipeline.settings import Access

ANSWER_S = 2.0


class Registry:
    """The calls that we need. Each raises RegistryUnavailable when it is away, AccessRefused when it lets us not in."""

    def __init__(self, at: Access | str) -> None:
        at = Access(at) if isinstance(at, str) else at
        self.url = at.url.rstrip("/")
        self._at = at
        self._trust = ssl.create_default_context(cafile=at.ca) if self.url.startswith("https:") else None

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of a call; a status of 5xx counts as away."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/vnd.schemaregistry.v1+json", "Accept": "application/json"}
        if self._at.user:
            pair = f"{self._at.user}:{self._at.password}".encode()
            headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_S, context=self._trust) as answer:
                return int(answer.status), json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode(errors="replace")
            if error.code == 401 or (error.code == 403 and method == "GET"):  # others may not be offered at all
                raise AccessRefused(
                    f"registry at {self.url} turns user {self._at.user or 'nobody'} away ({error.code}): check"
                    " OPENOEE_REGISTRY_USER and its password"
                ) from None
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

    def find(self, version: schemas.Version) -> tuple[int, str] | None:
        """Id and fingerprint of what the registry holds as this version of its subject; None when it has none."""
        status, answer = self.call("GET", f"/subjects/{version.subject}/versions/{version.version}")
        return (int(answer["id"]), schemas.fingerprint(json.loads(answer["schema"]))) if status == 200 else None

    def add(self, version: schemas.Version, text: str) -> int:
        """Register a schema and return the id that it got: the bundle's where the registry can import, else its own.

        Raises SchemaMismatch when the registry refuses it.
        """
        mode, path = f"/mode/{version.subject}", f"/subjects/{version.subject}/versions"
        can_import = self.call("PUT", mode + "?force=true", {"mode": "IMPORT"})[0] == 200
        body: dict[str, Any] = {"schema": text, "schemaType": "AVRO"}
        try:
            if can_import:
                body |= {"id": version.id, "version": version.version}
            status, answer = self.call("POST", path, body)
        finally:
            if can_import:
                self.call("PUT", mode, {"mode": "READWRITE"})
        if status != 200:
            raise SchemaMismatch(f"registry at {self.url} refuses {version.subject}: {status} {answer.get('message')}")
        return int(answer["id"])


def register(at: Access | str, versions: Sequence[schemas.Version], folder: Path) -> list[schemas.Version]:
    """Put the bundle into a registry, in the order of its ids; returns what was not there yet.

    A registry without import mode numbers by itself, from 1: the ids agree when it is empty, or holds a part of the
    bundle and nothing else. Raises SchemaMismatch, RegistryUnavailable.
    """
    registry, added = Registry(at), []
    for version in versions:
        found = registry.find(version)
        if found is None:
            ident = registry.add(version, (folder / version.file).read_text(encoding="utf-8"))
            found = registry.find(version) or (ident, "nothing")
            added.append(version)
        _agree(registry.url, version, found)
    for subject in dict.fromkeys(version.subject for version in versions):
        registry.call("PUT", f"/config/{subject}", {"compatibility": "FULL_TRANSITIVE"})
    return added


def compare(at: Access | str, versions: Sequence[schemas.Version]) -> None:
    """Raise SchemaMismatch unless the registry holds every version of the bundle under its subject and id."""
    registry = Registry(at)
    for version in versions:
        found = registry.find(version)
        if found is None:
            raise SchemaMismatch(
                f"registry at {registry.url} has no version {version.version} of {version.subject}, which the bundle"
                f" writes as id {version.id}: run `openoee schemas register`"
            )
        _agree(registry.url, version, found)


def _agree(url: str, version: schemas.Version, found: tuple[int, str]) -> None:
    ident, mark = found
    if ident != version.id:
        raise SchemaMismatch(
            f"registry at {url} holds {version.subject} version {version.version} as id {ident}, the bundle writes id"
            f" {version.id}: readers would take our records for something else. Give the line a registry of its own, or"
            " one whose ids can be imported, and run `openoee schemas register`; or leave OPENOEE_REGISTRY empty"
        )
    if mark != version.fingerprint:
        raise SchemaMismatch(
            f"registry at {url} holds another schema as {version.subject} version {version.version}, id {ident}"
            f" (fingerprint {mark[:12]}, the bundle has {version.fingerprint[:12]}): upgrade openoee to the release"
            " that wrote it, or give the line a registry of its own"
        )


class Lookup:
    """Ids that the bundle does not know: asked with bounded patience, answers and refusals remembered. Never sleeps."""

    patience_s = 10.0  # how long an unknown id may hold the line while the registry is away
    memory_s = 30.0  # how long a refusal is believed without asking again

    def __init__(self, at: Access | str) -> None:
        self._registry = Registry(at)
        self._found: dict[int, Any] = {}
        self._refused: dict[int, float] = {}
        self._away_since: float | None = None
        self._silent_until = 0.0

    def schema(self, ident: int) -> Any:
        """The schema with this id.

        Raises RegistryUnavailable when the registry has just gone (ask again), UnknownSchema when there is no such
        schema, or the registry stayed away for `patience_s`.
        """
        if ident in self._found:
            return self._found[ident]
        now = time.monotonic()
        if now < self._silent_until:
            raise UnknownSchema(f"schema id {ident} is not in the bundle, and {self._registry.url} is away")
        if now < self._refused.get(ident, 0.0):
            raise self._unknown(ident)
        try:
            schema = self._registry.schema(ident)
        except RegistryUnavailable as error:
            self._away_since = now if self._away_since is None else self._away_since
            if time.monotonic() - self._away_since < self.patience_s:
                raise
            self._silent_until = time.monotonic() + self.memory_s
            raise UnknownSchema(f"schema id {ident} is not in the bundle, and {error}") from None
        self._away_since = None
        if schema is None:
            if len(self._refused) > 10_000:
                self._refused.clear()
            self._refused[ident] = now + self.memory_s
            raise self._unknown(ident)
        self._found[ident] = schema
        return schema

    def _unknown(self, ident: int) -> UnknownSchema:
        return UnknownSchema(f"schema id {ident} is neither in the bundle nor in {self._registry.url}")
