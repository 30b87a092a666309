"""The board as others reach it: a process that wants a login, over TLS, its figures for whoever logs in."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest
from live_stack import LiveStack, environment
from sql_trial import milliseconds, told
from web_server import event, get, served, simulated

from pipeline import topics
from pipeline.local.machine import free_port
from pipeline.local.secure import Secrets
from pipeline.settings import Settings
from pipeline.store.client import Store
from pipeline.web.people import People

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]
SECRET = "correct horse battery"
STOP = "SELECT machine, start FROM timeline WHERE element = 'adet' AND stop IS NOT NULL ORDER BY start LIMIT 1"
BASIC = {"Authorization": "Basic " + base64.b64encode(f"ann:{SECRET}".encode()).decode()}


@pytest.fixture(scope="module")
def settings(stack: LiveStack) -> Settings:
    return simulated(stack.settings("guard"))


def test_figures_and_events_are_for_whoever_logs_in(settings: Settings, tmp_path: Path) -> None:
    people = People(tmp_path / "people")
    people.let("ann", SECRET)
    names = {"OPENOEE_WEB_NAMES": "plant", "OPENOEE_WEB_PEOPLE_FILE": str(people.path)}
    with served(settings, **names) as address:
        for path in ("/api/board", "/api/live", "/static/board.js", "/machines/x", "/api/machines/x"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                get(address + path)
            assert (refused.value.code, "machines" in json.loads(refused.value.read())) == (401, False)
        with closing(
            urllib.request.urlopen(urllib.request.Request(f"{address}/api/live", headers=BASIC), timeout=20)
        ) as live:
            name, body = event(live)
            assert (name, len(body["machines"])) == ("board", 3)
            people.remove("ann")
            while line := live.readline():
                assert line
        with pytest.raises(urllib.error.HTTPError) as gone:
            urllib.request.urlopen(urllib.request.Request(f"{address}/api/board", headers=BASIC), timeout=20)
        assert gone.value.code == 401
        gone.value.close()


def test_what_somebody_says_carries_the_name_of_the_login(settings: Settings, tmp_path: Path) -> None:
    people = People(tmp_path / "people")
    people.let("ann", SECRET)
    topics.ensure(settings)
    with closing(Store(settings)) as store:
        stop = told(store, STOP)[0]
    said = {"machine": stop["machine"], "at": milliseconds(stop["start"]), "reason": "jam", "by": "eve"}
    names = {"OPENOEE_WEB_NAMES": "plant", "OPENOEE_WEB_PEOPLE_FILE": str(people.path)}
    with served(settings, **names) as address:
        headers = {"Content-Type": "application/json", **BASIC}
        asked = urllib.request.Request(f"{address}/api/corrections", json.dumps(said).encode(), headers)
        with closing(urllib.request.urlopen(asked, timeout=30)) as answer:
            assert json.loads(answer.read())["issued_by"] == "ann"


def test_over_tls_by_the_certificate_of_the_settings(settings: Settings, tmp_path: Path) -> None:
    secrets = Secrets(tmp_path)
    secrets.make()
    people = People(tmp_path / "people")
    people.let("ann", SECRET)
    more = {
        "OPENOEE_WEB_CERT": str(secrets.certificate), "OPENOEE_WEB_KEY": str(secrets.key),
        "OPENOEE_WEB_NAMES": "plant", "OPENOEE_WEB_PEOPLE_FILE": str(people.path),
    }  # fmt: skip
    trust = ssl.create_default_context(cafile=str(secrets.ca))
    with served(settings, **more) as address:
        asked = urllib.request.Request(f"{address}/api/board", headers=BASIC)
        with closing(urllib.request.urlopen(asked, timeout=20, context=trust)) as answer:
            assert len(json.loads(answer.read())["machines"]) == 3
        with pytest.raises((urllib.error.URLError, OSError)):
            urllib.request.urlopen(f"http{address.removeprefix('https')}/login", timeout=20)


def test_it_says_what_is_missing_before_others_may_come(settings: Settings, tmp_path: Path) -> None:
    env = {
        **environment(settings), "OPENOEE_WEB_PORT": str(free_port()), "OPENOEE_WEB_HOST": "0.0.0.0",
        "OPENOEE_WEB_PEOPLE_FILE": str(tmp_path / "people"),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "web"], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "nobody could log in: `openoee access person NAME` lets somebody in" in done.stderr
    assert "No TLS" in done.stderr
