"""docs/tutorial.md as it stands: every command is run, in order, in one shell, and answers what the page says."""

from __future__ import annotations

import os
import re
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_stack import PROJECT, Placed, share_downloads

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]
PAGE = PROJECT / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
BLOCK_S, ANSWER_S = 120.0, 40.0
END = "--end-of-block--"


class Shell:
    """One bash, as a reader has it: what is started in the background goes on."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._bash = subprocess.Popen(
            ["bash", "--norc"], cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self._watch = selectors.DefaultSelector()
        assert self._bash.stdout is not None
        self._watch.register(self._bash.stdout, selectors.EVENT_READ)

    def run(self, block: str) -> tuple[int, str]:
        """Exit code and output of a block, which ends at its first command that fails."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        code = "\n".join(("failed=0; trap 'failed=$?' ERR", block, f"echo; echo {END} $failed"))
        self._bash.stdin.write(code.encode() + b"\n")
        self._bash.stdin.flush()
        said, deadline = "", time.monotonic() + BLOCK_S
        while not (ended := re.search(rf"{END} (\d+)\n", said)):
            assert time.monotonic() < deadline, f"not done after {BLOCK_S:.0f} s:\n{block}\n{said}"
            if self._watch.select(1.0):
                piece = os.read(self._bash.stdout.fileno(), 65_536)
                assert piece, f"the shell has ended:\n{said}"
                said += piece.decode().replace("\r\n", "\n")
        return int(ended[1]), said[: ended.start()].strip()

    def close(self) -> None:
        """Ends the shell and whatever it started that is still there."""
        os.killpg(self._bash.pid, signal.SIGTERM)
        self._bash.wait(30)
        for pipe in (self._bash.stdin, self._bash.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A clone with the packages installed, a home and ports of its own."""
    clone, home = tmp_path / "clone", tmp_path / "home"
    home.mkdir()
    share_downloads(home)
    clone.mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy2(PROJECT / name, clone)
    (clone / ".venv").mkdir()
    for path in (PROJECT / ".venv").iterdir():
        if path.name != ".ready":
            (clone / ".venv" / path.name).symlink_to(path)
    (clone / ".venv" / ".ready").touch()
    placed = Placed(home)
    places = {"OPENOEE_HOME": str(home), "OPENOEE_KAFKA": f"127.0.0.1:{placed.kafka_port}",
              "OPENOEE_STORE": f"http://127.0.0.1:{placed.store_port}", "OPENOEE_TICK_S": "1"}  # fmt: skip
    made = Shell(clone, {**os.environ, **places})
    try:
        yield made
    finally:
        made.run("openoee stop")
        made.close()


def test_every_command_of_the_tutorial_works(shell: Shell) -> None:
    blocks = [(kind, text) for kind, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")) if kind in ("sh", "text")]
    assert [kind for kind, _ in blocks].count("sh") >= 10
    for number, (kind, text) in enumerate(blocks):
        if kind == "text":
            continue
        code, said = shell.run(text)
        assert code == 0, f"{text}\n{said}"
        if number + 1 < len(blocks) and blocks[number + 1][0] == "text":
            wanted = blocks[number + 1][1].strip()
            asked = text[text.rindex("openoee query") :] if "openoee query" in text else ""
            deadline = time.monotonic() + ANSWER_S
            while wanted not in said:  # results come a moment later: ask again
                assert asked, f"wanted:\n{wanted}\nbut it says:\n{said}"
                assert time.monotonic() < deadline, f"wanted:\n{wanted}\nbut it says:\n{said}"
                code, said = shell.run(asked)
