"""One poll of the store per interval for all who watch the same; each of them gets what has changed."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from pipeline.errors import OpenOeeError
from pipeline.settings import Settings
from pipeline.store.client import Store
from pipeline.web.board import Row

SHARE = 3  # the store gets at least so many times the length of an answer to recover
KEPT_S = 0.5


class Live:
    """The newest answer to one question, asked for while anybody watches."""

    def __init__(self, settings: Settings, read: Callable[[Store, datetime], Row]) -> None:
        self._settings, self._question = settings, read
        self._poll_s = settings.float("web_poll_s")
        self._reading: asyncio.Task[None] | None = None
        self._asked = float("-inf")
        self._took = 0.0
        self.told: dict[str, Any] = {}
        self._written: tuple[dict[str, Any], str] = ({}, "")

    async def now(self) -> dict[str, Any]:
        """What was read, `at` (UTC ms) when the store answered; else `error`, and `since` when it has been so."""
        due = time.monotonic() - self._asked >= max(self._poll_s - KEPT_S, SHARE * self._took)
        if self._reading is None and due:
            self._reading = asyncio.create_task(self._look())
        if self._reading is not None:  # it goes on for the others, and for who comes back, when one who waits leaves
            await asyncio.shield(self._reading)
        return self.told

    async def _look(self) -> None:
        began = time.monotonic()
        try:
            found = await asyncio.to_thread(self._read)
            self.told = {"at": _ms(), **found}
        except OpenOeeError as error:
            self.told = {"error": str(error), "since": self.told.get("since") or _ms()}
        finally:
            self._asked, self._reading = time.monotonic(), None
            self._took = self._asked - began

    def _read(self) -> Row:
        with closing(Store(self._settings, answer_s=10)) as store:
            return self._question(store, datetime.now(UTC))

    async def whole(self) -> AsyncIterator[str]:
        """Server-sent events: `all` of it, then again when it is another, else `same`, or `away`."""
        seen: Row | None = None
        while True:
            told = await self.now()
            fresh = {name: cell for name, cell in told.items() if name != "at"}
            if "error" in told:
                yield _event("away", told)
            elif fresh != seen:
                yield self._all("all", told)
            else:
                yield _event("same", {"at": told["at"]})
            seen = fresh
            await asyncio.sleep(self._poll_s)

    async def tiles(self) -> AsyncIterator[str]:
        """Server-sent events: `board` first and after an error, then `changed` (whole tiles), or `away`."""
        seen: dict[str, Row] | None = None
        while True:
            told = await self.now()
            if "error" in told:
                seen = None
                yield _event("away", told)
            else:
                tiles = {row["machine"]: row for row in told["machines"]}
                if seen is None or seen.keys() != tiles.keys():
                    yield self._all("board", told)
                else:
                    changed = [row for name, row in tiles.items() if _seen(row) != _seen(seen[name])]
                    yield _event("changed", {"at": told["at"], "machines": changed})
                seen = tiles
            await asyncio.sleep(self._poll_s)

    def _all(self, name: str, told: dict[str, Any]) -> str:
        """The event of the whole, written once for all who come between two looks."""
        if self._written[0] is not told:
            self._written = (told, _event(name, told))
        return self._written[1]


def _seen(row: Row) -> Row:
    """A tile without what moves on with every look and is not shown: until when the state of a fresh one is known."""
    if row["stale"] or not row["state"]:
        return row
    return {**row, "state": {**row["state"], "until": None}}


def _event(name: str, body: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(body, separators=(',', ':'))}\n\n"


def _ms() -> int:
    return time.time_ns() // 1_000_000
