"""What the audit asks of the store: sums of row hashes by table, machine and hour, and rows where these differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import row_hash
from pipeline.rows import SCHEMAS
from pipeline.store.client import Store

HOUR_MS = 3_600_000
PLACES_AT_ONCE = 200  # machines in one question
Sums = dict[tuple[str, int], tuple[int, int]]  # (machine, hour) -> rows, sum of their hashes modulo 2**64
_MS = "toUnixTimestamp64Milli"
_RANGE = "{at} >= {{start:DateTime64(3, 'UTC')}} AND {at} < {{end:DateTime64(3, 'UTC')}}"


@dataclass(frozen=True)
class Compared:
    """One check: a table, what makes its rows the same row, which rows of it are in force.

    `at` is the time that is asked about, `place` says whose rows are summed together, `version` tells rows of one key
    apart. `in_sql` and `in_rows` are the same condition. `kept`: the setting that lets old rows go.
    """

    name: str
    table: str
    at: str
    key: tuple[str, ...]
    place: str = "machine"
    version: str = ""
    in_sql: str = "true"
    in_rows: Callable[[pa.Table], Any] = lambda table: pa.array([True] * table.num_rows, pa.bool_())
    left_out: tuple[str, ...] = ()
    hashed: tuple[str, ...] = ()  # columns of bytes: compared by their hash alone
    kept: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(name for name in SCHEMAS[self.table].names if name not in self.left_out)

    @property
    def values(self) -> tuple[str, ...]:
        return tuple(name for name in self.columns if name not in self.key)

    def hash_sql(self, columns: Sequence[str]) -> str:
        schema = SCHEMAS[self.table]
        return row_hash.sql((name, schema.field(name).type) for name in columns)

    def selected(self) -> str:
        schema = SCHEMAS[self.table]
        parts = (
            f"{row_hash.word_sql(name, schema.field(name).type)} AS `{name}_`" if name in self.hashed else f"`{name}`"
            for name in self.columns
        )
        return ", ".join(parts)


def _facts_in_force(table: pa.Table) -> Any:
    lasting = pc.greater(table["segment_end"], table["segment_start"])
    return pc.and_(pc.not_equal(table["status"], "provisional"), lasting)


def _intervals_in_force(table: pa.Table) -> Any:
    return pc.fill_null(pc.greater(table["end"], table["start"]), True)


# Arrivals are left out: rows of before have none, and what was sent again may have that of either.
SAMPLES = Compared(
    "samples", "telemetry", "ts", ("machine", "signal", "ts"), left_out=("arrived",), kept="keep_telemetry_days"
)
EVENTS = Compared(
    "events", "events", "ts", ("machine", "ts", "kind", "source", "epoch", "sequence", "entry"),
    left_out=("arrived",), kept="keep_telemetry_days",
)  # fmt: skip
COUNTS = Compared(
    "counts", "counts", "ts", ("machine", "ts", "source", "epoch", "sequence", "entry"),
    left_out=("arrived",), kept="keep_telemetry_days",
)  # fmt: skip
FACTS = Compared(
    "facts", "oee_facts", "window_start", ("machine", "window_start", "segment_start"), version="known_at",
    in_sql="status != 'provisional' AND segment_end > segment_start", in_rows=_facts_in_force,
    kept="keep_minutes_days",
)  # fmt: skip
REVISIONS = Compared(
    "revisions", "oee_revisions", "window_start", ("machine", "window_start", "segment_start", "known_at"),
    version="known_at", in_sql=FACTS.in_sql, in_rows=_facts_in_force, kept="keep_revisions_days",
)  # fmt: skip
INTERVALS = Compared(
    "intervals", "intervals", "start", ("machine", "start"), version="known_at",
    in_sql="(end IS NULL OR end > start)", in_rows=_intervals_in_force, kept="keep_minutes_days",
)  # fmt: skip
ANOMALIES = Compared("anomalies", "anomalies", "first", ("machine", "signal", "kind", "first"), version="known_at")
INCIDENTS = Compared("incidents", "incidents", "opened", ("machine", "opened"), version="known_at")
LETTERS = Compared(
    "dead letters", "dead_letters", "arrived", ("topic", "partition", "offset", "reason"), place="partition",
    left_out=("machine", "detail"), hashed=("key", "value"),
)  # fmt: skip
SAID = (SAMPLES, EVENTS, COUNTS)  # what the machines said; the rest is computed from it
COMPUTED = (FACTS, REVISIONS, INTERVALS, ANOMALIES, INCIDENTS, LETTERS)
BY_TABLE = {one.table: one for one in (*SAID, *COMPUTED)}


@dataclass(frozen=True)
class Asked:
    """What of the store is asked about. Times in ms; `bounds`: the highest version of each machine that counts.

    `since`: the lowest version that counts; `topic` and `offsets` [first, end) are the records whose dead letters are
    meant, `keyed` their key when it is only one.
    """

    start: int
    end: int
    since: int = 0
    bounds: Mapping[str, int] | None = None
    topic: str = ""
    offsets: tuple[int, int] = (0, 0)
    keyed: str = ""

    def where(self, one: Compared, versions: str = "<=") -> str:
        """Conditions, with the parameters of `values`."""
        parts = [_RANGE.format(at=f"`{one.at}`"), one.in_sql if versions == "<=" else "true"]
        if one.version:
            bound = "transform(CAST(machine, 'String'), {places:Array(String)}, {bounds:Array(Int64)}, toInt64(-1))"
            parts += [f"{_MS}({one.version}) {versions} {bound}", f"{_MS}({one.version}) >= {{since:Int64}}"]
        if one.place == "partition":
            parts += [
                "topic = {topic:String} AND offset >= {first:Int64} AND offset < {until:Int64}",
                "({keyed:String} = '' OR key = {keyed:String})",
            ]
        return " AND ".join(parts)

    def values(self, one: Compared, places: Sequence[str]) -> dict[str, Any]:
        """Parameters for a question about these machines (or partitions)."""
        values: dict[str, Any] = {"start": _instant(self.start), "end": _instant(self.end), "places": list(places)}
        if one.version:
            bounds = self.bounds or {}
            values |= {"bounds": [bounds.get(place, -1) for place in places], "since": self.since}
        if one.place == "partition":
            values |= {"topic": self.topic, "first": self.offsets[0], "until": self.offsets[1], "keyed": self.keyed}
        return values


def sums(store: Store, one: Compared, places: Sequence[str], asked: Asked) -> Sums:
    """Rows in force and the sum of their hashes, by machine and hour."""
    sql = (
        f"SELECT {_place(one)} AS place, intDiv({_MS}(`{one.at}`), {HOUR_MS}) AS hour, count() AS rows,"
        f" sum({one.hash_sql(one.columns)}) AS total FROM {one.table} FINAL"
        f" WHERE {_place(one)} IN {{places:Array(String)}} AND {asked.where(one)} GROUP BY place, hour"
    )
    found: Sums = {}
    for part in _parts(places):
        for place, hour, rows, total in store.query(sql, asked.values(one, part)).result_rows:
            found[place, int(hour)] = (int(rows), int(total))
    return found


def moved(store: Store, one: Compared, places: Sequence[str], asked: Asked) -> set[int]:
    """Hashes of the keys that have a version above the bounds: later records have changed them."""
    sql = (
        f"SELECT {one.hash_sql(one.key)} FROM {one.table} FINAL"
        f" WHERE machine IN {{places:Array(String)}} AND {asked.where(one, '>')}"
    )
    found: set[int] = set()
    for part in _parts(places) if one.version else ():
        found.update(int(row[0]) for row in store.query(sql, asked.values(one, part)).result_rows)
    return found


def rows(store: Store, one: Compared, place: str, asked: Asked) -> pa.Table:
    """The rows in force of one machine (or partition), with the compared columns."""
    sql = (
        f"SELECT {one.selected()} FROM {one.table} FINAL"
        f" WHERE {_place(one)} IN {{places:Array(String)}} AND {asked.where(one)}"
    )
    found = store.arrow(sql, asked.values(one, [place]))
    return found.rename_columns([name.removesuffix("_") for name in found.column_names])


def machines(store: Store, one: Compared, start: int, end: int) -> dict[str, tuple[int, int, int]]:
    """Rows (repeated ones repeatedly) of every machine, and the first and last instant [ms] of them."""
    sql = (
        f"SELECT machine, count(), {_MS}(min(`{one.at}`)), {_MS}(max(`{one.at}`)) FROM {one.table}"
        f" WHERE {_RANGE.format(at=f'`{one.at}`')} GROUP BY machine"
    )
    values = {"start": _instant(start), "end": _instant(end)}
    return {row[0]: (int(row[1]), int(row[2]), int(row[3])) for row in store.query(sql, values).result_rows}


def _place(one: Compared) -> str:
    return "machine" if one.place == "machine" else f"toString({one.place})"


def _parts(places: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(places), PLACES_AT_ONCE):
        yield places[at : at + PLACES_AT_ONCE]


def _instant(at: int) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(at // 1000, UTC):%Y-%m-%d %H:%M:%S}.{at % 1000:03d}"
