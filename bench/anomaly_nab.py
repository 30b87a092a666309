"""Both tiers on the development half of NAB: one configuration, one frozen threshold, no look-ahead.

NAB files and their scorer are looked up at <repository>/../shared (bench/nab_score.py, data/nab).
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.detector_layout import ALARM, NAMES, PARAMETERS
from pipeline.core.detectors import MachineDetectors
from pipeline.core.model import SignalBlock, SignalConfig
from pipeline.core.rich import THRESHOLD

SHARED = Path(__file__).resolve().parents[2] / "shared"
THRESHOLDS = {"default": PARAMETERS[NAMES[ALARM]], "rich": THRESHOLD}
Floats = NDArray[np.float64]


def scored(file: Any, detector: str) -> Floats:
    """Scores of a file's values, by the detectors as the worker runs them; 0 where it was still learning."""
    at = np.array([int(datetime.fromisoformat(t).replace(tzinfo=UTC).timestamp() * 1000) for t in file.ts])
    block = SignalBlock(at, ["value"], np.array(file.x, dtype=np.float64)[None, :])
    configs = {"value": SignalConfig("value", detector=detector)}
    return np.nan_to_num(MachineDetectors().score(block, "running", "", configs)[0][0])


def cropped(module: Any, file: Any, share: float) -> Any:
    """The file without its first `share`; windows that it cuts are left out."""
    cut = int(file.n * share)
    windows = [(file.ts[a], file.ts[b]) for a, b in file.windows if a >= cut]
    return module.NabFile(file.name, file.ts[cut:], file.x[cut:], windows)


def thinned(module: Any, file: Any, every: int) -> Any:
    """Every so-many-th row of the file."""
    times = file.ts[::every]
    windows = [(times[min(-(-a // every), len(times) - 1)], times[b // every]) for a, b in file.windows]
    return module.NabFile(file.name, times, file.x[::every], windows)


def table(full: bool) -> list[tuple[str, str]]:
    """Label and figure; `full` adds cropped and thinned copies. Empty when NAB is not there."""
    path = SHARED / "bench" / "nab_score.py"
    if not path.exists():
        return []
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    files = module.load(str(SHARED / "data" / "nab"))
    found = []
    for detector, threshold in THRESHOLDS.items():

        def standard(copies: Mapping[str, Any], detector: str = detector, threshold: float = threshold) -> float:
            scores = {name: scored(file, detector) for name, file in copies.items()}
            return float(module.score_fixed(copies, scores, {"standard": threshold})["standard"])

        begun = time.process_time()
        scores = {name: scored(file, detector) for name, file in files.items()}
        rate = sum(file.n for file in files.values()) / (time.process_time() - begun)
        fixed = module.score_fixed(files, scores, dict.fromkeys(module.PROFILES, threshold))
        found.append((f"NAB, {detector}: standard / low FP / low FN", " / ".join(f"{v:.1f}" for v in fixed.values())))
        quiet = [int((scores[name] >= threshold).sum()) for name, file in files.items() if not file.windows]
        found.append((f"NAB, {detector}: alarms in the files without anomaly", " / ".join(map(str, quiet))))
        found.append((f"NAB, {detector}: values/s with reading of times", f"{rate:,.0f}"))
        if full:
            for share in (0.02, 0.04, 0.06):
                copies = {name: cropped(module, file, share) for name, file in files.items()}
                found.append((f"NAB, {detector}: head cropped by {share:.0%}", f"{standard(copies):.1f}"))
            for every in (2, 3):
                copies = {name: thinned(module, file, every) for name, file in files.items()}
                found.append((f"NAB, {detector}: one row of {every}", f"{standard(copies):.1f}"))
    return found


if __name__ == "__main__":
    for label, figure in table(full=True):
        print(f"{label}: {figure}", flush=True)
