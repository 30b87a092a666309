"""Jars and archives fetched once with Maven into `<home>/lib`; a half-finished download never looks complete."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

from pipeline.errors import StackError
from pipeline.local.machine import locked, require_disk, require_maven

MARKER = "complete.json"
ROOM_MB = 400
Report = Callable[[str], None]


def install(pom: Path, lib: Path, report: Report) -> Path:
    """Folder with the jars that `pom` names, fetched now unless it is there complete.

    The jars are fetched into a temporary folder beside it, which takes its name only once all of them are there and a
    marker lists their sizes. Raises StackError when Maven is missing or cannot fetch them, or the disk is too full.
    """
    name, version = _name_and_version(pom)
    folder = lib / f"{name}-{version}"
    if is_complete(folder, pom):
        return folder
    maven = require_maven()
    require_disk(lib, ROOM_MB, f"fetching {name} {version}")
    lib.mkdir(parents=True, exist_ok=True)
    with locked(lib / ".lock"):
        if is_complete(folder, pom):  # somebody else has just fetched it
            return folder
        report(f"fetching {name} {version} with Maven (once)")
        for leftover in lib.glob(f".{name}-*"):
            shutil.rmtree(leftover)
        shutil.rmtree(folder, ignore_errors=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=lib))
        try:
            _fetch(maven, pom, fresh, f"{name} {version}")
            _unpack(fresh)
            _write_marker(fresh, pom)
            os.rename(fresh, folder)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
    return folder


def is_complete(folder: Path, pom: Path) -> bool:
    """Whether the folder holds every file of its marker in full size, fetched for this very pom."""
    try:
        marker = json.loads((folder / MARKER).read_text())
        sizes = {name: (folder / name).stat().st_size for name in marker["sizes"]}
    except (OSError, ValueError, KeyError):
        return False
    return bool(sizes) and marker["pom"] == _digest(pom) and sizes == marker["sizes"]


def _fetch(maven: str, pom: Path, target: Path, what: str) -> None:
    goal = "dependency:copy" if "<artifactItems>" in pom.read_text() else "dependency:copy-dependencies"
    command = [maven, "-B", "-q", "-C", "-f", str(pom), goal]
    done = subprocess.run(
        [*command, "-DincludeScope=runtime", f"-DoutputDirectory={target.resolve()}"],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode or not any(target.iterdir()):
        lines = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line]
        reason = lines[0].split("]", 1)[-1].strip() if lines else f"exit code {done.returncode}"
        raise StackError(f"Maven could not fetch {what}: {reason}")


def _unpack(folder: Path) -> None:
    for archive in folder.glob("*.tar.gz"):
        with tarfile.open(archive) as handle:
            handle.extractall(folder, filter="data")
        archive.unlink()


def _write_marker(folder: Path, pom: Path) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sizes = {str(path.relative_to(folder)): path.stat().st_size for path in files}
    (folder / MARKER).write_text(json.dumps({"pom": _digest(pom), "sizes": sizes}, indent=1))


def _digest(pom: Path) -> str:
    return hashlib.sha256(pom.read_bytes()).hexdigest()


def _name_and_version(pom: Path) -> tuple[str, str]:
    root = ElementTree.parse(pom).getroot()
    space = {"m": "http://maven.apache.org/POM/4.0.0"}
    return str(root.findtext("m:artifactId", "", space)), str(root.findtext("m:version", "", space))
