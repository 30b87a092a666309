"""What the Python contenders share: the wire, the question of the job, and how an answer is written.

Needs no more than fastavro and the committed schemas, so that it runs in the peers' own environment.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from fastavro import parse_schema, schemaless_reader

from pipeline import schemas

WINDOW_MS = 60_000
LATENESS_MS = 30_000
Change = tuple[int, str]  # at [ms], state from then on
Reading = tuple[int, int]  # at [ms], counter
Carry = tuple[str, int | None]  # what a window leaves to the next: the state, and the counter as last read
NOTHING_KNOWN: Carry = ("", None)


@dataclass(frozen=True)
class Task:
    """One run of one contender: read `topic` to its end, write answers to `out`; frames have up to `samples`."""

    bootstrap: str
    topic: str
    out: str
    machines: int
    samples: int

    @property
    def grace_ms(self) -> int:
        """How far a record may be behind the newest of its partition: a frame is sent when its last sample is there."""
        return LATENESS_MS + self.samples * 1000

    def arguments(self) -> list[str]:
        return [
            "--bootstrap", self.bootstrap, "--topic", self.topic, "--out", self.out,
            "--machines", str(self.machines), "--samples", str(self.samples),
        ]  # fmt: skip


def task(arguments: list[str] | None = None) -> Task:
    """The task from the command line."""
    parser = argparse.ArgumentParser()
    for name in ("bootstrap", "topic", "out"):
        parser.add_argument("--" + name, required=True)
    for name in ("machines", "samples"):
        parser.add_argument("--" + name, type=int, required=True)
    return Task(**vars(parser.parse_args(arguments)))


def avro_reader() -> Callable[[bytes], dict[str, Any]]:
    """Decodes the frames of a topic in Confluent's wire format with fastavro."""
    parsed = parse_schema(schemas.without_logical_types(schemas.current()["Frame"].schema()))

    def read(value: bytes) -> dict[str, Any]:
        body = io.BytesIO(value)
        body.seek(5)
        found: dict[str, Any] = schemaless_reader(body, parsed, None)
        return found

    return read


def newest(frame: dict[str, Any]) -> int:
    """The last instant that a frame speaks of, ms."""
    return int(max(block["start"] + block["offsets"][-1] for block in frame["signals"]))


def entries(frame: dict[str, Any]) -> tuple[list[Change], list[Reading]]:
    changes = [(entry["at"], entry["state"]) for entry in frame["states"]]
    return changes, [(entry["at"], entry["total"]) for entry in frame["counts"]]


def pieces(frame: dict[str, Any]) -> Iterator[tuple[int, int, list[Change], list[Reading]]]:
    """What a frame says, window by window that it touches: (window start, last sample in it, changes, readings)."""
    changes, readings = entries(frame)
    first, last = frame["signals"][0]["start"], newest(frame)
    for start in range(first - first % WINDOW_MS, last + 1, WINDOW_MS):
        end = start + WINDOW_MS
        inside = [one for one in changes if start <= one[0] < end]
        yield start, min(last, end - 1), inside, [one for one in readings if start <= one[0] < end]


def answer(
    carry: Carry, start: int, changes: Iterable[Change], readings: Iterable[Reading]
) -> tuple[Carry, tuple[int, int, int]]:
    """Running ms, stopped ms and parts of a window that is complete, and what it leaves to the next one.

    >>> answer(("running", 5), 0, [(20_000, "stopped")], [(30_000, 9)])
    (('stopped', 9), (20000, 40000, 4))
    """
    (state, counter), at, parts = carry, start, 0
    spent = {"running": 0, "stopped": 0}
    for when, new in (*sorted(changes), (start + WINDOW_MS, "")):
        if state in spent:
            spent[state] += when - at
        state, at, before = new or state, when, state
    for _, reading in sorted(readings):
        parts += 0 if counter is None else reading - counter
        counter = reading
    return (state or before, counter), (spent["running"], spent["stopped"], parts)


def row(machine: str, start: int, facts: Iterable[int]) -> bytes:
    """An answer as it goes into the topic of answers."""
    run_ms, stopped_ms, parts = facts
    named = {"run_ms": run_ms, "stopped_ms": stopped_ms, "parts": parts}
    return json.dumps({"machine": machine, "window_start": start, **named}).encode()


@dataclass
class Seen:
    """Sequence numbers that were there: all below `next`, and some `above`; so it stays small."""

    next: int = 0
    above: set[int] = field(default_factory=set)

    def is_new(self, sequence: int) -> bool:
        """Whether it comes for the first time; remembers it."""
        if sequence < self.next or sequence in self.above:
            return False
        self.above.add(sequence)
        while self.next in self.above:
            self.above.remove(self.next)
            self.next += 1
        return True


@dataclass
class Machine:
    """The open windows of one machine in a loop written by hand."""

    name: str
    carry: Carry = NOTHING_KNOWN
    window: int = -1  # start of the oldest open one, ms
    newest: int = 0
    changes: list[Change] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    seen: Seen = field(default_factory=Seen)

    def add(self, changes: list[Change], readings: list[Reading]) -> None:
        self.changes += changes
        self.readings += readings

    def reach(self, first: int, last: int) -> Iterator[bytes]:
        """Time has come to `last` [ms]: answers of windows that 30 s ago were over."""
        if self.window < 0:
            self.window = first - first % WINDOW_MS
        self.newest = max(self.newest, last)
        while self.window + WINDOW_MS <= self.newest - LATENESS_MS:
            yield self._close()

    def _close(self) -> bytes:
        start, end = self.window, self.window + WINDOW_MS
        changes = [one for one in self.changes if one[0] < end]
        readings = [one for one in self.readings if one[0] < end]
        self.changes = [one for one in self.changes if one[0] >= end]
        self.readings = [one for one in self.readings if one[0] >= end]
        self.carry, facts = answer(self.carry, start, changes, readings)
        self.window = end
        return row(self.name, start, facts)
