"""Runs a round of a fault on its place and says what came of it."""

from __future__ import annotations

import shutil
import time
import traceback
from pathlib import Path
from types import TracebackType

import agreement_faults
import broker_faults
import plant_faults
import record_faults
import store_faults
import worker_faults
from book import FAIL, PASS, UNVERIFIED, Fault, NotSeen, Outcome, Wrong
from places import Place
from trial import Trial

# each of them enters its faults into the book
ROOMS = (broker_faults, store_faults, worker_faults, record_faults, agreement_faults, plant_faults)
NODES = {"one": 1, "three": 3}


class Places:
    """The stacks of a run, each started when the first trial needs it."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._there: dict[str, Place] = {}

    def __enter__(self) -> Places:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for place in self._there.values():
            place.down()

    def of(self, name: str) -> Place:
        """The place of this name, every part of it up."""
        if name not in self._there:
            self._there[name] = Place(self._home / name, NODES[name])
        self._there[name].up()
        return self._there[name]


def run_round(one: Fault, places: Places, seed: int, logs: Path, control: bool = False) -> Outcome:
    """One try. An assertion that fails is the surroundings' fault (UNVERIFIED); Wrong is the line's (FAIL)."""
    folder = logs / f"{one.number}-{one.name}-{'control' if control else seed}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    began, wrong = time.monotonic(), list[str]()
    trial: Trial | None = None
    verdict = UNVERIFIED
    try:
        place = places.of(one.place)
        trial = Trial(place, folder, seed, **one.settings)
        trial.open()
        run = one.control if control else one.run
        assert run is not None
        run(trial)
        verdict = PASS if trial.seen else UNVERIFIED
    except Wrong as error:
        verdict, wrong = FAIL, [" ".join(str(error).split())]
    except (NotSeen, AssertionError) as error:
        wrong = [f"{type(error).__name__}: {error}"]
    except Exception as error:
        wrong = [f"{type(error).__name__}: {error}"]
        (folder / "traceback.txt").write_text(traceback.format_exc())
    finally:
        if trial is not None:
            trial.close()
    seen = trial.seen if trial is not None else []
    return Outcome(one.number, one.name, seed, verdict, time.monotonic() - began, seen, wrong, control)
