"""The engine held against the oracle: one day, every row, every column."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

import oracle
from oracle_days import Day

from pipeline.core.engine import EngineSettings
from pipeline.core.model import OeeFact
from pipeline.replay import current, run

HOUR = 3_600_000


@dataclass
class Difference:
    """The first row that differs, with what each says of it."""

    window_start: int
    segment_start: int
    columns: dict[str, tuple[object, object]]  # engine, oracle

    def __str__(self) -> str:
        said = ", ".join(f"{name}: engine {got}, oracle {want}" for name, (got, want) in self.columns.items())
        return f"window {self.window_start}, segment {self.segment_start}: {said}"


def settings(day: Day) -> EngineSettings:
    """Nothing of the day is too old, nor ahead of its time."""
    return EngineSettings(
        window_ms=day.window_ms, lateness_ms=day.lateness_ms, max_future_ms=200 * HOUR, retention_ms=72 * HOUR,
        provisional_ms=1 << 60,
    )  # fmt: skip


def content(rows: Iterable[OeeFact]) -> list[OeeFact]:
    """Rows without what tells only how they became known."""
    return [replace(row, known_at=0, revision=0, status="", reason="", flags=sorted(row.flags)) for row in rows]


def difference(day: Day) -> Difference | None:
    """Where engine and oracle differ; None: nowhere."""
    chosen = settings(day)
    emitted = run(day.messages, chosen)
    assert not emitted.dead_letters, emitted.dead_letters
    got = content(current(emitted.facts))
    want = content(oracle.facts(day.messages, day.window_ms, chosen.longest_split_ms))
    if got == want:
        return None
    mine, theirs = ({(row.window_start, row.segment_start): row for row in rows} for rows in (got, want))
    key = min(key for key in mine | theirs if mine.get(key) != theirs.get(key))
    columns = {
        name: (getattr(mine.get(key), name, None), getattr(theirs.get(key), name, None))
        for name in (field.name for field in fields(OeeFact))
    }
    return Difference(*key, {name: pair for name, pair in columns.items() if pair[0] != pair[1]})


def told(day: Day) -> str:
    """The day, so that it can be looked at and played again."""
    return json.dumps(day.told(), default=str)
