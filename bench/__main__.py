"""`python -m bench`: everybody on the same job, then the whole line; tables on the screen, figures, pictures."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench.ending import end_as_exception, end_with_parent, sweep
from bench.speed.broker import PLACE, PROJECT
from bench.speed.contenders import install_peers, peers_python
from bench.speed.report import environment

SPEED = "speed"
LINE = ("sink", "latency", "growth", "dashboards")
LENGTHS = ("--samples=1", "--samples=200")  # of frames by everybody, when time is short: those that have goals
END_WITHIN_S = 60.0


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run(command: Sequence[str | Path]) -> int:
    """Run a part to its end. However we end, it ends too, and what it has started with it."""
    process = subprocess.Popen(command, cwd=PROJECT, preexec_fn=partial(end_with_parent, signal.SIGTERM))
    try:
        return process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(END_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        sweep(PLACE)


def measured(parts: Sequence[str], full: bool, folder: Path) -> tuple[dict[str, Any], int]:
    """Figures of every part that could be measured, and 0 if all of them are right."""
    found: dict[str, Any] = {}
    failed = 0
    if SPEED in parts:
        file = folder / "speed.json"
        failed |= _part(["bench.speed", *(["--full"] if full else LENGTHS)], file)
        if file.exists():
            found[SPEED] = json.loads(file.read_text())
    if line := [name for name in LINE if name in parts]:
        file = folder / "line.json"
        failed |= _part(["bench.line", *(["--full"] if full else []), *(f"--only={name}" for name in line)], file)
        if file.exists():
            found |= json.loads(file.read_text())
    return found, int(failed != 0)


def _part(arguments: Sequence[str], file: Path) -> int:
    file.unlink(missing_ok=True)
    return run([sys.executable, "-m", *arguments, "--json", file])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=[SPEED, *LINE], help="only this part; may be repeated")
    parser.add_argument("--full", action="store_true", help="five times as much, and more lengths of frames")
    parser.add_argument("--json", type=Path, default=PLACE / "figures" / "bench.json", help="where all figures go")
    parser.add_argument("--plots", type=Path, default=PLACE / "figures", help="folder for the pictures")
    asked = parser.parse_args()
    end_as_exception()
    for folder in (asked.json.parent, asked.plots, PLACE / "figures"):
        folder.mkdir(parents=True, exist_ok=True)
    began, busy = time.monotonic(), os.getloadavg()
    found, failed = measured(asked.only or [SPEED, *LINE], asked.full, PLACE / "figures")
    about = {
        "machine": environment(), "full": asked.full, "load_before": busy, "load_after": os.getloadavg(),
        "took_s": round(time.monotonic() - began),
    }  # fmt: skip
    asked.json.write_text(json.dumps({"about": about, **found}, indent=1))
    install_peers(say)
    failed |= run([peers_python(), "-m", "bench.plots", asked.plots, asked.json]) != 0
    print(f"\nTook {about['took_s']} s; load of the machine before: {busy[0]:.1f}. Figures: {asked.json}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
