"""How a benchmark ends, whatever ends it: nothing that it has started stays."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType

import psutil

from pipeline.local.processes import Supervisor

ENDS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
PR_SET_PDEATHSIG = 1  # linux/prctl.h
HOME = "broker-"
OWNED = re.compile(rf"{HOME}(\d+)-")


def end_as_exception() -> None:
    """Let the first signal to end be an exception, so that blocks clean up; a second one does not disturb them."""

    def leave(number: int, _frame: FrameType | None) -> None:
        for each in ENDS:
            signal.signal(each, signal.SIG_IGN)
        sys.exit(128 + number)

    for each in ENDS:
        signal.signal(each, leave)


def end_with_parent(number: int = signal.SIGKILL) -> None:
    """In a child before its program starts: get this signal when the parent is gone, and heed what the parent heeds."""
    for each in ENDS:
        signal.signal(each, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)


def home_prefix() -> str:
    """What the folder of this process's broker begins with: whose it is can be told from its name."""
    return f"{HOME}{os.getpid()}-"


def sweep(place: Path) -> list[str]:
    """End the brokers and stores in `place` whose bench is gone (killed, out of memory); names of their folders."""
    swept = []
    for home in sorted(place.glob(f"{HOME}*")):
        owner = OWNED.match(home.name)
        if owner and not psutil.pid_exists(int(owner[1])):
            for part in (home / "line", home):
                Supervisor(part).stop_all()
            shutil.rmtree(home, ignore_errors=True)
            swept.append(home.name)
    return swept
