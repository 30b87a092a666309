"""The sentences of flags that look at more than a signal's level, for a maintenance person."""

from __future__ import annotations

from pipeline.core.stretches import Key, Stretch
from pipeline.core.words import clock, number, span, with_unit

RULES = (
    "a point beyond 3 sigma",
    "nine in a row on one side of the centre",
    "six in a row rising or falling",
    "fourteen in a row going up and down",
    "two of three beyond 2 sigma",
    "four of five beyond 1 sigma",
    "fifteen in a row within 1 sigma",
    "eight in a row beyond 1 sigma on both sides",
    "eight in a row on one side of the centre",
)


def sentence(key: Key, stretch: Stretch, unit: str = "") -> str:
    """What is wrong, where, since when, and what is usual."""
    if key.kind == "spc":
        return _chart(key.signal, stretch, unit)
    if key.kind == "relation":
        return _relation(key.signal, stretch, unit)
    if key.kind == "gap":
        return _silent(key.signal, stretch)
    return _cycle(key.what, stretch)


def _silent(signal: str, stretch: Stretch) -> str:
    ran, longest = stretch.notes
    never = f"it never kept silent for more than {span(longest)} of running" if longest else "it never paused before"
    return (
        f"{signal} fell silent {_where(stretch)}, since {clock(stretch.first)}: the machine has run {span(ran)} "
        f"without a word of it; {never}."
    )


def _chart(signal: str, stretch: Stretch, unit: str) -> str:
    rules = [f"{words} (rule {k})" for k, words in _rules(stretch.notes)]
    band = f"{number(stretch.low)} to {with_unit(number(stretch.high), unit)}"
    worst = with_unit(number(stretch.value), unit)
    return (
        f"{signal} is out of statistical control {_where(stretch)}, {_since(stretch)}: {', '.join(rules)}; "
        f"at worst {worst}, the chart's limits are {band}."
    )


def _rules(notes: list[object]) -> list[tuple[int, str]]:
    bits = int(str(notes[0]))
    found = [(k + 1, words) for k, words in enumerate(RULES[:8]) if bits >> k & 1]
    if not notes[1]:
        return found
    numbers = {1: 1, 5: 2, 6: 3}
    return [(numbers[k], words) for k, words in found] + [(4, RULES[8])] * (bits >> 8 & 1)


def _relation(signal: str, stretch: Stretch, unit: str) -> str:
    others, along = stretch.notes[0], stretch.notes[1]
    band = f"{number(stretch.low)} to {with_unit(number(stretch.high), unit)}"
    besides = f"; {_listed(along)} {'does' if len(along) == 1 else 'do'} not fit either" if along else ""
    return (
        f"{signal} does not fit {_listed(others) if others else 'the other signals'} any more {_where(stretch)}, "
        f"{_since(stretch)}: it is about {with_unit(number(stretch.value), unit)}, with the others as they are "
        f"{band} is usual{besides}."
    )


def _cycle(what: str, stretch: Stretch) -> str:
    value, expected = stretch.value or 0.0, stretch.expected or 0.0
    if what == "parts":
        return (
            f"{number(value)} parts were counted {_where(stretch)}, {_since(stretch)}: the counter counts what was "
            "not made, or the machine runs and does not say so."
        )
    if what == "run":
        return (
            f"The machine has run {span(int(1000 * value))} without a part {_where(stretch)}, since "
            f"{clock(stretch.first)}; usual is one count in {number(expected)} s of running."
        )
    speed = "slower" if what == "slow" else "faster"
    percent = abs(value / expected - 1.0) * 100.0 if expected else 0.0
    return (
        f"Cycles are {percent:.0f} % {speed} than usual {_where(stretch)}, {_since(stretch)}: {number(value)} s a "
        f"part while running; usual is {number(stretch.low)} to {number(stretch.high)} s."
    )


def _where(stretch: Stretch) -> str:
    on = f" on {stretch.product}" if stretch.product and stretch.state == "running" else ""
    return f"while {stretch.state or 'in an unknown state'}{on}"


def _since(stretch: Stretch) -> str:
    lasted = stretch.last - stretch.first
    return f"since {clock(stretch.first)}" + (f" (for {span(lasted)})" if lasted > 0 else "")


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
