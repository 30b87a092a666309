"""Faults of the plant around the line: hours of load, a gateway without a broker, an upgrade, a store that is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import soak
from book import NotSeen, Wrong, fault
from sink_trial import lag as sink_lag
from spool_trial import FORGET, SPOOL_MB, outage
from trial import Trial
from worker_trial import folded, until
from worker_trial import lag as worker_lag

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


def _leftovers_forgotten(trial: Trial) -> None:
    """The control: a gateway that does not look for what the one before it left loses it."""
    gateway_alone(trial, FORGET)


@fault(33, "broker out of reach at the gateway; gateway killed meanwhile", rounds=2, control=_leftovers_forgotten)
def gateway_alone(trial: Trial, patch: str = "") -> None:
    trial.worker()
    trial.sink()
    settings = trial.with_settings(spool=str(trial.folder / "spool"), spool_mb=SPOOL_MB)
    taken, held, said = outage(
        settings, lambda: trial.place.signal("kafka-1", signal.SIGKILL), trial.place.up, trial.folder, patch
    )
    if missing := set(taken) - set(held):
        raise Wrong(f"{len(missing):,} of {len(taken):,} records that the gateways took are not in the log")
    if said.find("% full (") > said.find("the source waits"):
        raise Wrong("the alarm came after the spool was full")
    trial.saw(f"{len(taken):,} records taken by a gateway that was killed and its heir, {len(held):,} in the log")
    trial.finish()


@fault(34, "store backed up, lost, restored", rounds=1)
def store_lost(trial: Trial) -> None:
    trial.worker()
    trial.sink()
    load = trial.load()
    trial.after(load, 1500, 2500)
    _openoee(trial, "backup", str(trial.folder / "backup"))
    kept = trial.ask("SELECT count() FROM telemetry")[0][0]
    trial.after(load, 1500, 2500)
    load.end()
    until(lambda: not _behind(trial), 120, "worker and sink have taken everything")
    lost = trial.ask("SELECT count() FROM telemetry")[0][0]
    trial.end_processes()
    trial.command(f"DROP DATABASE {trial.settings['database']}")
    _openoee(trial, "restore", str(trial.folder / "backup"))
    trial.saw(f"lost {lost:,} samples, {kept:,} of them were backed up; the sink filled in the rest from the topics")
    trial.worker()
    trial.sink()
    trial.finish()


def _openoee(trial: Trial, *arguments: str) -> None:
    argv = [sys.executable, "-m", "pipeline", *arguments]
    done = subprocess.run(argv, env=trial.environment(), capture_output=True, text=True)
    if done.returncode:
        raise Wrong(f"openoee {arguments[0]} ended with {done.returncode}: {done.stderr or done.stdout}")


def _behind(trial: Trial) -> int:
    return worker_lag(trial.settings) + sink_lag(trial.settings)


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
