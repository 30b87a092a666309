"""Public holidays of factory.yaml: which dates they close, and one clear sentence for every mistake."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.calendar import Calendar
from pipeline.errors import FactoryFileError
from pipeline.factory import Factory, dump, loads
from pipeline.factory_check import describe
from pipeline.factory_holidays import this_year

HEAD = "version: 1\nsite: lyon\ntimezone: Europe/Berlin\nmachines: {cut: {ideal_cycle_s: 12}}\n"
SHIFTS = "  shifts: [{name: early, start: 06:00, end: 14:00}]\n"
DAY_MS = 86_400_000
NOV_2026 = 1_793_491_200_000  # 2026-11-01, a Sunday and All Saints' Day


def factory(holidays: str, more: str = "", year: int = 2026) -> Factory:
    return loads(f"{HEAD}calendar:\n{SHIFTS}  holidays: {holidays}\n{more}", year=year)


def closed(holidays: str, year: int = 2026) -> tuple[str, ...]:
    return factory(holidays, year=year).machines["cut"].closed


def test_holidays_are_closed_dates_from_two_years_before_to_ten_after() -> None:
    dates = closed("DE-BY")
    assert (dates[0], dates[-1]) == ("2024-01-01", "2036-12-26")
    assert {"2026-01-06", "2026-04-03", "2026-06-04", "2026-11-01"} <= set(dates)
    assert list(dates) == sorted(set(dates))
    assert {day[:4] for day in closed("DE-BY", year=2030)} == {str(year) for year in range(2028, 2041)}


def test_a_subdivision_has_holidays_of_its_own() -> None:
    assert "2026-01-06" not in closed("DE")
    assert closed("{country: DE, subdivision: Bayern}") == closed("{country: DE, subdivision: BY}") == closed("DE-BY")


def test_holidays_join_the_closed_dates() -> None:
    both = factory("{country: DE, years: 2026}", "  closed: [2026-12-24, 2026-12-25]\n").machines["cut"].closed
    assert set(both) == {*closed("{country: DE, years: 2026-2026}"), "2026-12-24"}


def test_on_some_holidays_work_is_done() -> None:
    worked = "{country: DE-BY, years: 2026}".replace("DE-BY", "DE, subdivision: BY, except: [2026-01-06, 2031-01-06]")
    assert set(closed("{country: DE, subdivision: BY, years: 2026}")) - set(closed(worked)) == {"2026-01-06"}


def test_on_a_holiday_no_shift_starts() -> None:
    made = factory("DE-BY").machines["cut"]
    busy = [Calendar(made).busy_ms(NOV_2026 + n * DAY_MS, NOV_2026 + (n + 1) * DAY_MS) for n in range(-1, 2)]
    assert busy == [8 * 3_600_000, 0, 8 * 3_600_000]


def test_what_is_dumped_holds_the_dates_themselves() -> None:
    made = factory("FR")
    assert loads(dump(made), year=2040).machines == made.machines


def test_the_year_of_the_clock_is_only_the_default() -> None:
    text = f"{HEAD}calendar: {{holidays: DE}}\n"
    assert loads(text).machines == loads(text, year=this_year()).machines


def test_check_counts_holidays_and_names_the_next_three() -> None:
    said = list(describe(factory("{country: DE, subdivision: BY, years: 2026}"), "2026-10-03"))
    assert said[-1] == (
        "  site lyon: 12 holidays from 2026-01-01 to 2026-12-26; "
        "next: 2026-10-03 German Unity Day, 2026-11-01 All Saints' Day, 2026-12-25 Christmas Day"
    )
    assert list(describe(factory("{country: DE, years: 2026}"), "2027-01-01"))[-1].endswith("next: none")


MISTAKES = {
    "unknown country": ("DD", "the country 'DD' is unknown", "known with D are: DE, DJ, DK, DM, DO, DZ"),
    "small letters": ("de", "'de' is unknown", "did you mean `DE`?"),
    "a name": ("Germany", "'Germany' is unknown", "did you mean `DE`?"),
    "a misspelt name": ("Luxemburg", "'Luxemburg' is unknown", "did you mean `LU`?"),
    "nonsense": ("'4711'", "'4711' is unknown", "ISO 3166"),
    "a name in a mapping": ("{country: United Kingdom}", "'United Kingdom' is unknown", "did you mean `GB`?"),
    "unknown subdivision": ("DE-BX", "the subdivision 'BX' of DE is unknown", "known are: Augsburg, BB, BE, BW"),
    "a misspelt subdivision": ("{country: DE, subdivision: Baiern}", "'Baiern' of DE", "did you mean `Bayern`?"),
    "no subdivisions": ("LU-L", "no subdivisions of LU are known", "write LU alone"),
    "no country": ("{years: 2026}", "the key `country` is missing", "add `country"),
    "a list": ("[DE, FR]", "this is a list, not a mapping", "country"),
    "empty": ("", "nothing is given", "country"),
    "no years": ("{country: DE, years: soon}", "'soon' are no years", "2024-2030"),
    "years backwards": ("{country: DE, years: 2030-2024}", "in the wrong order", "first and the last"),
    "years far away": ("{country: DE, years: 1926}", "out of range", "2000 to 2100"),
    "nothing known": ("{country: BV}", "no holidays of BV are known from 2024 to 2036", "under `closed`"),
    "worked on no holiday": (
        "{country: DE, except: [2026-12-27]}", "2026-12-27 is no holiday; the nearest is 2026-12-26", "correct",
    ),
    "worked twice": ("{country: DE, except: [2026-12-25, 2026-12-25]}", "twice among the exceptions", "delete one"),
    "unknown key": ("{country: DE, state: BY}", "unknown key 'state'", "known are"),
}  # fmt: skip


@pytest.mark.parametrize(("holidays", "problem", "remedy"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named(holidays: str, problem: str, remedy: str) -> None:
    with pytest.raises(FactoryFileError) as refused:
        factory(holidays)
    assert str(refused.value).startswith("factory.yaml:7: calendar.holidays")
    what, cure = str(refused.value).rsplit("; ", 1)
    assert problem in what
    assert remedy in cure


def test_shifts_on_a_holiday_need_that_work_is_done_on_it() -> None:
    exception = "  exceptions: [{on: 2026-01-06, shifts: [{name: short, start: 06:00, end: 10:00}]}]\n"
    with pytest.raises(FactoryFileError, match=r"2026-01-06 is a holiday \(Epiphany\).*add it to `except`"):
        factory("DE-BY", exception)
    made = factory("{country: DE, subdivision: BY, except: [2026-01-06]}", exception).machines["cut"]
    epiphany = 1_767_654_000_000
    assert Calendar(made).busy_ms(epiphany, epiphany + DAY_MS) == 4 * 3_600_000


@settings(max_examples=60, deadline=None)
@given(st.text("DEBYU- 12{}:,", max_size=8))
def test_whatever_is_typed_the_answer_is_dates_or_a_sentence(typed: str) -> None:
    try:
        found = closed(typed)
    except FactoryFileError:
        return
    assert found
