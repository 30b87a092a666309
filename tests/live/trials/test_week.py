"""One simulated week of twelve machines, flat out, through two workers and the sink: every integer equals the truth."""

from __future__ import annotations

from pathlib import Path

import pytest
from live_stack import LiveStack
from whole_line import Line

pytestmark = [pytest.mark.live, pytest.mark.timeout(2400)]


@pytest.mark.parametrize("dirt", ["", "repeat=0.05", "shuffle", "repeat=0.05,shuffle"])
def test_a_week_equals_the_truth(stack: LiveStack, tmp_path: Path, dirt: str) -> None:
    with Line(stack.settings("week"), tmp_path) as line:
        sent = line.simulate(
            "--site", "week", "--seed", "11", "--hours", "168", "--signal-period", "10", "--dirt", dirt
        )
        assert sent.wait(900) == 0
        told = line.equals_truth(within_s=1200)
    print(f"dirt {dirt or 'none'}: {told}")
    assert not told.differences, str(told)
    assert told.rows > 12 * 7 * 24 * 60
