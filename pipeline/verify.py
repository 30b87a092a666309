"""Worked OEE cases through the engine, and where it differs from them (the format is in docs/oee-cases.md)."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.cases import Case, CaseFile, Window, factory, records, window_ms, windows
from pipeline.core.model import FACTS, Emitted, MachineConfig, OeeFact, Record
from pipeline.core.oee import NOT_IN_FACTORY, line_ideal_us, line_oee, ratios, summed, why_null
from pipeline.core.settings import EngineSettings
from pipeline.errors import FactoryFileError, UsageError
from pipeline.replay import current, run

TOLERANCE = 5e-6
OTHER_ORDERS = 20
SUSPECT, UNEXPLAINED = "ideal_rate_suspect", "count_without_runtime"  # said of a window, not of a row
DAY = 86_400_000
PERMISSIVE = EngineSettings(lateness_ms=2 * DAY, retention_ms=40 * DAY, max_future_ms=40 * DAY, provisional_ms=1 << 60)


@dataclass(frozen=True)
class Difference:
    """One figure of one case that is not what the case expects."""

    case: str
    where: str
    column: str
    expected: Any
    got: Any

    def __str__(self) -> str:
        return f"{self.case}, {self.where}: {self.column} expected {self.expected}, got {self.got}"


@dataclass
class Result:
    """What became of a case. `unverified`: windows about which nothing could be asked."""

    case: str
    differences: list[Difference] = field(default_factory=list)
    unverified: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.differences and not self.unverified


@dataclass(frozen=True)
class Played:
    """An event case that went through the engine: what it was told, and every row that it gave."""

    case: Case
    configs: Mapping[str, MachineConfig]
    windows: Sequence[Window]
    log: Sequence[Record]
    emitted: Emitted


def verify(file: CaseFile) -> Iterator[Result]:
    """The result of every case. Raises UsageError for a case that cannot be read."""
    for case in file.aggregate:
        facts = summed(aggregate_rows(case, case["id"]))
        figures = {**facts, **ratios(facts), "oee_null": why_null(facts)}
        yield Result(case["id"], list(compare(case, "aggregate", figures, case["expect"])))
    for case in file.events:
        yield _events(case)


def aggregate_rows(case: Case, machine: str, site: str = "", start: int = 0) -> list[OeeFact]:
    """Facts with the sums of an aggregate case: one row with its times, one for the parts of each product.

    All times are in one unit, whichever: they are taken as seconds.
    """
    parts, day = case["parts"], start // DAY
    rows = [
        OeeFact(machine, site, "", "", at, at + 60_000, at, at + 60_000, "", day, day, product, "", known_at=at)
        for at, product in ((start + 60_000 * place, f"{place or ''}") for place in range(len(parts) + 1))
    ]
    first = rows[0]
    first.pbt_ms, first.apt_ms = round(case["pbt"] * 1000), round(case["run"] * 1000)
    first.t_ms = round(case.get("t", case["pbt"]) * 1000)
    first.nonwork_ms, first.adet_ms = first.t_ms - first.pbt_ms, first.pbt_ms - first.apt_ms
    for row, (ict, total, good) in zip(rows[1:], parts, strict=True):
        row.total, row.good, row.reject = total, good, total - good
        row.ideal_total_us, row.ideal_good_us = (round(ict * 1e6 * count) for count in (row.total, row.good))
    return rows


def play(case: Case, events: Sequence[Case], site: str = "case", prefix: str = "") -> Played:
    """Let the engine fold a case. Raises FactoryFileError when its factory file is refused, UsageError."""
    try:
        configs = factory(case, site, prefix).machines
        found = windows(case, configs, prefix)
        log = list(records(case, configs, found, events, prefix))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{case['id']}: this case makes no sense ({error!r}); see docs/oee-cases.md") from None
    settings = replace(PERMISSIVE, window_ms=window_ms(found))
    return Played(case, configs, found, log, run(log, settings))


def refused(case: Case) -> Iterator[Difference]:
    """Whether a case that has to be refused is refused, with the words that it asks for."""
    try:
        factory(case)
    except FactoryFileError as error:
        if case["refused"] not in str(error):
            yield Difference(case["id"], "loading", "refused", case["refused"], str(error))
    else:
        yield Difference(case["id"], "loading", "refused", case["refused"], "loaded")


def cuts_rows(window: Window, length: int) -> str:
    """Why rows of this length cannot say anything about a window; empty when they can."""
    if window.start % length or window.end % length:
        return f"{window}: its borders lie within a second, the shortest row that there is"
    return ""


def _events(case: Case) -> Result:
    result = Result(case["id"])
    if "refused" in case:
        result.differences.extend(refused(case))
        return result
    orders = [list(case["events"])]
    if case.get("shuffle"):
        orders += [random.Random(seed).sample(orders[0], len(orders[0])) for seed in range(OTHER_ORDERS)]
    for events in orders:
        try:
            played = play(case, events)
        except FactoryFileError as error:
            result.differences.append(Difference(case["id"], "loading", "refused", "nothing", str(error)))
            return result
        rows, length = current(played.emitted.facts), window_ms(played.windows)
        result.unverified = [why for window in played.windows if (why := cuts_rows(window, length))]
        for window in played.windows:
            if not cuts_rows(window, length):
                result.differences.extend(_window(played, rows, window))
        if result.differences:
            result.differences.extend(left_out(played))
            break
    return result


def left_out(played: Played) -> Iterator[Difference]:
    """What the engine did not take, where a case fails: mostly it is a slip of the pen."""
    for letter in played.emitted.dead_letters:
        yield Difference(played.case["id"], "the log", "entries left out", "none", f"{letter.reason}, {letter.detail}")


def _window(played: Played, rows: Sequence[OeeFact], window: Window) -> Iterator[Difference]:
    if window.line:
        figures, flags = _line(played, rows, window), set[str]()
    else:
        inside = list(_inside(rows, window))
        facts, flags = summed(inside), {flag for row in inside for flag in row.flags}
        config = played.configs.get(window.machine, MachineConfig())
        figures = {**facts, **ratios(facts, config.profile, config.unknown_as), "oee_null": why_null(facts, flags)}
        if NOT_IN_FACTORY in flags:
            figures.update(dict.fromkeys(("oee", "nee", "teep", "ooe")))
        if (figures["p"] or 0) > 1:
            flags.add(SUSPECT)
        if figures["total"] > 0 and figures["apt_ms"] == 0:
            flags.add(UNEXPLAINED)
    yield from judge(played.case, window, figures, flags)


def judge(case: Case, window: Window, figures: Mapping[str, Any], flags: Iterable[str]) -> Iterator[Difference]:
    """Whether the figures of a window cover it, and are what the case expects; used for the views too."""
    whole, covered = window.end - window.start, figures.get("t_ms", 0)
    if not window.line and window.said.keys().isdisjoint(("product", "order")) and covered != whole:
        yield Difference(case["id"], str(window), "t_ms covered", whole, covered)
    yield from compare(case, str(window), figures, window.said["expect"])
    missing = set(window.said.get("flags", [])) - set(flags)
    if missing:
        yield Difference(case["id"], str(window), "flags", sorted(missing), sorted(flags))


def _inside(rows: Iterable[OeeFact], window: Window) -> Iterator[OeeFact]:
    asked = {name: window.said[name] for name in ("product", "order") if name in window.said}
    for row in rows:
        within = window.start <= row.segment_start and row.segment_end <= window.end
        if within and row.machine == window.machine and all(getattr(row, name) == asked[name] for name in asked):
            yield row


def _line(played: Played, rows: Sequence[OeeFact], window: Window) -> dict[str, Any]:
    """Figures of a serial line: good parts at its exit, over its planned busy time."""
    stations = played.case["lines"][window.line]["stations"]
    inside = [row for row in rows if window.start <= row.segment_start and row.segment_end <= window.end]
    made = [row for row in inside if row.machine in stations[-1]]
    pbt = sum(row.line_pbt_ms for row in made if row.machine == stations[-1][0])
    ideal = [[played.configs[name].ideal_cycle_us for name in position] for position in stations]
    good, total = Counter[str](), Counter[str]()
    for row in made:
        good[row.product] += row.good
        total[row.product] += row.total
    no_rate = any(count and line_ideal_us(ideal, product) is None for product, count in total.items())
    oee = None if no_rate else line_oee(ideal, good, pbt)
    return {
        "oee": oee,
        "oee_null": "" if oee is not None else "no_ideal_rate" if pbt else "not_planned",
        "pbt_ms": pbt,
        "total": total.total(),
        "good": good.total(),
        "external_ms": sum(row.external_ms for row in inside if any(row.machine in place for place in stations)),
    }


def compare(case: Case, where: str, got: Mapping[str, Any], expect: Mapping[str, Any]) -> Iterator[Difference]:
    """Figures that are not as expected: facts and words with ==, no value as no value, ratios within the tolerance."""
    tolerance = case.get("tol", TOLERANCE)
    for column, value in expect.items():
        mine = got.get(column)
        exact = value is None or mine is None or isinstance(value, str) or column in FACTS
        if (mine != value) if exact else abs(mine - value) > tolerance:
            yield Difference(case["id"], where, column, value, mine)
