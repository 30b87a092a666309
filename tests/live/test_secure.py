"""`openoee up --secure` on a home of its own: each part as its own user over TLS, and everybody else turned away."""

from __future__ import annotations

import contextlib
import os
import signal
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AclBinding, AclBindingFilter, AclOperation, AclPermissionType, AdminClient
from confluent_kafka.admin import ResourcePatternType, ResourceType
from live_stack import LocalStack
from worker_trial import until

from pipeline import access, kafka_clients
from pipeline.errors import StackError, StoreRefused
from pipeline.local.secure import Secrets, as_role, require_kind
from pipeline.local.stack import Stack
from pipeline.settings import Settings
from pipeline.store.client import Store

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]
MAPPING = """\
adapter: csv
device: press
state: {item: state, values: {run: running, stop: stopped}}
parts: {counters: {total: made}}
signals: {force: force}
"""
LINES = 300


class Home(LocalStack):
    """A secure stack, and `openoee` as one of its roles: a process of its own, environment and all."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.link_downloads()
        self.line = self.settings("", topic_prefix="", database="openoee")
        self.stack = Stack(self.line)
        self.told: list[str] = []
        self.argv: list[str] = []
        self.running: list[subprocess.Popen[str]] = []

    def variables(self, role: str | None) -> dict[str, str]:
        """The environment of a role, from the file that `up --secure` wrote; None: of somebody without one."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("OPENOEE_")}
        if role is None:
            return own | self.line.environment()
        text = (self.home / "roles" / f"{role}.env").read_text()
        pairs = (line.split("=", 1) for line in text.splitlines())
        return own | {name: value.strip("'") for name, value in pairs}

    def start(self, role: str | None, *arguments: str, **more: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", *arguments], env={**self.variables(role), **more}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        self.running.append(process)
        return process

    def run(self, role: str | None, *arguments: str, **more: str) -> tuple[int, str]:
        """Exit code and output of a command that ends by itself."""
        process = self.start(role, *arguments, **more)
        said, _ = process.communicate(timeout=280)
        self.told.append(said)
        return process.returncode, said

    def end(self, process: subprocess.Popen[str]) -> str:
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
        self.told.append(said)
        return said

    def role(self, name: str) -> Settings:
        return as_role(self.line, name)

    def look(self) -> None:
        """Remember the arguments of every process that there is now."""
        with contextlib.suppress(psutil.Error):
            self.argv += [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]

    def passwords(self) -> list[str]:
        return [path.read_text().strip() for path in (self.home / "secrets").iterdir() if not path.name.endswith(".pem")]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    made = Home(tmp_path_factory.mktemp("secure"))
    try:
        code, said = made.run(None, "up", "--secure")
        assert code == 0, said
        for command in (["topics", "--create", "--partitions", "2"], ["migrate"]):
            code, said = made.run("admin", *command)
            assert code == 0, said
        yield made
    finally:
        for process in made.running:
            if process.poll() is None:
                process.kill()
                process.wait()
        made.stop()


def table(folder: Path, lines: int, first: int = 0) -> list[str]:
    """Arguments for `openoee produce`: a machine that runs, a line a second."""
    (folder / "press.yaml").write_text(MAPPING)
    path = folder / f"press-20260302-{first}.csv"
    rows = (f"{1_772_434_800_000 + 1000 * n},run,{n},{n % 7}.5" for n in range(first, first + lines))
    path.write_text("time,state,made,force\n" + "\n".join(rows) + "\n")
    return ["--adapter", "csv", "--mapping", str(folder / "press.yaml"), str(path)]


def rows(home: Home, name: str) -> int:
    store = Store(home.role("reader"))
    with contextlib.closing(store):
        return int(store.query(f"SELECT count() FROM {name}").result_rows[0][0])


def test_the_line_runs_and_nobody_says_a_password(home: Home, tmp_path: Path) -> None:
    worker, sink = home.start("worker", "worker"), home.start("sink", "sink")
    code, said = home.run("gateway", "produce", *table(tmp_path, LINES))
    assert code == 0, said
    home.look()
    until(lambda: rows(home, "telemetry") == LINES, 120, "the samples are in the store")
    until(lambda: rows(home, "oee_facts") > 0, 120, "facts are in the store")
    code, said = home.run("reader", "audit", "--wait", "60")
    assert code == 0, said
    assert worker.poll() is None
    assert sink.poll() is None
    home.look()
    assert home.run(None, "status")[0] == 0
    home.end(worker)
    home.end(sink)
    logs = [path.read_text(errors="replace") for path in (home.home / "logs").iterdir()]
    pids = [path.read_text() for path in (home.home / "run").glob("*.json")]
    for password in home.passwords():
        for text in (*home.told, *home.argv, *logs, *pids):
            assert password not in text


def test_secrets_are_their_owners(home: Home) -> None:
    for path in (home.home / "secrets").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE((home.home / "secrets").stat().st_mode) == 0o700
    assert stat.S_IMODE((home.home / "kafka" / "node-1.properties").stat().st_mode) == 0o600
    assert {path.name for path in (home.home / "secrets").glob("kafka_*")} == {
        "kafka_admin", "kafka_broker", *(f"kafka_{role.name}" for role in access.ROLES),
    }  # fmt: skip
    assert len(set(home.passwords())) == len(home.passwords())


@pytest.mark.parametrize(("role", "command"), [("worker", ["worker"]), ("sink", ["sink"]), ("gateway", ["produce"])])
def test_a_wrong_password_is_one_clear_line(home: Home, tmp_path: Path, role: str, command: list[str]) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("not-this-one\n")
    arguments = [*command, *(table(tmp_path, 3) if command == ["produce"] else [])]
    code, said = home.run(role, *arguments, OPENOEE_KAFKA_PASSWORD_FILE=str(wrong))
    assert code == 1
    last = said.strip().splitlines()[-1]
    assert f"turns user {role} away" in last
    assert "Traceback" not in said
    assert "not-this-one" not in said


def refused(settings: Settings, topic: str) -> int:
    """The code with which Kafka refuses a record for this topic; 0 when it takes it."""
    found: list[int] = []
    producer = Producer({**kafka_clients.common(settings), "delivery.timeout.ms": 20_000, "acks": "all"})
    producer.produce(topic, b"x", on_delivery=lambda error, _: found.append(error.code() if error else 0))
    assert producer.flush(30) == 0
    return found[0]


def read(settings: Settings, topic: str) -> int:
    """The code with which Kafka refuses to hand out records of this topic; 0 when it does."""
    consumer = Consumer({**kafka_clients.common(settings), "group.id": "nobody", "enable.partition.eof": True})
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        message = consumer.poll(30)
        assert message is not None
        code = message.error().code() if message.error() else 0
        return 0 if code == KafkaError._PARTITION_EOF else code
    finally:
        consumer.close()


FORBIDDEN = KafkaError.TOPIC_AUTHORIZATION_FAILED


def test_each_role_may_do_its_own_and_no_more(home: Home) -> None:
    for name in ("gateway", "worker", "sink", "planner", "reader"):
        role, who = access.BY_NAME[name], home.role(name)
        for topic in access.EVERY:
            assert (read(who, topic) == 0) == (topic in role.reads), (name, topic)
            if topic not in role.writes:
                assert refused(who, topic) == FORBIDDEN, (name, topic)


def test_nobody_joins_another_ones_group(home: Home) -> None:
    for name, group in (("reader", "openoee-worker"), ("sink", "openoee-worker"), ("worker", "openoee-sink")):
        consumer = Consumer({**kafka_clients.common(home.role(name)), "group.id": group, "session.timeout.ms": 6000})
        consumer.subscribe(["telemetry"])
        message = consumer.poll(30)
        assert message is not None
        assert message.error().code() == KafkaError.GROUP_AUTHORIZATION_FAILED
        consumer.close()


def test_only_the_administrator_changes_anything(home: Home) -> None:
    for name in ("gateway", "worker", "sink", "reader", "planner"):
        code, said = home.run(name, "access", "grant")
        assert code == 1, said
        assert "forbids user" in said


def answer(settings: dict[str, Any]) -> str:
    """What a client hears that wants the list of topics; empty when it gets it."""
    heard: list[str] = []
    client = AdminClient({**settings, "error_cb": lambda error: heard.append(error.str()), "log_level": 0})
    try:
        client.list_topics(timeout=5)
    except KafkaException as error:
        client.poll(0)
        return " | ".join([error.args[0].str(), *heard])
    return ""


def test_without_tls_or_with_another_ca_nobody_gets_in(home: Home, tmp_path: Path) -> None:
    good = kafka_clients.common(home.role("reader"))
    assert answer(good) == ""
    assert answer({"bootstrap.servers": home.line["kafka"]})
    assert answer({**good, "security.protocol": "SASL_PLAINTEXT"})
    other = Secrets(tmp_path / "other")
    other.make()
    assert "certificate" in answer({**good, "ssl.ca.location": str(other.ca)})
    code, said = home.run("worker", "worker", OPENOEE_KAFKA_CA=str(other.ca))
    assert code == 1
    assert "a certificate that is not trusted" in said.strip().splitlines()[-1]


def test_the_controller_wants_a_certificate(home: Home) -> None:
    assert answer({"bootstrap.servers": f"127.0.0.1:{home.kafka_port + 1}"})
    asked = {"security.protocol": "SSL", "ssl.ca.location": str(home.home / "tls" / "ca.pem")}
    assert answer({"bootstrap.servers": f"127.0.0.1:{home.kafka_port + 1}", **asked})


def test_the_store_knows_its_roles(home: Home, tmp_path: Path) -> None:
    with contextlib.closing(Store(home.role("reader"))) as reader:
        assert reader.query("SELECT 1").result_rows == [(1,)]
        for statement in ("INSERT INTO counts (machine) VALUES ('m')", "DROP TABLE counts", "CREATE TABLE x (a Int8) ENGINE = Memory"):  # fmt: skip
            with pytest.raises(Exception, match="readonly|cannot take this now"):
                reader.command(statement)
    with contextlib.closing(Store(home.role("sink"))) as sink:
        assert sink.query("SELECT count() >= 0 FROM counts").result_rows == [(1,)]
        for statement in (
            "DROP TABLE counts", "TRUNCATE TABLE counts", "ALTER TABLE counts DELETE WHERE 1", "CREATE DATABASE x",
            "SELECT 1; DROP TABLE counts",
        ):  # fmt: skip
            with pytest.raises(StoreRefused):
                sink.command(statement)
    plain = HTTPConnection("127.0.0.1", home.store_port, timeout=10)
    with pytest.raises((OSError, Exception)):
        plain.request("GET", "/ping")
        plain.getresponse()
    plain.close()
    other = Secrets(tmp_path / "other")
    other.make()
    from pipeline.local.store import answers

    password = home.role("admin").store_password
    assert answers("127.0.0.1", home.store_port, "openoee", password, ca=str(home.home / "tls" / "ca.pem"))
    assert not answers("127.0.0.1", home.store_port, "openoee", password, ca=str(other.ca))


def test_a_home_is_made_one_way_or_the_other(home: Home, tmp_path: Path) -> None:
    code, said = home.run(None, "up")
    assert code == 1
    assert "was made with --secure" in said
    (tmp_path / "store").mkdir()
    with pytest.raises(StackError, match="was made without --secure"):
        require_kind(tmp_path, True)


def test_up_again_finds_everything(home: Home) -> None:
    before = {path.name: path.read_text() for path in (home.home / "secrets").iterdir()}
    pids = {managed.name: managed.pid for managed in home.stack.supervisor.all()}
    code, said = home.run(None, "up", "--secure")
    assert code == 0, said
    assert {managed.name: managed.pid for managed in home.stack.supervisor.all()} == pids
    assert {path.name: path.read_text() for path in (home.home / "secrets").iterdir()} == before
    assert rows(home, "telemetry") >= 0


def _follow(process: subprocess.Popen[str], said: list[str]) -> None:
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    with contextlib.suppress(TypeError, OSError):
        said += (process.stdout.read() or "").splitlines()


def waits_for(process: subprocess.Popen[str], said: list[str], words: str, within_s: float = 90) -> None:
    def heard() -> bool:
        _follow(process, said)
        return any(words in line for line in said)

    until(heard, within_s, f"{words!r}: {said[-5:]}")


def restarted(home: Home) -> None:
    """Break every connection: whoever comes back must show a password again."""
    stack = Stack(home.line)
    stack.kafka.stop()
    stack.kafka.start(None, print)


def caught_up(home: Home, samples: int, said: Sequence[str]) -> None:
    until(lambda: rows(home, "telemetry") >= samples, 180, f"{samples} samples are in the store: {said[-5:]}")


def test_a_new_password_mid_run_is_waited_for_and_taken(home: Home, tmp_path: Path) -> None:
    admin, secrets = home.role("admin"), home.home / "secrets"
    parts = {"sink": home.start("sink", "sink"), "worker": home.start("worker", "worker")}
    said: dict[str, list[str]] = {name: [] for name in parts}
    assert home.run("gateway", "produce", *table(tmp_path, 10, 10_000))[0] == 0
    before = rows(home, "telemetry")
    until(lambda: rows(home, "telemetry") > 0, 120, "the line runs")
    for name in parts:
        access.tell_password(admin, name, f"quite-another-{name}")
    restarted(home)
    for name, process in parts.items():
        waits_for(process, said[name], f"turns user {name} away")
        assert process.poll() is None
    for name in parts:
        access.keep(secrets / f"kafka_{name}", f"quite-another-{name}")
    assert home.run("gateway", "produce", *table(tmp_path, 10, 20_000))[0] == 0
    caught_up(home, before + 10, said["sink"])
    facts = rows(home, "oee_facts")
    assert home.run("gateway", "produce", *table(tmp_path, 200, 30_000))[0] == 0
    until(lambda: rows(home, "oee_facts") > facts, 180, f"the worker goes on: {said['worker'][-5:]}")
    for name, process in parts.items():
        code, text = home.run("admin", "access", "rotate", name)
        assert code == 0, text
        said[name] += home.end(process).splitlines()
        assert not [line for line in said[name] if "quite-another" in line or "Traceback" in line]
    code, text = home.run("sink", "topics", "--check")
    assert code == 0, text


def sink_may_read_telemetry() -> AclBinding:
    return AclBinding(
        ResourceType.TOPIC, "telemetry", ResourcePatternType.LITERAL, "User:sink", "*", AclOperation.READ,
        AclPermissionType.ALLOW,
    )  # fmt: skip


def test_a_grant_revoked_mid_run_is_waited_for(home: Home, tmp_path: Path) -> None:
    sink, said = home.start("sink", "sink"), list[str]()
    assert home.run("gateway", "produce", *table(tmp_path, 5, 40_000))[0] == 0
    before = rows(home, "telemetry")
    caught_up(home, before, said)
    admin = AdminClient(kafka_clients.common(home.role("admin")))
    gone = AclBindingFilter(
        ResourceType.TOPIC, "telemetry", ResourcePatternType.LITERAL, "User:sink", "*", AclOperation.READ,
        AclPermissionType.ALLOW,
    )  # fmt: skip
    for answered in admin.delete_acls([gone]).values():
        answered.result(20)
    assert home.run("gateway", "produce", *table(tmp_path, 5, 50_000))[0] == 0
    waits_for(sink, said, "forbids user sink")
    assert sink.poll() is None
    for granted in admin.create_acls([sink_may_read_telemetry()]).values():
        granted.result(20)
    caught_up(home, before + 5, said)
    home.end(sink)


def test_a_store_password_changed_mid_run_is_waited_for(home: Home, tmp_path: Path) -> None:
    sink, said = home.start("sink", "sink"), list[str]()
    assert home.run("gateway", "produce", *table(tmp_path, 5, 60_000))[0] == 0
    before = rows(home, "telemetry")
    caught_up(home, before, said)
    path = home.home / "secrets" / "store_sink"
    old = path.read_text().strip()
    elsewhere = tmp_path / "store_sink"
    elsewhere.write_text(old)
    home.end(sink)
    sink, said = home.start("sink", "sink", OPENOEE_STORE_PASSWORD_FILE=str(elsewhere)), []
    waits_for(sink, said, "writing into")
    assert home.run("gateway", "produce", *table(tmp_path, 5, 70_000))[0] == 0
    caught_up(home, before + 5, said)
    access.keep(path, "another-store-password")  # the store knows the new one, the sink does not yet
    assert home.run("gateway", "produce", *table(tmp_path, 5, 80_000))[0] == 0
    waits_for(sink, said, "turns user sink away")
    assert sink.poll() is None
    elsewhere.write_text("another-store-password\n")
    caught_up(home, before + 10, said)
    home.end(sink)
