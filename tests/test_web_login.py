"""The board's login on a real server: nothing answers before it, sessions end, attempts are throttled."""

from __future__ import annotations

import base64
import json
import logging
import re
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

import pytest
from click.testing import CliRunner
from fastapi.routing import APIRoute
from starlette.routing import Mount, Route
from web_thread import Answer, ask, running

from pipeline.cli.access import command as access
from pipeline.errors import SettingError, UsageError
from pipeline.local.machine import free_port
from pipeline.settings import Settings, load
from pipeline.web.app import create, serve
from pipeline.web.people import LEAST_LETTERS, MOST_NAME, People
from pipeline.web.sessions import MOST_KEPT, MOST_OF_ADDRESS, MOST_OF_NAME, MOST_OF_ONE, WINDOW_S, Sessions, Throttle

COOKIE = "openoee_8080"
ANN, SECRET = "ann", "correct horse battery"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """As for a board that others can reach, with one person and no store."""
    home = tmp_path_factory.mktemp("home")
    made = load({"home": str(home), "web_host": "0.0.0.0", "store": f"http://127.0.0.1:{free_port()}"}, {})
    People(made.people_file).let(ANN, SECRET)
    return made


@pytest.fixture(scope="module")
def port(settings: Settings) -> Iterator[int]:
    with running(settings) as port:
        yield port


def log_in(port: int, name: str = ANN, password: str = SECRET, way: str = "/", **headers: str) -> Answer:
    form = urlencode({"name": name, "password": password, "next": way})
    return ask(port, "POST", "/login", form, Content_Type="application/x-www-form-urlencoded", **headers)


def cookie(answer: Answer) -> str:
    found = re.match(rf"({COOKIE}=[^;]+);", answer[1]["set-cookie"])
    assert found
    return found[1]


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def ways(settings: Settings) -> list[tuple[str, str]]:
    """Method and an address of every route there is, mounted ones included."""
    found = []
    for route in create(settings).routes:
        path = re.sub(r"\{[^}]*\}", "x", getattr(route, "path", ""))
        if isinstance(route, Mount):
            found += [("GET", path), ("GET", f"{path}/board.js"), ("GET", f"{path}/login.html")]
        else:
            assert isinstance(route, Route | APIRoute), f"{route}: how is it asked?"
            found += [(method, path) for method in route.methods or ()]
    return found


def test_nothing_answers_before_the_login_and_no_route_is_forgotten(settings: Settings, port: int) -> None:
    asked = ways(settings)
    paths = {path for _, path in asked}
    assert paths >= {"/", "/api/board", "/api/live", "/static/board.js", "/api/openapi.json", "/machines/x", "/logout"}
    for method, path in [*asked, ("GET", "/nowhere"), ("OPTIONS", "/api/board"), ("TRACE", "/")]:
        if path == "/login":
            continue
        status, headers, body = ask(port, method, path)
        assert status == 401, (method, path)
        assert method == "HEAD" or set(json.loads(body)) == {"error"}
        assert not headers["www-authenticate"].startswith("Basic")
        assert "set-cookie" not in headers
        status, headers, body = ask(port, method, path, Accept="text/html", Cookie=f"{COOKIE}=made-up")
        assert (status, body) == (303, b"") if method in ("GET", "HEAD", "OPTIONS") else status in (401, 403)
    assert ask(port, "GET", "/machines/a?before=1", Accept="text/html")[1]["location"] == (
        "/login?next=%2Fmachines%2Fa%3Fbefore%3D1"
    )


def test_whoever_logs_in_is_known_until_logging_out(port: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "openoee.web"):
        entered = log_in(port, way="/machines/saw-1?before=1")
    assert (entered[0], entered[1]["location"]) == (303, "/machines/saw-1?before=1")
    told = entered[1]["set-cookie"].lower()
    assert all(word in told for word in ("httponly", "samesite=strict", "max-age=43200"))
    assert "secure" not in told
    assert "login: 'ann' from 127.0.0.1" in caplog.text
    assert SECRET not in caplog.text
    mine = cookie(entered)
    assert json.loads(ask(port, "GET", "/api/me", Cookie=mine)[2]) == {"name": ANN}
    assert ask(port, "GET", "/static/board.js", Cookie=mine)[0] == 200
    assert ask(port, "GET", "/", Cookie=mine)[1]["content-security-policy"].startswith("default-src 'self'")
    assert ask(port, "GET", "/login", Cookie=mine)[1]["location"] == "/"
    assert ask(port, "POST", "/logout", Cookie=mine)[0] == 403  # nothing says that our own page asks
    assert ask(port, "POST", "/logout", Cookie=mine, Origin="http://elsewhere")[0] == 403
    assert ask(port, "POST", "/logout", Cookie=mine, Sec_Fetch_Site="same-site")[0] == 403
    assert ask(port, "POST", "/logout", Cookie=mine, Origin=f"http://127.0.0.1:{port}")[0] == 303
    assert ask(port, "GET", "/api/me", Cookie=mine)[0] == 401
    assert "secure" in log_in(port, X_Forwarded_Proto="https")[1]["set-cookie"].lower()


def test_the_login_page_needs_nothing_else_and_leads_nowhere_else(port: int) -> None:
    status, headers, body = ask(port, "GET", "/login?next=%22%3E%3Cscript%3E")
    page = body.decode()
    assert status == 200
    assert "<script" not in page
    assert "src=" not in page
    assert re.search(r"default-src 'none'; .*style-src 'sha256-[\w+/=]+'", headers["content-security-policy"])
    assert headers["cache-control"] == "no-store"
    for way in ("//elsewhere", "/\\elsewhere", "https://elsewhere", "/login", "elsewhere", "/a\r\nSet-Cookie: a=b"):
        assert log_in(port, way=way)[1]["location"] == "/"


def test_programs_send_name_and_password_along(port: int) -> None:
    assert json.loads(ask(port, "GET", "/api/me", Authorization=basic(ANN, SECRET))[2]) == {"name": ANN}
    for wrong in (basic(ANN, "x"), basic("ben", SECRET), "Basic ?", "Basic " + "A" * 9000, "Bearer x", basic("", "")):
        assert ask(port, "GET", "/api/me", Authorization=wrong)[0] == 401
    began = time.monotonic()
    for _ in range(50):
        assert ask(port, "GET", "/api/me", Authorization=basic(ANN, SECRET))[0] == 200
    assert time.monotonic() - began < 5  # no hash for each of them


def test_a_wrong_password_is_refused_and_soon_has_to_wait(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    with running(settings) as port:
        for _ in range(MOST_OF_ADDRESS):
            status, _, body = log_in(port, password="my other password")
            assert (status, "do not belong together" in body.decode()) == (401, True)
        status, _, body = log_in(port)
        assert (status, "Too many attempts. Wait 5 min" in body.decode()) == (429, True)
        status, headers, _ = ask(port, "GET", "/api/me", Authorization=basic(ANN, SECRET))
        assert (status, 270 < int(headers["retry-after"]) <= 301) == (429, True)
    assert caplog.text.count("login refused: 'ann' from 127.0.0.1") == MOST_OF_ADDRESS
    assert caplog.text.count("no more for 5 minutes") == 1
    assert "my other password" not in caplog.text


def test_what_is_typed_into_the_wrong_field_is_not_logged(port: int, caplog: pytest.LogCaptureFixture) -> None:
    assert log_in(port, name=SECRET, password="x")[0] == 401
    assert "a name that nobody has from" in caplog.text
    assert SECRET not in caplog.text
    assert ask(port, "POST", "/login", "x" * 10_000)[0] == 400


@pytest.mark.parametrize("by", ["password", "logout"])
def test_what_is_open_ends_even_a_stream(tmp_path: Path, by: str) -> None:
    values = {"home": str(tmp_path), "web_names": "plant", "store": f"http://127.0.0.1:{free_port()}", "web_poll_s": 1}
    settings = load(values, {})
    people = People(settings.people_file)
    people.let(ANN, SECRET)
    with running(settings) as port, closing(socket.create_connection(("127.0.0.1", port), 20)) as stream:
        mine = cookie(log_in(port))
        stream.sendall(f"GET /api/live HTTP/1.1\r\nHost: plant\r\nCookie: {mine}\r\n\r\n".encode())
        told = b""
        while b"event: away" not in told:
            told += stream.recv(4096)
        assert told.startswith(b"HTTP/1.1 200")
        if by == "password":
            people.let(ANN, SECRET + "!")
        else:
            assert ask(port, "POST", "/logout", Cookie=mine, Origin=f"http://127.0.0.1:{port}")[0] == 303
        while b"\r\n0\r\n\r\n" not in told:  # the end of a chunked answer
            part = stream.recv(4096)
            assert part
            told += part
        assert ask(port, "GET", "/api/me", Cookie=mine)[0] == 401
        people.let(ANN, SECRET + "!")
        assert ask(port, "GET", "/api/me", Authorization=basic(ANN, SECRET + "!"))[0] == 200
        people.remove(ANN)
        assert ask(port, "GET", "/api/me", Authorization=basic(ANN, SECRET + "!"))[0] == 401
        people.path.write_text("{")
        broken = ask(port, "GET", "/api/me", Authorization=basic(ANN, SECRET))
        assert broken[0] == 503
        assert str(tmp_path) not in str(broken)  # where it lies is the log's business


@pytest.mark.parametrize(
    ("host", "names", "asked", "served"),
    [("127.0.0.1", "", "localhost:1", True), ("127.0.0.1", "", "10.0.0.5", False), ("127.0.0.1", "", "plant", False),
     ("0.0.0.0", "", "10.0.0.5:8080", True), ("0.0.0.0", "", "[fe80::1]", True), ("0.0.0.0", "", "plant", False),
     ("0.0.0.0", "plant, oee.example", "OEE.example:443", True), ("0.0.0.0", "plant", "", False),
     ("0.0.0.0", "", "127.0.0.1/login?", False), ("0.0.0.0", "", "127.0.0.1#", False), ("0.0.0.0", "", "a@::1", False),
     ("127.0.0.1", "plant", "plant", True), ("127.0.0.1", "plant", "[", False), ("::1", "", "[::1]:1", True)],
)  # fmt: skip
def test_under_which_names_it_answers(tmp_path: Path, host: str, names: str, asked: str, served: bool) -> None:
    with running(load({"home": str(tmp_path), "web_host": host, "web_names": names}, {})) as port:
        closed = names or host == "0.0.0.0"
        assert ask(port, "GET", "/api/me", Host=asked)[0] == (421 if not served else 401 if closed else 200)


def test_an_origin_that_is_none_is_another_place(port: int) -> None:
    assert ask(port, "POST", "/api/corrections", "{}", Origin="http://[")[0] == 403


def test_without_a_login_nobody_has_to(tmp_path: Path) -> None:
    with running(load({"home": str(tmp_path)}, {})) as port:
        assert json.loads(ask(port, "GET", "/api/me")[2]) == {"name": None}
        assert ask(port, "GET", "/login")[1]["location"] == "/"
        assert ask(port, "POST", "/logout", Origin="http://elsewhere")[0] == 403


def test_others_are_not_served_where_nobody_could_log_in(tmp_path: Path) -> None:
    for more in ({"web_host": "0.0.0.0"}, {"web_names": "plant"}):
        with pytest.raises(SettingError, match="openoee access person NAME"):
            serve(load({"home": str(tmp_path), **more}, {}))
    with pytest.raises(SettingError, match="no certificate with its key"):
        serve(load({"home": str(tmp_path), "web_cert": str(tmp_path / "none.pem")}, {}))


def test_passwords_are_set_and_taken_by_command(tmp_path: Path) -> None:
    def run(*words: str, said: str = "") -> tuple[int, str]:
        found = CliRunner().invoke(access, ["person", *words, "--home", str(tmp_path)], input=said)
        return found.exit_code, found.output + repr(found.exception or "")

    assert run("ann", said=SECRET + "\n")[0] == 0
    file = tmp_path / "secrets" / "web_people"
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert SECRET not in file.read_text()
    people = People(file)
    first = people.hash_of("ann")
    assert run("ann", said=SECRET + "\n")[0] == 0
    assert people.hash_of("ann") not in (None, first)  # read again, and salted anew
    for name, password, why in (("ann", "short", "12 to 1024"), ("a:b", SECRET, "no name"), (" a", SECRET, "no name"),
                                ("a" * (MOST_NAME + 1), SECRET, "no name"), ("a\nb", SECRET, "no name")):  # fmt: skip
        code, told = run(name, said=password + "\n")
        assert code
        assert why in told
    assert run("ann", "--remove")[0] == 0
    assert people.hash_of("ann") is None
    with pytest.raises(UsageError, match="nobody"):
        people.remove("ann")
    for wrong in ("[]", "{", '{"ann": 3}', '{"ann": "scrypt$2$8$1$AAAA$AAAA"}', '{"ann": "md5$x"}'):
        file.write_text(wrong)
        with pytest.raises(SettingError, match="make it again"):
            People(file).all()
    assert len("x" * LEAST_LETTERS) == 12


def test_sessions_are_bounded_and_end_by_their_time(tmp_path: Path) -> None:
    people = People(tmp_path / "secrets" / "people")
    people.let(ANN, SECRET)
    known = people.hash_of(ANN)
    assert known
    kept = tmp_path / "secrets" / "sessions"
    sessions = Sessions(people, 3600, kept)
    tokens = [sessions.begin(ANN, known) for _ in range(3 * MOST_OF_ONE)]
    assert len(sessions) == MOST_OF_ONE
    assert [bool(sessions.of(token)) for token in tokens].count(True) == MOST_OF_ONE
    assert sessions.of(tokens[-1])
    again = Sessions(people, 3600, kept)  # the board starts anew
    assert again.of(tokens[-1])
    again.end(tokens[-1])
    assert again.of(tokens[-1]) is None
    assert Sessions(people, 3600, kept).of(tokens[-1]) is None
    assert kept.stat().st_mode & 0o777 == 0o600
    assert not any(word in kept.read_text() for word in (*tokens, known))
    people.let(ANN, SECRET + "!")
    assert Sessions(people, 3600, kept).of(tokens[-2]) is None
    kept.write_text("[{}]")
    assert len(Sessions(people, 3600, kept)) == 0
    over = Sessions(people, -1, tmp_path / "secrets" / "over")
    assert over.of(over.begin(ANN, known)) is None
    over.begin(ANN, known)
    assert len(over) == 1  # what is over is forgotten


def test_attempts_are_counted_by_network_and_name_and_forgotten_in_time() -> None:
    now = [0.0]
    throttle = Throttle(lambda: now[0])
    for number in range(MOST_OF_ADDRESS):
        assert throttle.wait_s(f"2001:db8::{number}", ANN) == 0
        assert throttle.count(f"2001:db8::{number}", ANN) is (number + 1 == MOST_OF_ADDRESS)
    assert throttle.wait_s("2001:db8::ffff", "ben") == WINDOW_S
    assert throttle.wait_s("2001:db8:1::1", ANN) == 0
    for _ in range(MOST_OF_ADDRESS):
        throttle.count("::ffff:192.0.2.1", "ben")
    assert throttle.wait_s("192.0.2.1", "eve") == WINDOW_S
    assert throttle.wait_s("::ffff:192.0.2.2", "eve") == 0
    for number in range(MOST_OF_NAME - MOST_OF_ADDRESS):
        throttle.count(f"10.0.{number}.1", ANN)
    now[0] += 1
    assert throttle.wait_s("10.9.9.9", ANN) == WINDOW_S - 1
    throttle.forgive("10.0.0.1", ANN)
    assert throttle.wait_s("10.9.9.9", ANN) == 0
    now[0] += WINDOW_S
    assert throttle.wait_s("2001:db8::1", ANN) == 0
    for number in range(2 * MOST_KEPT):
        throttle.count(f"10.{number % 250}.{number // 250}.1", f"name {number}")
    assert len(throttle._failed) == MOST_KEPT
