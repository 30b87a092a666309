"""Where everybody stands in the topics: what the log holds, what the worker has folded, what the sink has written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from pipeline import kafka_clients, topics
from pipeline.audit.report import Check, Difference
from pipeline.codec import Codec
from pipeline.core.engine import ENGINE_VERSION, OLDEST_VERSION
from pipeline.errors import BrokerUnavailable, TopicMismatch
from pipeline.settings import Settings
from pipeline.sink import TOPICS
from pipeline.state import LogReader, Snapshots

ANSWER_S = 20.0
PAUSE_S = 0.2
MOVING = {
    KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE,
}  # fmt: skip


@dataclass(frozen=True)
class Position:
    """One partition of one topic (short name): [low, high) of the log is compared; it may go on to `end` by now.

    `worker` and `sink` are the offsets up to which they have committed, `cover` up to which the worker's state goes;
    None: nothing is committed or saved, or it is no topic of theirs.
    """

    topic: str
    partition: int
    low: int
    high: int
    end: int
    worker: int | None = None
    cover: int | None = None
    sink: int | None = None

    def behind(self, mark: int | None) -> int:
        """Records that are there and that somebody at `mark` has yet to take."""
        return max(0, self.high - max(self.low, mark or 0))


def positions(settings: Settings, codec: Codec, wait_s: float = 0.0) -> list[Position]:
    """The line's partitions as they are now; up to `wait_s` later, when worker and sink have come so far.

    Raises BrokerUnavailable, TopicMismatch, StateUnreadable.
    """
    deadline = time.monotonic() + wait_s
    with_worker = _Group(settings, topics.WORKER_GROUP)
    with_sink = _Group(settings, topics.SINK_GROUP)
    try:
        telemetry = with_sink.extents(("telemetry",))
        _await(lambda: _reached(telemetry, with_worker.committed(telemetry)), deadline)
        results = with_sink.extents(name for name in TOPICS if name != "telemetry")
        log = telemetry | results  # what the worker made of this much telemetry is in this much of the results
        _await(lambda: _reached(log, with_sink.committed(log)), deadline)
        worker, sink = with_worker.committed(telemetry), with_sink.committed(log)
        covers = _covers(settings, codec, [number for _, number in telemetry])
        now = with_sink.extents(dict.fromkeys(topic for topic, _ in log))  # after the marks: a plant may go on
    finally:
        with_worker.close()
        with_sink.close()
    return [
        Position(*place, *log[place], now[place][1], worker.get(place), covers.get(place), sink.get(place))
        for place in sorted(log)
    ]


def check(found: Iterable[Position], full: Callable[[str], str]) -> Check:
    """Whether everything is written, and nobody stands where the log is not."""
    result = Check("offsets")
    late = {"worker": 0, "sink": 0}
    for at in found:
        result.rows += at.high - at.low
        marks = {"worker": at.worker, "saved state": at.cover, "sink": at.sink}
        for who, mark in marks.items():
            if mark is None:
                continue
            key = {"topic": full(at.topic), "partition": at.partition}
            if mark > at.end:
                text = f"the {who} is at {mark:,}, the log ends at {at.end:,}: its tail was lost, or it was made again"
                result.differences.append(Difference("offsets", key, "end", at.end, mark, text))
            elif mark < at.low and who != "saved state":
                text = f"offsets {mark:,} to {at.low - 1:,} were removed before the {who} had taken them"
                result.differences.append(Difference("offsets", key, "start", at.low, mark, text))
        late["sink"] += at.behind(at.sink)
        if at.topic == "telemetry":
            late["worker"] += at.behind(at.worker)
    result.unverified = [f"the {who} is {count:,} records behind" for who, count in late.items() if count]
    result.said = "; ".join(f"{who} {count:,} behind" for who, count in late.items())
    return result


def _reached(log: dict[tuple[str, int], tuple[int, int]], marks: dict[tuple[str, int], int]) -> bool:
    return all(high == low or marks.get(place, 0) >= high for place, (low, high) in log.items())


def _await(condition: Callable[[], bool], deadline: float) -> None:
    while not condition() and time.monotonic() < deadline:
        time.sleep(PAUSE_S)


def _covers(settings: Settings, codec: Codec, numbers: list[int]) -> dict[tuple[str, int], int]:
    found = LogReader(settings, codec).states(numbers)
    buckets = settings.int("state_buckets")
    states = {number: Snapshots(number, buckets, ENGINE_VERSION, found[number], OLDEST_VERSION) for number in numbers}
    return {("telemetry", number): state.newest for number, state in states.items() if state.found}


class _Group:
    """Questions about a consumer group, which is never joined."""

    def __init__(self, settings: Settings, group: str) -> None:
        self._settings = settings
        self._consumer = Consumer({
            **kafka_clients.common(settings), "group.id": settings.topic(group), "enable.auto.commit": False,
        })  # fmt: skip

    def extents(self, names: Iterable[str]) -> dict[tuple[str, int], tuple[int, int]]:
        found = {}
        for name in names:
            full = self._settings.topic(name)
            about = _asked(lambda full=full: self._consumer.list_topics(full, ANSWER_S).topics[full])  # type: ignore[misc]
            if about.error is not None:
                raise TopicMismatch(f"topic {full}: {about.error.str()}: run `openoee topics --create`")
            for number in about.partitions:
                place = TopicPartition(full, number)
                low, high = _asked(
                    lambda place=place: self._consumer.get_watermark_offsets(place, timeout=ANSWER_S)  # type: ignore[misc]
                )
                found[name, number] = (int(low), int(high))
        return found

    def committed(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        short = {self._settings.topic(name): name for name, _ in places}
        wanted = [TopicPartition(self._settings.topic(name), number) for name, number in places]
        marks = _asked(lambda: self._consumer.committed(wanted, timeout=ANSWER_S))
        return {(short[mark.topic], mark.partition): mark.offset for mark in marks if mark.offset >= 0}

    def close(self) -> None:
        self._consumer.close()


def _asked(ask: Callable[[], Any]) -> Any:
    """The answer; a coordinator that moves or is only being made is asked again for a while."""
    deadline = time.monotonic() + ANSWER_S
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in MOVING or time.monotonic() > deadline:
                raise BrokerUnavailable(f"Kafka does not answer: {error.args[0].str()}") from None
            time.sleep(PAUSE_S)
