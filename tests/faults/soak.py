"""Hours under load: memory, lag, file handles, parts of the store, sampled and judged. `make soak HOURS=n`."""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from trial import Trial

ROOT = Path(__file__).parents[2]
EVERY_S = 5.0
WARM_SHARE = 0.25  # of the time: caches fill, the first windows close
MOST_GROWTH = 0.15  # of the level after that; what grows faster than this is no plateau
LEAST = {"MiB": 40.0, "handles": 20.0, "lag": 3_000.0, "parts": 60.0}  # growth below this is noise
Samples = dict[str, list[float]]


def run(trial: Trial, seconds: float, frames_per_s: int = 300) -> Samples:
    """Load the line for so long; the samples by name, `at` [s] among them. Afterwards every row is judged."""
    from worker_trial import lag as worker_lag

    worker, sink = trial.worker(), trial.sink()
    load = trial.load(frames_per_s=frames_per_s)
    store = trial.place.stack.supervisor.alive("store")
    assert store is not None
    watched = {"worker": worker.process.pid, "sink": sink.process.pid, "store": store.pid}
    processes = {name: psutil.Process(pid) for name, pid in watched.items()}
    samples: Samples = {"at": [], "worker lag": [], "sink lag": [], "store parts": []}
    began = time.monotonic()
    while (at := time.monotonic() - began) < seconds:
        samples["at"].append(at)
        samples["worker lag"].append(worker_lag(trial.settings))
        samples["sink lag"].append(_sink_lag(trial))
        parts = trial.ask("SELECT count() FROM system.parts WHERE active AND database = currentDatabase()")
        samples["store parts"].append(parts[0][0])
        for name, process in processes.items():
            samples.setdefault(f"{name} MiB", []).append(process.memory_info().rss / 2**20)
            samples.setdefault(f"{name} handles", []).append(process.num_fds())
        time.sleep(max(0.0, EVERY_S - (time.monotonic() - began - at)))  # the pace of sampling
    trial.finish(load)
    return samples


def rising(samples: Samples) -> dict[str, str]:
    """What grew: the middle of the last quarter against the middle of the second one."""
    found = {}
    for name, values in samples.items():
        if name == "at":
            continue
        settled = values[int(len(values) * WARM_SHARE) :]
        third = max(1, len(settled) // 3)
        early, late = sorted(settled[:third])[third // 2], sorted(settled[-third:])[third // 2]
        least = next(value for word, value in LEAST.items() if word in name)
        if late - early > max(MOST_GROWTH * early, least):
            found[name] = f"{early:.0f} -> {late:.0f}"
    return found


def told(samples: Samples) -> str:
    """The middle value and the largest of each."""
    return ", ".join(
        f"{name} {sorted(values)[len(values) // 2]:.0f} (at most {max(values):.0f})"
        for name, values in samples.items()
        if name != "at"
    )


def _sink_lag(trial: Trial) -> int:
    from sink_trial import lag

    return lag(trial.settings)


def main() -> int:
    sys.path[:0] = [str(ROOT / "tests" / "live"), str(ROOT)]
    from places import Place
    from trial import Trial

    from bench.speed.contenders import install_peers, peers_python

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--frames-per-s", type=int, default=300)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 20))
    parser.add_argument("--json", type=Path, default=ROOT / ".openoee" / "faults" / "soak.json")
    asked = parser.parse_args()
    asked.json.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder) / "home")
        place.up()
        trial = Trial(place, Path(folder), asked.seed)
        try:
            trial.open()
            samples = run(trial, asked.hours * 3600, asked.frames_per_s)
        finally:
            trial.close()
            place.down()
    asked.json.write_text(json.dumps({"soak": samples}))
    install_peers(print)
    subprocess.run([peers_python(), "-m", "bench.plots", asked.json.parent, asked.json], cwd=ROOT, check=True)
    found = rising(samples)
    print(f"seed {asked.seed}, {asked.hours:g} h, {asked.frames_per_s} frames/s: {told(samples)}")
    print(f"NOT FLAT: {found}" if found else f"flat, and every row equals what follows from the log. {asked.json}")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
