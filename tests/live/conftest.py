"""Fixtures of the live tests: one real Kafka and one real store for the whole run, a line of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from live_stack import DockerStack, LiveStack, LocalStack, docker_answers
from secure_home import Home


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    """Kafka and store on free ports: official images where a Docker engine answers, else the local stack."""
    home: Path = tmp_path_factory.mktemp("home")
    live: LiveStack = DockerStack(home) if docker_answers() else LocalStack(home)
    try:
        live.start()
        yield live
    finally:
        live.stop()


@pytest.fixture(scope="session")
def registry(stack: LiveStack) -> str:
    """URL of a real schema registry (the setting `registry`), started when the first test asks for it."""
    return stack.start_registry()


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """`openoee up --secure` has run in it; modules with another kind of home have a fixture of their own."""
    made = Home(tmp_path_factory.mktemp("secure"))
    try:
        made.begin()
        yield made
    finally:
        made.end_all()
