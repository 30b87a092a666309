"""Whether the process of this container can do its work: its /readyz, else its membership in the eyes of Kafka."""

from __future__ import annotations

import socket
import sys
from urllib.error import HTTPError
from urllib.request import urlopen

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from pipeline.kafka_clients import common
from pipeline.settings import Settings, load

ANSWER_S = 5


def own_address(bootstrap: str) -> str:
    """The address with which this computer reaches the first of the servers."""
    host, _, port = bootstrap.split(",")[0].rpartition(":")
    family, kind, protocol, _, address = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(address)
        return str(probe.getsockname()[0])


def readiness(port: int) -> str:
    """What /readyz says is wrong; empty when nothing is."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=ANSWER_S):
            return ""
    except HTTPError as error:
        with error:
            return error.read().decode().strip()
    except OSError as error:
        return f"nothing answers at port {port}: {error}"


def membership(settings: Settings, group: str) -> str:
    """Why this computer is no member of the group; empty when it is."""
    kafka, name = settings["kafka"], settings.topic(group)
    admin = AdminClient(common(settings))
    try:
        found = admin.describe_consumer_groups([name], request_timeout=ANSWER_S)[name].result()
        members = {str(member.host).lstrip("/") for member in found.members}
        address = own_address(kafka)
    except (KafkaException, OSError) as error:
        return f"Kafka at {kafka} does not answer: {error}"
    return "" if address in members else f"{address} is no member of {name}: {sorted(members)}"


def main(group: str) -> str:
    """Empty when all is well, else what is wrong."""
    settings = load()
    port = settings.int("metrics_port")
    return readiness(port) if port else membership(settings, group)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]) or 0)
