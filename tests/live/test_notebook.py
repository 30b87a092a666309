"""The notebook runs on a plant in a real store, cell by cell, and prints what stands in it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from live_stack import LiveStack, environment
from notebook_run import printed
from plant_in_store import fill

from pipeline.core.plant_layout import Habits

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]
HERE = Path(__file__).parent
NOTEBOOK = HERE.parents[1] / "docs" / "notebooks" / "windows_to_model.ipynb"
NUMBER = r"\d+(?:\.\d+)?"


def test_the_notebook_prints_what_stands_in_it(stack: LiveStack, tmp_path: Path) -> None:
    """Words and counts to the letter; figures with a fraction within 0.02, for libraries may round otherwise."""
    settings = stack.settings("notebook")
    fill(settings, hours=48, machines=6, habits=Habits("UTC", signal_period_ms=30_000))
    place = {**environment(settings), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    result = tmp_path / NOTEBOOK.name
    run = subprocess.run(
        [sys.executable, "-W", "error", str(HERE / "notebook_run.py"), str(NOTEBOOK), str(result)],
        env={**os.environ, **place}, cwd=tmp_path, capture_output=True, text=True, timeout=480, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    told, stands = (printed(json.loads(path.read_text(encoding="utf-8"))) for path in (result, NOTEBOOK))
    assert len(told) == len(stands)
    for now, then in zip(told, stands, strict=True):
        assert re.sub(NUMBER, "#", now).split() == re.sub(NUMBER, "#", then).split(), result.read_text()
        for one, other in zip(re.findall(NUMBER, now), re.findall(NUMBER, then), strict=True):
            assert one == other or ("." in one and float(one) == pytest.approx(float(other), abs=0.02)), now
    scores = {line.rsplit(None, 2)[0].strip(): line.split()[-2:] for line in told[-1].splitlines()[2:]}
    often, same, model = (
        [float(one) for one in scores[name]] for name in ("as often as ever", "as it is now", "model")
    )
    assert model[0] > max(often[0], same[0])
    assert model[1] < min(often[1], same[1])
