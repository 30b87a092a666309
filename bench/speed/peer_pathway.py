"""The job in Pathway: the topic as a table that ends, windows by event time, machines folded over their windows.

Static mode is the kindest to it: windows are computed once, when all records are there, so no lateness is needed.
"""

from __future__ import annotations

from typing import Any

import pathway as pw

from bench.speed.answers import NOTHING_KNOWN, WINDOW_MS, Task, answer, avro_reader, pieces, row, task

Piece = tuple[int, tuple[Any, ...], tuple[Any, ...]]  # last instant [ms], changes, readings


def main(work: Task) -> None:
    read = avro_reader()

    @pw.udf(deterministic=True)
    def frame(value: bytes) -> tuple[str, int, tuple[Piece, ...]]:
        found = read(value)
        parts = [(last, tuple(changes), tuple(readings)) for _, last, changes, readings in pieces(found)]
        return found["machine"], found["sequence"], tuple(parts)

    @pw.udf(deterministic=True)
    def rows(machine: str, windows: tuple[Any, ...]) -> tuple[str, ...]:
        carry, found = NOTHING_KNOWN, []
        for start, changes, readings in windows:
            carry, facts = answer(
                carry, start, (c for some in changes for c in some), (r for some in readings for r in some)
            )
            found.append(row(machine, start, facts).decode())
        return tuple(found)

    settings = {"bootstrap.servers": work.bootstrap, "group.id": "pathway", "auto.offset.reset": "earliest"}
    records = pw.io.kafka.read(settings, work.topic, format="raw", mode="static")
    decoded = records.select(frame=frame(pw.this.data))
    frames = decoded.select(machine=pw.this.frame[0], sequence=pw.this.frame[1], pieces=pw.this.frame[2])
    unique = frames.groupby(pw.this.machine, pw.this.sequence).reduce(
        pw.this.machine, pieces=pw.reducers.any(pw.this.pieces)
    )
    parts = unique.flatten(pw.this.pieces)
    parts = parts.select(
        pw.this.machine,
        at=pw.unwrap(pw.this.pieces[0]),
        changes=pw.this.pieces[1],
        readings=pw.this.pieces[2],
    )
    windows = parts.windowby(
        pw.this.at, window=pw.temporal.tumbling(duration=WINDOW_MS), instance=pw.this.machine
    ).reduce(
        machine=pw.this._pw_instance,
        window=pw.make_tuple(
            pw.this._pw_window_start,
            pw.reducers.tuple(pw.this.changes),
            pw.reducers.tuple(pw.this.readings),
        ),
    )
    machines = windows.groupby(pw.this.machine).reduce(
        pw.this.machine, windows=pw.reducers.sorted_tuple(pw.this.window)
    )
    answers = machines.select(rows=rows(pw.this.machine, pw.this.windows)).flatten(pw.this.rows)
    pw.io.kafka.write(answers, settings, work.out, format="plaintext", value=answers.rows)
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)


if __name__ == "__main__":
    main(task())
