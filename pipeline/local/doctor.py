"""What `openoee doctor` looks at: this computer, the stack, the line on it; each check is ok, a warning or a fault."""

from __future__ import annotations

import re
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from pipeline import __version__, kafka_clients, topics
from pipeline.errors import OpenOeeError, StackError
from pipeline.local import kafka, machine, registry, store
from pipeline.local.lag import lags
from pipeline.local.stack import Stack
from pipeline.settings import Settings
from pipeline.store.client import Store
from pipeline.store.migrate import pending

OK, WARNING, FAULT = "ok", "warning", "fault"
PYTHON = ((3, 11), (3, 13))
ASK_S = 3.0
ANSWER_S = 10.0
DISK_WARNING_MB, DISK_FAULT_MB = 5_000, 500
CLOCK_WARNING_MS, CLOCK_FAULT_MS = 1_000, 10_000
ENTER = stat.S_IXGRP | stat.S_IXOTH  # a folder that others cannot enter closes whatever is in it
BEHIND = 100_000  # records of lag that are worth a word
UP = "start it: `openoee up`"
LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
_CLOCK = "SELECT toUnixTimestamp64Milli(now64(3)), version()"
_REFUSED = "SELECT count() FROM parked WHERE arrived > now64(3) - INTERVAL 1 DAY"


@dataclass(frozen=True)
class Check:
    """One line of the examination; `remedy` says what to do, empty where nothing is."""

    name: str
    state: str
    found: str
    remedy: str = ""


def examine(settings: Settings) -> Iterator[Check]:
    """Every check, as it is made. Raises nothing that a part of the line does wrong: that is a fault of its line."""
    stack = Stack(settings)
    yield from _computer(settings)
    yield from _secrets(stack.settings)
    yield from _kafka(stack)
    yield from _registry(stack.settings)
    yield from _store(stack)


def _told(name: str, error: OpenOeeError) -> Check:
    """An error of ours says itself what to do, behind its last colon."""
    found, _, remedy = str(error).rpartition(": ")
    return Check(name, FAULT, found or remedy, remedy if found else "")


# This computer


def _computer(settings: Settings) -> Iterator[Check]:
    yield Check("openoee", OK, f"version {__version__}")
    version = sys.version_info[:2]
    fine = PYTHON[0] <= version <= PYTHON[1]
    span = f"{PYTHON[0][0]}.{PYTHON[0][1]} to {PYTHON[1][0]}.{PYTHON[1][1]}"
    yield Check("Python", OK if fine else FAULT, ".".join(map(str, sys.version_info[:3])),
                "" if fine else f"make the environment with Python {span}")  # fmt: skip
    yield _packages()
    yield _java(urlsplit("//" + settings["kafka"].split(",")[0]).hostname in LOCAL_HOSTS)
    yield _disk(settings.home)


def _packages() -> Check:
    lines = [line for line in metadata.requires("openoee") or () if "extra ==" not in line]
    asked = [found.groups() for line in lines if (found := _REQUIREMENT.match(line))]
    wrong = []
    for name, relation, wanted in asked:
        try:
            there = metadata.version(name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{name} is missing")
            continue
        if not (there == wanted if relation == "==" else _numbers(there) >= _numbers(wanted)):
            wrong.append(f"{name} is {there}, wanted {relation}{wanted}")
    if wrong:
        return Check("packages", FAULT, "; ".join(wrong), "install them again: `make distclean setup`")
    return Check("packages", OK, f"{len(asked)} as wanted")


_REQUIREMENT = re.compile(r"([\w.-]+?)(?:\[[^\]]*\])?\s*(>=|==)\s*([\w.]+)")


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def _java(local: bool) -> Check:
    found = machine.java_version()
    fine = found is not None and found[1] >= machine.JAVA_AT_LEAST
    text = f"{found[1]} at {found[0]}" if found else "none on the PATH"
    if fine or not local:
        return Check("Java", OK, text if fine else f"{text}; Kafka runs elsewhere")
    remedy = f"install Java {machine.JAVA_AT_LEAST} or newer (Debian: `apt install openjdk-17-jre-headless maven`)"
    return Check("Java", WARNING, f"{text}: the local stack cannot run Kafka", remedy)


def _disk(home: Path) -> Check:
    place = home
    while not place.exists():
        place = place.parent
    free = psutil.disk_usage(str(place)).free // 2**20
    state = OK if free >= DISK_WARNING_MB else WARNING if free >= DISK_FAULT_MB else FAULT
    return Check("disk", state, f"{free / 1000:,.1f} GB free at {home}", "" if state == OK else "make room there")


def _secrets(settings: Settings) -> Iterator[Check]:
    """Files with passwords and private keys: for their owner alone."""
    named = [settings[name] for name in ("store_password_file", "kafka_password_file", "registry_password_file",
                                         "kafka_key")]  # fmt: skip
    files = [Path(path) for path in named if path]
    files += [path for path in sorted((settings.home / "secrets").glob("*")) if path.is_file()]
    missing = [path for path in files if not path.exists()]
    if missing:
        yield Check("secrets", FAULT, f"{missing[0]} is not there", "write the password into it, or change the setting")
    there = dict.fromkeys(path.resolve() for path in files if path.exists())
    loose = [path for path in there if path.stat().st_mode & 0o077 and path.parent.stat().st_mode & ENTER]
    if loose:
        names = ", ".join(str(path) for path in loose[:3])
        yield Check("secrets", FAULT, f"others may read {len(loose)} of {len(there)}: {names}",
                    f"chmod 600 {' '.join(map(str, loose[:3]))}")  # fmt: skip
    elif not missing:
        yield Check("secrets", OK, f"{len(there)} files, each for its owner alone" if there else "none yet")


# Kafka and what is in it


def _kafka(stack: Stack) -> Iterator[Check]:
    settings = stack.settings
    address = settings["kafka"]
    try:
        access = kafka_clients.common(settings)
        found = kafka.describe(address, ASK_S, access) if any(map(_listens, address.split(","))) else None
    except OpenOeeError as error:
        yield _told("Kafka", error)
        return
    if found is None:
        yield _away("Kafka", address.split(",")[0], "kafka-1", stack)
        return
    yield Check("Kafka", OK, f"{found[1]} broker(s) answer at {address}")
    yield from _tried("topics", lambda: _topics(settings))
    yield from _tried("Kafka's clock", lambda: _kafka_clock(settings))
    yield from _tried("lag", lambda: _lag(settings))


def _listens(address: str) -> bool:
    """Whether anybody accepts a connection there: known at once, where a client of Kafka goes on trying."""
    try:
        place = urlsplit("//" + address.strip())
        with socket.create_connection((place.hostname or "", place.port or 9092), ASK_S):
            return True
    except (OSError, ValueError):
        return False


def _away(name: str, address: str, process: str, stack: Stack) -> Check:
    """Nothing answers there: not started, starting, elsewhere, or another program has the port."""
    place = urlsplit("//" + address)
    if place.hostname not in LOCAL_HOSTS:
        return Check(name, FAULT, f"nothing answers at {address}", "check the address, the network and that server")
    managed = stack.supervisor.alive(process)
    if managed is not None:
        return Check(name, FAULT, f"runs (process {managed.pid}), but does not answer at {address}",
                     f"see {managed.log}")  # fmt: skip
    try:
        machine.require_free_port(place.port or 0, name)
    except StackError as error:
        found, _, remedy = str(error).rpartition("; ")
        return Check(name, FAULT, found, remedy)
    return Check(name, FAULT, f"not started: nothing listens at {address}", UP)


def _tried(name: str, what: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    try:
        yield from what()
    except OpenOeeError as error:
        yield _told(name, error)


def _topics(settings: Settings) -> Iterator[Check]:
    topics.check(settings)
    yield Check("topics", OK, f"{len(topics.TABLE)} as the line needs them")


def _kafka_clock(settings: Settings) -> Iterator[Check]:
    """Kafka stamps what arrives; a record from the future shows that its clock is ahead of ours."""
    newest = _newest(settings)
    if newest is None:
        yield Check("Kafka's clock", OK, "no record in the topic telemetry to tell it by")
        return
    ahead = newest - round(time.time() * 1000)
    if ahead > 0:
        yield _clock("Kafka's clock", ahead, f"at least {ahead / 1000:.1f} s ahead of this computer")
    else:
        yield Check("Kafka's clock", OK, f"the newest record arrived {-ahead / 1000:,.1f} s ago")


def _clock(name: str, off_ms: int, text: str) -> Check:
    state = OK if off_ms <= CLOCK_WARNING_MS else WARNING if off_ms <= CLOCK_FAULT_MS else FAULT
    return Check(name, state, text, "" if state == OK else "set both clocks by NTP: windows close by them")


def _newest(settings: Settings) -> int | None:
    """Arrival (ms) of the newest record of the telemetry, None when there is none."""
    from confluent_kafka import KafkaException, TopicPartition
    from confluent_kafka.admin import AdminClient, OffsetSpec

    admin = AdminClient(kafka_clients.common(settings))
    name = settings.topic("telemetry")
    try:
        partitions = admin.list_topics(name, timeout=ANSWER_S).topics[name].partitions
        asked = {TopicPartition(name, number): OffsetSpec.max_timestamp() for number in partitions}
        answers = admin.list_offsets(asked, request_timeout=ANSWER_S) if asked else {}
        found = [int(answer.result(ANSWER_S).timestamp) for answer in answers.values()]
    except KafkaException as error:
        raise kafka_clients.failed(settings, error.args[0]) from None
    return max((at for at in found if at >= 0), default=None)


def _lag(settings: Settings) -> Iterator[Check]:
    groups = lags(settings)
    for name, command in ((topics.WORKER_GROUP, "worker"), (topics.SINK_GROUP, "sink")):
        own = [lag for lag in groups if lag.group == settings.topic(name)]
        members = max((lag.members for lag in own), default=0)
        behind = sum(lag.records for lag in own)
        text = f"{members} run(s), {behind:,} records behind"
        if not members:
            yield Check(
                f"{command}s", WARNING, f"none runs, {behind:,} records wait", f"start one: `openoee {command}`"
            )
        elif behind > BEHIND:
            yield Check(f"{command}s", WARNING, text, f"wait, or start one more: `openoee {command}`")
        else:
            yield Check(f"{command}s", OK, text)


def _registry(settings: Settings) -> Iterator[Check]:
    from pipeline.codec import Codec

    if not settings.registry:
        yield Check("schemas", OK, "the committed bundle; no registry is set")
        return
    place = urlsplit(settings.registry.url)
    if not registry.answers(place.hostname or "", place.port or 80, place.path.rstrip("/"), ASK_S):
        yield Check("schemas", FAULT, f"no registry answers at {settings.registry.url}",
                    "start it (`openoee up --registry`), or check OPENOEE_REGISTRY")  # fmt: skip
        return
    try:
        Codec.agreed(settings.registry)
    except OpenOeeError as error:
        yield _told("schemas", error)
        return
    yield Check("schemas", OK, f"registry and bundle agree at {settings.registry.url}")


# The store


def _store(stack: Stack) -> Iterator[Check]:
    settings = stack.settings
    place = urlsplit(settings["store"])
    try:
        ca = settings.ca("store") if place.scheme == "https" else None
        user, password = settings["store_user"], settings.store_password
        fine = store.answers(place.hostname or "", place.port or 8123, user, password, ASK_S, ca)
    except StackError as error:
        yield Check("store", FAULT, str(error), "check OPENOEE_STORE_USER and its password file")
        return
    if not fine:
        yield _away("store", f"{place.hostname}:{place.port or 8123}", store.NAME, stack)
        return
    with closing(Store(settings, database="default", answer_s=ANSWER_S)) as server:
        yield from _tried("store", lambda: _server(settings, server))
    with closing(Store(settings, answer_s=ANSWER_S)) as opened:
        yield from _tried("tables", lambda: _tables(settings, opened))


def _server(settings: Settings, server: Any) -> Iterator[Check]:
    server.query("SELECT 1")  # the connection itself is no part of what is measured
    asked = time.time()
    theirs, version = server.query(_CLOCK).result_rows[0]
    answered = time.time()
    yield Check("store", OK, f"ClickHouse {version} answers at {settings['store']}")
    off = theirs - round((asked + answered) * 500)
    doubt = (answered - asked) * 500
    yield _clock("store's clock", round(max(0.0, abs(off) - doubt)), f"{off:+d} ms against this computer")


def _tables(settings: Settings, opened: Any) -> Iterator[Check]:
    migrate = "run `openoee migrate`"
    name = settings["database"]
    if not opened.query("EXISTS TABLE schema_migrations").result_rows[0][0]:
        yield Check("tables", FAULT, f"database {name} has none", migrate)
        return
    missing = pending(opened)
    if missing:
        names = ", ".join(f"{one.number:04} {one.name}" for one in missing[:4])
        yield Check("tables", FAULT, f"database {name} lacks {len(missing)} migrations ({names})", migrate)
        return
    yield Check("tables", OK, f"database {name} is up to date")
    refused = int(opened.query(_REFUSED).result_rows[0][0])
    yield Check("dead letters", WARNING if refused else OK, f"{refused:,} in the last 24 hours",
                "see why: `openoee dead-letters list`" if refused else "")  # fmt: skip
