"""The topics are open: tools that know nothing of us read the same values through the registry."""

from __future__ import annotations

import io
import json
import urllib.request
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import avro.io
import avro.schema
import numpy as np
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from live_stack import LiveStack

from pipeline import schemas, topics
from pipeline.codec import Codec
from pipeline.core.model import (
    Anomaly,
    Control,
    Frame,
    Interval,
    MachineConfig,
    OeeFact,
    SignalBlock,
    StateChange,
    Tick,
)
from pipeline.errors import SchemaMismatch
from pipeline.producer import TelemetryProducer
from pipeline.registry import Registry, compare, register
from pipeline.settings import Settings

pytestmark = pytest.mark.live
T0 = 1_700_000_000_123
NUMBERS = np.array([[1.5, 2.5], [3.0, -4.0]])

FRAME = Frame(
    "mill-1", "gateway", T0, 7, T0 + 900, states=[StateChange(T0, "running", None)],
    signals=[SignalBlock(np.array([T0, T0 + 100]), ["load", "speed"], NUMBERS, ["%", "1/s"])],
)  # fmt: skip
CONFIG = Control("mill-1", "c-1", T0, "ann", MachineConfig(effective=T0, site="Ulm", ideal_cycle_us={"A": 1_500_000}))
TICK = Control("mill-1", "c-2", T0, "worker", Tick(T0 + 5))
FACT = OeeFact(
    "mill-1", "Ulm", "", "L1", T0, T0 + 60_000, T0, T0 + 60_000, "early", 19675, 19676, "A", "", t_ms=60_000,
    flags=["counter_reset"], known_at=T0 + 90_000,
)  # fmt: skip
INTERVAL = Interval(
    "mill-1", "Ulm", "", "L1", T0, None, "fault", "adet", T0, False, False, False, "", "early", 19675, "A", "", T0
)
ANOMALY = Anomaly(
    "mill-1", "Ulm", "L1", "load", "spike", "ewma", 1, T0, T0, 0.9, 7.0, 1.0, None, None, "warning", "running", "A",
    "load is 7 %, expected 1 %", T0,
)  # fmt: skip


@pytest.fixture(scope="module")
def line(stack: LiveStack, registry: str) -> Settings:
    settings = stack.settings("open-formats", registry=registry, partitions=2)
    topics.ensure(settings)
    register(registry, schemas.bundle(), schemas.home())
    return settings


@pytest.fixture(scope="module")
def written(line: Settings) -> dict[str, list[bytes]]:
    """Records as they lie in Kafka, per topic: telemetry by our producer, results by a plain one."""
    codec = Codec(line["registry"])
    with TelemetryProducer(line, codec) as producer:
        for message in (CONFIG, FRAME, TICK):
            producer.send(message)
        producer.flush()
    plain = Producer({"bootstrap.servers": line["kafka"]})
    for topic, row in (("oee", FACT), ("intervals", INTERVAL), ("anomalies", ANOMALY)):
        plain.produce(line.topic(topic), codec.encode(row), b"mill-1")
    assert plain.flush(30) == 0
    return {topic: list(values(line, topic)) for topic in ("telemetry", "oee", "intervals", "anomalies")}


def values(line: Settings, topic: str) -> Iterator[bytes]:
    """Every value of a topic, up to its present end."""
    consumer = Consumer({"bootstrap.servers": line["kafka"], "group.id": "open-formats", "enable.partition.eof": True})
    full = line.topic(topic)
    partitions = [TopicPartition(full, number, 0) for number in range(line.int("partitions"))]
    consumer.assign(partitions)
    left = len(partitions)
    while left:
        message = consumer.poll(30)
        assert message is not None, "the topic does not end"
        if message.error() is None:
            yield message.value()
        else:
            left -= 1
    consumer.close()


def utc(milliseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)


@pytest.fixture
def deserialise(line: Settings) -> Iterator[AvroDeserializer]:
    with SchemaRegistryClient({"url": line["registry"]}) as client:
        yield AvroDeserializer(client)


def test_confluents_deserialiser_reads_telemetry(
    line: Settings, written: dict[str, list[bytes]], deserialise: AvroDeserializer
) -> None:
    context = SerializationContext(line.topic("telemetry"), MessageField.VALUE)
    config, frame, tick = (deserialise(value, context) for value in written["telemetry"])
    assert frame["machine"] == "mill-1"
    assert frame["sequence"] == 7
    assert frame["sent"] == utc(T0 + 900)
    assert frame["states"] == [{"at": utc(T0), "state": "running", "reason": None}]
    assert frame["signals"] == [
        {
            "start": utc(T0), "offsets": [0, 100], "names": ["load", "speed"], "units": ["%", "1/s"],
            "values": [1.5, 2.5, 3.0, -4.0],
        }
    ]  # fmt: skip
    assert config["body"]["site"] == "Ulm"
    assert config["body"]["ideal_cycle_us"] == {"A": 1_500_000}
    assert tick["body"]["at"] == utc(T0 + 5)


def test_confluents_deserialiser_reads_results(
    line: Settings, written: dict[str, list[bytes]], deserialise: AvroDeserializer
) -> None:
    for topic, row in (("oee", FACT), ("intervals", INTERVAL), ("anomalies", ANOMALY)):
        (value,) = written[topic]
        got = deserialise(value, SerializationContext(line.topic(topic), MessageField.VALUE))
        fields = schemas.read(schemas.home(), schemas.FILES[type(row).__name__])["fields"]
        assert set(got) == {field["name"] for field in fields}
        for field in fields:
            ours = getattr(row, field["name"])
            if ours is not None and "timestamp-millis" in json.dumps(field["type"]):
                ours = utc(ours)
            elif "logicalType" in json.dumps(field["type"]) and ours is not None:
                ours = date(1970, 1, 1) + timedelta(days=ours)
            assert got[field["name"]] == ours, field["name"]


def test_apache_avro_and_plain_http_read_telemetry(line: Settings, written: dict[str, list[bytes]]) -> None:
    """Nothing but HTTP and Avro's reference implementation."""

    def read(value: bytes) -> Any:
        assert value[0] == 0
        url = f"{line['registry']}/schemas/ids/{int.from_bytes(value[1:5], 'big')}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            schema = avro.schema.parse(json.loads(answer.read())["schema"])
        return avro.io.DatumReader(schema).read(avro.io.BinaryDecoder(io.BytesIO(value[5:])))

    config, frame, tick = map(read, written["telemetry"])
    assert frame["signals"][0]["values"] == [1.5, 2.5, 3.0, -4.0]
    assert frame["signals"][0]["start"] == utc(T0)
    assert config["body"]["effective"] == utc(T0)
    assert tick["body"]["at"] == utc(T0 + 5)


def test_we_read_what_a_plain_avro_client_writes(written: dict[str, list[bytes]]) -> None:
    """A gateway in another language: Apache Avro's writer, the registry's schema, Confluent's header."""
    version = schemas.current()["Frame"]
    out = io.BytesIO(b"\0" + version.id.to_bytes(4, "big"))
    out.seek(5)
    schema = avro.schema.parse(json.dumps(version.schema()))
    reader = avro.io.DatumReader(schema)
    (datum,) = (
        reader.read(avro.io.BinaryDecoder(io.BytesIO(value[5:])))
        for value in written["telemetry"]
        if value[:5] == out.getvalue()
    )
    avro.io.DatumWriter(schema).write(datum, avro.io.BinaryEncoder(out))
    got = Codec().decode(out.getvalue())
    assert isinstance(got, Frame)
    assert got.signals[0].values.tolist() == FRAME.signals[0].values.tolist()
    assert (got.machine, got.epoch, got.sequence, got.states) == ("mill-1", T0, 7, FRAME.states)


def test_ids_of_registry_and_bundle_agree(line: Settings) -> None:
    compare(line["registry"], schemas.bundle())
    assert register(line["registry"], schemas.bundle(), schemas.home()) == []


@pytest.mark.parametrize("field", [{"name": "shift", "type": "string"}, None], ids=["no default", "removed"])
def test_the_registry_refuses_an_incompatible_schema(line: Settings, field: dict[str, str] | None) -> None:
    version = schemas.current()["Frame"]
    schema = version.schema()
    schema["fields"] = [*schema["fields"], field] if field else schema["fields"][:3] + schema["fields"][4:]
    with pytest.raises(SchemaMismatch, match=r"refuses org.openoee.Frame: 409"):
        Registry(line["registry"]).add(version, json.dumps(schema))
