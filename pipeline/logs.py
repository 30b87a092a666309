"""Logs of the long-running processes: lines for people, or one JSON object a line for programs; no secret in either."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from pipeline.errors import OpenOeeError, SettingError
from pipeline.settings import Settings

TEXT, JSON = "text", "json"
FIELDS = ("machine", "topic", "partition", "offset")  # given with `extra=` by a caller that knows them
QUIET = {
    "aiokafka": logging.CRITICAL,  # it repeats itself while a broker is away; we say it once
    "faust": logging.ERROR,
    "mode": logging.ERROR,
}
SHORTEST_SECRET = 4  # hiding a shorter one would tell it, by the holes that it leaves in every word
_IN_URL = re.compile(r"(?<=://)[^/\s@]+@")


def setup(settings: Settings) -> None:
    """Log to standard error as the settings say. Raises SettingError."""
    style = settings["log_format"]
    if style not in (TEXT, JSON):
        raise SettingError(f"OPENOEE_LOG_FORMAT is {style!r}: expected {TEXT} or {JSON}")
    secrets = _secrets(settings)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(secrets) if style == JSON else TextLines(secrets))
    handler.addFilter(_no_traceback_of_ours)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("openoee").setLevel(logging.INFO)
    for name, level in QUIET.items():
        logging.getLogger(name).setLevel(level)
    if style == JSON:
        logging.captureWarnings(True)
        sys.excepthook = _uncaught


def is_json() -> bool:
    """Whether this process logs JSON."""
    return any(isinstance(handler.formatter, JsonLines) for handler in logging.root.handlers)


def hidden(text: str, secrets: Iterable[str] = ()) -> str:
    """The text without these secrets, and without users and passwords in URLs."""
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, "***")
    return _IN_URL.sub("***@", text)


class TextLines(logging.Formatter):
    """`2026-03-02 06:00:00,123 LEVEL message`, in local time."""

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")
        self._secrets = tuple(secrets)

    def format(self, record: logging.LogRecord) -> str:
        return hidden(super().format(record), self._secrets)


class JsonLines(logging.Formatter):
    """One JSON object: time (UTC, ms), level, logger, message, the FIELDS that the caller gave, exception."""

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__()
        self._secrets = tuple(secrets)

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        row: dict[str, Any] = {"time": at.replace("+00:00", "Z"), "level": record.levelname, "logger": record.name}
        row["message"] = record.getMessage()
        row |= {name: value for name in FIELDS if (value := getattr(record, name, None)) is not None}
        if record.exc_info:
            row["exception"] = self.formatException(record.exc_info)
        for name, value in row.items():  # before they are quoted: a secret may hold what JSON escapes
            row[name] = value if isinstance(value, int) else hidden(str(value), self._secrets)
        return json.dumps(row, ensure_ascii=False)


def _secrets(settings: Settings) -> tuple[str, ...]:
    asks: tuple[Callable[[], str], ...] = (
        lambda: settings.store_password, lambda: settings.kafka_password, lambda: settings.registry.password,
    )  # fmt: skip
    found = []
    for ask in asks:
        with contextlib.suppress(OSError):  # a process that may not read it cannot tell it
            found.append(ask())
    return tuple(found)


def _no_traceback_of_ours(record: logging.LogRecord) -> bool:
    """Our own errors are one line; Faust would add their traceback."""
    return not (record.exc_info and isinstance(record.exc_info[1], OpenOeeError))


def _uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    logging.getLogger("openoee").critical("%r", error, exc_info=(kind, error, traceback))
