"""A download that stopped half-way, or was damaged since, is never taken for a whole one."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import StackError
from pipeline.local.downloads import install, is_complete

POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
<artifactId>thing</artifactId><version>1.2</version></project>"""


class Maven:
    """A `mvn` on the PATH that copies jars into the folder asked for; counts its calls."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = folder / "calls"
        self.script = folder / "mvn"
        self.says("echo one > $out/one.jar; echo two > $out/two.jar")
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def says(self, body: str) -> None:
        find = 'for a in "$@"; do case $a in -DoutputDirectory=*) out=${a#*=};; esac; done'
        self.script.write_text(f"#!/bin/sh\necho called >> {self.calls}\n{find}\n{body}\n")
        self.script.chmod(0o755)

    def count(self) -> int:
        return len(self.calls.read_text().splitlines()) if self.calls.exists() else 0


@pytest.fixture
def maven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Maven:
    folder = tmp_path / "bin"
    folder.mkdir()
    return Maven(folder, monkeypatch)


@pytest.fixture
def pom(tmp_path: Path) -> Path:
    path = tmp_path / "thing.pom.xml"
    path.write_text(POM)
    return path


def test_fetched_once(tmp_path: Path, maven: Maven, pom: Path) -> None:
    told: list[str] = []
    folder = install(pom, tmp_path / "lib", told.append)
    assert install(pom, tmp_path / "lib", told.append) == folder == tmp_path / "lib" / "thing-1.2"
    assert (folder / "two.jar").read_text() == "two\n"
    assert maven.count() == 1
    assert told == ["fetching thing 1.2 with Maven (once)"]


def test_failure_leaves_nothing_that_looks_whole(tmp_path: Path, maven: Maven, pom: Path) -> None:
    maven.says("echo half > $out/one.jar; echo '[ERROR] Could not transfer two.jar'; exit 1")
    with pytest.raises(StackError, match=r"could not fetch thing 1\.2: Could not transfer two\.jar"):
        install(pom, tmp_path / "lib", print)
    assert [path.name for path in (tmp_path / "lib").iterdir()] == [".lock"]


@pytest.mark.usefixtures("maven")
def test_killed_half_way_then_fetched_whole(tmp_path: Path, pom: Path) -> None:
    half = tmp_path / "lib" / ".thing-killed"
    half.mkdir(parents=True)
    (half / "one.jar").write_text("half")
    folder = install(pom, tmp_path / "lib", print)
    assert is_complete(folder, pom)
    assert not half.exists()


@pytest.mark.parametrize("damage", ["truncate", "delete", "other pom"])
def test_damaged_is_fetched_again(tmp_path: Path, maven: Maven, pom: Path, damage: str) -> None:
    folder = install(pom, tmp_path / "lib", print)
    if damage == "truncate":
        (folder / "two.jar").write_text("")
    elif damage == "delete":
        (folder / "one.jar").unlink()
    else:
        pom.write_text(POM + "\n")
    assert not is_complete(folder, pom)
    assert is_complete(install(pom, tmp_path / "lib", print), pom)
    assert maven.count() == 2
