"""A report as one HTML page: no script, no font, no picture from elsewhere; plots are SVG within it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from pipeline.planted import Found, Row
from pipeline.report import Report, plain
from pipeline.reports import svg

STYLE = """
body{font:15px/1.45 system-ui,sans-serif;color:#1c2430;max-width:1060px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}p{color:#5a6675;margin:.2rem 0}
table{border-collapse:collapse;width:100%}th,td{padding:.3rem .6rem;border-bottom:1px solid #e2e6ea;text-align:left}
th{font-weight:600;color:#5a6675}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
svg{width:100%;height:auto}@media print{body{margin:0}h2{break-after:avoid}}
"""
KEY = ("machine", "OEE", "A", "P", "Q", "coverage", "parts", "good")


def as_html(report: Report) -> str:
    """The page. Every text of the data is escaped; times are UTC."""
    stretch = f"{report.start:%Y-%m-%d %H:%M} to {report.end:%Y-%m-%d %H:%M} UTC"
    body = [f"<h1>Site {escape(report.site)}</h1><p>{stretch}</p>"]
    body += ["<h2>OEE of machines</h2>", svg.bars([_bar(row) for row in report.machines], 1.0)]
    rows = [_machine(row["machine"], row) for row in report.machines]
    if report.total:
        rows.append(_machine("all machines", report.total))
    body.append(_table(KEY, rows))
    if report.lines:
        body += ["<h2>Lines</h2>", _table(
            ("line", "OEE", "coverage", "held back by", "its A", "its P", "its Q", "good"),
            [(row["line"], _percent(row["oee"], row["oee_null"]), _percent(row["coverage"]), row["constraint_machine"],
              _percent(row["constraint_a"]), _percent(row["constraint_p"]), _percent(row["constraint_q"]), row["good"])
             for row in report.lines],
        )]  # fmt: skip
    steps = [svg.Bar(row["step"], abs(row["minutes"]), f"{row['minutes']:,.0f} min", bool(row["is_total"]))
             for row in report.waterfall]  # fmt: skip
    body += ["<h2>Where the time went</h2>", svg.bars(steps)]
    body += ["<h2>Downtime, by time</h2>", svg.bars([_stop(row) for row in report.losses])]
    body.append(_table(
        ("state", "reason", "big loss", "minutes", "share", "stops", "longest, min", "longest on"),
        [(row["state"], row["reason_name"], row["loss"], row["minutes"], _percent(row["share"]), row["stops"],
          row["longest_min"], row["longest_machine"]) for row in report.losses],
    ))  # fmt: skip
    body += _incidents(report)
    if report.found is not None:
        body += _planted(report.found)
    body += [f"<h2>Anomalies: {len(report.anomalies)} flags</h2>", _table(
        ("first", "machine", "signal", "kind", "score", "what"),
        [(plain(row["first"]), row["machine"], row["signal"], row["kind"], row["score"], row["message"])
         for row in report.anomalies[:50]],
    )]  # fmt: skip
    body += [f"<p>{escape(note)}</p>" for note in report.notes]
    title = f"{escape(report.site)}, {stretch}"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def _incidents(report: Report) -> list[str]:
    return [f"<h2>Incidents: {len(report.incidents)} of {len(report.anomalies)} flags</h2>", _table(
        ("severity", "state", "since", "machine", "signals", "minutes", "lost min", "lost parts", "what"),
        [(row["severity"], row["status"], plain(row["first"]), row["machine"], ", ".join(row["signals"]),
          row["minutes"], row["lost_minutes"], row["lost_parts"], row["message"]) for row in report.incidents[:50]],
    )]  # fmt: skip


def _planted(found: Found) -> list[str]:
    """What a simulator put in, and the incidents about nothing of it."""
    said = [f"<h2>Put in by the simulator</h2>{''.join(f'<p>{escape(text)}</p>' for text in found.sentences())}"]
    said.append(_table(
        ("at", "machine", "signal", "kind", "what the simulator did", "incident"),
        [(plain(row["first"]), row["machine"], row["signal"], row["kind"], row["what"], row["incident"] or "MISSED")
         for row in found.planted],
    ))  # fmt: skip
    if found.unfounded:
        said += ["<p>About nothing that was put in:</p>", _table(
            ("since", "machine", "signals", "kinds", "severity", "what"),
            [(plain(row["first"]), row["machine"], ", ".join(row["signals"]), ", ".join(row["kinds"]), row["severity"],
              row["message"]) for row in found.unfounded],
        )]  # fmt: skip
    return said


def _machine(name: str, row: Row) -> tuple[Any, ...]:
    ratios = (_percent(row[key]) for key in ("a", "p", "q", "coverage"))
    return (name, _percent(row["oee"], row["oee_null"]), *ratios, row["total"], row["good"])


def _bar(row: Row) -> svg.Bar:
    return svg.Bar(row["machine"], row["oee"] or 0.0, _percent(row["oee"], row["oee_null"]), True)


def _stop(row: Row) -> svg.Bar:
    name = row["reason_name"] or row["state"]
    return svg.Bar(name + (" (micro)" if row["micro"] else ""), row["minutes"], f"{row['minutes']:,.1f} min", False)


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    if not rows:
        return "<p>none</p>"
    right = [any(_is_figure(row[place]) for row in rows) for place in range(len(head))]
    mark = ['<{0} class="n">' if one else "<{0}>" for one in right]
    lines = ["".join(f"{mark[at].format('th')}{escape(name)}</th>" for at, name in enumerate(head))]
    for row in rows:
        cells = ("" if cell is None else escape(str(cell)) for cell in row)
        lines.append("".join(f"{mark[at].format('td')}{cell}</td>" for at, cell in enumerate(cells)))
    return "<table>" + "".join(f"<tr>{line}</tr>\n" for line in lines) + "</table>"


def _is_figure(cell: Any) -> bool:
    return isinstance(cell, int | float) or (isinstance(cell, str) and cell.endswith(" %"))


def _percent(ratio: float | None, why: str = "") -> str:
    return f"{100 * ratio:.1f} %" if ratio is not None else why.replace("_", " ") or "-"
