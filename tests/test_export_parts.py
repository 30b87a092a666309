"""The export's arithmetic on a few rows: splits and gaps, versions by cut-off, states by arrival, stops ahead."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.core.model import FACTS
from pipeline.errors import UsageError
from pipeline.export import ahead, known
from pipeline.export.plan import HOUR_MS, Plan, Windows

T0 = 1_772_434_800_000  # 2026-03-02T07:00:00Z
MINUTE = 60_000
PLAN = Plan(T0, T0 + 4 * MINUTE, allowance_ms=30_000, horizon_ms=5 * MINUTE)
WINDOWS = Windows(PLAN, np.arange(T0, PLAN.end, MINUTE, dtype=np.int64))


def columns(names: str, *rows: tuple[Any, ...]) -> dict[str, Any]:
    return {name: np.array([row[k] for row in rows]) for k, name in enumerate(names.split())}


def test_labels_of_a_split_end_before_the_next_begins() -> None:
    plan = Plan(T0, T0 + 100 * HOUR_MS, horizon_ms=HOUR_MS)
    assert [split.name for split in plan.splits] == ["train", "validation", "test"]
    for earlier, later in zip(plan.splits[:-1], plan.splits[1:], strict=True):
        assert earlier.end + plan.allowance_ms + plan.horizon_ms <= later.start < earlier.end + 2 * HOUR_MS
    assert plan.splits[-1].end == plan.end


@pytest.mark.parametrize("shares", [(0.9, 0.2), (0.0, 0.5), (1.0, 0.1)])
def test_shares_that_leave_no_test_are_refused(shares: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="two shares whose sum is below 1"):
        _ = Plan(T0, T0 + 100 * HOUR_MS, train=shares[0], validation=shares[1]).splits


def test_a_version_counts_from_when_it_was_known_until_the_next() -> None:
    """One window, seen by the cut-offs of it and of those after it, which add it up over their hour.

    cut-offs at 1:30, 2:30, 3:30, 4:30; versions known at 1:20 (5 parts), 3:00 (7), 9:00 (100: never in time)
    """
    zeros = dict.fromkeys(FACTS, 0)
    said = "at since until known status site line product shift " + " ".join(FACTS)
    rows = [
        (T0, T0, T0 + MINUTE, T0 + at, status, "lyon", "L1", "A", "early", *{**zeros, "good": good}.values())
        for at, status, good in ((80_000, "provisional", 5), (180_000, "final", 7), (540_000, "restated", 100))
    ]
    found = known.facts(WINDOWS, columns(said, *rows))
    assert found["good_1h"].tolist() == [5, 5, 7, 7]
    assert found["good"].tolist() == [5, None, None, None]
    assert found["facts_status"] == ["provisional", None, None, None]
    assert found["windows_1h"].tolist() == [1, 1, 1, 1]


def test_a_state_counts_from_its_arrival_and_never_over_a_later_one() -> None:
    """Running at 0:10; a fault of 1:10 that arrives at 3:40; stopped at 2:10."""
    said = columns(
        "at came code text",
        (T0 + 10_000, T0 + 11_000, "running", ""),
        (T0 + 70_000, T0 + 220_000, "fault", "drive"),
        (T0 + 130_000, T0 + 131_000, "stopped", ""),
    )
    found = known.states(WINDOWS, said)
    assert found["state"] == ["running", "running", "stopped", "stopped"]
    assert found["state_age_ms"].tolist() == [50_000, 110_000, 50_000, 110_000]
    found = known.states(WINDOWS, {name: values[:2] for name, values in said.items()})
    assert found["state"] == ["running", "running", "running", "fault"]


def test_flags_are_those_told_in_the_hour_to_the_cut_off() -> None:
    said = columns(
        "signal kind since known score",
        ("load", "shift", T0, T0 + 100_000, 0.6), ("load", "shift", T0, T0 + 160_000, 0.8),
        ("load", "spc", T0, T0 + 151_000, 0.5),
    )  # fmt: skip
    found = known.flags(WINDOWS, said)
    assert found["flags_1h"].tolist() == [0, 1, 2, 2]
    assert found["flags_1h_shift"].tolist() == [0, 1, 1, 1]
    assert found["flag_score_1h"].tolist() == [None, 0.6, 0.8, 0.8]


def test_stops_begin_within_the_horizon_micro_and_external_ones_do_not() -> None:
    """Horizons of 5 min from 1:30, 2:30, 3:30, 4:30; a fault from 7:00 to 9:00 in two pieces."""
    at = (T0 + 100_000, T0 + 110_000, T0 + 420_000, T0 + 480_000)
    lost = columns(
        "since until state reason begins micro external",
        (at[0], at[0] + 5_000, "stopped", "jam", True, True, False),
        (at[1], at[1] + 90_000, "starved", "", True, False, True),
        (at[2], at[3], "fault", "drive", True, False, False),
        (at[3], at[3] + MINUTE, "fault", "drive", False, False, False),
    )
    found = ahead.stops(WINDOWS, lost)
    assert found["stop_ahead"].tolist() == [False, True, True, True]
    assert found["stop_in_ms"].tolist() == [None, 270_000, 210_000, 150_000]
    assert found["stop_reason"] == [None, "drive", "drive", "drive"]
    assert found["fault_in_ms"].tolist() == [None, 270_000, 210_000, 150_000]
    assert found["down_ms_ahead"].tolist() == [0, 30_000, 90_000, 120_000]
    assert not found["stopped_at_cut_off"].any()


def test_a_fault_that_goes_on_after_a_break_does_not_begin_again() -> None:
    """A fault from before the first cut-off, and after a break from 3:00 on; a new stop at 5:00, a fault in it."""
    lost = columns(
        "since until state reason begins micro external",
        (T0, T0 + MINUTE, "fault", "drive", True, False, False),
        (T0 + 3 * MINUTE, T0 + 4 * MINUTE, "fault", "drive", False, False, False),
        (T0 + 5 * MINUTE, T0 + 6 * MINUTE, "stopped", "jam", True, False, False),
        (T0 + 6 * MINUTE, T0 + 7 * MINUTE, "fault", "sensor", False, False, False),
    )
    found = ahead.stops(WINDOWS, lost)
    assert found["stop_in_ms"].tolist() == [210_000, 150_000, 90_000, 30_000]
    assert found["fault_in_ms"].tolist() == [270_000, 210_000, 150_000, 90_000]
    assert found["fault_reason"] == ["sensor"] * 4


def test_parts_are_those_of_windows_that_lie_within() -> None:
    rows = [(T0 + n * MINUTE, 2, 2, 0, n == 7) for n in range(12)]
    found = ahead.parts(WINDOWS, columns("at total good reject corrected", *rows))
    assert found["total_ahead"].tolist() == [8, 8, 8, 8]  # 1:30 to 6:30 holds the minutes 2, 3, 4 and 5
    assert found["corrected"].tolist() == [False, False, True, True]
