"""`openoee doctor` on a computer where nothing runs, and where what is there is not as it should be."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pipeline.cli.doctor import command
from pipeline.local import doctor
from pipeline.local.machine import free_port


@pytest.fixture
def ports() -> tuple[int, int]:
    return free_port(2), free_port()


def run(home: Path, ports: tuple[int, int], *more: str) -> tuple[int, dict[str, dict[str, Any]]]:
    place = ["--home", str(home), "--kafka", f"127.0.0.1:{ports[0]}", "--store", f"http://127.0.0.1:{ports[1]}"]
    done = CliRunner().invoke(command, ["--json", *place, *more])
    return done.exit_code, {check["name"]: check for check in json.loads(done.output)}


def test_with_nothing_running_it_says_what_to_start(tmp_path: Path, ports: tuple[int, int]) -> None:
    code, checks = run(tmp_path, ports)
    assert code == 1
    for name in ("Kafka", "store"):
        assert checks[name]["state"] == "fault"
        assert checks[name]["found"].startswith("not started")
        assert checks[name]["remedy"] == "start it: `openoee up`"
    for name in ("openoee", "Python", "packages", "disk", "secrets", "schemas"):
        assert checks[name]["state"] == "ok", checks[name]
    assert not any(tmp_path.iterdir()), "it only looks"


def test_a_port_that_another_program_has_is_named(tmp_path: Path, ports: tuple[int, int]) -> None:
    with socket.create_server(("127.0.0.1", ports[1])):
        _, checks = run(tmp_path, ports)
    assert checks["store"]["state"] == "fault"
    assert f"port {ports[1]} of 127.0.0.1" in checks["store"]["found"]
    assert checks["store"]["remedy"] == "end that program or choose another port"


def test_secrets_that_others_may_read_are_a_fault(tmp_path: Path, ports: tuple[int, int]) -> None:
    secret = tmp_path / "secrets" / "store"
    secret.parent.mkdir()
    secret.write_text("x\n")
    secret.chmod(0o644)
    _, checks = run(tmp_path, ports)
    assert checks["secrets"]["state"] == "fault"
    assert checks["secrets"]["remedy"] == f"chmod 600 {secret}"
    secret.chmod(0o600)
    assert run(tmp_path, ports)[1]["secrets"]["state"] == "ok"
    _, checks = run(tmp_path, ports, "--store-password-file", str(tmp_path / "none"))
    assert checks["secrets"]["found"] == f"{tmp_path / 'none'} is not there"


def test_a_server_elsewhere_is_not_to_be_started_here(tmp_path: Path, ports: tuple[int, int]) -> None:
    _, checks = run(tmp_path, ports, "--kafka", "broker.invalid:9092")
    assert checks["Kafka"]["found"] == "nothing answers at broker.invalid:9092"
    assert "openoee up" not in checks["Kafka"]["remedy"]


def test_old_packages_and_clocks_that_differ_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor.metadata, "requires", lambda _: ["click>=999.1", "nothing-such>=1", 'x>=1; extra == "d"']
    )
    check = doctor._packages()
    assert check.state == "fault"
    assert "wanted >=999.1; nothing-such is missing" in check.found
    assert [doctor._clock("c", off, "").state for off in (0, 1_000, 1_001, 10_001)] == ["ok", "ok", "warning", "fault"]


def test_for_people_it_is_a_line_each_and_what_to_do(tmp_path: Path, ports: tuple[int, int]) -> None:
    place = ["--home", str(tmp_path), "--kafka", f"127.0.0.1:{ports[0]}", "--store", f"http://127.0.0.1:{ports[1]}"]
    shown = CliRunner().invoke(command, place).output
    assert shown.count("-> start it: `openoee up`") == 2
    assert "2 fault(s)" in shown.splitlines()[-1]
