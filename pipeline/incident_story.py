"""One incident with all that is known of it, from the ready questions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.errors import UsageError
from pipeline.queries import ask
from pipeline.store.client import Store

Row = dict[str, Any]
FOLLOWS = timedelta(hours=1)
MANY = "10000"


@dataclass(frozen=True)
class Story:
    """An incident (a row of the question `incidents`), its flags from first to last, the stops that began within the
    hour after its beginning, and the stops that usually follow flags of its signals and kinds (`after-incidents`)."""

    incident: Row
    flags: list[Row]
    followed: list[Row]
    usually: list[Row]

    def as_dict(self) -> Row:
        return asdict(self)

    def lines(self) -> list[str]:
        """For people; times UTC."""
        one = self.incident
        lost = "" if one["lost_parts"] is None else f", {one['lost_parts']} good parts fewer than ideal"
        seen = f"{_time(one['acknowledged'])} by {one['acknowledged_by']}" if one["acknowledged"] else "by nobody yet"
        lines = [
            f"{one['id']}: {one['severity']}, {one['status']}{', muted' if one['muted'] else ''}",
            f"what      {one['message']}",
            f"where     {one['machine']}{', line ' + one['line'] if one['line'] else ''}; {_named(one['signals'])}",
            f"when      from {_time(one['first'])} UTC, {one['minutes']} min",
            f"cost      {one['lost_minutes']} min down meanwhile{lost}",
            f"seen      {seen}{': ' + one['note'] if one['note'] else ''}",
            f"flags     {len(self.flags)}",
        ]
        lines += [f"          {_time(row['first'])}  {row['kind']:<9} {row['message']}" for row in self.flags]
        lines.append(f"followed  {_many(self.followed, 'stop')} within the hour after it began")
        lines += [
            f"          {_time(row['start'])}  {row['minutes']} min {row['state']} {row['reason']}".rstrip()
            for row in self.followed
        ]
        lines.append("usually" if self.usually else "usually   nothing is known of what follows such flags")
        lines += [
            f"          {row['state']} {row['reason']}".rstrip()
            + f" after {row['times']} of {row['incidents']} with {row['kind']} of {row['signal'] or 'the machine'}"
            + (f", {row['ratio']} times as often as in any hour" if row["ratio"] is not None else "")
            for row in self.usually
        ]
        return lines


def tell(store: Store, ident: str) -> Story:
    """The story of the incident of that id. Raises UsageError when there is none, StoreUnavailable, StoreRefused."""
    machine, _, opened = ident.rpartition("/")
    if not machine or not opened.isdecimal() or len(opened) > 14:
        raise UsageError(f"{ident!r} is no incident; `openoee incidents list` shows them")
    at = datetime.fromtimestamp(int(opened) / 1000, UTC)
    asked = {"machine": machine, "start": at.isoformat(), "end": (at + timedelta(milliseconds=1)).isoformat()}
    found = [row for row in ask(store, "incidents", asked).dicts() if row["id"] == ident]
    if not found:
        raise UsageError(f"the store knows no incident {ident!r}; `openoee incidents list` shows them")
    first = _utc(found[0]["first"])
    last = first + timedelta(minutes=found[0]["minutes"], seconds=4)  # minutes are rounded to a tenth
    flags = ask(store, "anomalies", {**_span(machine, first, last), "limit": MANY}).dicts()
    own = [row for row in flags if row["signal"] in found[0]["signals"] and row["kind"] in found[0]["kinds"]]
    stops = ask(store, "stops", {**_span(machine, first, first + FOLLOWS), "limit": MANY}).dicts()
    after = ask(store, "after-incidents", {"limit": MANY}).dicts()
    return Story(
        found[0],
        sorted(own, key=lambda row: _utc(row["first"])),
        sorted(stops, key=lambda row: _utc(row["start"])),
        [row for row in after if row["signal"] in found[0]["signals"] and row["kind"] in found[0]["kinds"]],
    )


def _span(machine: str, start: datetime, end: datetime) -> Row:
    return {"machine": machine, "start": start.isoformat(), "end": end.isoformat()}


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _time(at: datetime) -> str:
    return f"{_utc(at):%Y-%m-%d %H:%M:%S}"


def _named(signals: list[str]) -> str:
    return ", ".join(signal or "the whole machine" for signal in signals)


def _many(rows: list[Row], what: str) -> str:
    return f"{len(rows)} {what}{'' if len(rows) == 1 else 's'}"
