"""How clients reach Kafka, and that no secret is ever said: settings, messages, environments, representations."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from confluent_kafka import KafkaError

from pipeline import kafka_clients, registry
from pipeline.cli import cli
from pipeline.errors import AccessRefused, BrokerUnavailable, SettingError
from pipeline.settings import TABLE, Settings, load
from pipeline.transport import credentials

SECRET = "s3cr3t-never-said"


def settings(home: Path, **more: str) -> Settings:
    given = {"home": str(home), "kafka": "127.0.0.1:1", "kafka_security": "sasl_ssl", "kafka_user": "worker"}
    return load({**given, **more}, {})


def keep(home: Path, name: str, text: str) -> Path:
    path = home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_without_security_nothing_but_the_address_is_said(tmp_path: Path) -> None:
    said = kafka_clients.common(load({"home": str(tmp_path), "kafka": "a:1,b:2"}, {}))
    assert said.pop("error_cb")
    assert said == {"bootstrap.servers": "a:1,b:2", "log_level": 0}
    assert credentials(load({"home": str(tmp_path)}, {})) is None


def test_user_password_and_ca_are_found_in_the_home(tmp_path: Path) -> None:
    keep(tmp_path, "secrets/kafka_worker", f"{SECRET}\n")
    ca = keep(tmp_path, "tls/ca.pem", "not read here")
    said = kafka_clients.common(settings(tmp_path))
    assert said["security.protocol"] == "SASL_SSL"
    assert said["sasl.mechanisms"] == "SCRAM-SHA-512"
    assert (said["sasl.username"], said["sasl.password"]) == ("worker", SECRET)
    assert said["ssl.ca.location"] == str(ca)


def test_settings_win_over_the_home(tmp_path: Path) -> None:
    keep(tmp_path, "secrets/kafka_worker", "another")
    own = keep(tmp_path, "mine", SECRET)
    certificate = keep(tmp_path, "me.pem", "")
    said = kafka_clients.common(
        settings(
            tmp_path, kafka_password_file=str(own), kafka_ca=str(own), kafka_cert=str(certificate), kafka_sasl="plain"
        )
    )
    assert (said["sasl.password"], said["ssl.ca.location"], said["sasl.mechanisms"]) == (SECRET, str(own), "PLAIN")
    assert said["ssl.certificate.location"] == said["ssl.key.location"] == str(certificate)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"kafka_security": "tls1"}, "OPENOEE_KAFKA_SECURITY is 'tls1'"),
        ({"kafka_user": ""}, "OPENOEE_KAFKA_USER must say who we are"),
        ({"kafka_password": ""}, "no password for user worker of Kafka"),
        ({"kafka_ca": "/nowhere"}, "OPENOEE_KAFKA_CA is /nowhere: there is no such file"),
        ({"kafka_cert": "/nowhere"}, "OPENOEE_KAFKA_CERT is /nowhere: there is no such file"),
        ({"kafka_sasl": "GSSAPI"}, "OPENOEE_KAFKA_SASL is 'GSSAPI'"),
    ],
)
def test_what_is_missing_is_one_sentence(tmp_path: Path, wrong: dict[str, str], words: str) -> None:
    with pytest.raises(SettingError, match=words.replace("(", r"\(")):
        kafka_clients.common(settings(tmp_path, **{"kafka_password": SECRET, **wrong}))


def test_faust_gets_in_the_same_way(tmp_path: Path) -> None:
    found = credentials(settings(tmp_path, kafka_security="sasl_plaintext", kafka_password=SECRET))
    assert (found.username, found.password, found.mechanism.value) == ("worker", SECRET, "SCRAM-SHA-512")
    assert found.protocol.value == "SASL_PLAINTEXT"
    assert SECRET not in repr(found)


def test_no_secret_leaves_the_settings(tmp_path: Path) -> None:
    secrets = {row.name: SECRET for row in TABLE if row.secret}
    assert {"kafka_password", "store_password", "registry_password", "webhook_token"} == secrets.keys()
    values = settings(tmp_path, **secrets, registry="http://127.0.0.1:1", registry_user="us")
    assert values.kafka_password == values.store_password == values.registry.password == SECRET
    assert SECRET not in str(values.environment())
    assert SECRET not in repr(values)
    assert SECRET not in repr(values.registry)
    variables = {row.variable: SECRET for row in TABLE if row.secret}
    told = CliRunner().invoke(cli, ["settings"], env=variables)
    assert told.exit_code == 0
    assert "***" in told.output
    assert SECRET not in told.output


def test_no_command_takes_a_secret_as_an_argument() -> None:
    for name in ("sink", "worker", "query", "topics", "produce"):
        flags = {option for parameter in cli.get_command(None, name).params for option in parameter.opts}  # type: ignore[arg-type, union-attr]
        assert not [flag for flag in flags if flag.endswith("password")]
        assert any(flag.endswith("password-file") for flag in flags)


def test_a_refusal_names_user_and_remedy_and_no_secret(tmp_path: Path) -> None:
    values = settings(tmp_path, kafka_password=SECRET)
    turned_away = KafkaError(KafkaError._AUTHENTICATION, "sasl_ssl://x:1/bootstrap: SASL authentication error: wrong")
    for error in (
        kafka_clients.refusal(values, turned_away),
        kafka_clients.refusal(values, KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)),
        kafka_clients.failed(values, KafkaError(KafkaError._SSL, "certificate verify failed")),
    ):
        assert isinstance(error, AccessRefused)
        assert "127.0.0.1:1" in str(error)
        assert SECRET not in str(error)
    assert "user worker" in str(kafka_clients.refusal(values, turned_away))


def test_what_a_client_heard_explains_the_silence(tmp_path: Path) -> None:
    values = settings(tmp_path, kafka_password=SECRET, kafka="127.0.0.1:2")
    silence = KafkaError(KafkaError._TIMED_OUT)
    assert isinstance(kafka_clients.failed(values, silence), BrokerUnavailable)
    assert kafka_clients.heard(values, KafkaError(KafkaError._AUTHENTICATION, "wrong password")) is not None
    assert isinstance(kafka_clients.failed(values, silence), AccessRefused)
    assert kafka_clients.heard(values, silence) is not None
    other = settings(tmp_path, kafka_password=SECRET, kafka="127.0.0.1:3")
    assert isinstance(kafka_clients.failed(other, silence), BrokerUnavailable)


def test_a_client_tries_again_with_the_password_that_is_in_the_file_now(tmp_path: Path) -> None:
    class Client:
        told: tuple[str, ...] = ()

        def set_sasl_credentials(self, *told: str) -> None:
            self.told = told

    client, file = Client(), tmp_path / "password"
    file.write_text("old")
    values = settings(tmp_path, kafka_password_file=str(file))
    file.write_text("new")
    kafka_clients.renew_password(values, client)
    assert client.told == (values["kafka_user"], "new")


def test_the_registry_is_told_who_asks_and_nobody_else(tmp_path: Path) -> None:
    values = settings(tmp_path, registry="http://127.0.0.1:1", registry_user="us", registry_password=SECRET)
    asked = registry.Registry(values.registry)
    with pytest.raises(Exception, match="does not answer") as told:
        asked.schema(1)
    assert SECRET not in str(told.value)
