"""The job in Quix Streams: keyed state in RocksDB with changelogs, a tumbling window closed by event time per key."""

from __future__ import annotations

import tempfile
import uuid
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from quixstreams import Application, State
from quixstreams.dataframe.windows import Reduce
from quixstreams.models import BytesDeserializer

from bench.speed.answers import LATENESS_MS, NOTHING_KNOWN, WINDOW_MS, Seen, Task, answer, avro_reader, pieces, task

ANSWER_S = 30.0


class Frames(BytesDeserializer):
    """Decodes a record's value into one frame."""

    def __init__(self) -> None:
        super().__init__()
        self._read = avro_reader()

    def __call__(self, value: bytes, ctx: Any) -> dict[str, Any]:
        return self._read(value)


def is_new(frame: dict[str, Any], state: State) -> bool:
    """Whether the frame's sequence number comes for the first time."""
    following, above = state.get("seen", (0, ()))
    seen = Seen(following, set(above))
    new = seen.is_new(frame["sequence"])
    state.set("seen", (seen.next, sorted(seen.above)))
    return new


def by_window(frame: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for _, last, changes, readings in pieces(frame):
        found.append({"at": last, "changes": changes, "readings": readings})
    return found


def both(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    return {name: [*old[name], *new[name]] for name in ("changes", "readings")}


def closed(window: dict[str, Any], machine: str, _timestamp: int, _headers: Any, state: State) -> dict[str, Any]:
    """The answer of a window, from what it holds and what the window before has left."""
    held = window["value"]
    changes, readings = ([tuple(entry) for entry in held[name]] for name in ("changes", "readings"))
    carry, facts = answer(tuple(state.get("carry", NOTHING_KNOWN)), window["start"], changes, readings)
    state.set("carry", carry)
    named = dict(zip(("run_ms", "stopped_ms", "parts"), facts, strict=True))
    return {"machine": machine, "window_start": window["start"], **named}


def records(work: Task) -> int:
    """How many records the topic has."""
    consumer = Consumer({"bootstrap.servers": work.bootstrap, "group.id": "bench"})
    total = 0
    for number in consumer.list_topics(work.topic, ANSWER_S).topics[work.topic].partitions:
        low, high = consumer.get_watermark_offsets(TopicPartition(work.topic, number), ANSWER_S)
        total += high - low
    consumer.close()
    return total


def main(work: Task) -> None:
    left = records(work)

    def count(_topic: str, _partition: int, _offset: int) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            app.stop()

    with tempfile.TemporaryDirectory() as folder:
        app = Application(
            work.bootstrap, consumer_group=f"quix-{uuid.uuid4().hex[:8]}", auto_offset_reset="earliest",
            state_dir=folder, on_message_processed=count, loglevel="WARNING",
        )  # fmt: skip
        frames = app.topic(work.topic, value_deserializer=Frames(), key_deserializer="str")
        answers = app.topic(work.out, value_serializer="json", key_serializer="str")
        stream = app.dataframe(frames).filter(is_new, stateful=True).apply(by_window, expand=True)
        stream = stream.set_timestamp(lambda piece, *_: piece["at"])
        window = stream.tumbling_window(WINDOW_MS, grace_ms=LATENESS_MS, name="minute")
        stream = window.agg(value=Reduce(both, lambda piece: both({"changes": [], "readings": []}, piece))).final()
        stream = stream.apply(closed, stateful=True, metadata=True)
        stream.to_topic(answers)
        app.run()


if __name__ == "__main__":
    main(task())
