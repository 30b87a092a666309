"""The book of faults: one entry for each, how it is tried, and what a round of it found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

PASS, FAIL, UNVERIFIED = "PASS", "FAIL", "UNVERIFIED"
Try = Callable[[Any], None]


class NotSeen(Exception):
    """The fault did not happen, or the surroundings failed: the round shows nothing."""


class Wrong(Exception):
    """What must be true after the fault is not true."""


@dataclass(frozen=True)
class Fault:
    """One row: `rounds` tries of `run` must pass; `control`, the same with a guard taken out, must be found out."""

    number: int
    text: str
    run: Try
    rounds: int
    control: Try | None
    quick: bool
    place: str
    settings: dict[str, str | int | float]

    @property
    def name(self) -> str:
        return self.run.__name__


@dataclass
class Outcome:
    """What one round of a fault found; `seen` is the evidence that it happened, `wrong` what differs."""

    number: int
    name: str
    seed: int
    verdict: str
    seconds: float
    seen: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    control: bool = False


BOOK: list[Fault] = []


def fault(
    number: int,
    text: str,
    rounds: int = 1,
    control: Try | None = None,
    quick: bool = False,
    place: str = "one",
    **settings: str | int | float,
) -> Callable[[Try], Try]:
    """Enter a function as the trial of a fault. `quick`: it is run by `make test` too. `settings`: of its line."""

    def enter(run: Try) -> Try:
        BOOK.append(Fault(number, text, run, rounds, control, quick, place, settings))
        return run

    return enter


def table(outcomes: Sequence[Outcome]) -> str:
    """What docs/reliability.md shows: per fault its rounds, those that passed, seeds, and what was seen last."""
    lines = ["| # | fault | rounds | passed | seeds | what happened | control |", "|---|---|---|---|---|---|---|"]
    for one in sorted(BOOK, key=lambda one: one.number):
        mine = [found for found in outcomes if found.name == one.name]
        rounds = [found for found in mine if not found.control]
        if not mine:
            continue
        passed = sum(found.verdict == PASS for found in rounds)
        shown = next((found for found in rounds if found.verdict != PASS), rounds[-1] if rounds else mine[-1])
        verdict = "" if shown.verdict == PASS else f"**{shown.verdict}** "
        happened = verdict + "; ".join([*shown.seen, *shown.wrong[:1]])
        controls = [found for found in mine if found.control]
        caught = (
            f"found out: {controls[-1].wrong[0]}" if controls and controls[-1].verdict == FAIL else "**not found out**"
        )
        seeds = f"{rounds[0].seed}-{rounds[-1].seed}" if len(rounds) > 1 else str(shown.seed)
        cells = (one.number, one.text, len(rounds), passed, seeds, happened, caught if controls else "")
        lines.append("| " + " | ".join(str(cell).replace("|", "/") for cell in cells) + " |")
    return "\n".join(lines)
