"""Logs: one JSON object a line with the fields that callers give, lines as ever in text, and never a secret."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import logs
from pipeline.errors import LogHole, SettingError
from pipeline.local.machine import free_port
from pipeline.settings import load

ROOT = Path(__file__).parents[1]
SECRET = 'hush "quoted" \\ ü'
log = logging.getLogger("openoee.test")


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root, hook = logging.root, sys.excepthook
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], sys.excepthook = handlers, hook
    root.setLevel(level)
    logging.captureWarnings(False)
    logging.getLogger("openoee").setLevel(logging.NOTSET)


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_json_has_time_level_logger_message_and_the_fields_given(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup(load({"log_format": "json"}, {}))
    log.warning("parked: %s\nfor good", "m1 ⚙", extra={"topic": "telemetry", "partition": 0, "offset": 1 << 40})
    log.info("plain", extra={"machine": "m1", "unheard": "of"})
    log.debug("too much")
    first, second = told(capsys)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first.pop("time"))
    assert first == {
        "level": "WARNING", "logger": "openoee.test", "message": "parked: m1 ⚙\nfor good", "topic": "telemetry",
        "partition": 0, "offset": 1 << 40,
    }  # fmt: skip
    assert (second["message"], second["machine"], "unheard" in second) == ("plain", "m1", False)


def test_an_exception_is_one_line_and_our_own_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup(load({"log_format": "json"}, {}))
    for error in (ValueError("one\ntwo"), LogHole("said already")):
        try:
            raise error
        except Exception:
            log.exception("went wrong")
    (row,) = told(capsys)
    assert row["exception"].startswith("Traceback")
    assert row["exception"].endswith("ValueError: one\ntwo")


def test_text_is_a_line_as_ever(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup(load({}, {}))
    log.info("%d records", 3, extra={"partition": 1})
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO 3 records\n", capsys.readouterr().err)


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_secret_never_gets_into_a_log(style: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup(load({"log_format": style, "store_password": SECRET}, {}))
    log.warning("password %s at http://user:%s@store:8123/x", SECRET, "pa55")
    log.warning("in a field", extra={"machine": f"m {SECRET}"})
    try:
        raise ValueError(f"no {SECRET}")
    except ValueError:
        log.exception("with a traceback")
    text = capsys.readouterr().err
    assert text.count("with a traceback") == 1
    for part in (SECRET, json.dumps(SECRET, ensure_ascii=False)[1:-1], "hush", "pa55"):
        assert part not in text
    assert "password *** at http://***@store:8123/x" in text


def test_a_secret_file_is_hidden_too_and_one_that_cannot_be_read_harms_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n")
    logs.setup(load({"store_password_file": str(secret)}, {}))
    log.warning("it is %s", SECRET)
    assert "it is ***" in capsys.readouterr().err
    logs.setup(load({"store_password_file": str(tmp_path)}, {}))  # a folder
    log.warning("still here")
    assert "still here" in capsys.readouterr().err


def test_another_format_is_refused() -> None:
    with pytest.raises(SettingError, match="OPENOEE_LOG_FORMAT is 'xml': expected text or json"):
        logs.setup(load({"log_format": "xml"}, {}))


@pytest.mark.parametrize(("style", "command"), [("json", "simulate"), ("text", "simulate")])
def test_a_process_that_cannot_begin_says_why_in_one_line(style: str, command: str) -> None:
    """No Kafka, and a secret in every place where one may stand by mistake."""
    store = f"http://user:{SECRET.split()[0]}@127.0.0.1:{free_port()}"
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", command],
        env={
            **os.environ, "OPENOEE_KAFKA": f"127.0.0.1:{free_port()}", "OPENOEE_LOG_FORMAT": style,
            "OPENOEE_STORE_PASSWORD": SECRET, "OPENOEE_STORE": store,
        },
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert "hush" not in done.stderr + done.stdout
    lines = done.stderr.splitlines()
    if style == "json":
        rows = [json.loads(line) for line in lines]
        (error,) = [row["message"] for row in rows if row["level"] == "ERROR"]
        assert rows[-1]["message"] == error
    else:
        error = lines[-1].removeprefix("openoee: ")
        assert error != lines[-1]
    assert re.search("Kafka.* does not answer", error)
    assert "Traceback" not in done.stderr


def test_a_taken_port_ends_a_process_with_one_line(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", "worker", "--metrics-port", str(port), "--home", str(tmp_path)],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"openoee: port {port} of 127.0.0.1, wanted for metrics, cannot be used")


def test_an_uncaught_mistake_is_one_object() -> None:
    code = (
        "import sys, warnings; from pipeline import logs; from pipeline.settings import load\n"
        "logs.setup(load({'log_format': 'json'}, {})); warnings.warn('odd'); raise RuntimeError('broken')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    odd, broken = [json.loads(line) for line in done.stderr.splitlines()]
    assert (odd["logger"], "odd" in odd["message"]) == ("py.warnings", True)
    assert (broken["level"], broken["message"]) == ("CRITICAL", "RuntimeError('broken')")
    assert "Traceback" in broken["exception"]
