"""Facts for the trials of the views, and every KPI computed once more, plainly, by the letter of the rules."""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Any

from pipeline import queries
from pipeline.codec import Message
from pipeline.core.model import FACTS, OeeFact
from pipeline.rows import Rows
from pipeline.store.client import Store
from pipeline.store.hours import Touched

T0 = 1_772_434_800_000  # 2026-03-02T07:00:00Z
MINUTE, HOUR = 60_000, 3_600_000
EVERYTHING = "start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00'"
EPOCH = date(1970, 1, 1)


def put(store: Store, *messages: Message) -> None:
    """Into the store as the sink does it."""
    rows, touched = Rows(0), Touched()
    for message in messages:
        rows.add(0, message)
        touched.add(message)
    for name, table in rows.tables():
        store.insert(name, table, None)
    touched.settle(store, str(uuid.uuid4()))


def told(store: Store, sql: str) -> list[dict[str, Any]]:
    return queries.sql(store, sql).dicts()


def fact(machine: str, start: int, **more: Any) -> OeeFact:
    day = start // 86_400_000
    usual = {
        "site": "lyon", "area": "", "line": "", "window_start": start, "window_end": start + MINUTE,
        "segment_start": start, "segment_end": start + MINUTE, "shift": "early", "shift_date": day, "local_date": day,
        "product": "A", "order": "", "known_at": start + MINUTE,
    }  # fmt: skip
    return OeeFact(machine, **{**usual, **more})


def random_facts(seed: int, windows: int = 240) -> list[OeeFact]:
    """Revisions of segments of several machines, sites, products, profiles; some removed, some provisional."""
    chance = random.Random(seed)
    out = []
    for number, (profile, unknown_as) in enumerate(
        [("iso22400", "loss"), ("vorne", "loss"), ("smrp", "loss"), ("iso22400", "exclude"), ("vorne", "exclude")]
    ):
        for window in range(windows):
            start = T0 + window * 7 * MINUTE
            cuts = sorted({0, MINUTE, *(chance.randrange(1, MINUTE) for _ in range(chance.randrange(2)))})
            for begin, end in pairwise(cuts):
                for version in range(chance.choice([1, 1, 2, 3])):
                    removed = chance.random() < 0.05
                    facts = dict.fromkeys(FACTS, 0) if removed else random_numbers(chance, end - begin)
                    out.append(fact(
                        f"m{number}", start, site=f"s{number % 2}", area="a", line=f"l{number}",
                        segment_start=start + begin, segment_end=start + (begin if removed else end),
                        shift=chance.choice(["early", "late", ""]), product=chance.choice("AB"),
                        order=chance.choice("xy"),
                        flags=["not_in_factory"] if chance.random() < 0.002 else [],
                        profile=profile, unknown_as=unknown_as, status=chance.choice(["provisional", "final"]),
                        revision=version, known_at=start + MINUTE + version, **facts,
                    ))  # fmt: skip
    return out


def random_numbers(chance: random.Random, t: int) -> dict[str, int]:
    """Facts that keep the identities of a stored row."""
    cuts = sorted(chance.choice([0, t, chance.randint(0, t)]) for _ in range(6))
    names = ("nonwork_ms", "pdot_ms", "apt_ms", "aust_ms", "adet_ms", "adot_ms", "unknown_ms")
    found = dict(zip(names, (b - a for a, b in zip([0, *cuts], [*cuts, t], strict=True)), strict=True))
    found["t_ms"] = t
    found["pbt_ms"] = t - found["nonwork_ms"] - found["pdot_ms"]
    found["micro_stop_ms"] = chance.randint(0, found["adet_ms"])
    found["external_ms"] = chance.randint(0, found["adet_ms"] - found["micro_stop_ms"])
    total = chance.choice([0, 0, chance.randint(1, 9)])
    good = chance.randint(0, total)
    ideal = 12_345_678
    unknown_rate = total if chance.random() < 0.005 else 0
    known = 0 if unknown_rate else 1
    return {
        **found, "total": total, "good": good, "reject": total - good, "failures": chance.randint(0, 1),
        "repair_ms": chance.randint(0, found["adet_ms"]), "stops": chance.randint(0, 2), "micro_stops": 0,
        "ideal_total_us": known * ideal * total, "ideal_good_us": known * ideal * good, "no_ideal_total": unknown_rate,
    }  # fmt: skip


def current(facts: Sequence[OeeFact]) -> list[OeeFact]:
    newest: dict[tuple[Any, ...], OeeFact] = {}
    for row in facts:
        key = (row.machine, row.window_start, row.segment_start)
        if key not in newest or row.known_at > newest[key].known_at:
            newest[key] = row
    return [row for row in newest.values() if row.segment_end > row.segment_start]


def over(top: int, bottom: int) -> Fraction | None:
    return Fraction(top, bottom) if bottom else None


def kpis(rows: Sequence[OeeFact], profile: str = "") -> dict[str, Fraction | None]:
    """Section 2 of the rules, written down once more, over exact fractions."""
    f = {name: sum(getattr(row, name) for row in rows) for name in FACTS}
    rules = [(profile or row.profile, row) for row in rows]
    run = sum(row.apt_ms + (row.micro_stop_ms if rule == "vorne" else 0) for rule, row in rules)
    busy = sum(
        row.pbt_ms + (row.pdot_ms if rule == "smrp" else 0) - (row.unknown_ms if row.unknown_as == "exclude" else 0)
        for rule, row in rules
    )
    value = {
        "a": over(run, busy), "p": over(f["ideal_total_us"], 1000 * run),
        "q": over(f["ideal_good_us"], f["ideal_total_us"]), "oee": over(f["ideal_good_us"], 1000 * busy),
        "nee": over(f["ideal_good_us"] * (f["apt_ms"] + f["aust_ms"]), 1000 * busy * f["apt_ms"]),
        "teep": over(f["ideal_good_us"], 1000 * f["t_ms"]),
        "ooe": over(f["ideal_good_us"], 1000 * (f["pbt_ms"] + f["pdot_ms"])),
        "utilization": over(f["pbt_ms"], f["t_ms"]),
        "technical_efficiency": over(f["apt_ms"], f["apt_ms"] + f["adet_ms"]),
        "setup_rate": over(f["aust_ms"], f["apt_ms"] + f["aust_ms"]),
        "scrap_ratio": over(f["reject"], f["total"]), "rework_ratio": over(f["rework"], f["total"]),
        "mtbf_ms": over(f["apt_ms"], f["failures"]), "mttr_ms": over(f["repair_ms"], f["failures"]),
        "q_count": over(f["good"], f["total"]), "coverage": over(f["pbt_ms"] - f["unknown_ms"], f["pbt_ms"]),
    }  # fmt: skip
    none: set[str] = set()
    if f["pbt_ms"] == 0:
        none |= {"a", "p", "q", "oee", "nee"}
    if f["unknown_ms"] == f["pbt_ms"]:
        none |= {"a", "p", "oee", "nee"}
    if f["no_ideal_total"]:
        none |= {"p", "q", "oee", "nee", "teep", "ooe"}
    if any("not_in_factory" in row.flags for row in rows):
        none |= {"oee", "nee", "teep", "ooe"}
    return {name: None if name in none else number for name, number in value.items()}


def day_of(number: int) -> date:
    return EPOCH + timedelta(days=number)


GRAINS = {
    "window": lambda row: (row.window_start, "", "", ""),
    "hour": lambda row: (row.window_start // HOUR * HOUR, "", "", ""),
    "shift": lambda row: (row.shift_date * 86_400_000, row.shift, "", ""),
    "day": lambda row: (row.local_date * 86_400_000, "", "", ""),
    "week": lambda row: ((row.local_date - day_of(row.local_date).weekday()) * 86_400_000, "", "", ""),
    "month": lambda row: ((day_of(row.local_date).replace(day=1) - EPOCH).days * 86_400_000, "", "", ""),
    "product": lambda row: (0, "", row.product, ""),
    "order": lambda row: (0, "", row.product, row.order),
    "total": lambda _row: (0, "", "", ""),
}
LEVELS = {
    "machine": lambda row: (row.site, row.area, row.line, row.machine),
    "line": lambda row: (row.site, row.area, row.line, ""),
    "area": lambda row: (row.site, row.area, "", ""),
    "site": lambda row: (row.site, "", "", ""),
    "enterprise": lambda _row: ("", "", "", ""),
}


def milliseconds(at: datetime) -> int:
    return round(at.replace(tzinfo=UTC).timestamp() * 1000)


def at(ms: int) -> str:
    return f"'{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S}'"
