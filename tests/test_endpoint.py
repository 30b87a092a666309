"""The endpoint: what it answers, and that nobody who asks slowly, wrongly or too often holds it up."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection

import pytest
from prometheus_client import Histogram

from pipeline import endpoint
from pipeline.endpoint import FRESH_S, MOST_OPEN, REQUEST_WITHIN_S, served
from pipeline.errors import PortTaken, SettingError
from pipeline.local.machine import free_port
from pipeline.metrics import Value
from pipeline.settings import Settings, load


class Process:
    """A producer whose figures are made as a test wishes."""

    process = "producer"
    measured: tuple[Histogram, ...] = ()

    def __init__(self) -> None:
        self.why = ""
        self.asked = 0
        self.hold = threading.Event()
        self.hold.set()

    def unready(self) -> str:
        assert self.hold.wait(30)
        return self.why

    def values(self) -> Iterator[Value]:
        self.asked += 1
        yield Value("openoee_producer_records_total", 41 + self.asked)


@pytest.fixture
def settings() -> Settings:
    return load({"metrics_port": free_port()}, {})


@pytest.fixture
def process(settings: Settings) -> Iterator[Process]:
    process = Process()
    with served(settings, process):
        yield process


def ask(settings: Settings, path: str, method: str = "GET", within_s: float = 20.0) -> tuple[int, str, str]:
    """Status, media type and body."""
    connection = HTTPConnection(settings["metrics_host"], settings.int("metrics_port"), timeout=within_s)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type", ""), answer.read().decode()
    finally:
        connection.close()


def connected(settings: Settings) -> socket.socket:
    return socket.create_connection((settings["metrics_host"], settings.int("metrics_port")), timeout=20)


@pytest.mark.usefixtures("process")
def test_pages(settings: Settings) -> None:
    assert ask(settings, "/healthz")[::2] == (200, "alive\n")
    assert ask(settings, "/readyz?verbose")[::2] == (200, "ready\n")
    status, kind, page = ask(settings, "/metrics")
    assert (status, kind.split(";")[0]) == (200, "text/plain")
    assert "openoee_producer_records_total 42.0" in page
    assert ask(settings, "/")[::2] == (404, "here are /metrics, /healthz and /readyz\n")
    assert ask(settings, "/metrics", "POST")[0] == 405
    assert ask(settings, "/healthz", "HEAD")[::2] == (200, "")


def test_readiness_says_why_and_follows_the_process(settings: Settings, process: Process) -> None:
    process.why = "it waits: the store at http://me:pass@store:8123 does not answer"
    assert ask(settings, "/readyz")[::2] == (
        503, "not ready: it waits: the store at http://***@store:8123 does not answer\n",
    )  # fmt: skip
    assert ask(settings, "/healthz")[0] == 200
    assert "openoee_ready 0.0" in ask(settings, "/metrics")[2]
    process.why = ""
    deadline = time.monotonic() + 20
    while ask(settings, "/readyz")[0] != 200:
        assert time.monotonic() < deadline


def test_a_page_is_made_at_most_once_in_a_while(settings: Settings, process: Process) -> None:
    began = time.monotonic()
    for _ in range(20):
        assert ask(settings, "/metrics")[0] == 200
    assert process.asked <= 1 + (time.monotonic() - began) / FRESH_S


@pytest.mark.usefixtures("process")
def test_slow_silent_and_wrong_clients_hold_nobody_up(settings: Settings) -> None:
    """One client drips bytes, some say nothing, some say rubbish or much too much; all are cut off in time."""
    with ExitStack() as stack:
        idle = [stack.enter_context(connected(settings)) for _ in range(MOST_OPEN // 2)]
        dripping, rubbish, much = (stack.enter_context(connected(settings)) for _ in range(3))
        dripping.sendall(b"GET /metrics HT")
        rubbish.sendall(b"\0\xff\r\n\r\n")
        much.sendall(b"GET /" + b"x" * 20_000)
        assert ask(settings, "/metrics")[0] == 200
        assert rubbish.recv(100).startswith(b"HTTP/1.1 400")
        began = time.monotonic()
        while _still_open(dripping):  # sends a byte now and then, which buys no time
            assert time.monotonic() - began < 10 * REQUEST_WITHIN_S
        assert [client.recv(1) for client in idle] == [b""] * len(idle)
        assert ask(settings, "/healthz")[0] == 200


def _still_open(client: socket.socket) -> bool:
    client.settimeout(0.2)
    try:
        client.sendall(b"T")
        return client.recv(1) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


@pytest.mark.usefixtures("process")
def test_more_clients_than_room_are_served_in_turn(settings: Settings) -> None:
    with ExitStack() as stack:
        for _ in range(MOST_OPEN + 10):
            stack.enter_context(connected(settings))
        assert ask(settings, "/healthz")[0] == 200


def test_a_figure_that_takes_long_does_not_hold_up_health(settings: Settings, process: Process) -> None:
    process.hold.clear()
    answers: list[int] = []
    waiting = threading.Thread(target=lambda: answers.append(ask(settings, "/metrics")[0]))
    waiting.start()
    try:
        assert ask(settings, "/healthz")[0] == 200
        assert answers == []
    finally:
        process.hold.set()
        waiting.join(30)
    assert answers == [200]


def test_what_cannot_be_told_is_told_as_that_and_logged(
    settings: Settings, process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    process.values = lambda: iter([Value("openoee_no_such_metric", 1)])  # type: ignore[method-assign]
    assert ask(settings, "/metrics")[0] == 503
    assert "/metrics cannot be told: KeyError('openoee_no_such_metric')" in caplog.text
    assert ask(settings, "/healthz")[0] == 200


@pytest.mark.usefixtures("process")
def test_a_taken_port_is_one_clear_error(settings: Settings) -> None:
    expected = r"^port \d+ of 127.0.0.1, wanted for metrics, .*OPENOEE_METRICS_PORT"
    with pytest.raises(PortTaken, match=expected), served(settings, Process()):
        pass


@pytest.mark.parametrize("wrong", [{"metrics_host": "no such host"}, {"metrics_port": 70_000}])
def test_an_impossible_address_names_the_setting(wrong: dict[str, str | int]) -> None:
    values = load({"metrics_port": 9464, **wrong}, {})
    with pytest.raises((SettingError, PortTaken), match=r"METRICS_(HOST|PORT)"), served(values, Process()):
        pass


def test_port_0_listens_nowhere_and_a_port_is_free_again_afterwards(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(settings, Process()):
        assert ask(settings, "/healthz")[0] == 200
    with served(settings, Process()):
        assert ask(settings, "/healthz")[0] == 200
    with pytest.raises(ConnectionError):
        connected(settings)
    monkeypatch.delattr(endpoint, "_listener")
    with served(load({"metrics_port": 0}, {}), Process()):
        pass
