"""Passwords and grants changed while the line runs: it waits with one clear line, loses nothing, and goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from secure_home import Home, rows, table, waits_for
from worker_trial import until

from pipeline import access, kafka_clients
from pipeline.local.stack import Stack

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]


def restarted(home: Home) -> None:
    """Break every connection: whoever comes back must show a password again."""
    stack = Stack(home.line)
    stack.kafka.stop()
    stack.kafka.start(None, print)


def caught_up(home: Home, samples: int) -> None:
    until(lambda: rows(home, "telemetry") >= samples, 180, f"{samples} samples are in the store")


def test_a_new_password_mid_run_is_waited_for_and_taken(home: Home, tmp_path: Path) -> None:
    admin, secrets = home.role("admin"), home.home / "secrets"
    parts = {"sink": home.start("sink", "sink"), "worker": home.start("worker", "worker")}
    assert home.run("gateway", "produce", *table(tmp_path, 10, 10_000))[0] == 0
    before = rows(home, "telemetry")
    until(lambda: rows(home, "telemetry") > 0, 120, "the line runs")
    waits_for(home, parts["worker"], "partitions ")
    for name in parts:
        access.tell_password(admin, name, f"quite-another-{name}")
    restarted(home)
    for name, process in parts.items():
        waits_for(home, process, f"turns user {name} away")
        assert process.poll() is None
    for name in parts:
        access.keep(secrets / f"kafka_{name}", f"quite-another-{name}")
    assert home.run("gateway", "produce", *table(tmp_path, 10, 20_000))[0] == 0
    caught_up(home, before + 10)
    facts = rows(home, "oee_facts")
    assert home.run("gateway", "produce", *table(tmp_path, 200, 30_000))[0] == 0
    until(lambda: rows(home, "oee_facts") > facts, 180, "the worker goes on")
    for name, process in parts.items():
        code, text = home.run("admin", "access", "rotate", name)
        assert code == 0, text
        said = home.end(process)
        assert "quite-another" not in said
        assert "Traceback" not in said
    code, text = home.run("sink", "topics", "--check")
    assert code == 0, text


def sink_may_read_telemetry() -> AclBinding:
    return AclBinding(
        ResourceType.TOPIC, "telemetry", ResourcePatternType.LITERAL, "User:sink", "*", AclOperation.READ,
        AclPermissionType.ALLOW,
    )  # fmt: skip


def test_a_grant_revoked_mid_run_is_waited_for(home: Home, tmp_path: Path) -> None:
    sink = home.start("sink", "sink")
    assert home.run("gateway", "produce", *table(tmp_path, 5, 40_000))[0] == 0
    before = rows(home, "telemetry")
    caught_up(home, before)
    admin = AdminClient(kafka_clients.common(home.role("admin")))
    gone = AclBindingFilter(
        ResourceType.TOPIC, "telemetry", ResourcePatternType.LITERAL, "User:sink", "*", AclOperation.READ,
        AclPermissionType.ALLOW,
    )  # fmt: skip
    for answered in admin.delete_acls([gone]).values():
        answered.result(20)
    assert home.run("gateway", "produce", *table(tmp_path, 5, 50_000))[0] == 0
    waits_for(home, sink, "forbids user sink")
    assert sink.poll() is None
    for granted in admin.create_acls([sink_may_read_telemetry()]).values():
        granted.result(20)
    caught_up(home, before + 5)
    home.end(sink)


def test_a_store_password_changed_mid_run_is_waited_for(home: Home, tmp_path: Path) -> None:
    sink = home.start("sink", "sink")
    assert home.run("gateway", "produce", *table(tmp_path, 5, 60_000))[0] == 0
    before = rows(home, "telemetry")
    caught_up(home, before)
    path = home.home / "secrets" / "store_sink"
    old = path.read_text().strip()
    elsewhere = tmp_path / "store_sink"
    elsewhere.write_text(old)
    home.end(sink)
    sink = home.start("sink", "sink", OPENOEE_STORE_PASSWORD_FILE=str(elsewhere))
    waits_for(home, sink, "writing into")
    assert home.run("gateway", "produce", *table(tmp_path, 5, 70_000))[0] == 0
    caught_up(home, before + 5)
    access.keep(path, "another-store-password")  # the store knows the new one, the sink does not yet
    assert home.run("gateway", "produce", *table(tmp_path, 5, 80_000))[0] == 0
    waits_for(home, sink, "turns user sink away")
    assert sink.poll() is None
    elsewhere.write_text("another-store-password\n")
    caught_up(home, before + 10)
    home.end(sink)
