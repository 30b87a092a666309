"""The producer's word: acknowledged or an error that names the record; and the framer's numbering."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.model import Control, CountReading, EndOfSource, Frame, MachineEvent
from pipeline.errors import BrokerUnavailable
from pipeline.framer import Framer
from pipeline.local.machine import free_port
from pipeline.producer import TelemetryProducer
from pipeline.settings import load


class Echo:
    """An encoder whose records are as long as asked for."""

    def __init__(self, size: int = 10) -> None:
        self.size = size

    def encode(self, message: Frame | Control) -> bytes:
        return b"x" * self.size


def test_without_a_broker_the_error_says_where_and_what_to_do() -> None:
    settings = load({"kafka": f"127.0.0.1:{free_port()}"}, {})
    with pytest.raises(BrokerUnavailable, match=r"does not answer.*openoee up"):
        TelemetryProducer(settings, Echo(), timeout_s=0.5).__enter__()


def test_records_that_nobody_took_are_counted_and_the_first_is_named() -> None:
    settings = load({"kafka": f"127.0.0.1:{free_port()}"}, {})
    producer = TelemetryProducer(settings, Echo(), timeout_s=0.3)
    for sequence in range(3):
        producer.send(Frame("m1", "s", 0, sequence, 0))
    with pytest.raises(BrokerUnavailable, match="3 of 3 records not stored"):
        producer.flush()
    assert (producer.sent, producer.acknowledged, producer.failed) == (3, 0, 3)
    with pytest.raises(BrokerUnavailable):
        producer.send(Control("m1", "end", 0, "test", EndOfSource("s", 0)))


def test_frames_close_by_entries_and_by_event_time_and_are_numbered() -> None:
    #   at    0    400   999 | 1000 | 5000 5001 5002 5003 | 5003
    framer = Framer("m1", "gateway", 7, samples=4, span_ms=1000, units={"load": "%"})
    frames = framer.state(0, "running") + framer.sample(400, {"load": 1.0}) + framer.count(CountReading(999, False, 1))
    assert frames == []
    frames += framer.context(1000, product="p")
    frames += framer.sample(5001, {"load": 2.0}) + framer.sample(5000, {"load": 1.0})
    frames += framer.sample(5002, {"load": 3.0}) + framer.sample(5003, {"load": 4.0})
    frames += framer.event(MachineEvent(5003, "alarm", "fault", "E1"))
    frames += framer.close() + framer.close()
    assert [frame.sequence for frame in frames] == [0, 1, 2, 3]
    assert {(frame.machine, frame.source, frame.epoch) for frame in frames} == {("m1", "gateway", 7)}
    assert [frame.sent for frame in frames] == [999, 1000, 5003, 5003]
    (block,) = frames[2].signals
    assert (block.at.tolist(), block.values.tolist(), block.units) == ([5000, 5001, 5002, 5003], [[1, 2, 3, 4]], ["%"])
    assert frames[3].events == [MachineEvent(5003, "alarm", "fault", "E1")]


def test_signals_sampled_together_share_a_block_and_others_do_not() -> None:
    framer = Framer("m1", "s")
    framer.sample(0, {"a": 1.0, "b": 2.0})
    framer.sample(5, {"a": 3.0, "b": 4.0})
    framer.sample(7, {"c": 5.0})
    (frame,) = framer.close()
    assert [(block.names, block.values.tolist()) for block in frame.signals] == [
        (["a", "b"], [[1.0, 3.0], [2.0, 4.0]]),
        (["c"], [[5.0]]),
    ]
    assert frame.signals[0].units == []


def test_what_a_source_held_at_connection_stands_in_a_frame_of_its_own() -> None:
    framer = Framer("m1", "s")
    frames = framer.state(0, "idle", opening=True) + framer.state(1, "running") + framer.close()
    assert [(frame.opening, frame.states[0].state) for frame in frames] == [(True, "idle"), (False, "running")]


@given(
    st.lists(st.tuples(st.integers(0, 20_000), st.sampled_from(["state", "count", "sample"])), max_size=200),
    st.integers(1, 50),
    st.integers(1, 5_000),
)
def test_no_entry_is_lost_and_no_frame_is_longer_than_asked(
    entries: list[tuple[int, str]], samples: int, span_ms: int
) -> None:
    framer = Framer("m", "s", samples=samples, span_ms=span_ms)
    frames: list[Frame] = []
    for at, kind in entries:
        if kind == "state":
            frames += framer.state(at, "running")
        elif kind == "count":
            frames += framer.count(CountReading(at, False, 1))
        else:
            frames += framer.sample(at, {"x": float(at)})
    frames += framer.close()
    seen = []
    for number, frame in enumerate(frames):
        assert frame.sequence == number
        inside = [(c.at, "state") for c in frame.states] + [(c.at, "count") for c in frame.counts]
        inside += [(int(at), "sample") for block in frame.signals for at in block.at]
        assert 1 <= len(inside) <= samples
        assert max(inside)[0] - min(inside)[0] < 2 * span_ms
        assert frame.sent == max(inside)[0]
        seen += inside
    assert sorted(seen) == sorted(entries)
