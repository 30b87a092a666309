"""How every client of a process reaches Kafka: servers, encryption, user; and why it is turned away, in words."""

from __future__ import annotations

import contextlib
import ssl
import time
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError

from pipeline.errors import AccessRefused, BrokerUnavailable, SettingError
from pipeline.settings import Settings

PROTOCOLS = ("plaintext", "ssl", "sasl_ssl", "sasl_plaintext")
MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")
HEARD_S = 30.0  # what a client heard so long ago no longer explains an error

_TURNED_AWAY = {KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED}
_FORBIDDEN = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED, KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
}  # fmt: skip
_heard: dict[str, tuple[float, KafkaError]] = {}  # by bootstrap servers: what a client of this process heard last


def common(settings: Settings) -> dict[str, Any]:
    """What every Consumer, Producer and AdminClient is made with. Raises SettingError.

    It holds the password: for the client alone, never for a log or a message.
    """
    kafka, protocol = settings["kafka"], _protocol(settings)

    def listen(error: KafkaError) -> None:
        note(kafka, error)

    values: dict[str, Any] = {"bootstrap.servers": kafka, "log_level": 0, "error_cb": listen}
    if protocol != "plaintext":
        values["security.protocol"] = protocol.upper()
    if protocol.endswith("ssl"):
        files = {"ssl.ca.location": _ca(settings), "ssl.certificate.location": _file(settings, "kafka_cert")}
        files["ssl.key.location"] = _file(settings, "kafka_key") or files["ssl.certificate.location"]
        values |= {name: path for name, path in files.items() if path}
    if protocol.startswith("sasl"):
        user, password = credentials(settings)
        values |= {"sasl.mechanisms": mechanism(settings), "sasl.username": user, "sasl.password": password}
    return values


def encrypted(settings: Settings) -> ssl.SSLContext | None:
    """The TLS of a client that is no librdkafka; None where the listener speaks none. Raises SettingError."""
    if not _protocol(settings).endswith("ssl"):
        return None
    context = ssl.create_default_context(cafile=_ca(settings))
    certificate = _file(settings, "kafka_cert")
    if certificate:
        context.load_cert_chain(certificate, _file(settings, "kafka_key"))
    return context


def has_user(settings: Settings) -> bool:
    """Whether Kafka asks for a user."""
    return _protocol(settings).startswith("sasl")


def credentials(settings: Settings) -> tuple[str, str]:
    """User and password. Raises SettingError when one of them is missing."""
    user, password = settings["kafka_user"], settings.kafka_password
    if not user:
        raise SettingError(f"OPENOEE_KAFKA_SECURITY is {_protocol(settings)}: OPENOEE_KAFKA_USER must say who we are")
    if not password:
        path = settings.secret_file("kafka", f"kafka_{user}")
        raise SettingError(f"no password for user {user} of Kafka: put it into {path}, or set OPENOEE_KAFKA_PASSWORD")
    return user, password


def mechanism(settings: Settings) -> str:
    """The SASL mechanism. Raises SettingError."""
    if settings["kafka_sasl"].upper() not in MECHANISMS:
        raise SettingError(f"OPENOEE_KAFKA_SASL is {settings['kafka_sasl']!r}: expected {', '.join(MECHANISMS)}")
    return settings["kafka_sasl"].upper()


def note(kafka: str, error: KafkaError) -> None:
    """A client heard this of itself: kept, because the call that fails for it says only that nothing answers."""
    if _refusal(error) or "security.protocol" in error.str() or error.code() == KafkaError._SSL:
        _heard[kafka] = (time.monotonic(), error)


def heard(settings: Settings, error: KafkaError) -> AccessRefused | None:
    """What a running client hears of itself: the reason when it is turned away, None else."""
    note(settings["kafka"], error)
    return refusal(settings, error)


def renew_password(settings: Settings, client: Any) -> None:
    """Let a client that was turned away try again with the password that is in the file now.

    Not to be called within a callback of this client: the library aborts the process at the next one then.
    """
    if has_user(settings):
        with contextlib.suppress(SettingError):
            client.set_sasl_credentials(*credentials(settings))


def refusal(settings: Settings, error: KafkaError) -> AccessRefused | None:
    """Why Kafka does not let us in, or forbids this; None when the error has another cause."""
    cause = _cause(settings["kafka"], error)
    user = f"user {settings['kafka_user']}" if has_user(settings) else "us"
    if cause.code() in _FORBIDDEN:
        who = user if has_user(settings) else "a client without a user"
        return AccessRefused(
            f"Kafka at {settings['kafka']} forbids {who} this ({cause.str()}): grant it (docs/security.md), or run"
            " the command as another user (OPENOEE_KAFKA_USER)"
        )
    if cause.code() in _TURNED_AWAY:
        return AccessRefused(
            f"Kafka at {settings['kafka']} turns {user} away ({_brief(cause)}): check OPENOEE_KAFKA_USER and its"
            f" password in {settings.secret_file('kafka', 'kafka_' + settings['kafka_user'])}"
        )
    if _refusal(cause):
        return AccessRefused(
            f"Kafka at {settings['kafka']} shows a certificate that is not trusted ({_brief(cause)}):"
            " check OPENOEE_KAFKA_CA and the name in OPENOEE_KAFKA"
        )
    return None


def failed(settings: Settings, error: KafkaError, remedy: str = "") -> AccessRefused | BrokerUnavailable:
    """The error of ours that this one is; `remedy`: what to do when Kafka is away."""
    refused = refusal(settings, error)
    if refused is not None:
        return refused
    remedy = remedy or "check OPENOEE_KAFKA, or start the local stack: `openoee up`"
    why = _brief(_cause(settings["kafka"], error))
    return BrokerUnavailable(f"Kafka at {settings['kafka']} does not answer ({why}): {remedy}")


def _cause(kafka: str, error: KafkaError) -> KafkaError:
    """What a client heard a moment ago, where the error itself only says that nothing answered."""
    at, heard = _heard.get(kafka, (-HEARD_S, error))
    local = error.code() < 0  # librdkafka's own; what the broker says needs no explanation
    return heard if local and not _refusal(error) and time.monotonic() - at < HEARD_S else error


def _refusal(error: KafkaError) -> bool:
    untrusted = error.code() == KafkaError._SSL and "certificate" in error.str()
    return untrusted or error.code() in _TURNED_AWAY | _FORBIDDEN


def _brief(error: KafkaError) -> str:
    """Its text without the name of the connection and the time that it took."""
    text = error.str().split("]: ")[-1].split(": ", 1)[-1] if "://" in error.str() else error.str()
    return str(text).split(" (after ")[0].strip()


def _protocol(settings: Settings) -> str:
    protocol = settings["kafka_security"].lower()
    if protocol not in PROTOCOLS:
        raise SettingError(f"OPENOEE_KAFKA_SECURITY is {protocol!r}: expected {', '.join(PROTOCOLS)}")
    return protocol


def _ca(settings: Settings) -> str | None:
    path = settings.ca("kafka")
    if path is not None and not Path(path).is_file():
        raise SettingError(f"OPENOEE_KAFKA_CA is {path}: there is no such file")
    return path


def _file(settings: Settings, name: str) -> str | None:
    path = settings[name]
    if path and not Path(path).is_file():
        raise SettingError(f"OPENOEE_{name.upper()} is {path}: there is no such file")
    return path or None
