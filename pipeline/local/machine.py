"""What the local stack needs of the machine: Java, Maven, free ports, disk space; each lack is one clear sentence."""

from __future__ import annotations

import fcntl
import re
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from pipeline.errors import StackError

JAVA_AT_LEAST = 17
SERVER_PORTS = range(10_240, 32_000)
"""Below the ports that systems give to outgoing connections (from 32768 on Linux, 49152 elsewhere)."""

_named: set[int] = set()


def java_version(java: str = "java") -> tuple[str, int] | None:
    """Path and major version of the Java on the PATH, None when there is none that runs."""
    path = shutil.which(java)
    if path is None:
        return None
    try:
        answer = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r'version "(?:1\.)?(\d+)', answer.stderr + answer.stdout)
    return (path, int(found[1])) if found else None


def java_available() -> str | None:
    """Path of a Java that can run Kafka, None when there is none."""
    found = java_version()
    return found[0] if found and found[1] >= JAVA_AT_LEAST else None


def require_java() -> str:
    """Path of a Java that can run Kafka; StackError when there is none or it is too old."""
    found = java_version()
    if found is None:
        raise StackError(f"Java is missing: Kafka needs Java {JAVA_AT_LEAST} or newer on the PATH")
    path, version = found
    if version < JAVA_AT_LEAST:
        raise StackError(f"Java {version} at {path} is too old: Kafka needs Java {JAVA_AT_LEAST} or newer on the PATH")
    return path


def require_maven() -> str:
    """Path of Maven; StackError when it is missing."""
    path = shutil.which("mvn")
    if path is None:
        raise StackError("Maven is missing: `mvn` must be on the PATH for the first start, which fetches Kafka with it")
    return path


def require_free_port(port: int, what: str, host: str = "127.0.0.1") -> None:
    """StackError naming the port, its wanted use and, where known, its present owner, unless it is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StackError(
                f"port {port} of {host}, wanted for {what}, cannot be used: "
                f"{_owner(port) or error.strerror}; end that program or choose another port"
            ) from None


def _owner(port: int) -> str | None:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                if connection.pid is None:
                    return "another program listens there"
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid}) listens there"
    except psutil.Error:
        return None
    return None


def free_port(in_a_row: int = 1) -> int:
    """A TCP port of 127.0.0.1 that nobody uses, the first of so many; no two calls of a process name the same.

    Not one that the kernel offers: those are the ports that it gives to outgoing connections as well, and any client
    of the machine may have taken it before its server is up.
    """
    while True:
        first = secrets.choice(SERVER_PORTS)
        ports = range(first, first + in_a_row)
        if _named.isdisjoint(ports) and all(map(_is_free, ports)):
            _named.update(ports)
            return first


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def require_disk(folder: Path, megabytes: int, what: str) -> None:
    """StackError unless the disk of `folder` (or of its nearest parent that exists) has so many megabytes free."""
    place = folder
    while not place.exists():
        place = place.parent
    free = psutil.disk_usage(str(place)).free // 2**20
    if free < megabytes:
        raise StackError(f"the disk of {folder} has {free} MB free: {what} needs {megabytes} MB; make room there")


def host_port(address: str, what: str) -> tuple[str, int]:
    """Host and port of `host:port`; StackError when it is not one, or not on this machine."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise StackError(f"{what} is {address!r}: the local stack needs one host:port there")
    if host not in ("127.0.0.1", "localhost"):
        raise StackError(f"{what} is {address!r}: the local stack binds to 127.0.0.1 only")
    return "127.0.0.1", int(port)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Held by one process at a time; the kernel frees it when its holder dies, so it is never stale."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
