"""Who may do what: the roles of a line in one table, given to Kafka's users as ACLs; passwords made and changed."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from pipeline import kafka_clients
from pipeline.settings import Settings
from pipeline.topics import NOTIFY_GROUP, SINK_GROUP, TABLE, WORKER_GROUP

ANSWER_S = 15.0
ITERATIONS = 8192
ADMIN = "admin"  # a super user of Kafka, in need of no ACL
EVERY = tuple(topic.name for topic in TABLE)


@dataclass(frozen=True)
class Role:
    """A user of Kafka: topics read and written (short names), the group joined; whoever `sees` may look at all topics.

    `asks`: groups that it names without joining them, those of a plain reader too: its client asks where they are.
    `store`: the user of the store that goes with it, empty: none.
    """

    name: str
    does: str
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    group: str = ""
    asks: tuple[str, ...] = ()
    sees: bool = True
    store: str = ""


ROLES: tuple[Role, ...] = (
    Role("gateway", "sends telemetry", writes=("telemetry",), sees=False),
    Role(
        "worker", "computes: telemetry to results, ticks, saved state",
        reads=("telemetry", "state"),
        writes=("telemetry", "oee", "intervals", "anomalies", "incidents", "dead-letters", "state"),
        group=WORKER_GROUP, asks=("openoee-state-reader",),
    ),
    Role(
        "sink", "writes what it reads into the store",
        reads=("telemetry", "oee", "intervals", "anomalies", "incidents", "dead-letters", "factory"), group=SINK_GROUP,
        asks=("openoee-plan",), store="sink",
    ),
    Role(
        "notify", "sends messages about incidents",
        reads=("incidents", "notices"), writes=("notices",), group=NOTIFY_GROUP,
    ),
    Role(
        "planner", "applies factory files, sends corrections",
        reads=("factory",), writes=("telemetry", "factory", "corrections"), asks=("openoee-factory",), store="reader",
    ),
    Role(
        "reader", "reads every topic, audits, sees who is behind",
        reads=EVERY, asks=(WORKER_GROUP, SINK_GROUP, "openoee-audit", "openoee-state-reader"), store="reader",
    ),
)  # fmt: skip
BY_NAME = {role.name: role for role in ROLES}


def rights(role: Role, settings: Settings) -> Iterator[tuple[ResourceType, str, AclOperation]]:
    """What Kafka is told of a role: kind and name of a thing, and what may be done to it; nothing else may."""
    for name in dict.fromkeys((*role.reads, *role.writes, *(EVERY if role.sees else ()))):
        topic = settings.topic(name)
        yield ResourceType.TOPIC, topic, AclOperation.DESCRIBE
        if role.sees:
            yield ResourceType.TOPIC, topic, AclOperation.DESCRIBE_CONFIGS
        if name in role.reads:
            yield ResourceType.TOPIC, topic, AclOperation.READ
        if name in role.writes:
            yield ResourceType.TOPIC, topic, AclOperation.WRITE
    if role.group:
        yield ResourceType.GROUP, settings.topic(role.group), AclOperation.READ
    for group in role.asks:
        yield ResourceType.GROUP, settings.topic(group), AclOperation.DESCRIBE


def grant(settings: Settings) -> int:
    """Give every role its rights on this line; again changes nothing. Returns how many.

    Raises AccessRefused, BrokerUnavailable.
    """
    admin = AdminClient(kafka_clients.common(settings))
    wanted = [
        AclBinding(kind, name, ResourcePatternType.LITERAL, f"User:{role.name}", "*", what, AclPermissionType.ALLOW)
        for role in ROLES
        for kind, name, what in rights(role, settings)
    ]
    for answer in admin.create_acls(wanted, request_timeout=ANSWER_S).values():
        _answered(admin, answer, settings)
    return len(wanted)


def tell_password(settings: Settings, user: str, password: str) -> None:
    """Make a user of Kafka, or change its password. Raises AccessRefused, BrokerUnavailable."""
    admin = AdminClient(kafka_clients.common(settings))
    told = UserScramCredentialUpsertion(
        user, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, ITERATIONS), password.encode()
    )
    for answer in admin.alter_user_scram_credentials([told], request_timeout=ANSWER_S).values():
        _answered(admin, answer, settings)


def rotate(settings: Settings, user: str, path: Path) -> None:
    """A new password for a user of Kafka: told to Kafka, then put into its file. Raises what `tell_password` raises."""
    password = new_password()
    tell_password(settings, user, password)
    keep(path, password)


def new_password() -> str:
    """192 random bits in letters that need no quoting anywhere."""
    return secrets.token_urlsafe(24)


def keep(path: Path, secret: str) -> None:
    """Put a secret into a file that only its owner may read, in one step: a reader sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o600)
    fresh.write_text(secret + "\n")
    fresh.replace(path)


def _answered(admin: AdminClient, answer: object, settings: Settings) -> None:
    try:
        answer.result(ANSWER_S + 5)  # type: ignore[attr-defined]
    except KafkaException as error:
        admin.poll(0)
        raise kafka_clients.failed(settings, error.args[0]) from None
