"""The columns of an export: their type, unit, role and meaning, which the Parquet files carry along."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pyarrow as pa

from pipeline.core.model import FACTS
from pipeline.export.plan import Plan

INSTANT = pa.timestamp("ms", tz="UTC")
KINDS = (
    "spike", "shift", "drift", "noise", "limit", "flatline", "gap", "pattern", "spc", "cycle", "relation",
)  # fmt: skip
STATISTICS = ("mean", "std", "min", "max", "last", "count")
OWN, BEFORE = "", "_1h"  # what is added to the name of a fact: of the window; of the hour that ends with it


class Column(NamedTuple):
    """Role: key, meta (known afterwards only: not to learn from), feature, label."""

    name: str
    type: pa.DataType
    role: str
    unit: str
    meaning: str


KEYS = (
    Column("machine", pa.string(), "key", "", "machine"),
    Column("window_start", INSTANT, "key", "UTC", "start of the window"),
    Column("window_end", INSTANT, "key", "UTC", "its end: no feature says anything of later instants"),
    Column("cut_off", INSTANT, "key", "UTC", "what arrived later is in no feature; here the time of the labels begins"),
    Column("as_known", pa.bool_(), "meta", "",
           "false: something of it came later or its history is gone, so that more may have been known"),
)  # fmt: skip


def _fact(name: str, of: str) -> Column:
    unit = "ms" if name.endswith("_ms") else "us" if name.endswith("_us") else "count"
    where = "the window" if of == OWN else "the hour that ends with the window"
    return Column(name + of, pa.int64(), "feature", unit, f"fact of {where}, in the version known by the cut-off")


PLAIN_FEATURES = (
    Column("site", pa.string(), "feature", "", "site, as the facts said it"),
    Column("line", pa.string(), "feature", "", "line, as the facts said it"),
    Column("product", pa.string(), "feature", "", "product at the end of what is known of the window"),
    Column("shift", pa.string(), "feature", "", "shift at that time; empty: none"),
    Column("facts_status", pa.string(), "feature", "", "provisional, final, restated; null: nothing known yet"),
    *(_fact(name, OWN) for name in FACTS),
    Column("windows_1h", pa.int64(), "feature", "count", "windows of the hour of which facts were known"),
    *(_fact(name, BEFORE) for name in FACTS),
    Column("state", pa.string(), "feature", "", "last state that the machine had said, at most a week before"),
    Column("state_reason", pa.string(), "feature", "", "what it gave as its reason"),
    Column("state_age_ms", pa.int64(), "feature", "ms", "from then to the end of the window"),
    Column("state_changes", pa.int64(), "feature", "count", "states said in the window"),
    Column("fault_events", pa.int64(), "feature", "count", "alarms and conditions of severity fault in the window"),
    Column("warning_events", pa.int64(), "feature", "count", "the same of severity warning"),
    Column("count_reports", pa.int64(), "feature", "count", "reports of counters in the window"),
    Column("flags_1h", pa.int64(), "feature", "count",
           "anomaly flags of which something was said in the hour to the cut-off"),
    Column("flag_score_1h", pa.float64(), "feature", "0 to 1", "the highest score among them"),
    *(Column(f"flags_1h_{kind}", pa.int64(), "feature", "count", f"those of kind {kind}") for kind in KINDS),
)  # fmt: skip
LABELS = (
    Column("label_until", INSTANT, "key", "UTC", "end of the time that the labels speak of"),
    Column("labels_known", pa.bool_(), "meta", "", "false: not all of that time is final yet; labels are null"),
    Column("stopped_at_cut_off", pa.bool_(), "label", "", "it stood at the cut-off, in a stop that is no micro-stop"),
    Column("stop_ahead", pa.bool_(), "label", "", "a stop begins: no micro-stop, not starved or blocked"),
    Column("stop_in_ms", pa.int64(), "label", "ms", "from the cut-off to the first of them"),
    Column("stop_state", pa.string(), "label", "", "its state"),
    Column("stop_reason", pa.string(), "label", "", "its reason, corrections included"),
    Column("fault_ahead", pa.bool_(), "label", "", "a fault begins that is no micro-stop"),
    Column("fault_in_ms", pa.int64(), "label", "ms", "from the cut-off to the first of them"),
    Column("fault_reason", pa.string(), "label", "", "its reason, corrections included"),
    Column("down_ms_ahead", pa.int64(), "label", "ms", "time in stops that are no micro-stop, not starved or blocked"),
    Column("total_ahead", pa.int64(), "label", "count", "parts of the windows that lie within"),
    Column("good_ahead", pa.int64(), "label", "count", "good ones"),
    Column("reject_ahead", pa.int64(), "label", "count", "scrapped ones"),
    Column("anomaly_ahead", pa.bool_(), "label", "", "a flag begins"),
    Column("anomaly_kind", pa.string(), "label", "", "kind of the first of them"),
    Column("corrected", pa.bool_(), "label", "", "a correction has changed figures of that time"),
)  # fmt: skip


def features(signals: Sequence[tuple[str, str]]) -> list[Column]:
    """Columns of the features, for signals with their units."""
    found = [*KEYS, *PLAIN_FEATURES]
    for signal, unit in signals:
        for statistic in STATISTICS:
            kind, its = (pa.int64(), "count") if statistic == "count" else (pa.float64(), unit)
            meaning = f"{statistic} of the samples of {signal} in the window that had arrived by the cut-off"
            found.append(Column(f"{signal}.{statistic}", kind, "feature", its, meaning))
    return found


def labels() -> list[Column]:
    """Columns of the labels."""
    return [*KEYS, *LABELS]


def schema(columns: Iterable[Column], plan: Plan, split: str) -> pa.Schema:
    """The Arrow schema: of every column its unit, role and meaning, of the file what was asked for."""
    fields = [
        pa.field(one.name, one.type, metadata={"unit": one.unit, "role": one.role, "meaning": one.meaning})
        for one in columns
    ]
    asked = {
        "format": 1, "split": split, "from_ms": plan.start, "to_ms": plan.end, "window_ms": plan.window_ms,
        "allowance_ms": plan.allowance_ms, "horizon_ms": plan.horizon_ms, "backfilled": plan.backfilled,
        "splits_ms": {one.name: [one.start, one.end] for one in plan.splits},
        "site": plan.site, "machine": plan.machine,
    }  # fmt: skip
    return pa.schema(fields, metadata={"openoee.export": json.dumps(asked, sort_keys=True)})
