"""Kafka Streams and Apache Flink as contenders: built once with Maven from `java/`, run as one Java process each."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from bench.speed.broker import PLACE
from pipeline.local.machine import locked, require_java, require_maven

SOURCES = Path(__file__).parent / "java"
SCHEMA = Path(__file__).parents[2] / "avro" / "frame.avsc"
BUILT = PLACE / "java"
MARKER = "complete"
HEAP = "-Xmx1g"
# What Flink's own start scripts open of the JDK for its serializers.
OPENED = ("java.lang", "java.lang.reflect", "java.nio", "java.text", "java.time", "java.util", "java.util.concurrent")


@dataclass(frozen=True)
class Peer:
    """A name for the table and the command that runs it, up to `--bootstrap H:P --topic T --out O --samples N`."""

    name: str
    command: Sequence[str]


def contenders() -> list[Peer]:
    """Both peers, in one process each; `build` comes first. Raises StackError when Java is missing."""
    return [Peer("Kafka Streams", _java("StreamsPeer")), Peer("Flink", _java("FlinkPeer"))]


def build() -> None:
    """Compile the peers and fetch what they need, unless that is done for these very sources.

    Raises StackError when Maven is missing, RuntimeError with Maven's complaint when it fails.
    """
    marker, mark = BUILT / MARKER, _digest()
    with locked(PLACE / "java.lock"):
        if marker.exists() and marker.read_text(encoding="utf-8") == mark:
            return
        shutil.rmtree(BUILT, ignore_errors=True)
        command = [require_maven(), "-B", "-q", "-f", str(SOURCES / "pom.xml"), f"-Dtarget={BUILT}", "package"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode:
            complaint = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line]
            raise RuntimeError("the Java peers cannot be built: " + "\n".join(complaint[:5]))
        marker.write_text(mark, encoding="utf-8")


def versions() -> str:
    """The pinned versions, for the head of the table."""
    properties = ElementTree.parse(SOURCES / "pom.xml").getroot().find("{*}properties")
    assert properties is not None
    names = {"Kafka Streams": "kafka", "Flink": "flink", "its Kafka connector": "flink.kafka", "Avro": "avro"}
    return ", ".join(f"{name} {properties.findtext(f'{{*}}{key}.version')}" for name, key in names.items())


def _java(main: str) -> list[str]:
    opened = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED]
    path = f"{BUILT}/peers.jar:{BUILT}/lib/*"
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    return [require_java(), HEAP, *opened, quiet, "-cp", path, f"org.openoee.bench.{main}"]


def _digest() -> str:
    files = [SCHEMA, SOURCES / "pom.xml", *sorted(SOURCES.glob("src/**/*.java"))]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()
