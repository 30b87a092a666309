"""One CSV file through the very detector that the worker runs: a score and an alarm for every row."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import numpy as np

from pipeline.core.detector_layout import ALARM, NAMES, PARAMETERS
from pipeline.core.detectors import MachineDetectors
from pipeline.core.machine_config import RICH
from pipeline.core.model import SignalBlock, SignalConfig
from pipeline.core.rich import THRESHOLD
from pipeline.errors import UsageError

ROWS = 1000  # read, judged and written at once
HEAD = ("timestamp", "value", "score", "flag")


@dataclass(slots=True)
class Tally:
    """What came of a file's rows."""

    rows: int = 0
    bad: int = 0  # no time, no number, or a time before the one before: written with score 0
    unjudged: int = 0  # good ones while the detector was still learning: score 0
    alarms: int = 0


def detect(source: Path, time_column: str, value_column: str, output: Path, detector: str) -> Tally:
    """Write `timestamp,value,score,flag` for every row of a CSV file; memory does not grow with it.

    Times are ISO 8601 (UTC when they name no zone). Raises UsageError when a column is missing or a file cannot be
    read or written."""
    tally = Tally()
    threshold = THRESHOLD if detector == RICH else PARAMETERS[NAMES[ALARM]]
    machine, configs = MachineDetectors(), {"value": SignalConfig("value", detector=detector)}
    newest = -(2**62)
    try:
        if output.exists() and output.samefile(source):
            raise UsageError(f"{output} is the file that is read: give another --output")
        with (
            source.open(newline="", encoding="utf-8-sig", errors="replace") as read,
            output.open("w", newline="", encoding="utf-8") as written,
        ):
            rows = csv.DictReader(read)
            for column in (time_column, value_column):
                if column not in (rows.fieldnames or ()):
                    raise UsageError(f"{source} has no column {column!r}: it has {', '.join(rows.fieldnames or ())}")
            writer = csv.writer(written, lineterminator="\n")
            writer.writerow(HEAD)
            for texts in _pieces((row.get(time_column) or "", row.get(value_column) or "") for row in rows):
                times, values = [_time(at) for at, _ in texts], [_number(value) for _, value in texts]
                good = []
                for k, (at, value) in enumerate(zip(times, values, strict=True)):
                    if at is not None and math.isfinite(value) and at >= newest:
                        good.append(k)
                        newest = at
                scores = np.zeros(len(texts))
                if good:
                    instants = np.array([times[k] for k in good], dtype=np.int64)
                    block = SignalBlock(instants, ["value"], np.array([[values[k] for k in good]]))
                    judged = machine.score(block, "running", "", configs)[0][0]
                    tally.unjudged += int(np.isnan(judged).sum())
                    scores[good] = np.nan_to_num(judged)
                tally.rows += len(texts)
                tally.bad += len(texts) - len(good)
                tally.alarms += int((scores >= threshold).sum())
                for (at_text, text), score in zip(texts, scores.tolist(), strict=True):
                    writer.writerow((at_text, text, f"{score:.9f}", int(score >= threshold)))
    except (OSError, csv.Error) as error:
        raise UsageError(f"{source} into {output}: {error}") from None
    return tally


def _pieces(rows: Iterator[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    while piece := list(islice(rows, ROWS)):
        yield piece


def _time(text: str) -> int | None:
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
