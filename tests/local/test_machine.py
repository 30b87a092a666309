"""Each lack of the machine is one sentence that names it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from pipeline.errors import StackError
from pipeline.local import machine

EPHEMERAL_FROM = 32_768  # on Linux, unless somebody says otherwise


def program(folder: Path, name: str, body: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


def test_port_taken_names_its_owner() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match=rf"port {port} .* the store.* \(process {os.getpid()}\) listens there"):
            machine.require_free_port(port, "the store")
    machine.require_free_port(port, "the store")


def test_free_ports_are_none_that_a_client_may_be_given() -> None:
    named = [machine.free_port(in_a_row=6) for _ in range(100)]
    assert all(first + 5 < EPHEMERAL_FROM for first in named)
    assert len({first + above for first in named for above in range(6)}) == 600
    with socket.create_server(("127.0.0.1", machine.free_port())) as taken:
        assert taken.getsockname()[1] not in named


def test_a_free_port_has_free_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    first = machine.free_port(in_a_row=3)
    monkeypatch.setattr(machine, "SERVER_PORTS", [first + above for above in (-1, 0, 3)])
    monkeypatch.setattr(machine, "_named", set())
    with socket.create_server(("127.0.0.1", first + 1)):
        assert machine.free_port(in_a_row=2) in (first - 1, first + 3)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ('openjdk version "11.0.2"', "Java 11 at .* is too old: Kafka needs Java 17"),
        ('java version "1.8.0_392"', "Java 8 at .* is too old"),
        ("no java here", "Java is missing"),
    ],
)
def test_java_too_old_or_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, sentence: str) -> None:
    program(tmp_path, "java", f"echo '{said}' >&2")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.java_available() is None
    with pytest.raises(StackError, match=sentence):
        machine.require_java()


@pytest.mark.parametrize("said", ['openjdk version "17.0.15" 2025-04-15', 'openjdk version "25" 2025-09-16'])
def test_java_that_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    program(tmp_path, "java", f"echo '{said}' >&2")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.java_available() == machine.require_java() == str(tmp_path / "java")


def test_java_and_maven_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.java_available() is None
    with pytest.raises(StackError, match="Java is missing"):
        machine.require_java()
    with pytest.raises(StackError, match="Maven is missing"):
        machine.require_maven()


def test_disk_too_full_even_for_a_folder_not_yet_made(tmp_path: Path) -> None:
    machine.require_disk(tmp_path / "a" / "b", 1, "Kafka")
    with pytest.raises(StackError, match=r"MB free: Kafka needs 1000000000000 MB; make room"):
        machine.require_disk(tmp_path / "a" / "b", 10**12, "Kafka")


def test_addresses() -> None:
    assert machine.host_port("localhost:9092", "x") == ("127.0.0.1", 9092)
    for wrong in ("kafka.example:9092", "127.0.0.1", "127.0.0.1:99999", ""):
        with pytest.raises(StackError, match="the setting kafka is"):
            machine.host_port(wrong, "the setting kafka")
