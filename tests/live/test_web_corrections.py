"""A reason given in the browser, through the real line and back to the page; what is not taken, and why."""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from live_stack import LiveStack
from sql_trial import milliseconds, put, told
from web_server import get, served

from pipeline.core.incident_model import Incident
from pipeline.local.machine import free_port
from pipeline.settings import Settings
from pipeline.store.client import Store

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "trials"))

from line import Line
from line import command as run_command

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]
STOPS = """SELECT machine, min(start) AS start, max(until) AS until, sum(duration_ms) AS ms FROM timeline
    WHERE element = 'adet' AND stop IS NOT NULL GROUP BY machine, stop ORDER BY ms DESC"""


@pytest.fixture(scope="module")
def line(stack: LiveStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Settings]]:
    """The last hours of two machines, all of it in the store, with workers and sink still running."""
    settings = stack.settings("said", partitions=2, snapshot_s=1, session_s=6)
    began = time.strftime("%Y-%m-%dT%H:00:00Z", time.gmtime(time.time() - 4 * 3600))
    with Line(settings, tmp_path_factory.mktemp("said")) as running, closing(Store(settings)) as store:
        run_command(settings, "simulate", "--site=lyon", f"--from={began}", "--hours=3", "--machines=2",
                    "--signal-period=30")  # fmt: skip
        running.caught_up(120)
        yield store, settings


def say(address: str, path: str, body: Any, **headers: str) -> tuple[int, Any]:
    """Status and body of the answer; `headers` with _ for -."""
    sent = {"Content-Type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
    request = urllib.request.Request(f"{address}{path}", json.dumps(body).encode(), sent)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.loads(refused.read())


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found


def listed(address: str, query: str = "every=true") -> Any:
    return json.loads(get(f"{address}/api/corrections?{query}"))


def test_stops_are_those_of_the_views(line: tuple[Store, Settings]) -> None:
    store, settings = line
    with served(settings) as address:
        body = listed(address)
        shown = {(row["machine"], row["start"]): (row["until"], row["ms"]) for row in body["stops"]}
        lasting = [row["ms"] for row in body["stops"]]
        assert lasting == sorted(lasting, reverse=True)
        rows = told(store, STOPS)
        assert rows
        for row in rows[:50]:
            ends = (milliseconds(row["until"]), row["ms"])
            assert shown[row["machine"], milliseconds(row["start"])] == ends
        total = told(store, "SELECT sum(duration_ms) AS ms FROM timeline WHERE element = 'adet'")[0]["ms"]
        assert (body["found"], body["found_ms"]) == (len(body["stops"]), total)
        one = listed(address, f"every=true&machine={rows[0]['machine']}")["stops"]
        assert {row["machine"] for row in one} == {rows[0]["machine"]}
        assert all(row["without_ms"] and not row["micro"] for row in listed(address, "")["stops"])
        assert "/static/corrections.js" in get(f"{address}/corrections").decode()


def test_a_reason_is_sent_restates_its_loss_and_is_taken_back(line: tuple[Store, Settings]) -> None:
    store, settings = line
    with served(settings) as address:
        stop = next(row for row in listed(address)["stops"] if not row["external"] and not row["micro"])
        machine = stop["machine"]
        body = {"machine": machine, "at": stop["start"], "reason": "no wrench", "note": "lent to L2", "by": "ann"}
        status, taken = say(address, "/api/corrections", body, Sec_Fetch_Site="same-origin")
        assert (status, taken["start"], taken["end"]) == (202, stop["start"], stop["until"])
        shown = until(lambda: next((row for row in listed(address)["corrections"] if row["id"] == taken["id"]), None))
        assert (shown["issued_by"], shown["reason"]) == ("ann", "no wrench")
        assert shown["status"] in ("sent", "stored", "done")

        def done() -> Any:
            rows = listed(address)["corrections"]
            return next((row for row in rows if row["id"] == taken["id"] and row["status"] == "done"), None)

        found = until(done)
        assert (found["rows"] > 0, found["note"]) == (True, "lent to L2")
        again = next(
            row for row in listed(address)["stops"] if (row["machine"], row["start"]) == (machine, stop["start"])
        )
        assert (again["reasons"], again["without_ms"], again["ms"]) == (["no wrench"], 0, stop["ms"])

        def lost() -> Any:
            within = "start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00'"
            sql = f"SELECT sum(lost_ms) AS ms FROM losses({within}) WHERE reason = 'no wrench' GROUP BY reason"
            return told(store, sql) == [{"ms": stop["ms"]}]

        until(lost)
        before = len(listed(address)["corrections"])
        status, _ = say(address, "/api/corrections/withdraw", {"id": taken["id"], "by": "ann"})
        assert status == 202
        until(lambda: len(listed(address)["corrections"]) == before - 1)
        until(lambda: not told(store, "SELECT 1 FROM timeline WHERE reason = 'no wrench'"))
        status, body = say(address, "/api/corrections/withdraw", {"id": taken["id"], "by": "ann"})
        assert (status, "no correction" in body["error"]) == (400, True)


def test_what_is_no_word_of_this_server_is_not_taken(line: tuple[Store, Settings]) -> None:
    store, settings = line
    stop = told(store, STOPS)[0]
    good = {"machine": stop["machine"], "at": milliseconds(stop["start"]), "reason": "jam", "by": "eve"}
    known = told(store, "SELECT count() AS n FROM corrections")
    with served(settings) as address:
        for headers, status in (
            ({"Sec_Fetch_Site": "cross-site"}, 403), ({"Sec_Fetch_Site": "same-site"}, 403),
            ({"Origin": "http://elsewhere"}, 403), ({"Origin": "null"}, 403), ({"Content_Type": "text/plain"}, 415),
        ):  # fmt: skip
            got, body = say(address, "/api/corrections", good, **headers)
            assert (got, set(body)) == (status, {"error"}), headers
        for change, status, words in (
            ({"reason": ""}, 422, "reason"), ({"by": " "}, 422, "by"), ({"more": 1}, 422, "more"),
            ({"at": "soon"}, 422, "at"), ({"reason": "x" * 20_000}, 413, "10000 bytes"),
            ({"machine": "lyon-L1-saww"}, 400, "no factory file names the machine"),
            ({"at": 1_000_000_000_000}, 400, "nothing is known of"),
        ):  # fmt: skip
            got, body = say(address, "/api/corrections", {**good, **change})
            assert got == status, body
            assert words in body["error"]
        listed(address)
    assert told(store, "SELECT count() AS n FROM corrections") == known


def test_without_kafka_it_says_so_and_nothing_counts_as_sent(line: tuple[Store, Settings]) -> None:
    store, settings = line
    stop = told(store, STOPS)[0]
    body = {"machine": stop["machine"], "at": milliseconds(stop["start"]), "reason": "lost words", "by": "ann"}
    with served(settings, OPENOEE_KAFKA=f"127.0.0.1:{free_port()}") as address:
        status, answer = say(address, "/api/corrections", body)
        assert (status, "Kafka" in answer["error"]) == (503, True)
        assert all(row["reason"] != "lost words" for row in listed(address)["corrections"])
    with served(settings, OPENOEE_STORE=f"http://127.0.0.1:{free_port()}") as address:
        status, answer = say(address, "/api/corrections", body)
        assert (status, "does not answer" in answer["error"]) == (503, True)


def test_an_incident_is_seen_and_a_machine_is_muted(line: tuple[Store, Settings]) -> None:
    store, settings = line
    machine = told(store, "SELECT machine FROM factory ORDER BY machine LIMIT 1")[0]["machine"]
    with served(settings) as address:
        words = {"machine": machine, "hours": 2, "why": "new sensor", "by": "ann"}
        status, taken = say(address, "/api/incidents/mute", words)
        assert status == 202
        muted = f"SELECT id, why, issued_by FROM mutes_in_force WHERE machine = '{machine}'"
        until(lambda: told(store, muted) == [{"id": taken["id"], "why": "new sensor", "issued_by": "ann"}])
        now = time.time_ns() // 1_000_000
        put(store, Incident(
            machine, "lyon", "L1", f"{machine}/{now}", now, now, now, None, "critical", True, False, 1, ["load"],
            ["limit"], "load", "limit", 0.9, "running", "A", "load is high", known_at=now,
        ))  # fmt: skip
        status, taken = say(address, "/api/incidents/acknowledge", {"id": f"{machine}/{now}", "by": "ann"})
        assert (status, taken["id"]) == (202, f"{machine}/{now}")
        # The machine's log does not know this one: the record arrived, and came back as a dead letter.
        until(lambda: told(store, f"SELECT 1 FROM parked WHERE machine = '{machine}' AND reason = 'invalid'"))
        assert say(address, "/api/incidents/acknowledge", {"id": "nobody/1", "by": "ann"})[0] == 400
