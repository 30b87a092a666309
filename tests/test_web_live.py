"""One look into the store for all who watch, also when it takes longer than some of them wait."""

from __future__ import annotations

import asyncio
import threading
from datetime import datetime
from pathlib import Path

import pytest

from pipeline.settings import load
from pipeline.store.client import Store
from pipeline.web.board import Row
from pipeline.web.live import Live


def test_a_look_goes_on_for_who_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go, looks = threading.Event(), []

    def slow(_store: Store, _now: datetime) -> Row:
        looks.append(1)
        assert go.wait(20)
        return {"machines": []}

    async def watched() -> list[Row]:
        live = Live(load({"home": str(tmp_path), "store": "http://127.0.0.1:9"}, {}), slow)
        monkeypatch.setattr(live, "_read", lambda: slow(None, datetime.min))  # type: ignore[arg-type]
        impatient = asyncio.create_task(live.now())
        while not looks:
            await asyncio.sleep(0)
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        back = [asyncio.create_task(live.now()) for _ in range(3)]
        await asyncio.sleep(0)
        go.set()
        return [await one for one in back]

    told = asyncio.run(watched())
    assert len(looks) == 1
    assert [row["machines"] for row in told] == [[], [], []]
