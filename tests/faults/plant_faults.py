"""Faults of the plant around the line: hours of load, a gateway without a broker, an upgrade, a store that is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import soak
from book import NotSeen, Wrong, fault
from trial import Trial
from worker_trial import folded, until

ROOT = Path(__file__).parents[2]
RELEASE_BEFORE = "da15029"  # what is upgraded from
SOAK_MINUTES = 10.0


@fault(32, "hours under load (`make soak HOURS=n` is longer)", rounds=1)
def under_load(trial: Trial) -> None:
    minutes = float(os.environ.get("FAULTS_SOAK_MINUTES", SOAK_MINUTES))
    samples = soak.run(trial, minutes * 60)
    trial.saw(f"{minutes:g} minutes; {soak.told(samples)}")
    if rising := soak.rising(samples):
        raise Wrong(f"not flat: {rising}")


@fault(34, "upgraded from the last version with live state and data", rounds=2)
def upgraded(trial: Trial) -> None:
    before = f"import sys; sys.path.insert(0, {str(_release(trial))!r}); "
    worker, sink = trial.worker(before), trial.sink(before)
    load = trial.load()
    trial.after(load, 800, 1500)
    until(lambda: folded(trial.settings) > 500, 60, "the last version has saved its state")
    kill = trial.chance.choice([signal.SIGTERM, signal.SIGKILL])
    worker.end(kill)
    sink.end(kill)
    trial.saw(f"{RELEASE_BEFORE} ended with {kill.name} after {folded(trial.settings):,} records; this version went on")
    trial.worker()
    trial.sink()
    trial.finish(load)


def _release(trial: Trial) -> Path:
    """The last version, unpacked from the history."""
    folder = trial.folder / "before"
    packed = subprocess.run(["git", "archive", RELEASE_BEFORE], cwd=ROOT, capture_output=True)
    if packed.returncode:
        raise NotSeen(f"the history has no {RELEASE_BEFORE}: {packed.stderr.decode().strip()}")
    with tarfile.open(fileobj=BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder
