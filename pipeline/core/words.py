"""How a flag says a number, an instant and a length of time to a person."""

from __future__ import annotations

from datetime import UTC, datetime


def number(value: float | None) -> str:
    """Four digits; large numbers whole."""
    return "nothing" if value is None else f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def with_unit(text: str, unit: str) -> str:
    """A number with its unit, where it has one."""
    return f"{text} {unit}" if unit else text


def clock(at: int) -> str:
    """An instant in ms, to the second."""
    return datetime.fromtimestamp(at // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def span(ms: int) -> str:
    """A duration in ms, as people say it."""
    seconds = ms // 1000
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h {seconds % 3600 // 60} min"
