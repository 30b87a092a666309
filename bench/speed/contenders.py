"""Who does the job: floors and loops by hand, Python peers, Java peers, and the worker of this project."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.speed import java_peers
from bench.speed.answers import Task
from bench.speed.broker import PLACE, PROJECT

HAND_LOOP = "hand loop, numpy"
WORKER = "openoee worker"
REQUIREMENTS = PROJECT / "bench" / "requirements.txt"
Report = Callable[[str], None]


@dataclass(frozen=True)
class Contender:
    """A process that reads a topic to its end and ends; `answers`: it writes what the job asks for.

    `kind` is floor, hand, python or java.
    """

    name: str
    kind: str
    command: Sequence[str]
    answers: bool = True

    def command_for(self, task: Task) -> list[str]:
        return [*self.command, *task.arguments()]


@dataclass(frozen=True)
class Worker:
    """`openoee worker`, with its detectors on every signal or for OEE alone."""

    name: str
    detect: bool
    kind: str = "ours"


def floors() -> list[Contender]:
    """What the broker and the client library allow, and loops written for nothing but this job."""

    def floor(name: str, kind: str, what: str, answers: bool) -> Contender:
        return Contender(name, kind, [sys.executable, "-m", "bench.speed.floors", what], answers)

    return [
        floor("confluent-kafka, nothing else", "floor", "consume", False),
        floor("+ fastavro", "floor", "decode", False),
        floor("hand loop, fastavro", "hand", "hand-avro", True),
        floor(HAND_LOOP, "hand", "hand-numpy", True),
    ]


def python_peers() -> list[Contender]:
    """Stream processors for Python, in an environment of their own (see `peers_python`)."""
    python = str(peers_python())
    names = ("quixstreams", "bytewax", "pathway")
    return [Contender(name, "python", [python, "-m", f"bench.speed.peer_{name}"]) for name in names]


def java_contenders() -> list[Contender]:
    """Kafka Streams and Flink, in one process each; `java_peers.build` comes first."""
    return [Contender(peer.name, "java", peer.command) for peer in java_peers.contenders()]


def workers() -> list[Worker]:
    return [Worker(WORKER, detect=False), Worker("openoee worker, detectors", detect=True)]


def install_peers(report: Report) -> None:
    """Make the peers' environment as bench/requirements.txt says, once for each of its versions."""
    home = _peers_home()
    marker = home / "complete"
    if marker.exists():
        return
    report(f"installing the Python peers of {REQUIREMENTS.relative_to(PROJECT)} (once)")
    venv.create(home, clear=True, with_pip=True)
    done = subprocess.run(
        [home / "bin" / "python", "-m", "pip", "install", "--quiet", "--requirement", REQUIREMENTS],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"the Python peers cannot be installed: {done.stderr.strip()[-500:]}")
    marker.touch()


def peer_versions() -> str:
    """The pinned versions, for the head of the table."""
    peers, _ = REQUIREMENTS.read_text(encoding="utf-8").split("# What draws")
    lines = [line.split("#")[0].strip() for line in peers.splitlines()]
    python = ", ".join(line.replace("==", " ") for line in lines if line)
    return f"{python}; {java_peers.versions()}"


def peers_python() -> Path:
    """The interpreter of the peers' environment."""
    return _peers_home() / "bin" / "python"


def _peers_home() -> Path:
    mark = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:10]
    return PLACE / f"venv-{mark}"
