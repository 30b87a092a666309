"""The job in Bytewax: keyed operators, a tumbling window folded by event time, one worker."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.operators import windowing as win
from bytewax.run import cli_main

from bench.speed.answers import (
    LATENESS_MS,
    NOTHING_KNOWN,
    WINDOW_MS,
    Carry,
    Seen,
    Task,
    answer,
    avro_reader,
    pieces,
    task,
)
from bench.speed.answers import row as as_row

START = datetime(2020, 1, 1, tzinfo=UTC)
START_MS = round(START.timestamp() * 1000)
Piece = tuple[int, list[Any], list[Any]]  # last instant [ms], changes, readings
Held = tuple[list[Any], list[Any]]


def flow(work: Task) -> Dataflow:
    read = avro_reader()

    def frame(message: KafkaSourceMessage) -> tuple[str, dict[str, Any]]:
        found = read(message.value)
        return found["machine"], found

    def unique(seen: Seen | None, frame: dict[str, Any]) -> tuple[Seen, Iterable[dict[str, Any]]]:
        seen = seen or Seen()
        return seen, (frame,) if seen.is_new(frame["sequence"]) else ()

    def by_window(frame: dict[str, Any]) -> list[Piece]:
        return [(last, changes, readings) for _, last, changes, readings in pieces(frame)]

    def fold(held: Held, piece: Piece) -> Held:
        held[0].extend(piece[1])
        held[1].extend(piece[2])
        return held

    def closed(carry: Carry | None, window: tuple[int, Held]) -> tuple[Carry, tuple[int, tuple[int, int, int]]]:
        number, (changes, readings) = window
        start = START_MS + number * WINDOW_MS
        carry, facts = answer(carry or NOTHING_KNOWN, start, changes, readings)
        return carry, (start, facts)

    def written(keyed: tuple[str, tuple[int, tuple[int, int, int]]]) -> KafkaSinkMessage[bytes, bytes]:
        machine, (start, facts) = keyed
        return KafkaSinkMessage(machine.encode(), as_row(machine, start, facts))

    clock = win.EventClock(_at, wait_for_system_duration=timedelta(milliseconds=LATENESS_MS))
    windower = win.TumblingWindower(length=timedelta(milliseconds=WINDOW_MS), align_to=START)
    made = Dataflow("job")
    messages = op.input("telemetry", made, KafkaSource([work.bootstrap], [work.topic], tail=False))
    frames = op.stateful_flat_map("unique", op.map("decode", messages, frame), unique)
    parts = op.flat_map_value("by-window", frames, by_window)
    windows = win.fold_window("minute", parts, clock, windower, lambda: ([], []), fold, _merge, ordered=False)
    answers = op.stateful_map("carry", windows.down, closed)
    op.output("answers", op.map("write", answers, written), KafkaSink([work.bootstrap], work.out))
    return made


def _at(piece: Piece) -> datetime:
    return datetime.fromtimestamp(piece[0] / 1000, UTC)


def _merge(one: Held, other: Held) -> Held:
    return one[0] + other[0], one[1] + other[1]


if __name__ == "__main__":
    cli_main(flow(task()))
