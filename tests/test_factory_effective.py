"""From when on an applied factory file holds, and what it is compared with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.errors import UsageError
from pipeline.factory import archive, loads
from pipeline.factory_apply import differences, effective_from, year_of

TEXT = "version: 1\nsite: lyon\ntimezone: Europe/Paris\nmachines: {cut: , paint: }\ncalendar: {holidays: FR}\n"
FACTORY = loads(TEXT, year=2026)
NOW = 1_772_434_800_000  # 2026-03-02 08:00 in Paris


@pytest.mark.parametrize(
    ("said", "known", "restate", "since"),
    [
        (None, False, False, 0),
        (None, True, False, NOW),
        ("now", False, False, NOW),
        ("always", False, False, 0),
        ("2026-03-02 06:00", False, False, NOW - 7_200_000),
        ("2026-03-02 09:00", True, False, NOW + 3_600_000),
        ("2026-03-02 08:00", True, False, NOW),
        ("2026-03-02 06:00", True, True, NOW - 7_200_000),
        ("always", True, True, 0),
    ],
)
def test_a_new_site_gets_always_a_known_one_now(said: str | None, known: bool, restate: bool, since: int) -> None:
    assert effective_from(said, NOW, FACTORY, known, restate) == since


@pytest.mark.parametrize(
    ("said", "results"),
    [("2026-03-02 06:00", "the results since 2026-03-02T05:00:00.000Z"), ("always", "all results")],
)
def test_closed_shifts_are_rewritten_only_on_request(said: str, results: str) -> None:
    with pytest.raises(UsageError) as refused:
        effective_from(said, NOW, FACTORY, True, False)
    assert str(refused.value) == (
        f"--effective '{said}' would rewrite {results} of 2 machines of lyon, closed shifts included: "
        "add --restate if you want that, or leave --effective out, and it holds from now on"
    )


def test_what_is_no_moment_is_refused() -> None:
    with pytest.raises(UsageError, match="--effective 'yesterday' is no moment in time"):
        effective_from("yesterday", NOW, FACTORY, True, True)


def test_holidays_are_compared_as_they_were_applied() -> None:
    kept = archive(FACTORY, NOW, "anna")
    assert differences(kept, FACTORY) == []
    assert differences(kept, loads(TEXT, year=2027)) == [
        "site lyon: calendar: holidays: 11 gone, from 2024-01-01 to 2024-12-25",
        "site lyon: calendar: holidays: 11 new, from 2037-01-01 to 2037-12-25",
    ]
    assert year_of(NOW) == 2026


def test_a_file_of_another_version_is_not_compared() -> None:
    kept = replace(archive(FACTORY, NOW, "anna"), text="version: 2\n")
    assert differences(kept, FACTORY) == ["what was applied last cannot be compared: its format is another one"]
    assert differences(None, FACTORY) == ["cut: new", "paint: new"]
