"""What the trials of the spool need: gateway processes, a broker that goes and comes back, and what is left then."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from spool_gateway import FRAMES_PER_S
from worker_trial import read, until

from pipeline.codec import Codec
from pipeline.settings import Settings

HERE = Path(__file__).parent
SPOOL_MB = 8
FORGET = """
from pipeline.spool import Spool
def forget(self):
    for path in self.folder.glob("*.spool"):
        path.unlink()
    return []
Spool._old_segments = forget
"""  # a gateway that does not look for what the one before it left
Taken = tuple[str, int, int]  # machine, epoch, sequence


class Gateway:
    """One gateway process; `patch` is code to run in it first."""

    def __init__(self, settings: Settings, epoch: int, folder: Path, patch: str = "") -> None:
        self.log, self.account = folder / f"gateway-{epoch}.log", folder / f"account-{epoch}"
        code = f"{patch}\nimport runpy; runpy.run_path({str(HERE / 'spool_gateway.py')!r}, run_name='__main__')"
        with self.log.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code, str(epoch), str(self.account)],
                env={**os.environ, **settings.environment()}, stderr=out,
            )  # fmt: skip

    def says(self, words: str) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        return words in self.log.read_text()

    @property
    def taken(self) -> list[Taken]:
        """Records whose `send` has returned; a line that a kill cut short was not finished."""
        lines = self.account.read_text().split("\n")[:-1] if self.account.exists() else []
        return [(machine, int(epoch), int(number)) for machine, epoch, number in map(str.split, lines)]


def used(settings: Settings) -> int:
    total = 0
    for path in Path(settings["spool"]).glob("*.spool"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue  # deleted while we looked
    return total


def outage(
    settings: Settings, kill: Callable[[], object], start: Callable[[], object], folder: Path, patch: str = ""
) -> tuple[list[Taken], list[Taken], str]:
    """What two gateways took, what the topic holds, what the second one said; `settings` name a spool of SPOOL_MB.

    first   starts, sends | broker killed | sends on | killed
    second                                             starts, sends | alarm | full | broker starts | drains | ends
    """
    first = Gateway(settings, 1, folder)
    until(lambda: len(first.taken) > FRAMES_PER_S, 60, "the first gateway sends")
    kill()
    seen = len(first.taken)
    until(lambda: len(first.taken) > seen + 800, 60, "it goes on without a broker")
    first.process.kill()
    first.process.wait()
    second, most = Gateway(settings, 2, folder, patch), 0
    try:
        while not second.says("the source waits until Kafka has taken records"):  # the test's time-out is the deadline
            most = max(most, used(settings))
        start()
        until(lambda: second.says("Kafka at") and used(settings) < SPOOL_MB << 18, 60, "the spool has drained")
        second.process.send_signal(signal.SIGTERM)
        assert second.process.wait(60) == 0, second.log.read_text()
    finally:
        second.process.kill()
    assert (SPOOL_MB << 20) * 0.9 < most <= SPOOL_MB << 20
    assert used(settings) == 0
    codec, held = Codec(), []
    for message in read(settings, "telemetry"):
        frame = codec.decode(message.value())
        assert message.key() == frame.machine.encode()
        held.append((frame.machine, frame.epoch, frame.sequence))
    return first.taken + second.taken, held, second.log.read_text()
