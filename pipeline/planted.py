"""What a simulator planted, held against the incidents: found, missed, and incidents about nothing planted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

NEAR_MS = 120_000  # an incident this close to a planted anomaly is about it
Row = dict[str, Any]


class Planted(NamedTuple):
    """An anomaly that a simulator put in; instants in ms, `value` its size in `unit` (0: flatline, gap)."""

    machine: str
    signal: str
    kind: str
    first: int
    last: int
    value: float = 0.0
    unit: str = ""


class Span(NamedTuple):
    """What of an incident says whether it is about a planted anomaly; instants in ms."""

    machine: str
    signals: frozenset[str]
    first: int
    last: int


@dataclass(frozen=True)
class Found:
    """Planted anomalies with the `incident` each has (None: missed), and the incidents about nothing planted.

    `recall`: share of the planted with an incident; `precision`: share of the incidents about something planted. None
    where there is nothing to divide by.
    """

    planted: list[Row]
    incidents: int
    unfounded: list[Row]
    recall: float | None
    precision: float | None

    @property
    def missed(self) -> list[Row]:
        return [row for row in self.planted if row["incident"] is None]

    def sentences(self) -> list[str]:
        """What it comes to, for somebody who did not build it."""
        put, got = len(self.planted), len(self.planted) - len(self.missed)
        if not put:
            return [f"The simulator planted no anomaly; incidents all the same: {self.incidents}."]
        kinds = sorted({row["kind"] for row in self.planted})
        counts = {kind: [row["incident"] is not None for row in self.planted if row["kind"] == kind] for kind in kinds}
        by_kind = ", ".join(f"{kind} {sum(hits)} of {len(hits)}" for kind, hits in counts.items())
        return [
            f"Found {got} of {put}: of {put} anomalies that the simulator put into the signals, {got} led to an"
            f" incident ({by_kind}).",
            f"False alarms: {len(self.unfounded)} of {self.incidents} incidents are about nothing that was put in.",
        ]


def read(folder: Path) -> list[Planted]:
    """What `openoee simulate --truth` says it planted: anomalies.parquet in its folder. Raises UsageError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from pipeline.errors import UsageError

    path = folder / "anomalies.parquet"
    if not path.is_file():
        raise UsageError(f"{path} is not there: name the folder that `openoee simulate --truth` wrote")
    table = pq.read_table(path)
    names = [name for name in Planted._fields if name in table.column_names]
    columns = [table.column(name) for name in names]
    plain = [column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column for column in columns]
    cells = zip(*(column.to_pylist() for column in plain), strict=True)
    return [Planted(**dict(zip(names, row, strict=True))) for row in cells]


def known_until(folder: Path) -> int:
    """The end (ms) of the last window whose truth `openoee simulate --truth` wrote; what came later is not in there."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    ends = pq.read_table(folder / "oee_facts.parquet", columns=["window_end"]).column("window_end")
    last: datetime = pc.max(ends).as_py()
    return round(last.timestamp() * 1000)


def pairs(put_in: Sequence[Planted], spans: Sequence[Span]) -> list[list[int]]:
    """For each planted anomaly the numbers of the incidents about it: of its machine, with its signal among theirs, and
    not more than two minutes before or after it."""
    return [
        [
            number for number, span in enumerate(spans)
            if span.machine == one.machine and one.signal in span.signals
            and span.first <= one.last + NEAR_MS and span.last >= one.first - NEAR_MS
        ]
        for one in put_in
    ]  # fmt: skip


def compare(put_in: Iterable[Planted], incidents: Sequence[Row]) -> Found:
    """Planted anomalies against rows of the question `incidents`; the missed ones first, then by time."""
    planted = list(put_in)
    near = pairs(planted, [_span(row) for row in incidents])
    about = {number for numbers in near for number in numbers}
    rows = [
        _row(one, incidents[numbers[0]]["id"] if numbers else None) for one, numbers in zip(planted, near, strict=True)
    ]
    hit = sum(bool(numbers) for numbers in near)
    return Found(
        sorted(rows, key=lambda row: (row["incident"] is not None, row["first"], row["machine"])),
        len(incidents),
        [row for number, row in enumerate(incidents) if number not in about],
        hit / len(planted) if planted else None,
        len(about) / len(incidents) if incidents else None,
    )


def _span(row: Row) -> Span:
    at: datetime = row["first"]
    first = round((at.replace(tzinfo=UTC) if at.tzinfo is None else at).timestamp() * 1000)
    return Span(row["machine"], frozenset(row["signals"]), first, first + round(row["minutes"] * 60_000))


def _row(one: Planted, incident: str | None) -> Row:
    first, last = (datetime.fromtimestamp(at / 1000, UTC) for at in (one.first, one.last))
    return {**one._asdict(), "first": first, "last": last, "what": what(one), "incident": incident}


def what(one: Planted) -> str:
    """What was done to the signal, in words."""
    seconds = (one.last - one.first) / 1000
    lasting = f"{seconds / 60:.0f} min" if seconds >= 90 else f"{max(1, round(seconds))} s"
    by = f"{one.value:+.4g} {one.unit}".rstrip()
    said = {
        "spike": f"jumped by {by} for {lasting}",
        "shift": f"off by {by} for {lasting}",
        "drift": f"crept away, by {by} after {lasting}",
        "flatline": f"stood still for {lasting}",
        "gap": f"sent nothing for {lasting}",
    }
    return said.get(one.kind, f"{one.kind} of {by} for {lasting}")
