"""The incidents of the last week, the worst first, with what was lost meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pipeline import queries
from pipeline.store.client import Store
from pipeline.web.board import MACHINES, MOST_MACHINES, Row, ask

BACK = timedelta(days=7)
MOST = 200


def incidents(store: Store, site: str, now: datetime) -> list[Row]:
    """At most 200 incidents that began in the 7 days before `now`, as `openoee incidents list` orders them; empty
    `site`: all sites. Times are UTC milliseconds; `timezone` None: no factory file names the machine.

    Raises StoreUnavailable, StoreRefused.
    """
    now = now.astimezone(UTC)
    places = ask(store, MACHINES, {"site": site, "now": now, "most": MOST_MACHINES})
    zones = {row["machine"]: row["timezone"] for row in places}
    wanted: Row = {"site": site, "line": "", "machine": "", "start": now - BACK, "end": now, "limit": MOST}
    found = ask(store, queries.question("incidents").sql, wanted)
    return [{**row, "timezone": zones.get(row["machine"])} for row in found]
