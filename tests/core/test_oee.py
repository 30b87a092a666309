"""Ratios from sums: which value or NULL wins, what profiles change, what a roll-up must keep."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import counters, oee, series
from pipeline.core.counters import resolve
from pipeline.core.model import FACTS
from pipeline.core.oee import line_ideal_us, ratios, why_null

FACTS_OF_A_DAY = st.fixed_dictionaries({name: st.integers(0, 10**6) for name in FACTS})


def facts(**given_facts: int) -> dict[str, int]:
    return dict.fromkeys(FACTS, 0) | given_facts


@pytest.mark.parametrize("module", [counters, oee, series])
def test_the_examples_in_the_docstrings_run(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


@given(FACTS_OF_A_DAY)
def test_availability_times_performance_times_quality_is_oee(day: dict[str, int]) -> None:
    day["unknown_ms"] = day["no_ideal_total"] = 0
    kpi = ratios(day)
    if None not in (kpi["a"], kpi["p"], kpi["q"], kpi["oee"]):
        assert kpi["a"] * kpi["p"] * kpi["q"] == pytest.approx(kpi["oee"])


@given(FACTS_OF_A_DAY)
def test_micro_stops_as_performance_loss_leave_oee_alone(day: dict[str, int]) -> None:
    assert ratios(day, "vorne")["oee"] == ratios(day, "iso22400")["oee"]


@given(FACTS_OF_A_DAY)
def test_excluding_the_unknown_changes_only_what_is_divided_by_busy_time(day: dict[str, int]) -> None:
    loss, exclude = ratios(day, unknown_as="loss"), ratios(day, unknown_as="exclude")
    assert {name for name in loss if loss[name] != exclude[name]} <= {"a", "oee", "nee"}


@pytest.mark.parametrize(
    ("given_facts", "reason"),
    [
        ({"t_ms": 9, "nonwork_ms": 9, "no_ideal_total": 1}, "not_planned"),
        ({"t_ms": 9, "pbt_ms": 9, "unknown_ms": 9, "no_ideal_total": 1}, "no_data"),
        ({"t_ms": 9, "pbt_ms": 9, "apt_ms": 9, "no_ideal_total": 1}, "no_ideal_rate"),
        ({"t_ms": 9, "pbt_ms": 9, "apt_ms": 9}, ""),
    ],
)
def test_the_first_reason_for_no_value_wins(given_facts: dict[str, int], reason: str) -> None:
    assert why_null(facts(**given_facts)) == reason
    assert (ratios(facts(**given_facts))["oee"] is None) == bool(reason)


def test_zero_is_a_value() -> None:
    kpi = ratios(facts(t_ms=10, pbt_ms=10, adot_ms=10))
    assert (kpi["a"], kpi["p"], kpi["oee"], kpi["teep"]) == (0.0, None, 0.0, 0.0)


def test_two_in_parallel_are_as_fast_as_half_the_time() -> None:
    assert line_ideal_us([[{"A": 30}, {"A": 60}], [{"*": 19}]], "A") == pytest.approx(20.0)
    assert line_ideal_us([[{"A": 30}], [{"B": 30}]], "A") is None


@pytest.mark.parametrize(
    ("made", "known", "expected"),
    [
        ({"total": 5, "good": 4}, ["total", "good"], (5, 4, 1, ())),
        ({"good": 4, "reject": 1}, ["good", "reject"], (5, 4, 1, ())),
        ({"good": 4}, ["good"], (4, 4, 0, ("no_quality_signal",))),
        ({"total": 5, "good": 4, "reject": 3}, ["total", "good", "reject"], (5, 4, 1, ("counts_disagree",))),
        (
            {"reject": 1},
            ["total", "reject"],
            (0, -1, 1, ()),
        ),  # the total was said, and counted good, at another instant
        ({"rework": 2}, ["rework"], (0, 0, 0, ())),
    ],
)
def test_two_of_three_give_the_third(made: dict[str, int], known: list[str], expected: tuple[object, ...]) -> None:
    assert resolve(made, known) == expected
