"""`openoee detect`: a row out for every row in, whatever is in it."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.cli.detect import command


@pytest.mark.parametrize("detector", ["rich", "default"])
def test_every_row_is_scored_and_bad_ones_are_told(tmp_path: Path, detector: str) -> None:
    values = [f"{v:.3f}" for v in np.random.default_rng(1).normal(10.0, 1.0, 3000)]
    values[2500] = "40"
    values[7], values[8] = "broken", ""
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    lines = [f"{(begin + timedelta(minutes=5 * k)).isoformat()},{value}" for k, value in enumerate(values)]
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("\n".join(["when,load", *lines]), encoding="utf-8")
    given = ["--csv", str(source), "--time-column", "when", "--value-column", "load", "--output", str(output)]
    done = CliRunner().invoke(command, [*given, "--detector", detector])
    assert done.exit_code == 0, done.output
    assert "2 rows could not be used" in done.output
    with output.open(encoding="utf-8") as written:
        rows = list(csv.DictReader(written))
    assert list(rows[0]) == ["timestamp", "value", "score", "flag"]
    assert [row["value"] for row in rows] == values
    assert rows[7]["score"] == "0.000000000"
    assert "1" in [row["flag"] for row in rows[2498:2506]]
