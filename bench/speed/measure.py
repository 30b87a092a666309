"""One run of one contender: a process on a core of its own, its seconds by clock and CPU, and whether it was right."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.ending import end_with_parent
from bench.speed.broker import PROJECT, Source, keep_to
from bench.speed.job import Truth
from bench.speed.log import batches

HARNESS_CORE, CONTENDER_CORE = 0, 1  # the harness shares its own with the broker


@dataclass(frozen=True)
class Spent:
    """What a run took: seconds by the clock, seconds of CPU (user and system, with all children), MiB at the peak."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    error: str = ""


@dataclass(frozen=True)
class Verdict:
    """How the answers compare with the truth."""

    right: int
    wrong: int
    missing: int
    example: str = ""

    def __str__(self) -> str:
        if not self.wrong + self.missing:
            return f"all {self.right:,}"
        return f"NO: {self.wrong:,} wrong, {self.missing:,} missing of {self.right + self.wrong + self.missing:,}"


def contend() -> None:
    """In the contender's process: on its own core, and never longer there than the bench, however that ends."""
    keep_to(CONTENDER_CORE)
    end_with_parent()


def spend(command: Sequence[str], log: Path, within_s: float) -> Spent:
    """Run a process to its end. One that fails or takes longer is told of in `error`."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    with log.open("ab") as output:
        began = time.monotonic()
        process = subprocess.Popen(
            list(command), env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            preexec_fn=contend, start_new_session=True,
        )  # fmt: skip
        killer = threading.Timer(within_s, process.kill)
        killer.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:  # told to end: the contender ends with us
            process.kill()
            raise
        finally:
            late = not killer.is_alive()
            killer.cancel()
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)  # reaped here, so that Popen does not look for it
    error = f"not within {within_s:.0f} s" if late else f"exit {process.returncode}" if process.returncode else ""
    return Spent(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, error)


def answers(bootstrap: str, topic: str) -> Truth:
    """The last answer for each machine and window in a topic of answers."""
    found: Truth = {}
    for messages in batches(bootstrap, topic):
        for message in messages:
            row = json.loads(message.value())
            found[row["machine"], row["window_start"]] = (row["run_ms"], row["stopped_ms"], row["parts"])
    return found


def judge(source: Source, found: Truth) -> Verdict:
    """Hold answers against the truth of every window that must be there; what else there is does not count."""
    wrong = {key: found[key] for key, facts in source.truth.items() if key in found and found[key] != facts}
    missing = [key for key in source.truth if key not in found]
    example = ""
    if wrong:
        key = next(iter(wrong))
        example = f"{key}: {wrong[key]}, not {source.truth[key]}"
    elif missing:
        example = f"{missing[0]} is missing"
    return Verdict(len(source.truth) - len(wrong) - len(missing), len(wrong), len(missing), example)
