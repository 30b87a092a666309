"""Fault trials: a process that kills itself at a named point."""

from __future__ import annotations

import os
import signal


class CrashPoint:
    """`point:n` kills this process, as kill -9 does, at the n-th passing of that point; empty: never."""

    def __init__(self, wanted: str) -> None:
        self._name, _, count = wanted.partition(":")
        self._left = int(count or 1)

    def __call__(self, point: str) -> None:
        if point == self._name:
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)
