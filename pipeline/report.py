"""The report of a site: OEE of machines and lines, losses, anomalies, rows; as tables or JSON."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from typing import IO, TYPE_CHECKING, Any, cast

from pipeline.errors import UsageError
from pipeline.planted import Found, Planted, Row, compare
from pipeline.queries import ask
from pipeline.store.client import Store

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

TOP = 8
BAR = 40  # characters of the longest bar
FLAGS = 10_000


@dataclass(frozen=True)
class Report:
    """Figures of one site in [start, end) (UTC). Ratios are 0 to 1, None where they are not defined."""

    site: str
    start: datetime
    end: datetime
    machines: list[Row]
    lines: list[Row]
    total: Row
    waterfall: list[Row]
    losses: list[Row]
    anomalies: list[Row]
    rows: dict[str, int]
    found: Found | None = None
    incidents: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def gather(
    store: Store, site: str = "", start_ms: int | None = None, end_ms: int | None = None,
    put_in: Iterable[Planted] | None = None,
) -> Report:  # fmt: skip
    """Ask the store. Without `site`: the one that was heard of last; without times: all that is known of it.
    `put_in`: anomalies that a simulator planted, to be held against the incidents.

    Raises UsageError when nothing is known of the site, StoreUnavailable, StoreRefused.
    """
    sites = ask(store, "seen").dicts()
    seen = next((row for row in sites if site in ("", row["site"])), None)
    if seen is None:
        known = ", ".join(row["site"] for row in sites) or "none"
        raise UsageError(f"the store knows nothing of site {site!r}; sites: {known}")
    site = seen["site"]
    start = _utc(seen["first"]) if start_ms is None else datetime.fromtimestamp(start_ms / 1000, UTC)
    end = _utc(seen["last"]) if end_ms is None else datetime.fromtimestamp(end_ms / 1000, UTC)
    here = {"site": site, "start": start.isoformat(), "end": end.isoformat()}
    flags = ask(store, "anomalies", {**here, "limit": str(FLAGS)}).dicts()
    total = ask(store, "sites", here).dicts()
    incidents = ask(store, "incidents", {**here, "limit": str(FLAGS)}).dicts()
    return Report(
        site, start, end,
        machines=ask(store, "machines", here).dicts(),
        lines=ask(store, "lines", here).dicts(),
        total=total[0] if total else {},
        waterfall=ask(store, "waterfall", here).dicts(),
        losses=ask(store, "downtime", {**here, "limit": str(TOP)}).dicts(),
        anomalies=flags,
        rows={row["table"]: row["rows"] for row in ask(store, "rows", {"site": site}).dicts()},
        incidents=incidents,
        found=None if put_in is None else compare(_within(put_in, start, end), incidents),
    )  # fmt: skip


def _within(put_in: Iterable[Planted], start: datetime, end: datetime) -> list[Planted]:
    """Those that lie in [start, end) at all; of the others the report shows no incident either."""
    first, last = round(start.timestamp() * 1000), round(end.timestamp() * 1000)
    return [one for one in put_in if one.first < last and one.last >= first]


def as_json(report: Report) -> str:
    """The whole report as one JSON object."""
    return document(asdict(report))


def document(told: Any) -> str:
    """One JSON document: cells as `plain` has them, null for what is no number, text for what JSON does not know."""
    import json

    return json.dumps(_known_to_json(told), ensure_ascii=False, indent=1, allow_nan=False)


def _known_to_json(told: Any) -> Any:
    if isinstance(told, dict):
        return {str(plain(key)): _known_to_json(cell) for key, cell in told.items()}
    if isinstance(told, (list, tuple, set, frozenset)):
        return [_known_to_json(cell) for cell in told]
    if isinstance(told, float):
        return told if math.isfinite(told) else None
    return told if told is None or isinstance(told, (str, int)) else str(plain(told))


def plain(cell: Any) -> Any:
    """A cell as people and JSON write it: times in ISO 8601, UTC."""
    if isinstance(cell, datetime):
        return _utc(cell).isoformat(timespec="milliseconds" if cell.microsecond else "seconds").replace("+00:00", "Z")
    if isinstance(cell, date):
        return cell.isoformat()
    if isinstance(cell, bytes):
        return cell.hex()
    return cell


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


# For people


def console() -> Console:
    """A console that is as wide as it needs to be when its output is piped."""
    from rich.console import Console

    found = Console(highlight=False)
    if found.is_terminal:
        return found
    return Console(highlight=False, width=240, color_system=None, file=cast("IO[str]", _Bare(sys.stdout)))


class _Bare:
    """Standard output without the blanks that tables end their lines with."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out

    def write(self, text: str) -> int:
        return self._out.write("\n".join(line.rstrip() for line in text.split("\n")))

    def flush(self) -> None:
        self._out.flush()


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str | None = None) -> Table:
    """A table; numbers to the right."""
    from rich import box
    from rich.table import Table

    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, name in enumerate(columns):
        cells = [row[number] for row in rows]
        right = any(isinstance(cell, int | float) or (isinstance(cell, str) and cell.endswith(" %")) for cell in cells)
        made.add_column(name, justify="right" if right else "left", no_wrap=right)
    for row in rows:
        made.add_row(*("" if cell is None else str(cell) for cell in row))
    return made


def render(report: Report, out: Console) -> None:
    """Print the report."""
    stretch = f"{report.start:%Y-%m-%d %H:%M} to {report.end:%Y-%m-%d %H:%M} UTC"
    out.print(f"Site {report.site}, {stretch}", style="bold", markup=False)
    head = ("machine", "OEE", "A", "P", "Q", "coverage", "parts", "good")
    rows = [[row["machine"], *_ratios(row), row["total"], row["good"]] for row in report.machines]
    if report.total:
        rows.append(["all machines", *_ratios(report.total), report.total["total"], report.total["good"]])
    out.print(table(head, rows, "Machines"))
    if report.lines:
        out.print(table(
            ("line", "OEE", "coverage", "held back by", "its A", "its P", "its Q", "starved/blocked min", "good"),
            [[row["line"], _percent(row["oee"], row["oee_null"]), _percent(row["coverage"]), row["constraint_machine"],
              _percent(row["constraint_a"]), _percent(row["constraint_p"]), _percent(row["constraint_q"]),
              row["starved_blocked_min"], row["good"]] for row in report.lines],
            "Lines (good parts at the exit, at the pace of the slowest station)",
        ))  # fmt: skip
    _render_losses(report, out)
    _render_incidents(report, out)
    _render_anomalies(report, out)
    if report.found is not None:
        _render_planted(report.found, out)
    counts = ", ".join(f"{count:,} {name}" for name, count in report.rows.items() if count)
    out.print(f"Rows in the store: {counts}", markup=False)
    for note in report.notes:
        out.print(note, markup=False)


def _render_losses(report: Report, out: Console) -> None:
    largest = max((abs(row["minutes"]) for row in report.waterfall), default=0) or 1
    steps = [
        [row["step"] if row["is_total"] else f"  {row['step']}", f"{row['minutes']:,.1f}",
         _percent((row["percent_of_planned"] or 0) / 100), row["loss"], _bar(row, largest)]
        for row in report.waterfall
    ]  # fmt: skip
    head = ("all machines", "min", "of planned", "big loss", "")
    out.print(table(head, steps, "Where the time went (waterfall)"))
    stops = [
        [row["by_time"], row["state"] + (" (micro)" if row["micro"] else ""), row["reason_name"], row["loss"],
         row["minutes"], _percent(row["share"]), _percent(row["cumulative_share"]), row["stops"], row["by_count"],
         row["longest_min"], row["longest_machine"]]
        for row in report.losses
    ]  # fmt: skip
    pareto = ("by time", "state", "reason", "big loss", "min", "share", "together", "stops", "by count", "longest min",
              "longest on")  # fmt: skip
    out.print(table(pareto, stops, "Downtime (Pareto)"))


def _bar(row: Row, largest: float) -> str:
    """A bar as long as the step's share of all time; what is lost is lighter than what is left."""
    width: int = round(BAR * abs(row["minutes"]) / largest)
    return ("█" if row["is_total"] else "▒") * width


def _render_incidents(report: Report, out: Console) -> None:
    rows = [
        [row["severity"], row["status"] + (" (muted)" if row["muted"] else " (seen)" if row["acknowledged"] else ""),
         f"{_utc(row['first']):%Y-%m-%d %H:%M:%S}", row["machine"], ", ".join(row["signals"]), row["minutes"],
         row["lost_minutes"], row["lost_parts"], row["message"]]
        for row in report.incidents[:TOP]
    ]  # fmt: skip
    head = ("severity", "state", "since", "machine", "signals", "min", "lost min", "lost parts", "what")
    title = f"Incidents: {len(report.incidents)} of {len(report.anomalies)} flags"
    _print(out, head, rows, title + (", the worst:" if len(report.incidents) > TOP else ""))


def _render_anomalies(report: Report, out: Console) -> None:
    rows = [
        [f"{_utc(row['first']):%H:%M:%S}", row["machine"], row["signal"], row["kind"], row["score"], row["message"]]
        for row in report.anomalies[:TOP]
    ]
    title = f"Anomalies: {len(report.anomalies)} flags" + (", the latest:" if len(report.anomalies) > TOP else "")
    _print(out, ("first", "machine", "signal", "kind", "score", "what"), rows, title)


def _print(out: Console, head: Sequence[str], rows: Sequence[Sequence[Any]], title: str) -> None:
    """A table, or its title alone where it has no row."""
    if rows:
        out.print(table(head, rows, title))
    else:
        out.print(title + "\n", style="bold", markup=False)


def _render_planted(found: Found, out: Console) -> None:
    for sentence in found.sentences():
        out.print(sentence, style="bold", markup=False)
    rows = [
        [
            f"{row['first']:%H:%M:%S}",
            row["machine"],
            row["signal"],
            row["kind"],
            row["what"],
            row["incident"] or "MISSED",
        ]
        for row in found.planted
    ]
    out.print(table(("at", "machine", "signal", "kind", "what the simulator did", "incident"), rows))
    if found.unfounded:
        wrong = [
            [f"{_utc(row['first']):%H:%M:%S}", row["machine"], ", ".join(row["signals"]), ", ".join(row["kinds"]),
             row["severity"], row["message"]]
            for row in found.unfounded[:TOP]
        ]  # fmt: skip
        head = ("at", "machine", "signals", "kinds", "severity", "what")
        out.print(table(head, wrong, "Incidents about nothing that the simulator put in"))


def _ratios(row: Row) -> list[str]:
    return [_percent(row["oee"], row["oee_null"]), *(_percent(row[name]) for name in ("a", "p", "q", "coverage"))]


def _percent(ratio: float | None, why: str = "") -> str:
    return f"{100 * ratio:.1f} %" if ratio is not None else why.replace("_", " ") or "-"
