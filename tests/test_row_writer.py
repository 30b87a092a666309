"""Rows written by hand: the same bytes as fastavro's, and the same refusals."""

from __future__ import annotations

import io
from dataclasses import asdict
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_writer
from hypothesis import given
from hypothesis import strategies as st

from pipeline import schemas
from pipeline.codec import Codec
from pipeline.core.model import Anomaly, Interval, OeeFact
from pipeline.errors import ParkError
from pipeline.row_writer import LONGEST_KEPT, RowWriter

CODEC = Codec()
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.integers(-70, 70) | st.integers(1_700_000_000_000, 1_800_000_000_000)
TEXTS = st.text(max_size=5) | st.sampled_from(["", "温度", "x" * (LONGEST_KEPT + 1)])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXTS, "long": NUMBERS, "int": st.integers(-(2**31), 2**31 - 1), "double": st.floats(),
    "boolean": st.booleans(),
}  # fmt: skip


def schema_of(kind: type) -> dict[str, Any]:
    return schemas.without_logical_types(schemas.current()[kind.__name__].schema())


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    if isinstance(kind, list):
        return st.none() | values_of(kind[1])
    if isinstance(kind, dict):
        return st.lists(TEXTS, max_size=3) if kind["type"] == "array" else values_of(kind["type"])
    return VALUES[kind]


def rows() -> st.SearchStrategy[OeeFact | Interval | Anomaly]:
    kinds = (OeeFact, Interval, Anomaly)
    return st.one_of(
        st.builds(kind, **{field["name"]: values_of(field["type"]) for field in schema_of(kind)["fields"]})
        for kind in kinds
    )


@given(rows())
def test_the_bytes_are_those_of_fastavro(row: OeeFact | Interval | Anomaly) -> None:
    out = io.BytesIO()
    schemaless_writer(out, parse_schema(schema_of(type(row))), asdict(row))
    assert CODEC.encode(row)[5:] == out.getvalue()


@pytest.mark.parametrize(("name", "value"), [
    ("shift", None), ("shift", "\ud800"), ("t_ms", 2**63), ("t_ms", -(2**63) - 1), ("t_ms", None), ("t_ms", "7"),
    ("flags", None),
])  # fmt: skip
def test_what_is_no_value_of_its_field_is_refused(name: str, value: object) -> None:
    fact = OeeFact("m", "", "", "", 0, 60_000, 0, 60_000, "", 0, 0, "", "")
    setattr(fact, name, value)
    with pytest.raises(ParkError):
        CODEC.encode(fact)


def test_a_schema_that_is_not_flat_is_refused() -> None:
    with pytest.raises(ValueError, match="no flat record"):
        RowWriter({"fields": [{"name": "a", "type": {"type": "map", "values": "long"}}]})
