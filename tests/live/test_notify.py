"""`openoee notify` on a real Kafka: one message per incident, none twice, the same key after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from live_stack import LiveStack
from webhook_receiver import Receiver, receiving
from worker_trial import put, until

from pipeline import notices, topics
from pipeline.codec import Codec
from pipeline.core.model import Incident
from pipeline.settings import Settings

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]
CODEC = Codec()
NOW = time.time_ns() // 1_000_000


@pytest.fixture
def line(stack: LiveStack) -> Settings:
    settings = stack.settings("notify", partitions=1, session_s=6)
    topics.ensure(settings)
    return settings


def incident(name: str, last: int = NOW) -> Incident:
    return Incident(
        name, "lyon", "L1", f"{name}/{last}", last, last, last, None, "warning", True, False, 1, ["load"], ["drift"],
        "load", "drift", 0.8, "running", "A", "load drifted away", known_at=last,
    )  # fmt: skip


def said(line: Settings, *incidents: Incident) -> None:
    put(line, "incidents", [(one.machine.encode(), CODEC.encode(one)) for one in incidents])


@contextmanager
def notify(line: Settings, receiver: Receiver, *flags: str, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    values = {"OPENOEE_" + name.upper(): str(value) for name, value in line.values.items()}
    environment = {**os.environ, **values, "OPENOEE_WEBHOOK": receiver.url, **more}
    process = subprocess.Popen([sys.executable, "-m", "pipeline", "notify", *flags], env=environment)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0


def keys(receiver: Receiver) -> list[str]:
    return [headers["Idempotency-Key"] for headers, _ in receiver.posts]


def test_one_message_per_incident_and_none_after_a_restart(line: Settings) -> None:
    saw, last = incident("saw"), incident("last")
    small, quiet = replace(incident("small"), page=False), replace(incident("quiet"), muted=True)
    old = incident("old", NOW - 25 * 3_600_000)
    with receiving(500, 200) as receiver:
        said(line, small, quiet, old, saw, replace(saw, flags=2, known_at=NOW + 1), last)
        with notify(line, receiver):
            until(lambda: f"{last.id}/opened" in notices.read(line, CODEC), 60, "the last one is noted")
        assert keys(receiver) == [f"{saw.id}/opened", f"{saw.id}/opened", f"{last.id}/opened"]  # 500, then 200
        assert receiver.posts[1][1]["message"] == "load drifted away"
        end = replace(incident("end"), closed=NOW)
        said(line, replace(saw, flags=3, known_at=NOW + 2), replace(last, closed=NOW, known_at=NOW + 2), end)
        with notify(line, receiver, "--closed"):
            until(lambda: f"{end.id}/closed" in notices.read(line, CODEC), 60, "the next one is noted")
        assert keys(receiver)[3:] == [f"{last.id}/closed", f"{end.id}/opened", f"{end.id}/closed"]


def test_records_read_again_send_nothing_again(line: Settings) -> None:
    saw, end = incident("saw"), incident("end")
    with receiving(200) as receiver:
        said(line, saw)
        with notify(line, receiver):
            until(lambda: f"{saw.id}/opened" in notices.read(line, CODEC), 60, "it is noted")
        said(line, saw, replace(saw, known_at=NOW + 1), end)  # as after a commit that was lost
        with notify(line, receiver):
            until(lambda: f"{end.id}/opened" in notices.read(line, CODEC), 60, "the next one is noted")
        assert keys(receiver) == [f"{saw.id}/opened", f"{end.id}/opened"]


def test_killed_between_message_and_notice_it_sends_the_same_key_again(line: Settings) -> None:
    saw = incident("saw")
    with receiving(200) as receiver:
        said(line, saw)
        with notify(line, receiver, OPENOEE_CRASH_AT="after_post:1") as process:
            assert process.wait(60) == -signal.SIGKILL
        assert notices.read(line, CODEC) == {}
        with notify(line, receiver):
            until(lambda: notices.read(line, CODEC), 60, "it is noted")
        assert keys(receiver) == [f"{saw.id}/opened"] * 2


def test_a_refusal_is_noted_and_ends_it(line: Settings) -> None:
    saw, end = incident("saw"), incident("end")
    with receiving(422, 200) as receiver:
        said(line, saw, replace(saw, closed=NOW, known_at=NOW + 1), end)
        with notify(line, receiver, "--closed"):
            until(lambda: f"{end.id}/opened" in notices.read(line, CODEC), 60, "the next one is noted")
        assert keys(receiver) == [f"{saw.id}/opened", f"{end.id}/opened"]
        assert notices.read(line, CODEC)[f"{saw.id}/opened"] == "refused"
