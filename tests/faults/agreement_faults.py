"""Faults of what the line agrees on: the registry is away or slow, a schema does not fit, the factory file changes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from book import NotSeen, Wrong, fault
from proxy import Proxy
from record_faults import T0, ended, minutes, reasons, send
from trial import Trial
from worker_trial import lag, put, until

from pipeline import evolution, schemas
from pipeline.errors import SchemaMismatch
from pipeline.registry import Registry, register


@fault(24, "registry down at start, mid-run, slow", rounds=1)
def registry_down(trial: Trial) -> None:
    url = trial.place.start_registry()
    host, _, path = url.removeprefix("http://").partition("/")
    with Proxy(int(host.rpartition(":")[2])) as way:
        way.refuse()
        trial.settings = trial.with_settings(registry=f"http://127.0.0.1:{way.port}/{path}")
        worker, sink = trial.worker(), trial.sink()
        if not worker.says("going on with the committed schemas"):
            raise NotSeen("the worker did not miss the registry")
        send(trial, [*minutes("known"), ended("known")])
        until(lambda: lag(trial.settings) == 0, 60, "known schemas go on without a registry")
        trial.saw("away at the start: known schemas went on")
        put(trial.settings, "telemetry", [(b"m1", b"\0\0\x0f\x42\x40rest")])
        began = time.monotonic()
        until(lambda: lag(trial.settings) == 0, 90, "an unknown id is parked after a bounded time")
        trial.saw(f"unknown id parked after {time.monotonic() - began:.0f} s with the registry away")
        way.pass_on()
        way.delay_s = 1.0
        put(trial.settings, "telemetry", [(b"m1", b"\0\0\x0f\x42\x41rest")])
        send(trial, [*minutes("slow"), ended("slow")])
        until(lambda: lag(trial.settings) == 0, 90, "a slow registry is waited for")
        trial.saw("slow: the id was asked for and parked")
        del worker, sink
        trial.settings = trial.with_settings(registry="")
        trial.judge()
        trial.end_processes()
    if reasons(trial) != Counter(unknown_schema=2):
        raise Wrong(f"dead letters: {dict(reasons(trial))}")


@fault(25, "incompatible schema", rounds=1)
def incompatible(trial: Trial) -> None:
    url = trial.place.start_registry()
    register(url, schemas.bundle(), schemas.home())
    version = schemas.current()["Frame"]
    broken = version.schema()
    broken["fields"] = [*broken["fields"], {"name": "must", "type": "string"}]  # no default: old records lack it
    status, answer = Registry(url).call("POST", f"/subjects/{version.subject}/versions", {"schema": json.dumps(broken)})
    if status != 409:
        raise Wrong(f"the registry answered {status} {answer}")
    folder = trial.folder / "avro"
    shutil.copytree(schemas.home(), folder)
    (folder / schemas.FILES["Frame"]).write_text(json.dumps(broken))
    try:
        evolution.check_changes(folder)
    except SchemaMismatch as error:
        trial.saw(f"registry: 409; what CI runs: {str(error)[:120]}")
    else:
        raise Wrong("the check that CI runs passes an incompatible schema")


FACTORY = "version: 1\nsite: lyon\ntimezone: UTC\nmachines: {cut: {ideal_cycle_s: %s}%s}\n"


@fault(29, "factory file changed while running (new machine, wrong file)", rounds=1, quick=True)
def factory_changed(trial: Trial) -> None:
    trial.worker()
    trial.sink()
    file = trial.folder / "factory.yaml"
    changed = T0 + 300_000
    _apply(trial, file, FACTORY % (2, ""), 0)
    send(trial, minutes("cut", steps=60))
    _apply(trial, file, FACTORY % (3, ", paint: {ideal_cycle_s: 4}"), 0, f"--effective={_iso(changed)}", "--restate")
    wrong_file = _apply(trial, file, FACTORY % ("fast", ""), 1)
    send(trial, [*minutes("cut")[60:], *minutes("paint"), ended("cut"), ended("paint")])
    trial.finish()
    rows = trial.ask(
        "SELECT machine, toUnixTimestamp64Milli(segment_start) >= {changed} AS later,"
        " sum(ideal_total_us) / sum(good + reject) / 1e6 FROM oee_facts FINAL"
        f" WHERE good + reject > 0 AND segment_start != fromUnixTimestamp64Milli({changed}) GROUP BY ALL".replace(
            "{changed}", str(changed)
        )
    )
    found = {(machine, later): round(each, 3) for machine, later, each in rows}
    if found.get(("cut", 0)) != 2 or found.get(("cut", 1)) != 3 or found.get(("paint", 1)) != 4:
        raise Wrong(f"ideal seconds per part by (machine, after the change): {found}")
    trial.saw(f"the new rate holds from its date on, the new machine is known; refused: {wrong_file[:90]}")


def _apply(trial: Trial, file: Path, text: str, code: int, *more: str) -> str:
    file.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "factory", "apply", str(file), "--by", "trial", *more],
        env=trial.environment(), capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode != code:
        raise Wrong(f"openoee factory apply ended with {done.returncode}: {done.stderr or done.stdout}")
    return (done.stderr or done.stdout).strip()


def _iso(at: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at / 1000))
