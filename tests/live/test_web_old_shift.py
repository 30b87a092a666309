"""A shift that began more than 26 h ago is shown whole, or not at all: after a weekend as on its last evening."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from live_stack import LiveStack
from sql_trial import HOUR, MINUTE, fact, put

from pipeline.core.model import Control, MachineConfig
from pipeline.store.client import Store
from pipeline.store.migrate import migrate
from pipeline.web.board import board
from pipeline.web.lines import line, plant
from pipeline.web.machine import machine

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]
BEGAN = datetime(2026, 3, 6, 13, tzinfo=UTC)
MINUTES = 480
ROUND = 1000  # ms: cycle time


def test_a_shift_that_slides_out_of_sight_keeps_its_figures(stack: LiveStack) -> None:
    settings = stack.settings("oldshift")
    migrate(settings)
    start = round(BEGAN.timestamp() * 1000)
    ran = [MINUTE if k >= MINUTES // 2 else MINUTE // 2 for k in range(MINUTES)]
    with closing(Store(settings)) as store:
        put(store, Control("saw-1", "saw-1/1", start - HOUR, "ann", MachineConfig(site="lyon", line="L1")))
        put(store, *(
            fact("saw-1", start + k * MINUTE, line="L1", shift="late", t_ms=MINUTE, pbt_ms=MINUTE, line_pbt_ms=MINUTE,
                 apt_ms=run, adet_ms=MINUTE - run, total=1, good=1, ideal_total_us=run * ROUND,
                 ideal_good_us=run * ROUND)
            for k, run in enumerate(ran)
        ))  # fmt: skip
        for hours in (8.1, 26, 28, 33):
            now = BEGAN + timedelta(hours=hours)
            tile, page, of_line = (
                board(store, "", now)[0],
                machine(store, "saw-1", 0, now),
                line("", "L1", store, now),
            )
            assert page is not None
            for shift in (tile["shift"], page["shift"], of_line["shift"]):
                assert (shift["good"], round(shift["oee"], 6)) == (MINUTES, 0.75)
            for waterfall in (page["waterfall"], of_line["waterfall"]):
                steps = {row["step"]: row["us"] for row in waterfall}
                assert steps["running"] == sum(ran) * 1000
            assert plant("", store, now)["lines"][0]["losses"]
        late = BEGAN + timedelta(hours=8 + 27)
        assert board(store, "", late)[0]["shift"] is None
        assert line("", "L1", store, late)["shift"] is None
