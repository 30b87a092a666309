"""Alert rules: they parse, say what to do, and ask only for metrics and labels that there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.metrics import TABLE

ROOT = Path(__file__).parents[1]
DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text(encoding="utf-8"))
RULES: list[dict[str, Any]] = [rule for group in DOCUMENT["groups"] for rule in group["rules"]]
WORDS = {"and", "or", "unless", "by", "on", "ignoring", "without", "bool", "group_left", "group_right", "offset"}
FUNCTIONS = {"absent", "sum", "max", "min", "rate", "increase", "deriv", "scalar", "histogram_quantile"}
OF_PROMETHEUS = {"up": {"job", "instance"}}
DURATION = r"\d+[smhd]"


def metrics() -> dict[str, set[str]]:
    """Every name that can be asked for, with its labels."""
    found = dict(OF_PROMETHEUS)
    for row in TABLE:
        labels = {*row.labels, "job", "instance"}
        if row.kind == "histogram":
            found |= {f"{row.name}_bucket": labels | {"le"}, f"{row.name}_sum": labels, f"{row.name}_count": labels}
        else:
            found[row.name] = labels
    return found


def asked(expression: str) -> tuple[set[str], set[str], set[str]]:
    """The metrics, labels and functions of an expression of PromQL."""
    labels = set(re.findall(r"[{,]\s*(\w+)\s*(?:=~|!~|!=|=)", expression))
    for listed in re.findall(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)", expression):
        labels |= {label.strip() for label in listed.split(",")}
    bare = re.sub(r"\b(?:by|on|without|ignoring)\s*\([^)]*\)|\{[^}]*\}|\[[^]]*\]|\"[^\"]*\"", " ", expression)
    names = set(re.findall(r"(?<![\w.])[A-Za-z_:][\w:]*", bare)) - WORDS
    called = {name for name in names if re.search(rf"\b{name}\s*\(", bare)}
    return names - called, labels, called - WORDS


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_a_rule_asks_for_what_there_is_and_says_what_to_do(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert set(rule["annotations"]) == {"summary", "action"}
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert re.fullmatch(DURATION, rule.get("for", "0s"))
    assert len(rule["annotations"]["action"]) > 30
    known = metrics()
    names, labels, functions = asked(rule["expr"])
    assert names, "it asks for nothing"
    assert names <= known.keys()
    assert labels <= set.union(*(known[name] for name in names))
    assert functions <= FUNCTIONS
    assert all(re.fullmatch(rf"\[{DURATION}\]", span) for span in re.findall(r"\[[^]]*\]", rule["expr"]))
    for bracket in ("()", "{}", "[]"):
        assert rule["expr"].count(bracket[0]) == rule["expr"].count(bracket[1])
    shown = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
    assert shown <= set.union(*(known[name] for name in names))
    aggregated = re.findall(r"\bsum by \(([^)]*)\)", rule["expr"])
    if aggregated:  # nothing else is left of the labels
        assert shown <= {label.strip() for listed in aggregated for label in listed.split(",")}


def test_the_check_finds_a_metric_a_label_and_a_function_that_there_are_not() -> None:
    names, labels, functions = asked('sum by (color) (rate(openoee_speed{shape="x"}[5m])) > 3e6 and up == 0')
    assert (names, labels, functions) == ({"openoee_speed", "up"}, {"color", "shape"}, {"sum", "rate"})


@pytest.mark.parametrize(
    "about",
    [
        "openoee_worker_lag_records", "openoee_sink_lag_records", "openoee_worker_watermark_delay_seconds",
        "openoee_worker_dead_letters_total", "openoee_worker_lost_records_total", "up", "openoee_sink_waiting_seconds",
        "openoee_worker_snapshot_age_seconds", "openoee_home_free_bytes", "process_resident_memory_bytes",
    ],
)  # fmt: skip
def test_what_can_go_wrong_has_an_alert(about: str) -> None:
    assert any(about in asked(rule["expr"])[0] for rule in RULES)


def test_alerts_have_names_of_their_own_and_the_documentation_names_each() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert [name for name in names if name not in text] == []
