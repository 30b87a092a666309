"""A signal that falls silent while its machine goes on: told by the longest silence that it ever kept."""

from __future__ import annotations

import msgpack
import numpy as np
import pytest

from pipeline.core.minutes import Minute, Piece
from pipeline.core.model import SignalBlock
from pipeline.core.silence import KNOWN, Silences
from pipeline.core.stretches import MINUTE_MS, Said, Stretches
from pipeline.core.wording import sentence

T0 = 1_763_960_400_000
NOBODY: frozenset[str] = frozenset()


class Line:
    """A machine told minute by minute."""

    def __init__(self) -> None:
        self.silences, self.open, self.at = Silences(), Stretches(), T0

    def minute(self, *names: str, state: str = "running", heard: bool = True, value: float = 1.0) -> list[Said]:
        if names:
            at = np.array([self.at + 7_000], dtype=np.int64)
            self.silences.add(SignalBlock(at, list(names), np.full((len(names), 1), value)))
        piece = Piece(self.at, self.at + MINUTE_MS, state, "A", T0)
        said = self.silences.look(Minute(self.at, [piece], heard), NOBODY, self.open)
        self.at += MINUTE_MS
        return said

    def minutes(self, count: int, *names: str, state: str = "running", heard: bool = True) -> list[Said]:
        return [said for _ in range(count) for said in self.minute(*names, state=state, heard=heard)]

    def known(self, *names: str) -> None:
        assert self.minutes(KNOWN + 1, *names) == []


def test_a_signal_that_never_paused_is_told_after_five_minutes_of_running() -> None:
    line = Line()
    line.known("a", "b")
    begun = line.at
    assert line.minutes(4, "b") == []
    (said,) = line.minute("b")
    assert (said.key.signal, said.key.kind) == ("a", "gap")
    assert (said.stretch.first, said.stretch.last) == (begun, begun + 5 * MINUTE_MS)
    told = sentence(said.key, said.stretch)
    assert "a fell silent while running on A" in told
    assert "the machine has run 5 min without a word of it; it never paused before." in told


def test_it_is_judged_by_its_own_longest_silence() -> None:
    line = Line()
    line.known("a", "b")
    assert line.minutes(4, "b") == []
    assert line.minute("a", "b") == []
    assert line.minutes(9, "b") == []  # twice 4, and 2 more: due
    (said,) = line.minute("b")
    assert "never kept silent for more than 4 min" in sentence(said.key, said.stretch)
    (ended,) = line.minute("a", "b")
    assert ended.stretch.last == said.stretch.last
    assert line.minutes(15, "b") == []  # half of what was told is known from then on: twice 7, and 2 more
    assert len(line.minutes(1, "b")) == 1


def test_time_in_which_the_machine_stands_or_is_silent_itself_does_not_count() -> None:
    line = Line()
    line.known("a", "b")
    line.minutes(3, "b")
    assert line.minutes(600, "b", state="idle") == []
    assert line.minutes(600, heard=False) == []
    assert line.minute("b") == []
    assert len(line.minute("b")) == 1


def test_no_number_is_no_silence_and_a_signal_hardly_known_is_not_judged() -> None:
    line = Line()
    line.known("a", "b")
    for _ in range(30):
        assert line.minute("a", "b", value=np.nan) == []
    young = Line()
    young.minutes(KNOWN - 1, "a", "b")
    assert young.minutes(60, "b") == []


def test_a_signal_that_is_gone_for_good_is_not_expected_for_ever() -> None:
    line = Line()
    line.known("a", "b")
    said = line.minutes(600, "b")
    assert {one.key.signal for one in said} == {"a"}
    assert said[-1].stretch.last - said[0].stretch.first == 244 * MINUTE_MS
    assert len(line.open) == 0
    assert line.minute("a", "b") == []
    assert line.minutes(600, "b") == []  # hardly known again


def test_what_nobody_wants_watched_is_left_out() -> None:
    line = Line()
    line.known("a", "b")
    said = []
    for _ in range(30):
        piece = Piece(line.at, line.at + MINUTE_MS, "running", "A", T0)
        said += line.silences.look(Minute(line.at, [piece], True), frozenset({"a"}), line.open)
        line.at += MINUTE_MS
    assert {one.key.signal for one in said} == {"b"}


@pytest.mark.parametrize("cut", [2, 3, 17])
def test_samples_of_many_minutes_at_once_say_the_same(cut: int) -> None:
    """Blocks end anywhere; a snapshot in between goes on bit for bit."""
    minutes = KNOWN + 60
    at = T0 + 20_000 * np.arange(3 * minutes, dtype=np.int64)
    keep = (at < T0 + (KNOWN + 20) * MINUTE_MS) | (at >= T0 + (KNOWN + 45) * MINUTE_MS)
    told = []
    for size in (3, 3 * cut):
        silences, open_, said = Silences(), Stretches(), []
        for low in range(0, len(at), size):
            part = slice(low, low + size)
            silences.add(SignalBlock(at[part], ["b"], np.ones((1, len(at[part])))))
            if keep[part].any():
                silences.add(SignalBlock(at[part][keep[part]], ["a"], np.ones((1, int(keep[part].sum())))))
            packed = msgpack.packb(silences.pack())
            silences = Silences.unpack(msgpack.unpackb(packed, strict_map_key=False))
            assert msgpack.packb(silences.pack()) == packed
            for start in range(int(at[low]), int(at[part][-1]), MINUTE_MS):
                piece = Piece(start, start + MINUTE_MS, "running", "A", T0)
                said += silences.look(Minute(start, [piece], True), NOBODY, open_)
        told.append(said)
    assert told[0] == told[1]
    assert [one.key.signal for one in told[0]] == ["a"] * len(told[0])
    assert told[0]
