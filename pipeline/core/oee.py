"""OEE: ratios derived from summed facts, never averaged (oee.md, section 2; after ISO 22400-2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.core.model import FACTS, OeeFact

Ratio = float | None
NOT_IN_FACTORY = "not_in_factory"


def summed(facts: Iterable[OeeFact]) -> dict[str, int]:
    """Sums of every fact: the only way to roll up, over time, machines, lines or sites.

    >>> summed([OeeFact("m", "", "", "", 0, 0, 0, 0, "", 0, 0, "", "", total=2), OeeFact("m", "", "", "", 0, 0, 0, 0,
    ...         "", 0, 0, "", "", total=3)])["total"]
    5
    """
    rows = list(facts)
    return {name: sum(getattr(row, name) for row in rows) for name in FACTS}


def ratios(facts: Mapping[str, int], profile: str = "iso22400", unknown_as: str = "loss") -> dict[str, Ratio]:
    """Every KPI of oee.md section 2 from summed facts; None where it has no value.

    `facts` needs every name in model.FACTS. Times in ms, ideal times in us. Durations (`mtbf_ms`, `mttr_ms`) in ms,
    the rest are pure numbers.
    """
    t, pbt, pdot, apt = facts["t_ms"], facts["pbt_ms"], facts["pdot_ms"], facts["apt_ms"]
    aust, adet, unknown = facts["aust_ms"], facts["adet_ms"], facts["unknown_ms"]
    total, good = facts["total"], facts["good"]
    ideal_total, ideal_good = facts["ideal_total_us"] / 1000, facts["ideal_good_us"] / 1000
    busy = pbt - (unknown if unknown_as == "exclude" else 0) + (pdot if profile == "smrp" else 0)
    run = apt + (facts["micro_stop_ms"] if profile == "vorne" else 0)
    kpi: dict[str, Ratio] = {
        "a": _over(run, busy),
        "p": _over(ideal_total, run),
        "q": _over(ideal_good, ideal_total),
        "q_count": _over(good, total),
        "oee": _over(ideal_good, busy),
        "nee": _over(ideal_good * (apt + aust), busy * apt),
        "teep": _over(ideal_good, t),
        "ooe": _over(ideal_good, pbt + pdot),
        "utilization": _over(pbt, t),
        "technical_efficiency": _over(apt, apt + adet),
        "setup_rate": _over(aust, apt + aust),
        "scrap_ratio": _over(facts["reject"], total),
        "rework_ratio": _over(facts["rework"], total),
        "mtbf_ms": _over(apt, facts["failures"]),
        "mttr_ms": _over(facts["repair_ms"], facts["failures"]),
        "coverage": _over(pbt - unknown, pbt),
    }
    _without_value(kpi, facts)
    kpi["p_capped"] = None if kpi["p"] is None else min(kpi["p"], 1.0)
    return kpi


def _without_value(kpi: dict[str, Ratio], facts: Mapping[str, int]) -> None:
    """What has no value because nothing was planned, nothing is known, or an ideal cycle time is missing.

    `why_null` names the first of these reasons that applies.
    """
    if facts["pbt_ms"] == 0:
        kpi.update(dict.fromkeys(("a", "p", "q", "oee", "nee")))
    elif facts["unknown_ms"] == facts["pbt_ms"]:
        kpi.update(dict.fromkeys(("a", "p", "oee", "nee")))
    if facts["no_ideal_total"] > 0:
        kpi.update(dict.fromkeys(("p", "q", "oee", "nee", "teep", "ooe")))


def why_null(facts: Mapping[str, int], flags: Iterable[str] = ()) -> str:
    """Why OEE has no value; empty when it has one."""
    if NOT_IN_FACTORY in flags:
        return NOT_IN_FACTORY
    if facts["pbt_ms"] == 0:
        return "not_planned"
    if facts["unknown_ms"] == facts["pbt_ms"]:
        return "no_data"
    return "no_ideal_rate" if facts["no_ideal_total"] > 0 else ""


def line_ideal_us(stations: Sequence[Sequence[Mapping[str, int]]], product: str) -> float | None:
    """Ideal cycle time of a serial line for a product, in microseconds: that of its slowest position.

    `stations`: positions in serial order, each with the ideal cycle times (by product, `*` any) of its parallel
    machines. None when a position knows none.

    >>> line_ideal_us([[{"*": 10}], [{"*": 24}, {"*": 24}], [{"*": 9}]], "A")
    12.0
    """
    slowest = 0.0
    for machines in stations:
        known = [ideal.get(product, ideal.get("*")) for ideal in machines]
        rate = sum(1 / us for us in known if us)
        if not rate:
            return None
        slowest = max(slowest, 1 / rate)
    return slowest


def line_oee(stations: Sequence[Sequence[Mapping[str, int]]], good_at_exit: Mapping[str, int], pbt_ms: int) -> Ratio:
    """OEE of a serial line = sum over products of ideal time x good parts at the exit / PBT of the line."""
    ideal = 0.0
    for product, good in good_at_exit.items():
        each = line_ideal_us(stations, product)
        if each is None and good:
            return None
        ideal += (each or 0.0) * good
    return _over(ideal / 1000, pbt_ms)


def _over(numerator: Any, denominator: Any) -> Ratio:
    return numerator / denominator if denominator else None
