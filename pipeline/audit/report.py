"""What an audit found: its checks, the first differences, the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

PASS, MISMATCH, UNVERIFIED = "PASS", "MISMATCH", "UNVERIFIED"
EXIT_CODES = {PASS: 0, MISMATCH: 1, UNVERIFIED: 3}
TIMES = {
    "ts", "window_start", "window_end", "segment_start", "segment_end", "known_at", "start", "end", "stop", "first",
    "last", "arrived",
}  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """One row that is not as the source has it. A whole row missing or too much has no column.

    `text` says what is not told by a row of either side.
    """

    check: str
    key: dict[str, Any]
    column: str
    source: Any
    store: Any
    text: str = ""

    def __str__(self) -> str:
        where = ", ".join(f"{name} {told(name, value)}" for name, value in self.key.items())
        if self.text:
            return f"{self.check}: {where}: {self.text}"
        if not self.column:
            return f"{self.check}: {where}: {self.source} in the source, {self.store} in the store"
        source, store = told(self.column, self.source), told(self.column, self.store)
        return f"{self.check}: {where}: {self.column} is {source} by the source, {store} in the store"


@dataclass
class Check:
    """One comparison: rows of the source that were compared, differences, what could not be said and why.

    `more`: there may be more differences than these, for nobody looked on.
    """

    name: str
    rows: int = 0
    differences: list[Difference] = field(default_factory=list)
    unverified: list[str] = field(default_factory=list)
    said: str = ""
    more: bool = False

    @property
    def verdict(self) -> str:
        return MISMATCH if self.differences else UNVERIFIED if self.unverified else PASS


@dataclass
class Report:
    """All checks; `positions` are the partitions as they were found."""

    checks: list[Check] = field(default_factory=list)
    positions: Sequence[Any] = ()

    @property
    def verdict(self) -> str:
        found = {check.verdict for check in self.checks}
        return next((word for word in (MISMATCH, UNVERIFIED) if word in found), PASS if found else UNVERIFIED)

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.verdict]

    def as_dict(self) -> dict[str, Any]:
        """For programs; instants in ms."""
        return {
            "verdict": self.verdict,
            "checks": [{"verdict": check.verdict, **asdict(check)} for check in self.checks],
            "positions": [asdict(position) for position in self.positions],
        }

    def lines(self) -> Iterator[str]:
        """For people: a line per check, the differences, the verdict."""
        yield f"{'check':<14}{'rows':>14}{'differ':>9}  verdict"
        for check in self.checks:
            said = f"  {check.said}" if check.said else ""
            differ = f"{len(check.differences):,}{'+' if check.more else ''}"
            yield f"{check.name:<14}{check.rows:>14,}{differ:>9}  {check.verdict:<10}{said}".rstrip()
        yield ""
        for check in self.checks:
            yield from (f"differs     {difference}" for difference in check.differences)
        for check in self.checks:
            yield from (f"unverified  {check.name}: {reason}" for reason in check.unverified)
        yield self.verdict


def told(name: str, value: Any) -> str:
    """A value for people: instants in UTC."""
    if name in TIMES and isinstance(value, int):
        at = datetime.fromtimestamp(value // 1000, UTC)
        return f"{at:%Y-%m-%dT%H:%M:%S}.{value % 1000:03d}Z" if value % 1000 else f"{at:%Y-%m-%dT%H:%M:%SZ}"
    return repr(value) if isinstance(value, str) and (not value or " " in value) else str(value)
