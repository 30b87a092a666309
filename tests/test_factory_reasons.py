"""The tree of reasons in factory.yaml: codes, names, places, losses; and what is kept of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import FactoryFileError
from pipeline.factory import dump, load, loads
from pipeline.factory_check import describe
from pipeline.reasons import LOSSES, Reason, rows

EXAMPLE = Path(__file__).parents[1] / "deploy/examples/factory.yaml"
TEXT = """\
version: 1
site: lyon
timezone: UTC
machines: {cut: }
reasons:
  technical:
    name: Technical stops
    loss: breakdown
    reasons:
      guard door: {name: Guard door open}
      drive:
        reasons:
          motor: {}
          warm-up: {loss: startup}
  organisational: {reasons: {no operator: {loss: idling}, meeting: }}
"""


def test_a_loss_holds_for_what_is_below() -> None:
    assert loads(TEXT).reasons == (
        Reason("technical", "Technical stops", ("technical",), "breakdown"),
        Reason("guard door", "Guard door open", ("technical", "guard door"), "breakdown"),
        Reason("drive", "drive", ("technical", "drive"), "breakdown"),
        Reason("motor", "motor", ("technical", "drive", "motor"), "breakdown"),
        Reason("warm-up", "warm-up", ("technical", "drive", "warm-up"), "startup"),
        Reason("organisational", "organisational", ("organisational",), ""),
        Reason("no operator", "no operator", ("organisational", "no operator"), "idling"),
        Reason("meeting", "meeting", ("organisational", "meeting"), ""),
    )
    assert "  reasons: 8, 2 of them without a loss" in describe(loads(TEXT), "2026-01-01")


def test_the_losses_are_the_six_and_planned() -> None:
    assert list(LOSSES) == ["breakdown", "setup", "idling", "speed", "scrap", "startup", "planned"]


def test_what_is_dumped_is_read_back() -> None:
    for factory in (loads(TEXT), load(EXAMPLE)):
        assert factory.reasons
        assert loads(dump(factory)).reasons == factory.reasons


def test_rows_are_the_reasons_of_the_text_that_was_applied() -> None:
    assert rows(TEXT) == list(loads(TEXT).reasons)
    assert rows(TEXT.replace("timezone: UTC", "colour: blue")) == list(loads(TEXT).reasons)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "version: 1", TEXT.replace("version: 1", "version: 2"), TEXT.replace("version: 1\n", ""),
     TEXT.replace("loss: startup", "loss: unknown"), TEXT[:-5], "a: " + "[" * 10_000, "\0", "reasons: {a: &a {a: *a}}"],
)  # fmt: skip
def test_a_file_that_this_version_cannot_read_has_no_rows(text: str) -> None:
    assert rows(text) == []


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(TEXT)), st.integers(0, 9), st.text("{}[]:,&*!%-\"'\n \tab\0", max_size=4))
def test_rows_never_raise(place: int, dropped: int, typed: str) -> None:
    rows(TEXT[:place] + typed + TEXT[place + dropped :])


MISTAKES = {
    "a code twice": ("no operator:", "drive:", 15, "stands in the tree already, as technical > drive in line 11",
                     "unique"),
    "unknown loss": ("loss: breakdown", "loss: breakdwn", 8, "'breakdwn' is unknown", "`breakdown`"),
    "another unknown loss": ("loss: startup", "loss: x", 14, "'x' is unknown", "idling, planned"),
    "unknown key": ("    name: Technical", "    title: Technical", 7, "unknown key 'title'", "known are"),
    "no reason": ("motor: {}", "motor: broken", 13, "the text 'broken', not a mapping", "key: value"),
    "no tree": ("reasons: {no operator: {loss: idling}, meeting: }", "reasons: ", 15, "nothing is given", "key"),
    "a long code": ("guard door:", "guard " + 200 * "x" + ":", 10, "too long", "200 characters"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "problem", "remedy"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named(old: str, new: str, line: int, problem: str, remedy: str) -> None:
    assert TEXT.count(old) == 1
    with pytest.raises(FactoryFileError) as refused:
        loads(TEXT.replace(old, new))
    assert str(refused.value).startswith(f"factory.yaml:{line}: reasons")
    what, cure = str(refused.value).rsplit("; ", 1)
    assert problem in what
    assert remedy in cure
