"""Several signals together: what leaves its relation is named; what moves with the others is not."""

from __future__ import annotations

import msgpack
import numpy as np
import pytest

from pipeline.core import relation_kernels as kernels
from pipeline.core.minutes import Minute, Piece
from pipeline.core.relation import SIGNALS, Relation
from pipeline.core.stretches import MINUTE_MS, Said, Stretches
from pipeline.core.wording import sentence

START = 1_700_000_040_000
NAMES = ("current", "force", "power", "speed")
GAIN = np.array([1.0, 3.0, 2.0, -0.5])


def load(minutes: int, seed: int, memory: float = 0.95) -> np.ndarray:
    """A load of scale 1 that all signals follow."""
    rng, level, found = np.random.default_rng(seed), 0.0, []
    for step in rng.normal(0.0, (1 - memory**2) ** 0.5, minutes):
        level = memory * level + step
        found.append(level)
    return np.array(found)


def signals(minutes: int, seed: int = 1) -> np.ndarray:
    """float64 [4, minutes]: levels, the shared load, and noise of a tenth of it."""
    noise = np.random.default_rng(seed + 100).normal(0.0, 0.1, (4, minutes))
    return 20.0 + GAIN[:, None] * (load(minutes, seed) + noise)


def fold(
    values: np.ndarray, states: dict[int, str] | None = None, products: dict[int, str] | None = None
) -> list[Said]:
    relation, open_, said = Relation(), Stretches(), []
    for k in range(values.shape[1]):
        at, state, product = START + k * MINUTE_MS, (states or {}).get(k, "running"), (products or {}).get(k, "A")
        minute = Minute(at, [Piece(at, at + MINUTE_MS, state, product, at)], True)
        sums = {name: (6 * value, 6.0) for name, value in zip(NAMES, values[:, k], strict=True) if np.isfinite(value)}
        said += relation.look(minute, sums if state == "running" else {}, frozenset(), open_)
        said += open_.close(minute.end)
        if k % 50 == 0:
            relation = Relation.unpack(msgpack.unpackb(msgpack.packb(relation.pack())))
    return said


def ended(said: list[Said]) -> list[Said]:
    """Each flag as it was last said."""
    return list({(one.key, one.stretch.first): one for one in said}.values())


def test_residuals_are_those_of_the_regression_on_the_others() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(400, 1)) @ rng.normal(size=(1, 5)) + 0.3 * rng.normal(size=(400, 5))
    x -= x.mean(axis=0)
    cov, one = x.T @ x / len(x), x[7]
    z, sigma = np.empty(5), np.empty(5)
    kernels.residuals(cov, one, np.ones(5, dtype=np.bool_), z, sigma)
    for j in range(5):
        others = [k for k in range(5) if k != j]
        factors = np.linalg.lstsq(x[:, others], x[:, j], rcond=None)[0]
        left = x[:, j] - x[:, others] @ factors
        assert z[j] * sigma[j] == pytest.approx(left[7], abs=0.05)
        assert sigma[j] == pytest.approx(left.std(), rel=0.05)


def test_a_signal_that_is_not_seen_explains_nothing_and_is_not_judged() -> None:
    cov, z, sigma = np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 0.0]]), np.empty(3), np.empty(3)
    kernels.residuals(cov, np.array([2.0, 0.0, 1.0]), np.array([True, False, True]), z, sigma)
    assert z[0] == pytest.approx(2.0, rel=0.01)
    assert np.isnan(z[1:]).all()


@pytest.mark.parametrize("seed", range(6))
def test_what_moves_together_is_usual(seed: int) -> None:
    values = signals(2000, seed)
    values += 3.0 * GAIN[:, None] * (np.arange(2000) > 1200)  # the load itself leaves its level
    assert fold(values) == []


@pytest.mark.parametrize("row", range(4))
def test_an_offset_of_one_signal_is_found_and_named(row: int) -> None:
    values = signals(1400)
    values[row, 1000:1100] += 0.8 * GAIN[row]  # within what its load does to it all the time
    (flag,) = ended(fold(values))
    assert flag.key.signal == NAMES[row]
    assert START + 990 * MINUTE_MS <= flag.stretch.first <= START + 1010 * MINUTE_MS
    assert abs(flag.stretch.last - (START + 1100 * MINUTE_MS)) <= 20 * MINUTE_MS
    assert not flag.stretch.low <= flag.stretch.value <= flag.stretch.high
    assert f"{NAMES[row]} does not fit" in sentence(flag.key, flag.stretch)


@pytest.mark.parametrize("row", range(4))
def test_a_gain_that_is_halved_is_found_and_named(row: int) -> None:
    values = signals(1500, 2)
    values[row, 1000:1200] = 20.0 + 0.5 * (values[row, 1000:1200] - 20.0)
    flags = ended(fold(values))
    assert {flag.key.signal for flag in flags} == {NAMES[row]}


def test_signals_without_relation_are_quiet() -> None:
    assert fold(np.random.default_rng(4).normal(10.0, 1.0, (4, 3000))) == []


def test_a_new_relation_is_accepted_after_hours() -> None:
    values = signals(2600)
    values[1, 1000:] += 3.0
    flags = ended(fold(values))
    assert len(flags) == 1
    assert flags[0].stretch.last - flags[0].stretch.first <= 9 * 60 * MINUTE_MS


def test_maintenance_may_change_levels() -> None:
    values = signals(1600)
    values[1, 1030:] += 2.5
    assert fold(values, dict.fromkeys(range(1000, 1030), "maintenance")) == []


def test_each_product_has_its_own_levels() -> None:
    values, products = signals(3000), {k: "B" for k in range(3000) if k // 200 % 2}
    values[2, list(products)] += 6.0
    values[3, list(products)] -= 2.0
    assert fold(values, None, products) == []


def test_a_signal_that_stops_coming_or_never_moves_does_no_harm() -> None:
    values = signals(1600)
    values[3] = 7.0
    values[0, 1200:] = np.nan
    assert fold(values) == []


def test_no_more_signals_than_its_bound_the_first_by_name() -> None:
    relation, open_, rng = Relation(), Stretches(), np.random.default_rng(1)
    for k in range(300):
        at = START + k * MINUTE_MS
        sums = {f"s{j:03}": (float(rng.normal()), 1.0) for j in range(400)}
        relation.look(
            Minute(at, [Piece(at, at + MINUTE_MS, "running", f"P{k // 10}", at)], True), sums, frozenset(), open_
        )
    assert relation.names == [f"s{j:03}" for j in range(SIGNALS)]
    assert len(msgpack.packb(relation.pack())) < 12_000


def test_what_is_not_to_be_learned_is_left_out() -> None:
    relation, at = Relation(), START
    sums = dict.fromkeys(NAMES, (1.0, 1.0))
    minute = Minute(at, [Piece(at, at + MINUTE_MS, "running", "A", at)], True)
    relation.look(minute, sums, frozenset({"force"}), Stretches())
    assert relation.names == ["current", "power", "speed"]
