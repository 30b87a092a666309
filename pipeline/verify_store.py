"""Worked OEE cases in the store: their rows as the line writes them, and what the SQL views make of them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

from pipeline.cases import COLUMNS, LINE_COLUMNS, Case, CaseFile, Window, window_ms
from pipeline.codec import Message
from pipeline.core.model import OeeFact
from pipeline.errors import FactoryFileError, StoreRefused
from pipeline.queries import END, START
from pipeline.replay import current
from pipeline.rows import Rows
from pipeline.settings import Settings
from pipeline.store import migrate
from pipeline.store.client import Store
from pipeline.store.hours import Touched
from pipeline.verify import (
    PERMISSIVE,
    Difference,
    Played,
    Result,
    aggregate_rows,
    compare,
    cuts_rows,
    judge,
    play,
    refused,
)

AT_ONCE = 16  # questions put in one statement
AGGREGATES_AT = 1_767_571_200_000  # 2026-01-05T00:00:00Z, where the rows of aggregate cases stand
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
COLUMNS_OF = {
    "oee_by": ", ".join(("machine", "product", "order", "shift", "period", "flags", *sorted(COLUMNS))),
    "line_oee_by": ", ".join(("site", "line", "period", *sorted(LINE_COLUMNS))),
}
Put = Callable[..., None]
PERIODS: dict[str, Callable[[OeeFact], int]] = {
    "hour": lambda row: row.window_start // HOUR_MS * HOUR_MS,
    "day": lambda row: row.local_date * DAY_MS,
}


class Question(NamedTuple):
    """A view, by what it sums, and the stretch of time of which it is asked."""

    view: str
    grain: str = "total"
    start: str = START
    end: str = END

    def sql(self, number: int, columns: str) -> str:
        level, name = ("level = 'machine', ", "machine") if self.view == "oee_by" else ("", "site")
        asked = f"{level}grain = '{self.grain}', profile = '', start = '{self.start}', end = '{self.end}'"
        return (
            f"SELECT {number} AS question, {columns} FROM {self.view}({asked}) WHERE startsWith({name}, {{run:String}})"
        )


@dataclass
class Check:
    """One window of a case: which row of which answer it is about, and how the row is judged."""

    question: Question
    wanted: Mapping[str, Any]
    judged: Callable[[Mapping[str, Any]], Iterator[Difference]]
    said: str


def verify(
    files: Sequence[CaseFile], settings: Settings, keep: bool = False, tell: Callable[[str], None] = print
) -> list[list[Result]]:
    """Results of every case, file by file, from rows that are written at once and deleted afterwards, unless kept.

    They stand under sites and machines that begin with a word of their own; `tell` says it when they stay. Raises
    StoreUnavailable, StoreRefused, UsageError.
    """
    run = f"verify-{secrets.token_hex(4)}"
    with closing(Store(settings)) as store:
        migrate.check(store)
        rows, touched = Rows(PERMISSIVE.max_future_ms), Touched()

        def put(message: Message, arrived: int = 0) -> None:
            rows.add(arrived, message)
            touched.add(message)

        found = [_results(file, f"{run}-{number}", put) for number, file in enumerate(files)]
        try:
            for name, table in rows.tables():
                store.insert(name, table, None)
            touched.settle(store, run)
            _ask(store, run, [one for of_file in found for one in of_file])
        finally:
            if keep or not _deleted(store, run):
                tell(f"the rows stay in database {store.database}, under sites and machines that begin with {run}")
    return [[result for result, _ in of_file] for of_file in found]


def _results(file: CaseFile, run: str, put: Put) -> list[tuple[Result, list[Check]]]:
    """Put the rows of every case; its result so far, and what there is to ask."""
    aggregate = [_aggregate(case, f"{run}-a{number}", put) for number, case in enumerate(file.aggregate)]
    return aggregate + [_events(case, f"{run}-{number}", put) for number, case in enumerate(file.events)]


def _aggregate(case: Case, site: str, put: Put) -> tuple[Result, list[Check]]:
    for row in aggregate_rows(case, site, site, AGGREGATES_AT):
        put(row)
    judged = partial(_compared, case)
    return Result(case["id"]), [Check(Question("oee_by"), {"machine": site}, judged, "aggregate")]


def _compared(case: Case, row: Mapping[str, Any]) -> Iterator[Difference]:
    return compare(case, "aggregate", row, case["expect"])


def _events(case: Case, site: str, put: Put) -> tuple[Result, list[Check]]:
    result, prefix = Result(case["id"]), f"{site}."
    if "refused" in case:
        result.differences.extend(refused(case))
        return result, []
    try:
        played = play(case, case["events"], site, prefix)
    except FactoryFileError as error:
        result.differences.append(Difference(case["id"], "loading", "refused", "nothing", str(error)))
        return result, []
    for record in played.log:
        put(record.message, record.arrived)
    made = played.emitted
    for row in (*made.facts, *made.intervals, *made.anomalies, *made.incidents, *made.dead_letters):
        put(row)
    rows, length = current(made.facts), window_ms(played.windows)
    result.unverified = [why for window in played.windows if (why := cuts_rows(window, length))]
    asked = [window for window in played.windows if not cuts_rows(window, length)]
    return result, [check for window in asked for check in _checks(played, window, rows, site, prefix)]


def _checks(played: Played, window: Window, rows: Sequence[OeeFact], site: str, prefix: str) -> Iterator[Check]:
    said, judged = window.said, partial(_judged, played.case, window)
    machine = prefix + window.machine
    asked = {name: said[name] for name in ("product", "order") if name in said}
    if window.line:
        question = Question("line_oee_by", "total", _text(window.start), _text(window.end))
        yield Check(question, {"site": site, "line": window.line}, judged, str(window))
        return
    grain = "order" if "order" in asked else "product" if asked else "total"
    question, period = _question(grain, window, [row for row in rows if row.machine == machine])
    wanted = {"machine": machine, **asked}
    yield Check(question, wanted | period, judged, str(window))
    if "shift" in said and not asked:  # the view by shift has to say the same
        shift = {"shift": said["shift"], "period": datetime.fromisoformat(said["date"]).replace(tzinfo=UTC)}
        yield Check(Question("oee_by", "shift"), wanted | shift, judged, f"{window} by shift")


def _question(grain: str, window: Window, rows: Sequence[OeeFact]) -> tuple[Question, dict[str, Any]]:
    """What to ask about a window of a machine with these rows, and the period of the row that answers it.

    Planning such a question costs more than answering it, so windows share one where they can: those that hold all that
    their machine ever did, or all that it did in one hour or on one local day.
    """
    inside = [row for row in rows if window.start <= row.segment_start and row.segment_end <= window.end]
    outside = [row for row in rows if not (window.start <= row.segment_start and row.segment_end <= window.end)]
    if not outside:
        return Question("oee_by", grain), {}
    for name, period in PERIODS.items() if grain == "total" else ():
        found = {period(row) for row in inside}
        if len(found) == 1 and found.isdisjoint(map(period, outside)):
            return Question("oee_by", name), {"period": datetime.fromtimestamp(found.pop() / 1000, UTC)}
    return Question("oee_by", grain, _text(window.start), _text(window.end)), {}


def _judged(case: Case, window: Window, row: Mapping[str, Any]) -> Iterator[Difference]:
    return judge(case, window, row, row.get("flags", []))


def _ask(store: Store, run: str, found: Sequence[tuple[Result, list[Check]]]) -> None:
    """Put every question once, several in a statement, and judge the rows that answer them."""
    answers: dict[Question, list[dict[str, Any]]] = {check.question: [] for _, checks in found for check in checks}
    for view, columns in COLUMNS_OF.items():
        questions = [question for question in answers if question.view == view]
        for place in range(0, len(questions), AT_ONCE):
            part = questions[place : place + AT_ONCE]
            sql = " UNION ALL ".join(question.sql(number, columns) for number, question in enumerate(part))
            answer = store.query(sql, {"run": run})
            for row in answer.result_rows:
                named = dict(zip(answer.column_names, row, strict=True))
                answers[part[named["question"]]].append(named)
    for result, checks in found:
        for check in checks:
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


def _deleted(store: Store, run: str) -> bool:
    """Take away the rows of a run from every table that knows machines; False without the right to do so."""
    tables = store.query(
        "SELECT table FROM system.columns WHERE database = currentDatabase() AND name = 'machine' AND table IN"
        " (SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree')"
    ).result_rows
    try:
        for (table,) in tables:
            store.command(f"DELETE FROM {table} WHERE startsWith(machine, {{run:String}})", {"run": run})
    except StoreRefused:
        return False
    return True


def _text(at: int) -> str:
    return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M:%S}.{at % 1000:03d}"
