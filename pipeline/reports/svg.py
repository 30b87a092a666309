"""Bars as SVG text: as much of a plot as a report needs, without a library or a script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

NAME, WIDTH, VALUE, ROW = 240, 600, 130, 24  # pixels of the name, of the longest bar, of the value, of a row's height
STRONG, LIGHT = "#2a6f97", "#e09f3e"


class Bar(NamedTuple):
    """One bar, its length in the unit of all; `strong`: what is left rather than what is lost."""

    name: str
    length: float
    text: str
    strong: bool


def bars(rows: Sequence[Bar], longest: float | None = None) -> str:
    """An SVG of horizontal bars below each other; `longest`: the value that fills the width, else the greatest."""
    if not rows:
        return "<p>none</p>"
    top = max(longest or 0.0, *(row.length for row in rows), 1e-9)
    out = []
    for number, row in enumerate(rows):
        y, width = number * ROW, WIDTH * max(0.0, row.length) / top
        name = row.name if len(row.name) <= 32 else row.name[:31] + "…"
        out.append(
            f'<text x="{NAME - 8}" y="{y + 16}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{NAME}" y="{y + 4}" width="{width:.1f}" height="{ROW - 8}" rx="2"'
            f' fill="{STRONG if row.strong else LIGHT}"/>'
            f'<text x="{NAME + width + 6:.1f}" y="{y + 16}">{escape(row.text)}</text>'
        )
    box = f"0 0 {NAME + WIDTH + VALUE} {len(rows) * ROW + 4}"
    return f'<svg viewBox="{box}" role="img" font-size="13" fill="#1c2430">{"".join(out)}</svg>'
