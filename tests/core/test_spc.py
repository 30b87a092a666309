"""Control charts: each rule by a literal sequence, limits by a published example, and what a base is learned from."""

from __future__ import annotations

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core import spc_kernels as kernels
from pipeline.core.minutes import Minute, Piece
from pipeline.core.model import SignalConfig
from pipeline.core.spc import Charts
from pipeline.core.stretches import MINUTE_MS, Said, Stretches
from pipeline.core.wording import sentence

# NIST/SEMATECH e-Handbook of Statistical Methods, 6.3.2.2: flow rates of ten batches, and their individuals chart.
FLOW = [49.6, 47.6, 49.9, 51.3, 47.8, 51.2, 52.6, 52.4, 53.6, 52.1]


def unit_chart() -> np.ndarray:
    """A chart whose base is known: centre 0, sigma 1."""
    chart = np.zeros(kernels.FIELDS)
    chart[kernels.POINTS], chart[kernels.SIGMA], chart[kernels.LAST] = 1.0, 1.0, np.nan
    return chart


def completed(values: list[float]) -> list[set[int]]:
    """Rules that each point completes, by Nelson's numbers; 9: Western Electric's eight on one side."""
    rules = np.zeros(len(values))
    kernels.chart(unit_chart(), np.array(values), 1, rules, np.zeros(len(values)))
    return [{k for k in range(1, 10) if int(bits) >> (k - 1) & 1} for bits in rules]


def last(values: list[float]) -> set[int]:
    """Rules of the last point, when no point before it completed any of them."""
    found = completed(values)
    assert not any(rules & found[-1] for rules in found[:-1])
    return found[-1]


def test_limits_are_those_of_the_published_example() -> None:
    chart = np.zeros(kernels.FIELDS)
    chart[kernels.LAST] = np.nan
    kernels.chart(chart, np.array(FLOW), 10, np.zeros(10), np.zeros(10))
    centre, reach = chart[kernels.MEAN], 3 * chart[kernels.SIGMA]
    assert (centre, centre + reach, centre - reach) == pytest.approx((50.81, 55.8041, 45.8159), abs=5e-4)
    assert chart[kernels.RANGE_SUM] / chart[kernels.RANGES] == pytest.approx(1.8778, abs=5e-5)


def test_rule_1_a_point_beyond_three_sigma_and_not_on_it() -> None:
    assert last([0.5, 3.01]) == {1}
    assert last([0.5, -3.01]) == {1}
    assert 1 not in last([0.5, 3.0])


def test_rule_2_nine_on_one_side_and_a_point_on_the_centre_breaks_it() -> None:
    assert [2 in rules for rules in completed([0.2, 0.3] * 4 + [0.2])] == [False] * 8 + [True]
    assert 2 in completed([-0.2, -0.3] * 4 + [-0.2])[-1]
    broken = [0.2] * 8 + [0.0] + [0.2] * 8
    assert not any(2 in rules for rules in completed(broken))
    assert 2 in completed([*broken, 0.2])[-1]


def test_rule_3_six_rising_or_falling_and_equals_break_it() -> None:
    assert last([-0.9, -0.6, -0.3, 0.1, 0.4, 0.7]) == {3}
    assert last([0.9, 0.6, 0.3, -0.1, -0.4, -0.7]) == {3}
    assert not any(3 in rules for rules in completed([-0.9, -0.6, -0.3, -0.3, 0.1, 0.4, 0.7]))


def test_rule_4_fourteen_up_and_down() -> None:
    assert last([0.5, -0.5] * 7) == {4}
    assert not any(4 in rules for rules in completed([0.5, -0.5] * 6 + [0.5]))
    assert not any(4 in rules for rules in completed([0.5, -0.5] * 3 + [-0.4] + [0.5, -0.5] * 4))


def test_rule_5_two_of_three_beyond_two_sigma_on_the_same_side() -> None:
    assert last([2.1, 0.0, 2.1]) == {5}
    assert last([-2.1, -2.1]) == {5}
    assert not completed([2.1, 0.0, -2.1])[-1]
    assert not completed([2.1, 0.0, 2.0])[-1]
    assert not completed([2.1, 0.0, 0.0, 2.1])[-1]
    assert not completed([2.1, 2.1, 0.0])[-1]  # completed before: not by a point within


def test_rule_6_four_of_five_beyond_one_sigma_on_the_same_side() -> None:
    assert last([1.1, 1.2, -0.5, 1.1, 1.2]) == {6}
    assert last([-1.1, -1.2, 0.5, -1.1, -1.2]) == {6}
    assert not completed([1.1, 1.2, -0.5, 1.1, 1.0])[-1]
    assert not completed([1.1, 1.2, -0.5, -1.1, 1.2])[-1]


def test_rule_7_fifteen_within_one_sigma() -> None:
    near = [0.5, -0.4, -0.6, 0.3, 0.2, -0.7, 0.6, 0.1, -0.2, -0.3, 0.8, 0.4, -0.5, -0.1, 0.0]
    assert last(near) == {7}
    assert not any(7 in rules for rules in completed([*near[:-1], 1.0]))


def test_rule_8_eight_beyond_one_sigma_on_both_sides() -> None:
    assert last([1.2, -1.2, -1.3, 1.4, 1.3, -1.2, -1.4, 1.2]) == {8}
    assert not any(8 in rules for rules in completed([1.2, -1.2, -1.3, 1.0, 1.3, -1.2, -1.4, 1.2]))
    assert 8 not in completed([1.2] * 8)[-1]


def test_western_electrics_fourth_rule_is_eight_on_one_side() -> None:
    assert last([0.2, 0.3] * 4) == {9}
    assert not any(9 in rules for rules in completed([0.2] * 7 + [0.0] + [0.2] * 7))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(-40, 40), min_size=25, max_size=80), st.integers(-4000, 4000), st.sampled_from((1, 2, 4, 8))
)
def test_rules_do_not_depend_on_zero_nor_unit(values: list[int], zero: int, scale: int) -> None:
    def judged(points: list[float]) -> tuple[list[float], list[float]]:
        chart, rules, sigmas = np.zeros(kernels.FIELDS), np.zeros(len(points)), np.zeros(len(points))
        chart[kernels.LAST] = np.nan
        kernels.chart(chart, np.array(points), 16, rules, sigmas)
        return rules.tolist(), np.nan_to_num(sigmas).tolist()

    plain = judged([float(value) for value in values])
    assert judged([float(scale * (value + zero)) for value in values]) == plain


@given(st.lists(st.floats(-5, 5).map(lambda v: round(v, 1)), max_size=60))
@settings(max_examples=100, deadline=None)
def test_the_other_side_says_the_same(values: list[float]) -> None:
    assert completed(values) == completed([-value for value in values])


START = 1_700_000_040_000


def fold(
    values: list[float], config: SignalConfig, charts: Charts, open_: Stretches, states: dict[int, str] | None = None,
    products: dict[int, str] | None = None, first: int = 0,
) -> list[Said]:  # fmt: skip
    """One value a minute while running, but for other states and products from a minute on."""
    said: list[Said] = []
    for k, value in enumerate(values, first):
        at, state, product = START + k * MINUTE_MS, (states or {}).get(k, "running"), (products or {}).get(k, "A")
        minute = Minute(at, [Piece(at, at + MINUTE_MS, state, product, at)], True)
        sums = {config.name: (2.0 * value, 2.0)} if state == "running" else {}
        said += charts.look(minute, sums, [config], open_) + open_.close(minute.end)
    return said


def normal(n: int, seed: int = 1) -> list[float]:
    return np.random.default_rng(seed).normal(10.0, 1.0, n).tolist()


def test_a_flag_names_all_completed_rules_and_ends() -> None:
    config, open_ = SignalConfig("bore", spc="western_electric", spc_points=50), Stretches()
    said = fold([*normal(50), *[14.5] * 9, *[9.5, 10.5] * 20], config, Charts(), open_)
    assert len(open_) == 0
    opened, ended = said[0].stretch, said[-1].stretch
    assert opened.first == ended.first == START + 50 * MINUTE_MS
    assert ended.last == START + 59 * MINUTE_MS
    words = sentence(said[-1].key, ended, "mm")
    assert "bore is out of statistical control while running on A" in words
    for rule in ("3 sigma (rule 1)", "2 sigma (rule 2)", "1 sigma (rule 3)", "one side of the centre (rule 4)"):
        assert rule in words
    assert 0.5 < ended.score < 1.0


def test_each_product_has_its_own_base() -> None:
    config, products = SignalConfig("bore", spc="nelson", spc_points=30), dict.fromkeys(range(60, 100), "B")
    charts = Charts()
    said = fold(normal(60) + [v + 50 for v in normal(40, 2)] + [60.0], config, charts, Stretches(), None, products)
    assert [one.key.what for one in said if one.stretch.score > 0.9] == ["A"]  # 60 is far off for A, usual for B
    assert not charts.warming("bore", "B", 30)
    assert charts.warming("bore", "C", 30)


def test_maintenance_keeps_the_base_and_begins_the_runs_anew() -> None:
    config = SignalConfig("bore", spc="western_electric", spc_points=30)
    base = normal(30)
    centre = sum(base) / 30
    run = [centre + 0.1, centre + 0.2] * 2
    assert [one.key.kind for one in fold(base + run * 2, config, Charts(), Stretches())] == ["spc"]
    assert fold([*base, *run, centre, *run], config, Charts(), Stretches(), {34: "maintenance"}) == []
    assert fold([*base, *run, centre, *run, 30.0], config, Charts(), Stretches(), {34: "maintenance"})


def test_the_base_is_learned_anew_since_a_moment() -> None:
    config, charts, open_ = SignalConfig("bore", spc="nelson", spc_points=30), Charts(), Stretches()
    fold(normal(40), config, charts, open_)
    later = SignalConfig("bore", spc="nelson", spc_points=30, spc_since=START + 40 * MINUTE_MS)
    moved = [value + 30.0 for value in normal(31, 3)]
    assert fold(moved, later, charts, Stretches(), first=40)[:1] == []
    assert not charts.warming("bore", "A", 30)


def test_a_point_needs_whole_minutes_of_running() -> None:
    config, charts = SignalConfig("bore", spc="nelson", spc_every_ms=300_000, spc_points=20), Charts()
    fold(normal(100), config, charts, Stretches(), dict.fromkeys(range(2, 100, 5), "stopped"))
    assert charts.pack()[0] == []
    fold(normal(100), config, charts, Stretches(), first=100)
    assert not charts.warming("bore", "A", 19)


def test_every_sample_is_a_point_when_asked() -> None:
    config, charts, open_ = SignalConfig("bore", spc="nelson", spc_every_ms=0, spc_points=20), Charts(), Stretches()
    at = START + 1000 * np.arange(60, dtype=np.int64)
    values = np.array([*normal(25), np.nan, *normal(33, 2), 99.0])
    charts.add("bore", at, values)
    halves = [
        Piece(START, START + 30_000, "idle", "A", START),
        Piece(START + 30_000, START + 60_000, "running", "A", START),
    ]
    charts = Charts.unpack(msgpack.unpackb(msgpack.packb(charts.pack())))
    said = charts.look(Minute(START, halves, True), {}, [config], open_)
    assert said[0].stretch.first >= START + 50_000  # 30 s idle, 20 points of base
    stretch = open_.end(said[0].key)[0].stretch
    assert (stretch.last, stretch.value) == (START + 59_000, 99.0)


def test_a_constant_signal_is_not_judged() -> None:
    config = SignalConfig("bore", spc="nelson", spc_points=20)
    assert fold([5.0] * 60 + [6.0] * 20, config, Charts(), Stretches()) == []
