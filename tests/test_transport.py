"""What transport.py relies on inside Faust and aiokafka is what was read when it was written."""

from __future__ import annotations

import logging
from importlib.metadata import version

import pytest

from pipeline import transport
from pipeline.agents import FIRST_STEP, LEAST_STEP, MOST_STEP, SERVICES, STEP_S, Pace
from pipeline.transport import PINNED, digest


@pytest.mark.parametrize("function", PINNED, ids=lambda function: function.__qualname__)
def test_private_source_is_unchanged(function):
    assert digest(function) == PINNED[function], (
        f"{function.__module__}.{function.__qualname__} has changed: read it, check pipeline/transport.py against it, "
        "run tests/live/test_worker.py, then renew the fingerprint"
    )


@pytest.mark.parametrize(("package", "tried"), [("faust-streaming", "0.15.3"), ("aiokafka", "0.14.0")])
def test_versions_are_the_tried_ones(package, tried):
    assert version(package) == tried, f"pipeline/transport.py was tried with {package} {tried}"


def test_a_changed_source_is_noticed():
    def one() -> int:
        return 1

    def other() -> int:
        return 2

    assert digest(one) != digest(other)


def test_every_service_of_the_consumer_can_be_told_to_be_silent():
    """A worker that ends says why in one line; what its services log while they end is held back by these names."""
    services = [one for one in vars(transport).values() if isinstance(getattr(one, "logger", None), logging.Logger)]
    assert transport.Consumer in services
    assert {one.logger.name.partition(".")[0] for one in services} <= set(SERVICES)


def test_a_stretch_of_folding_keeps_to_its_time_whatever_the_records_hold():
    pace, each = Pace(), 20e-6
    for _ in range(10):
        pace.took(pace.records, pace.records * each)
    assert pace.records == STEP_S / each
    pace.took(pace.records, pace.records * 10e-3)  # late data, all of a sudden
    assert pace.records == STEP_S / 10e-3
    pace.took(3, 3 * each)  # the rest of a batch says little
    assert pace.records == STEP_S / 10e-3
    pace.took(pace.records, 60.0)
    assert pace.records == LEAST_STEP
    for _ in range(20):
        pace.took(pace.records, 0.0)
    assert pace.records == MOST_STEP
    assert Pace().records == FIRST_STEP
