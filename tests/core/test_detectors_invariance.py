"""What the detectors find does not depend on block borders or restarts, whatever dirt is in the signals."""

from __future__ import annotations

import itertools
from dataclasses import astuple

import msgpack
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.detectors import MachineDetectors
from pipeline.core.model import Anomaly, SignalBlock, SignalConfig

START = 1_700_000_000_000
STATES = ("running", "idle", "fault")


def dirty(seed: int, n: int) -> tuple[SignalBlock, list[tuple[str, str]]]:
    """Signals with everything that is flagged, NaN, Inf and pauses; and the (state, product) of each sample."""
    rng = np.random.default_rng(seed)
    values = np.round(rng.normal(20.0, 1.0, (4, n)), 2)
    values[0, rng.integers(0, n, 8)] += rng.normal(0.0, 30.0, 8)
    values[1, n // 2 : n // 2 + n // 6] += 8.0
    values[2, n // 2 :] = 20.0
    values[3, n // 2 :] += np.linspace(0.0, 8.0, n - n // 2)
    values[rng.integers(0, 4, 30), rng.integers(0, n, 30)] = rng.choice([np.nan, np.inf, -np.inf, 1e308], 30)
    steps = rng.choice([0, 500, 1000, 600_000], n, p=[0.01, 0.1, 0.888, 0.002])
    states = [
        (STATES[int(k)], "AB"[int(j)])
        for k, j in zip(
            np.repeat(rng.integers(0, 3, n), 500)[:n], np.repeat(rng.integers(0, 2, n), 2000)[:n], strict=True
        )
    ]
    return SignalBlock(START + np.cumsum(steps), [f"s{k}" for k in range(4)], values), states


CONFIGS = {"s0": SignalConfig("s0", low=0.0, high=40.0), "s1": SignalConfig("s1", flatline_ms=60_000)}


def fold(
    data: SignalBlock, states: list[tuple[str, str]], cuts: set[int], restarts: set[int] = frozenset()
) -> tuple[list[tuple[object, ...]], bytes]:
    """The data through the detectors, cut where the state changes and at `cuts`; packed and unpacked at `restarts`."""
    n = len(data.at)
    borders = sorted(
        {0, n} | {c for c in cuts | restarts if c < n} | {i for i in range(1, n) if states[i] != states[i - 1]}
    )
    machine = MachineDetectors()
    rows: list[Anomaly] = []
    for a, b in itertools.pairwise(borders):
        if a in restarts:
            machine = MachineDetectors.unpack(msgpack.unpackb(msgpack.packb(machine.pack())))
        rows += machine.observe(SignalBlock(data.at[a:b], data.names, data.values[:, a:b]), *states[a], CONFIGS)
    return [astuple(row) for row in rows], msgpack.packb(machine.pack())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 5), st.sets(st.integers(1, 7999), max_size=60))
def test_flags_and_state_do_not_depend_on_block_borders(seed: int, cuts: set[int]) -> None:
    data, states = dirty(seed, 8000)
    assert fold(data, states, cuts) == fold(data, states, set())


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 5), st.sets(st.integers(1, 7999), min_size=1, max_size=8))
def test_a_restart_goes_on_bit_for_bit(seed: int, restarts: set[int]) -> None:
    data, states = dirty(seed, 8000)
    assert fold(data, states, set(), restarts) == fold(data, states, set())


def test_the_dirty_signals_raise_every_kind_of_flag() -> None:
    kinds = {row[4] for seed in range(6) for row in fold(*dirty(seed, 8000), set())[0]}
    assert kinds == {"spike", "shift", "drift", "limit", "flatline"}


def test_samples_one_by_one_say_the_same_as_one_block() -> None:
    data, states = dirty(7, 4000)
    assert fold(data, states, set(range(4000))) == fold(data, states, set())
