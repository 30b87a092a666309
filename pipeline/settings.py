"""Every setting of openoee in one table; the only place where the environment is read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click

from pipeline.core.settings import EngineSettings
from pipeline.errors import SettingError

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Setting:
    """One row of the table: `--flag` and `OPENOEE_NAME` set it, a flag wins over the environment."""

    name: str
    default: str | int | float
    meaning: str
    minimum: float | None = None
    secret: bool = False  # no flag: what a process was started with is for everybody to read

    @property
    def flag(self) -> str:
        return "" if self.secret else "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return "OPENOEE_" + self.name.upper()


TABLE: tuple[Setting, ...] = (
    Setting("home", ".openoee", "folder of the local stack: downloads, data, logs, secrets"),
    Setting("kafka", "127.0.0.1:9092", "bootstrap servers of Kafka, comma-separated"),
    Setting("kafka_security", "plaintext", "what Kafka's listener speaks: plaintext, ssl, sasl_ssl, sasl_plaintext"),
    Setting("kafka_sasl", "SCRAM-SHA-512", "SASL mechanism: SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN"),
    Setting("kafka_user", "", "user of Kafka, for sasl_ssl"),
    Setting("kafka_password", "", "password of that user; empty: read from kafka_password_file", secret=True),
    Setting("kafka_password_file", "", "file with that password; empty: <home>/secrets/kafka_<kafka_user>"),
    Setting("kafka_ca", "", "file (PEM) of the CA of Kafka; empty: <home>/tls/ca.pem, else the system's"),
    Setting("kafka_cert", "", "file (PEM) of the certificate that shows Kafka who we are, where it asks for one"),
    Setting("kafka_key", "", "file (PEM) of that certificate's key; empty: it is in the same file"),
    Setting("registry", "", "URL of a Confluent-compatible schema registry; empty: the committed bundle alone"),
    Setting("registry_user", "", "user of the registry, for one that asks for a password (HTTP basic)"),
    Setting("registry_password", "", "password of that user; empty: read from registry_password_file", secret=True),
    Setting("registry_password_file", "", "file with that password; empty: <home>/secrets/registry_<registry_user>"),
    Setting("registry_ca", "", "file (PEM) of the CA of an https registry; empty: as kafka_ca"),
    Setting("store", "http://127.0.0.1:8123", "URL of ClickHouse's HTTP interface"),
    Setting("store_user", "openoee", "user of the store"),
    Setting("store_password", "", "password of the store; empty: read from store_password_file", secret=True),
    Setting("store_password_file", "", "file with the store's password; empty: <home>/secrets/store"),
    Setting("store_ca", "", "file (PEM) of the CA of an https store; empty: as kafka_ca"),
    Setting("database", "openoee", "database of the store"),
    Setting("topic_prefix", "", "put before every topic and consumer group, so that several lines share one broker"),
    Setting("partitions", 8, "partitions of every topic keyed by machine, when topics are created", 1),
    Setting("replication", 1, "replication factor, when topics are created (3 in production)", 1),
    Setting("window_s", 60, "length of an OEE window in seconds; must divide 15 minutes", 1),
    Setting("lateness_s", 30, "allowed lateness: how long a window stays open for records out of order", 0),
    Setting("max_future_s", 300, "event times further than this after their record's arrival are quarantined", 1),
    Setting("retention_h", 24, "hours of history per machine within which late data restates windows", 1),
    Setting("provisional_s", 10, "pace of provisional rows for open windows, in seconds of arrival time", 0),
    Setting("detect", 1, "1: the worker runs the anomaly detectors; 0: it computes OEE alone", 0),
    Setting("tick_s", 10, "a live machine silent for so long gets tick records in its partition", 1),
    Setting("snapshot_s", 5, "pace of state snapshots of a worker, in seconds", 0),
    Setting("state_buckets", 4, "state records per partition; a machine's bucket is its hash", 1),
    Setting("dead_letter_share", 0.5, "a worker stops when more than this share of 1,000 records is undecodable", 0),
    Setting("frame_samples", 200, "samples after which a producer closes a frame", 1),
    Setting("frame_ms", 1000, "milliseconds after which a producer closes a frame", 1),
    Setting("spool", "", "folder where a producer keeps records until Kafka has them; empty: none"),
    Setting("spool_mb", 1024, "megabytes of records that a spool may hold; when it is full the source waits", 8),
    Setting("spool_sync_ms", 1000, "milliseconds of records that a power cut may take out of a spool; 0: none", 0),
    Setting("sink_rows", 200_000, "rows after which the sink inserts a batch", 1),
    Setting("sink_mb", 64, "megabytes of records after which the sink inserts a batch", 1),
    Setting("sink_ms", 200, "milliseconds after which the sink inserts a batch", 1),
    Setting("keep_telemetry_days", 0, "days after which samples, events and counts go; 0: never", 0),
    Setting("keep_minutes_days", 0, "days after which OEE by minute and intervals go, their hours stay; 0: never", 0),
    Setting("keep_revisions_days", 0, "days after which old revisions of OEE and of flags go; 0: never", 0),
    Setting("crash_at", "", "fault trials: `point:n` kills the worker at the n-th passing of that point"),
    Setting("session_s", 15, "a worker or sink silent for so long loses its partitions to another", 1),
    Setting("metrics_port", 0, "port of /metrics, /healthz and /readyz, another one for each process; 0: none", 0),
    Setting("metrics_host", "127.0.0.1", "address of that port; 0.0.0.0: everybody may read it, without a password"),
    Setting("web_host", "127.0.0.1", "address of the board; any but this machine's own asks for a login"),
    Setting("web_names", "", "names, comma-separated, under which others ask for the board, who then log in"),
    Setting("web_port", 8080, "port of the board", 1),
    Setting("web_poll_s", 2, "seconds from one look of the board into the store to the next", 1),
    Setting("web_people_file", "", "file with who may log in to the board; empty: <home>/secrets/web_people"),
    Setting("web_session_h", 12, "hours after which somebody logs in to the board again", 1),
    Setting("web_cert", "", "file (PEM) of the board's certificate, with those between it and its CA; empty: no TLS"),
    Setting("web_key", "", "file (PEM) of that certificate's key; empty: it is in the same file"),
    Setting("webhook", "", "URL to which `openoee notify` sends a message per incident"),
    Setting("webhook_token", "", "bearer token for it; empty: read from webhook_token_file", secret=True),
    Setting("webhook_token_file", "", "file with that token; empty: <home>/secrets/webhook_token, if there is one"),
    Setting("log_format", "text", "text: log lines for people; json: one object a line, for programs"),
)
BY_NAME = {setting.name: setting for setting in TABLE}
BESIDE = {  # who may say where it is may say how to get in
    "kafka": (
        "kafka_security", "kafka_sasl", "kafka_user", "kafka_password_file", "kafka_ca", "kafka_cert", "kafka_key",
    ),
    "registry": ("registry_user", "registry_password_file", "registry_ca"),
    "store_user": ("store_ca",),
    "web_host": ("web_names", "web_people_file", "web_session_h", "web_cert", "web_key"),
}  # fmt: skip


@dataclass(frozen=True)
class Access:
    """Where a server is and how to get in; `ca`: file of the CA to trust, None: those of the system."""

    url: str
    user: str = ""
    password: str = field(default="", repr=False)
    ca: str | None = None

    def __bool__(self) -> bool:
        return bool(self.url)


@dataclass(frozen=True)
class Settings:
    """The values in force: `settings["kafka"]`, `settings.int("window_s")`."""

    values: Mapping[str, str | int | float] = field(repr=False)

    def __getitem__(self, name: str) -> str:
        return str(self.values[name])

    def int(self, name: str) -> int:
        return int(self.values[name])

    def float(self, name: str) -> float:
        return float(self.values[name])

    @property
    def home(self) -> Path:
        return Path(self["home"]).resolve()

    def environment(self) -> dict[str, str]:
        """These values as environment variables, for another process; secrets stay in their files."""
        values = {name: value for name, value in self.values.items() if not BY_NAME[name].secret}
        return {BY_NAME[name].variable: str(value) for name, value in values.items() if value != ""} | {
            "OPENOEE_HOME": str(self.home)
        }

    def topic(self, name: str) -> str:
        """Full name of a topic or consumer group."""
        return self["topic_prefix"] + name

    def engine(self) -> EngineSettings:
        """What the engine needs to know, in milliseconds."""
        return EngineSettings(
            window_ms=self.int("window_s") * 1000,
            lateness_ms=round(self.float("lateness_s") * 1000),
            max_future_ms=round(self.float("max_future_s") * 1000),
            retention_ms=round(self.float("retention_h") * 3_600_000),
            provisional_ms=round(self.float("provisional_s") * 1000),
            detect=self.int("detect") != 0,
        )

    @property
    def store_password(self) -> str:
        """The store's password, from the setting or its file; empty when there is neither."""
        return self._secret("store", "store")

    @property
    def kafka_password(self) -> str:
        """The password of Kafka's user, from the setting or its file; empty when there is neither."""
        return self._secret("kafka", f"kafka_{self['kafka_user']}")

    @property
    def webhook_token(self) -> str:
        """The webhook's bearer token, from the setting or its file; empty when there is neither."""
        path = Path(self["webhook_token_file"] or self.home / "secrets" / "webhook_token")
        if self["webhook_token_file"] and not path.is_file():
            raise SettingError(f"OPENOEE_WEBHOOK_TOKEN_FILE is {path}: there is no such file")
        return self["webhook_token"] or (path.read_text().strip() if path.is_file() else "")

    @property
    def people_file(self) -> Path:
        """File with who may log in to the board."""
        return Path(self["web_people_file"] or self.home / "secrets" / "web_people")

    @property
    def registry(self) -> Access:
        """The registry; false when there is none."""
        user = self["registry_user"]
        password = self._secret("registry", f"registry_{user}") if user else ""
        return Access(self["registry"], user, password, self.ca("registry"))

    def ca(self, part: str) -> str | None:
        """File of the CA that kafka, registry or store is to be signed by; None: the system knows."""
        own = self.home / "tls" / "ca.pem"
        return self[f"{part}_ca"] or (str(own) if own.exists() else None)

    def secret_file(self, part: str, name: str) -> Path:
        """File with a password of kafka, registry or store: as set, else `name` among the secrets of the home."""
        return Path(self[f"{part}_password_file"] or self.home / "secrets" / name)

    def _secret(self, part: str, name: str) -> str:
        if self[f"{part}_password"]:
            return self[f"{part}_password"]
        path = self.secret_file(part, name)
        return path.read_text().strip() if path.exists() else ""


def without_colours() -> bool:
    """Whether whoever calls wants no colours on a terminal either (NO_COLOR, as many programs know it)."""
    return bool(os.environ.get("NO_COLOR"))


def load(flags: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from flags, else the environment, else the defaults.

    Raises SettingError when a value is no number where one is needed, or below its minimum.
    """
    environment = os.environ if environment is None else environment
    values: dict[str, str | int | float] = {}
    for setting in TABLE:
        raw = (flags or {}).get(setting.name)
        if raw is None:
            raw = environment.get(setting.variable, setting.default)
        values[setting.name] = _typed(setting, raw)
    if 900 % int(values["window_s"]):
        raise SettingError(f"OPENOEE_WINDOW_S is {values['window_s']}: it must divide 15 minutes (60, 300 ...)")
    return Settings(values)


def _typed(setting: Setting, raw: Any) -> str | int | float:
    kind = type(setting.default)
    try:
        value: str | int | float = kind(raw)
    except (TypeError, ValueError):
        raise SettingError(f"{setting.variable} is {raw!r}: expected {kind.__name__} ({setting.meaning})") from None
    if setting.minimum is not None and not isinstance(value, str) and not value >= setting.minimum:
        raise SettingError(f"{setting.variable} is {raw!r}: must be at least {setting.minimum} ({setting.meaning})")
    return value


def options(*names: str) -> Callable[[F], F]:
    """Decorator: click options for these settings, secrets left out; the command gets them as keywords for `load`."""
    asked = dict.fromkeys(each for name in names for each in (name, *BESIDE.get(name, ())))

    def decorate(function: F) -> F:
        for setting in (BY_NAME[name] for name in reversed(asked)):
            if setting.secret:
                continue
            text = f"{setting.meaning}  [{setting.variable}; default: {setting.default!r}]"
            function = click.option(setting.flag, setting.name, default=None, help=text)(function)
        return function

    return decorate
