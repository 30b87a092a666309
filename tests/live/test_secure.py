"""`openoee up --secure` on a home of its own: each part as its own user over TLS, and everybody else turned away."""

from __future__ import annotations

import contextlib
import stat
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from secure_home import Home, rows, table
from worker_trial import until

from pipeline import access, kafka_clients
from pipeline.errors import StackError, StoreRefused, StoreUnavailable
from pipeline.local.secure import Secrets, require_kind
from pipeline.settings import Settings
from pipeline.store.client import Store

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]
LINES = 300


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

    def answered() -> int | None:
        message = consumer.poll(1)
        code = None if message is None else message.error().code() if message.error() else 0
        if code == KafkaError.GROUP_AUTHORIZATION_FAILED:  # the group is nobody's, and is not joined
            return None
        return 1 << 20 if code in (0, KafkaError._PARTITION_EOF) else code

    try:
        hidden = consumer.list_topics(topic, 30).topics[topic].error
        if hidden is not None:
            return hidden.code()
        consumer.assign([TopicPartition(topic, 0, 0)])
        return until(answered, 30, f"an answer about {topic}") % (1 << 20)
    finally:
        consumer.close()


FORBIDDEN = KafkaError.TOPIC_AUTHORIZATION_FAILED


def test_each_role_may_do_its_own_and_no_more(home: Home) -> None:
    roles = [access.BY_NAME[name] for name in ("gateway", "worker", "sink", "notify", "planner", "reader")]
    tries = [(role, topic) for role in roles for topic in access.EVERY]
    with ThreadPoolExecutor(max_workers=2 * len(tries)) as all_at_once:  # a client takes seconds to be refused
        reading = {(role.name, topic): all_at_once.submit(read, home.role(role.name), topic) for role, topic in tries}
        writing = {
            (role.name, topic): all_at_once.submit(refused, home.role(role.name), topic)
            for role, topic in tries
            if topic not in role.writes
        }
    allowed = {(role.name, topic) for role, topic in tries if topic in role.reads}
    assert {key: code.result() for key, code in reading.items()} == {
        key: 0 if key in allowed else FORBIDDEN for key in reading
    }
    assert {code.result() for code in writing.values()} == {FORBIDDEN}


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
        for statement in (
            "INSERT INTO counts (machine) VALUES ('m')", "DROP TABLE counts", "CREATE TABLE x (a Int8) ENGINE = Memory",
        ):  # fmt: skip
            with pytest.raises(Exception, match=r"readonly|cannot take this now"):
                reader.command(statement)
    with contextlib.closing(Store(home.role("sink"))) as sink:
        assert sink.query("SELECT count() >= 0 FROM counts").result_rows == [(1,)]
        for statement in (
            "DROP TABLE counts", "TRUNCATE TABLE counts", "ALTER TABLE counts DELETE WHERE 1", "CREATE DATABASE x",
            "SELECT 1; DROP TABLE counts",
        ):  # fmt: skip
            with pytest.raises((StoreRefused, StoreUnavailable), match="nothing else"):
                sink.command(statement)
    plain = HTTPConnection("127.0.0.1", home.store_port, timeout=10)
    plain.request("GET", "/ping")
    with pytest.raises((OSError, HTTPException)):
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
