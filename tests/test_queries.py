"""Ready questions and the report without a store: parameters, times, planted anomalies against flags."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from pipeline import queries, report
from pipeline.cli.query import command
from pipeline.errors import UsageError

T0 = 1_772_434_800_000
AT = datetime.fromtimestamp(T0 / 1000, UTC)


def test_every_parameter_has_a_default_and_a_meaning() -> None:
    assert queries.DEFAULTS.keys() == queries.MEANING.keys()
    for question in queries.QUESTIONS:
        named = {part.partition(":")[0] for part in question.sql.split("{")[1:]}
        assert named <= queries.DEFAULTS.keys()
        assert named == set(question.parameters), question.name
        assert question.title.endswith("?")


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-03-02", "2026-03-02 00:00:00.000"),
        ("2026-03-02T06:00", "2026-03-02 06:00:00.000"),
        ("2026-03-02T06:00+01:00", "2026-03-02 05:00:00.000"),
        ("2026-03-02 06:00:00.5Z", "2026-03-02 06:00:00.500"),
    ],
)
def test_times_are_utc_unless_they_say_otherwise(text: str, utc: str) -> None:
    assert queries.instant(text) == utc


def test_what_is_no_time_or_no_question_is_told() -> None:
    with pytest.raises(UsageError, match="'yesterday' is no time: write"):
        queries.instant("yesterday")
    with pytest.raises(UsageError, match=r"no question 'machine'; do you mean machines\?"):
        queries.question("machine")


def test_query_without_a_name_lists_all_questions() -> None:
    shown = CliRunner().invoke(command, ["--format", "csv"])
    assert shown.exit_code == 0
    assert [line.split(",")[0] for line in shown.output.splitlines()[1:]] == list(queries.BY_NAME)


def machine_row(**more: Any) -> dict[str, Any]:
    row = {
        "machine": "saw", "oee": 0.6543, "oee_null": "", "a": 0.8, "p": 0.9, "q": 0.9087, "coverage": 1.0,
        "total": 120, "good": 109,
    }  # fmt: skip
    return {**row, **more}


def test_a_figure_that_is_none_shows_why() -> None:
    unknown = machine_row(machine="mill", oee=None, oee_null="no_ideal_rate", p=None, q=None, coverage=0.5)
    made = report.Report(
        "lyon", AT, AT, [machine_row(), unknown], [], {}, [], [], [], {"facts": 480}, notes=["Kafka: not run"],
    )  # fmt: skip
    out = io.StringIO()
    report.render(made, Console(file=out, width=200))
    text = out.getvalue()
    assert "65.4 %" in text
    assert "no ideal rate" in text
    assert "50.0 %" in text
    assert "480 facts" in text
    assert text.rstrip().endswith("Kafka: not run")
    assert '"oee": null' in report.as_json(made)


def test_cells_are_written_plainly() -> None:
    assert report.plain(AT) == "2026-03-02T07:00:00Z"
    assert report.plain(datetime(2026, 3, 2, 7, 0, 0, 5000)) == "2026-03-02T07:00:00.005Z"
    assert report.plain(AT.date()) == "2026-03-02"
    assert report.plain(b"\xff") == "ff"
    assert report.plain(0.5) == 0.5
