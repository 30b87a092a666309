"""The Docker stack, checked without Docker: names, pins, secrets, settings, commands, ClickHouse's configuration."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from packaging.requirements import Requirement

from pipeline import access, settings, topics
from pipeline.cli import COMMANDS
from pipeline.local.kafka import BROKER, node_properties
from pipeline.local.machine import free_port

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONCE = {"topics", "schemas", "migrate"}
OWN = [name for name, service in SERVICES.items() if service["image"].startswith("openoee:")]
SERVICE_KEYS = {  # of the compose specification, those that are in use here
    "build", "cap_drop", "command", "depends_on", "deploy", "environment", "healthcheck", "hostname", "image", "init",
    "ports", "profiles", "read_only", "restart", "secrets",
    "security_opt", "stop_grace_period", "tmpfs", "ulimits", "volumes",
}  # fmt: skip
HEALTH_KEYS = {"test", "interval", "timeout", "retries", "start_period"}

each_service = pytest.mark.parametrize("name", SERVICES)


def test_every_part_of_the_line_is_there() -> None:
    assert set(COMPOSE) == {"name", "x-openoee", "x-once", "services", "volumes", "secrets"}
    assert set(SERVICES) == {"kafka", "registry", "store", "worker", "sink", "notify", "grafana"} | ONCE
    assert SERVICES["worker"]["deploy"]["replicas"] == 2


@each_service
def test_service_uses_known_keys_and_a_pinned_image(name: str) -> None:
    service = SERVICES[name]
    assert set(service) <= SERVICE_KEYS
    assert re.fullmatch(r"[a-z/-]+:\d+\.\d+\.\d+(\.\d+)?", service["image"])
    limits = service["deploy"]["resources"]["limits"]
    assert set(limits) == {"cpus", "memory"}
    assert re.fullmatch(r"\d+[MG]", limits["memory"])


@each_service
def test_service_says_when_it_is_healthy(name: str) -> None:
    service = SERVICES[name]
    if name in ONCE:
        assert service["healthcheck"] == {"disable": True}
        assert service["restart"].startswith("on-failure:")
    else:
        assert set(service["healthcheck"]) == HEALTH_KEYS
        assert service["restart"] == "unless-stopped"


def test_grafana_is_provisioned_with_a_pinned_plugin_and_every_dashboard() -> None:
    service = SERVICES["grafana"]
    assert re.fullmatch(
        r"grafana-clickhouse-datasource@\d+\.\d+\.\d+", service["environment"]["GF_PLUGINS_PREINSTALL_SYNC"]
    )
    mounted = {volume.split(":")[0] for volume in service["volumes"] if volume.startswith(".")}
    assert mounted == {f"./{path.relative_to(DEPLOY)}" for path in (DEPLOY / "grafana").rglob("*") if path.is_file()}
    [source] = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/openoee.yml").read_text())["datasources"]
    assert source["jsonData"]["host"] in SERVICES
    assert source["jsonData"]["username"] == SERVICES["store"]["environment"]["CLICKHOUSE_USER"]
    assert source["secureJsonData"]["password"] == "$__file{/run/secrets/store}"


@each_service
def test_service_waits_for_what_it_needs(name: str) -> None:
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        wanted = "service_completed_successfully" if needed in ONCE else "service_healthy"
        assert how == {"condition": wanted}, needed


@each_service
def test_service_mounts_and_publishes_only_what_is_declared(name: str) -> None:
    service = SERVICES[name]
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        assert (DEPLOY / source).is_file() if source.startswith(".") else source in COMPOSE["volumes"]
    assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])
    for port in service.get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port), port


def test_every_volume_and_secret_is_used() -> None:
    volumes = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert set(COMPOSE["volumes"]) == {volume for volume in volumes if not volume.startswith(".")}
    assert set(COMPOSE["secrets"]) == {secret for service in SERVICES.values() for secret in service.get("secrets", [])}


@each_service
def test_no_secret_stands_in_the_file(name: str) -> None:
    for variable, value in SERVICES[name].get("environment", {}).items():
        if re.search("PASSWORD|SECRET|TOKEN", variable):
            assert variable.endswith("_FILE")
            assert value.removeprefix("/run/secrets/") in COMPOSE["secrets"]


@pytest.mark.parametrize("name", OWN)
def test_own_service_has_settings_that_exist_and_no_rights(name: str) -> None:
    service = SERVICES[name]
    known = {setting.variable for setting in settings.TABLE}
    assert set(service["environment"]) <= known
    values = settings.load(environment=service["environment"])
    for hostport in (values["kafka"], values["registry"].split("/")[2], values["store"].split("/")[2]):
        assert hostport.split(":")[0] in SERVICES
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", OWN)
def test_own_service_calls_a_command_that_exists(name: str) -> None:
    called, *arguments = SERVICES[name]["command"]
    assert called in COMMANDS
    command = importlib.import_module(f"pipeline.cli.{called}").command
    command.make_context(called, list(arguments))  # refuses unknown options and arguments


@pytest.mark.parametrize(
    ("name", "group"), [("worker", topics.WORKER_GROUP), ("sink", topics.SINK_GROUP), ("notify", topics.NOTIFY_GROUP)]
)
def test_health_of_worker_sink_and_notify_is_their_membership(name: str, group: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"] == ["CMD", "python", "/opt/openoee/healthcheck.py", group]


def test_kafka_has_the_settings_of_the_stack_without_docker() -> None:
    environment = SERVICES["kafka"]["environment"]
    own_place = {  # differ by nature: who listens where, and where the data are
        "listeners", "advertised.listeners", "listener.security.protocol.map", "controller.quorum.voters", "log.dirs",
    }  # fmt: skip
    local = node_properties(1, 1, 9092, Path("/data"))
    assert set(BROKER) <= set(local)
    there = {property_of(key): str(value) for key, value in environment.items() if property_of(key)}
    assert set(there) == set(local)
    assert {key: value for key, value in there.items() if key not in own_place} == {
        key: value for key, value in local.items() if key not in own_place
    }
    listeners = {item.split("://")[0] for item in there["listeners"].split(",")}
    assert listeners == {item.split(":")[0] for item in there["listener.security.protocol.map"].split(",")}
    advertised = dict(item.split("://") for item in there["advertised.listeners"].split(","))
    assert advertised["PLAINTEXT"] == SERVICES["worker"]["environment"]["OPENOEE_KAFKA"]
    assert f"{advertised['HOST']}:9092" in SERVICES["kafka"]["ports"]
    assert SERVICES["registry"]["environment"]["APICURIO_KAFKASQL_BOOTSTRAP_SERVERS"] == advertised["PLAINTEXT"]
    assert SERVICES["kafka"]["volumes"][0].split(":")[1] in there["log.dirs"]


def property_of(variable: str) -> str:
    """The broker property that the image makes of an environment variable; empty when it makes none."""
    if not variable.startswith("KAFKA_") or variable == "KAFKA_HEAP_OPTS":
        return ""
    return variable.removeprefix("KAFKA_").lower().replace("_", ".")


def test_versions_are_those_of_the_stack_without_docker() -> None:
    for name in ("kafka", "registry"):
        pom = ElementTree.parse(ROOT / f"pipeline/local/{name}.pom.xml").getroot()
        version = pom.findtext("{http://maven.apache.org/POM/4.0.0}version")
        assert SERVICES[name]["image"].endswith(f":{version}")


CLICKHOUSE = """
import json, sys, chdb
connection = chdb.connect(sys.argv[1])
def ask(sql):
    try:
        return str(connection.query(sql, "TSVRaw").bytes().decode().strip())
    except RuntimeError as error:
        return str(error)
ask("CREATE DATABASE openoee")
ask("USE openoee")
found = {
    "user": ask("SELECT currentUser()"),
    "settings": ask("SELECT name, value FROM system.settings WHERE name IN ('async_insert', 'max_memory_usage')"),
    "create": ask("CREATE TABLE t (a Int32) ENGINE = ReplacingMergeTree ORDER BY a"),
    "insert": ask("INSERT INTO t VALUES (1)"),
    "select": ask("SELECT sum(a) FROM t"),
    "url": ask("SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')"),
    "user_made": ask("CREATE USER somebody"),
    "unknown": ask("SELECT getSetting('no_such_setting')"),
}
print(json.dumps(found))
"""


def test_clickhouse_takes_its_configuration_and_grants_no_more_than_needed(tmp_path: Path) -> None:
    config = ElementTree.parse(DEPLOY / "clickhouse/config.d/openoee.xml").getroot()
    users = ElementTree.parse(DEPLOY / "clickhouse/users.d/openoee.xml").getroot()
    assert config.tag == users.tag == "clickhouse"
    assert users.find(f"users/{SERVICES['store']['environment']['CLICKHOUSE_USER']}") is not None
    merged = ElementTree.Element("clickhouse")
    merged.extend([element for element in config if element.tag not in ("logger",) and not element.get("remove")])
    for element in users.iter("profiles"):
        merged.append(element)
    ElementTree.SubElement(ElementTree.SubElement(merged, "quotas"), "default")
    user = ElementTree.SubElement(ElementTree.SubElement(merged, "users"), "default")  # the one whom chDB is
    for key, text in (("password", ""), ("profile", "default"), ("quota", "default")):
        ElementTree.SubElement(user, key).text = text
    ElementTree.SubElement(ElementTree.SubElement(user, "networks"), "ip").text = "127.0.0.1"
    granted = users.find("users/openoee/grants")
    assert granted is not None
    user.append(granted)
    file = tmp_path / "store.xml"
    ElementTree.SubElement(merged, "users_config").text = str(file)
    ElementTree.ElementTree(merged).write(file)
    done = subprocess.run(
        [sys.executable, "-c", CLICKHOUSE, f"{tmp_path / 'store'}?config-file={file}"],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert sorted(found["settings"].splitlines()) == ["async_insert\t0", "max_memory_usage\t2000000000"]
    assert (found["create"], found["insert"], found["select"]) == ("", "", "1")
    assert "ACCESS_DENIED" in found["url"]
    assert "ACCESS_DENIED" in found["user_made"]
    assert "UNKNOWN_SETTING" in found["unknown"]


def test_grants_are_those_of_the_stack_without_docker() -> None:
    from pipeline.local.store_engine import RIGHTS

    local = ElementTree.fromstring(RIGHTS.format(config="x")).findtext("users/default/grants/query")
    here = ElementTree.parse(DEPLOY / "clickhouse/users.d/openoee.xml").getroot().findtext("users/openoee/grants/query")
    assert local is not None
    assert here is not None
    assert here.split() == local.split()


def test_image_is_pinned_small_and_without_rights() -> None:
    lines = [line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if line and not line.startswith("#")]
    bases = [line.split()[1] for line in lines if line.startswith("FROM ")]
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", bases[0])
    final = lines[max(i for i, line in enumerate(lines) if line.startswith("FROM ")) :]
    assert "USER 10001" in final
    assert 'ENTRYPOINT ["openoee"]' in final
    allowed = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from" not in line]
    for source in (source for sources in copied for source in sources):
        assert f"!{source}" in allowed, source
        assert (ROOT / source).exists(), source


def test_image_holds_versions_that_the_project_accepts() -> None:
    pinned = dict(line.split("==") for line in (ROOT / "requirements.lock").read_text().split())
    pinned = {name.lower(): version for name, version in pinned.items()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for needed in map(Requirement, project["dependencies"]):
        assert needed.specifier.contains(pinned[needed.name.lower()]), needed
    assert "--constraint requirements.lock" in (DEPLOY / "Dockerfile").read_text()
    assert SERVICES["worker"]["image"] == f"openoee:{project['version']}"


def test_secrets_are_made_once_and_never_committed(tmp_path: Path) -> None:
    script = shutil.copy(DEPLOY / "secrets.sh", tmp_path)
    subprocess.run(["sh", script], check=True, capture_output=True)
    made = tmp_path / "secrets/store"
    first = made.read_text()
    assert re.fullmatch(r"[\w-]{32}\n", first)
    assert made.parent.stat().st_mode & 0o777 == 0o700
    subprocess.run(["sh", script], check=True, capture_output=True)
    assert made.read_text() == first
    assert COMPOSE["secrets"]["store"] == {"file": "./secrets/store"}
    assert "secrets/" in (DEPLOY / ".gitignore").read_text().splitlines()


def test_healthcheck_says_why_when_kafka_is_away() -> None:
    port = free_port()
    done = subprocess.run(
        [sys.executable, DEPLOY / "healthcheck.py", topics.SINK_GROUP],
        env={"OPENOEE_KAFKA": f"127.0.0.1:{port}", "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"Kafka at 127.0.0.1:{port} does not answer" in done.stderr


def test_docker_compose_accepts_the_file_where_it_is_installed() -> None:
    docker = shutil.which("docker")
    if not docker or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        return  # the checks above stand alone
    done = subprocess.run(
        [docker, "compose", "-f", DEPLOY / "docker-compose.yml", "config", "--quiet"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_roles_of_a_clickhouse_server_are_those_of_the_line() -> None:
    """Statements that the engine's own parser takes; no password in them, no right that the role does not need."""
    import chdb

    text = re.sub(r"--.*", "", (DEPLOY / "clickhouse" / "roles.sql").read_text())
    statements = [part.strip() for part in text.split(";") if part.strip()]
    for statement in statements:
        quoted = statement.replace("'", "\\'")
        assert chdb.query(f"SELECT formatQuery('{quoted}')", "TSVRaw").bytes()
    rights = dict(re.findall(r"GRANT (.+?) ON openoee\.\* TO openoee_(\w+)", text))
    assert {role: may for may, role in rights.items()} == {"sink": "SELECT, INSERT", "reader": "SELECT"}
    users = {role.store for role in access.ROLES if role.store}
    assert {"openoee_" + user for user in users} == set(re.findall(r"CREATE ROLE IF NOT EXISTS (\w+)", text))
    assert "IDENTIFIED" not in text


def test_nobody_is_sent_messages_who_did_not_ask() -> None:
    assert {name for name, service in SERVICES.items() if "profiles" in service} == {"notify"}
    assert SERVICES["notify"]["environment"]["OPENOEE_WEBHOOK"] == "${OPENOEE_WEBHOOK:-}"
