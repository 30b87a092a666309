"""How a flag says a number, an instant and a length of time to a person."""

from __future__ import annotations

from datetime import UTC, datetime


def number(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def with_unit(text: str, unit: str) -> str:
    return f"{text} {unit}" if unit else text


def clock(at: int) -> str:
    return datetime.fromtimestamp(at // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def span(ms: int) -> str:
    seconds = ms // 1000
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h {seconds % 3600 // 60} min"
