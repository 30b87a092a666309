"""kill -9 of a worker or the sink at random instants under load, twenty times: the facts equal the truth even so."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
from live_stack import LiveStack
from whole_line import VERBS, Line

pytestmark = [pytest.mark.live, pytest.mark.timeout(1800)]
KILLS = 20


def test_twenty_kills_under_load_change_nothing(stack: LiveStack, tmp_path: Path) -> None:
    seed = int(os.environ.get("SEED", "0")) or random.randrange(1 << 30)
    print(f"SEED={seed}")
    chance = random.Random(seed)
    settings = stack.settings("kills", snapshot_s=1, session_s=6, sink_ms=200)
    with Line(settings, tmp_path) as line:
        # two days, at a pace at which the load outlasts the kills
        sent = line.simulate("--site", "kills", "--seed", str(seed), "--hours", "48", "--signal-period", "10",
                             "--dirt", "repeat=0.01,shuffle", "--speed", "800")  # fmt: skip
        killed: dict[str, int] = dict.fromkeys(VERBS, 0)
        for _ in range(KILLS):
            time.sleep(chance.uniform(1.0, 9.0))  # the instant of the kill is the subject of the trial
            victim = chance.choice(list(VERBS))
            line.kill(victim)
            killed[victim] += 1
            line.start(victim)
        assert sent.poll() is None, "the load ended before the last kill: this proves nothing"
        assert sent.wait(600) == 0
        told = line.equals_truth(within_s=300)
    print(f"killed {killed}: {told}")
    assert not told.differences, str(told)
