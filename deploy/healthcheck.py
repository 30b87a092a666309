"""Whether this computer is a member of a consumer group, in the eyes of Kafka: exit code 0 or 1."""

from __future__ import annotations

import socket
import sys

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from pipeline.kafka_clients import common
from pipeline.settings import load

ANSWER_S = 5


def own_address(bootstrap: str) -> str:
    """The address with which this computer reaches the first of the servers."""
    host, _, port = bootstrap.split(",")[0].rpartition(":")
    family, kind, protocol, _, address = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(address)
        return str(probe.getsockname()[0])


def main(group: str) -> str:
    """Empty when all is well, else what is wrong."""
    settings = load()
    kafka, name = settings["kafka"], settings.topic(group)
    admin = AdminClient(common(settings))
    try:
        found = admin.describe_consumer_groups([name], request_timeout=ANSWER_S)[name].result()
        members = {str(member.host).lstrip("/") for member in found.members}
        address = own_address(kafka)
    except (KafkaException, OSError) as error:
        return f"Kafka at {kafka} does not answer: {error}"
    return "" if address in members else f"{address} is no member of {name}: {sorted(members)}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]) or 0)
