"""How long the store keeps what: times to live by settings; the minutes of OEE go, their hours stay."""

from __future__ import annotations

import re

from pipeline.settings import Settings
from pipeline.store.client import Store

# setting -> (table, column whose age counts). Hours, losses by hour, corrections and files are kept for ever. Results
# age from when they became known: an old log that is read today keeps its minutes until its hours have been summed.
KEPT: dict[str, tuple[tuple[str, str], ...]] = {
    "keep_telemetry_days": (("telemetry", "ts"), ("events", "ts"), ("counts", "ts")),
    "keep_minutes_days": (("oee_facts", "known_at"), ("intervals", "known_at")),
    "keep_revisions_days": (("oee_revisions", "known_at"), ("anomaly_revisions", "known_at")),
}


def apply(store: Store, settings: Settings) -> None:
    """Bring every table's time to live in line with the settings; 0 days: kept for ever.

    Nothing is done where it is so already. Old rows go with the next merges, not at once.
    """
    for setting, tables in KEPT.items():
        days = settings.int(setting)
        for table, column in tables:
            wanted = f"toDateTime({column}) + toIntervalDay({days})" if days else ""
            if _ttl(store, table) != wanted:
                change = f"MODIFY TTL {wanted}" if days else "REMOVE TTL"
                store.command(f"ALTER TABLE {table} {change}")


def _ttl(store: Store, table: str) -> str:
    """The table's TTL expression as the server writes it; empty when it has none."""
    sql = "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = {table:String}"
    rows = store.query(sql, {"table": table}).result_rows
    found = re.search(r"\bTTL (.*?)(?: SETTINGS|$)", str(rows[0][0]) if rows else "")
    return found[1].strip() if found else ""
