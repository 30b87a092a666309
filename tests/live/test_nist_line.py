"""A few days of real machine tools through produce, Kafka, two workers, sink and store: equal to the replay."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from live_stack import LiveStack

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "tests" / "trials"))

import nist  # noqa: E402

pytestmark = [
    pytest.mark.live,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not nist.DATA.is_dir(), reason="the public logs of the NIST test bed are not there"),
]
DAYS = (
    "Mazak01-20171109", "Mazak01-20171120", "Mazak01-20171121", "Mazak01-20171123",
    "GFAgie01-20161020", "GFAgie01-20161022",
)  # fmt: skip


def test_what_the_store_holds_is_what_the_replay_computes(stack: LiveStack, tmp_path: Path) -> None:
    """Produced twice: late lines, days that are only a snapshot, a machine whose connection comes and goes."""
    files = [path for day in DAYS for path in (nist.DATA / day.split("-")[0]).glob(f"{day}-*.txt.gz")]
    assert len(files) == len(DAYS)
    settings = stack.settings("nist", partitions=4, snapshot_s=1, session_s=6)
    outcome = nist.through(settings, files, nist.DATA, tmp_path, within_s=240, times=2)
    assert outcome.differences == []
    assert outcome.expected == outcome.found
    assert outcome.expected["parts"] > 0
    assert min(outcome.rows["oee_facts"], outcome.rows["intervals"]) > 0
    assert "0 entries" in outcome.said
