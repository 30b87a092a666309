"""From when to when a shift or a local day was: asked of the facts, which know the calendar of every machine."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from pipeline.errors import UsageError
from pipeline.store.client import Store

_ZONE = "SELECT any(timezone) AS zone FROM factory WHERE site = {site:String}"
_SPAN = """
SELECT count() AS rows, min(segment_start) AS first, max(segment_end) AS last, groupUniqArray(shift) AS shifts
FROM facts
WHERE site = {site:String} AND shift_date = {date:Date} AND shift != ''
  AND ({shift:String} = '' OR shift = {shift:String})
"""
_DAY = """
SELECT count() AS rows, min(segment_start) AS first, max(segment_end) AS last
FROM facts WHERE site = {site:String} AND local_date = {date:Date}
"""
FORM = re.compile(r"(\d{4}-\d\d-\d\d)(?:/(.+))?")


def span(store: Store, site: str, asked: str, now_ms: int) -> tuple[int, int]:
    """[start, end) in ms UTC of `today`, `yesterday`, a date, or one shift of a date (`2026-03-02/early`).

    A day is all shifts that began on it at the site (the date of a night shift is that of its start); where the plant
    has no shifts, the local day. `now_ms` decides what today is. Raises UsageError when there is no such shift.
    """
    date, shift = _asked(store, site, asked, now_ms)
    given = {"site": site, "date": date, "shift": shift}
    rows, first, last = store.query(_SPAN, given).result_rows[0][:3]
    if not rows and not shift:
        rows, first, last = store.query(_DAY, {"site": site, "date": date}).result_rows[0]
    if not rows:
        there = store.query(_SPAN, {**given, "shift": ""}).result_rows[0][3]
        known = f"; shifts of that day: {', '.join(sorted(there))}" if there else ""
        raise UsageError(f"nothing is known of {site} in {asked}{known}: give another --shift, or --from and --to")
    return _ms(first), _ms(last)


def _asked(store: Store, site: str, asked: str, now_ms: int) -> tuple[str, str]:
    if asked in ("today", "yesterday"):
        zone = store.query(_ZONE, {"site": site}).result_rows[0][0] or "UTC"
        day = datetime.fromtimestamp(now_ms / 1000, ZoneInfo(zone)).date() - timedelta(days=asked == "yesterday")
        return day.isoformat(), ""
    found = FORM.fullmatch(asked)
    try:
        if found is None:
            raise ValueError
        datetime.fromisoformat(found[1])
    except ValueError:
        raise UsageError(f"{asked!r} is no shift: write today, yesterday, 2026-03-02 or 2026-03-02/early") from None
    return found[1], found[2] or ""


def _ms(at: datetime) -> int:
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
