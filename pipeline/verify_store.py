"""Worked OEE cases in the store: their rows as the line writes them, and what the SQL views make of them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pipeline.cases import Case, CaseFile, Window, window_ms
from pipeline.codec import Message
from pipeline.errors import FactoryFileError, StoreRefused
from pipeline.rows import Rows
from pipeline.settings import Settings
from pipeline.store import migrate
from pipeline.store.client import Store
from pipeline.store.hours import Touched
from pipeline.verify import PERMISSIVE, SUSPECT, Difference, Played, aggregate_rows, compare, judge, play, refused

AT_ONCE = 16  # windows asked for in one statement
AGGREGATES_AT = 1_767_571_200_000  # 2026-01-05T00:00:00Z, where the rows of aggregate cases stand
DAY_MS = 86_400_000


class Question(NamedTuple):
    """A view, and the stretch of time of which it is asked."""

    view: str
    grain: str
    start: int
    end: int

    def sql(self, number: int) -> str:
        level, name = ("level = 'machine', ", "machine") if self.view == "oee_by" else ("", "site")
        span = f"start = '{_text(self.start)}', end = '{_text(self.end)}'"
        return (
            f"SELECT {number} AS question, * FROM {self.view}({level}grain = '{self.grain}', profile = '', {span})"
            f" WHERE startsWith({name}, {{run:String}})"
        )


@dataclass
class Check:
    """One window of a case: which row of which answer it is about, and how the row is judged."""

    question: Question
    wanted: Mapping[str, Any]
    judged: Callable[[Mapping[str, Any]], Iterator[Difference]]
    said: str


@dataclass
class Result:
    """What became of a case. `unverified`: windows that the rows of the store cannot answer."""

    case: str
    differences: list[Difference] = field(default_factory=list)
    unverified: list[str] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)


def verify(files: Sequence[CaseFile], settings: Settings, keep: bool = False) -> list[list[Result]]:
    """Results of every case, file by file, from rows that are written at once and deleted afterwards, unless kept.

    They stand under sites and machines that begin with a word of their own. Raises StoreUnavailable, StoreRefused,
    UsageError.
    """
    run = f"verify-{secrets.token_hex(4)}"
    with closing(Store(settings)) as store:
        migrate.check(store)
        rows, touched = Rows(PERMISSIVE.max_future_ms), Touched()

        def put(message: Message, arrived: int = 0) -> None:
            rows.add(arrived, message)
            touched.add(message)

        results = [_results(file, f"{run}-{number}", put) for number, file in enumerate(files)]
        try:
            for name, table in rows.tables():
                store.insert(name, table, None)
            touched.settle(store, run)
            _ask(store, run, [check for found in results for result in found for check in result.checks], results)
        finally:
            if not keep:
                _delete(store, run)
    return results


def _results(file: CaseFile, run: str, put: Callable[..., None]) -> list[Result]:
    found = []
    for number, case in enumerate(file.aggregate):
        found.append(_aggregate(case, f"{run}-a{number}", put))
    for number, case in enumerate(file.events):
        found.append(_events(case, f"{run}-{number}", put))
    return found


def _aggregate(case: Case, site: str, put: Callable[..., None]) -> Result:
    for row in aggregate_rows(case, site, site, AGGREGATES_AT):
        put(row)
    question = Question("oee_by", "total", AGGREGATES_AT, AGGREGATES_AT + DAY_MS)
    check = Check(
        question, {"machine": site}, lambda row: compare(case, "aggregate", row, case["expect"]), "aggregate"
    )
    return Result(case["id"], checks=[check])


def _events(case: Case, site: str, put: Callable[..., None]) -> Result:
    result = Result(case["id"])
    if "refused" in case:
        result.differences.extend(refused(case))
        return result
    prefix = f"{site}."
    try:
        played = play(case, case["events"], site, prefix)
    except FactoryFileError as error:
        result.differences.append(Difference(case["id"], "loading", "refused", "nothing", str(error)))
        return result
    for record in played.log:
        put(record.message, record.arrived)
    for made in (played.emitted.facts, played.emitted.intervals, played.emitted.anomalies, played.emitted.dead_letters):
        for row in made:
            put(row)
    length = window_ms(played.windows)
    for window in played.windows:
        if window.start % length or window.end % length:
            result.unverified.append(f"{window}: its borders cut a row of {length / 1000:g} s")
        else:
            result.checks.extend(_checks(played, window, site, prefix))
    return result


def _checks(played: Played, window: Window, site: str, prefix: str) -> Iterator[Check]:
    said = window.said

    def judged(row: Mapping[str, Any]) -> Iterator[Difference]:
        flags = [*row.get("flags", []), *([SUSPECT] if row.get(SUSPECT) else [])]
        return judge(played.case, window, row, flags)

    if window.line:
        wanted = {"site": site, "line": window.line}
        yield Check(Question("line_oee_by", "total", window.start, window.end), wanted, judged, str(window))
        return
    asked = {name: said[name] for name in ("product", "order") if name in said}
    grain = "order" if "order" in said else "product" if "product" in said else "total"
    wanted = {"machine": prefix + window.machine, **asked}
    yield Check(Question("oee_by", grain, window.start, window.end), wanted, judged, str(window))
    if "shift" in said and not asked:  # the view by shift has to say the same
        wanted = wanted | {"shift": said["shift"], "period": datetime.fromisoformat(said["date"]).replace(tzinfo=UTC)}
        span = (window.start - DAY_MS, window.end + DAY_MS)
        yield Check(Question("oee_by", "shift", *span), wanted, judged, f"{window} by shift")


def _ask(store: Store, run: str, checks: Sequence[Check], results: Sequence[Sequence[Result]]) -> None:
    """Put every question once, several in a statement, and judge the rows that answer them."""
    answers: dict[Question, list[dict[str, Any]]] = {check.question: [] for check in checks}
    for view in ("oee_by", "line_oee_by"):
        questions = [question for question in answers if question.view == view]
        for place in range(0, len(questions), AT_ONCE):
            part = questions[place : place + AT_ONCE]
            sql = " UNION ALL ".join(question.sql(number) for number, question in enumerate(part))
            answer = store.query(sql, {"run": run})
            for row in answer.result_rows:
                named = dict(zip(answer.column_names, row, strict=True))
                answers[part[named["question"]]].append(named)
    for result in (result for found in results for result in found):
        for check in result.checks:
            result.differences.extend(_judge(check, answers[check.question], result.case))


def _judge(check: Check, rows: Sequence[Mapping[str, Any]], case: str) -> Iterator[Difference]:
    found = [row for row in rows if all(_same(row[name], value) for name, value in check.wanted.items())]
    if len(found) == 1:
        yield from check.judged(found[0])
    else:
        yield Difference(case, check.said, f"rows of {check.question.view}", 1, len(found))


def _same(mine: Any, wanted: Any) -> bool:
    if isinstance(wanted, datetime):
        return bool(mine.replace(tzinfo=UTC) == wanted)
    return bool(mine == wanted)


def _delete(store: Store, run: str) -> None:
    """Take away the rows of a run from every table that knows machines."""
    tables = store.query(
        "SELECT table FROM system.columns WHERE database = currentDatabase() AND name = 'machine' AND table IN"
        " (SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree')"
    ).result_rows
    for (table,) in tables:
        try:
            store.command(f"DELETE FROM {table} WHERE startsWith(machine, {{run:String}})", {"run": run})
        except StoreRefused:
            return  # without the right to delete the rows stay, under their own site


def _text(at: int) -> str:
    return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M:%S}.{at % 1000:03d}"
