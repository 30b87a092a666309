"""Faults of the records themselves: repeated, shuffled, late, mistimed, damaged, absurd; schemas; the factory file."""

from __future__ import annotations

import struct
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any
from unittest.mock import patch

import numpy as np
from book import NotSeen, Wrong, fault
from confluent_kafka import Producer
from trial import Trial, stops
from worker_trial import put, read

from pipeline import frame_writer
from pipeline.codec import Codec
from pipeline.core.model import (
    Control,
    CountReading,
    EndOfSource,
    Frame,
    MachineConfig,
    SignalBlock,
    StateChange,
)
from pipeline.errors import DeliveryFailed
from pipeline.producer import TelemetryProducer

T0 = 1_700_000_000_000
DAY_MS = 86_400_000
STATES = ("running", "running", "idle", "running", "fault")
# what a machine's row says, its name and times of arrival aside
FACTS = "toUnixTimestamp64Milli(segment_start), apt_ms, adet_ms, pbt_ms, good, reject, arrayStringConcat(flags, ' ')"


def minutes(machine: str, source: str = "plc", steps: int = 120, start: int = T0) -> list[Frame]:
    """Ten minutes of a machine: states, counts, a signal; a frame every 5 s. The same for every machine."""
    frames = []
    for step in range(steps):
        at = start + step * 5_000
        frames.append(Frame(
            machine, source, 1, step, at,
            states=[StateChange(at, STATES[step // 7 % len(STATES)])] if step % 7 == 0 else [],
            counts=[CountReading(at, True, total=step * 3, good=step * 3 - step // 10)],
            signals=[SignalBlock(np.array([at, at + 2500]), ["load"], np.array([[50.0 + step % 3, 51.0]]))],
        ))  # fmt: skip
    return frames


def ended(machine: str, source: str = "plc", at: int = T0 + 600_000) -> Control:
    return Control(machine, f"end-{machine}-{source}", at, "trial", EndOfSource(source, at))


def forged(frame: Frame) -> bytes:
    """A frame as a careless sender writes it: the writer's checks taken out."""
    with (
        patch.object(frame_writer, "check_name"), patch.object(frame_writer, "check_layout"),
        patch.object(frame_writer, "check_number", lambda _what, number: number),
    ):  # fmt: skip
        return Codec().encode(frame)


def send(trial: Trial, messages: Iterable[Frame | Control | tuple[str, bytes]]) -> None:
    """Send records in this order, encoded or (key, bytes) as they are; keyed as a producer does."""
    codec = Codec()
    producer = Producer({
        "bootstrap.servers": trial.settings["kafka"], "partitioner": "murmur2_random", "acks": "all", "log_level": 0,
    })  # fmt: skip
    for message in messages:
        key, value = message if isinstance(message, tuple) else (message.machine, codec.encode(message))
        producer.produce(trial.settings.topic("telemetry"), value, key.encode())
        producer.poll(0)
    if producer.flush(60):
        raise NotSeen("Kafka did not take the records")


def facts(trial: Trial, machine: str) -> list[tuple[Any, ...]]:
    """What is in force of a machine, in order of time."""
    return trial.ask(f"SELECT {FACTS} FROM oee_facts FINAL WHERE machine = '{machine}' ORDER BY 1")


def same(trial: Trial, one: str, other: str) -> None:
    """Both machines have the same facts, and some."""
    mine, theirs = facts(trial, one), facts(trial, other)
    if len(theirs) < 5:
        raise NotSeen(f"{other} has {len(theirs)} facts only")
    if mine != theirs:
        pair = next((pair for pair in zip(mine, theirs, strict=False) if pair[0] != pair[1]), (len(mine), len(theirs)))
        raise Wrong(f"{one} and {other} were told the same and differ: {pair[0]}, {pair[1]}")


def reasons(trial: Trial) -> Counter[str]:
    """Dead letters of telemetry by reason."""
    codec = Codec()
    letters = [codec.decode(message.value()) for message in read(trial.settings, "dead-letters")]
    return Counter(letter.reason for letter in letters)


@fault(20, "every record sent twice; records resent by a restarted gateway", rounds=1)
def sent_twice(trial: Trial) -> None:
    trial.worker()
    trial.sink()
    twice = [frame for frame in minutes("twice") for _ in range(2)]
    send(trial, [*minutes("once"), ended("once"), *twice[:140], *minutes("twice")[30:70], *twice[140:], ended("twice")])
    trial.saw(f"{len(twice)} frames each sent twice, 40 of them a third time, later")
    trial.finish()
    same(trial, "twice", "once")


@fault(21, "shuffled within lateness; late beyond it; back after 3 days while others are live", rounds=2)
def out_of_order(trial: Trial) -> None:
    trial.worker()
    trial.sink()
    load = trial.load()
    back = minutes("back", steps=3000, start=T0 - 3 * DAY_MS)
    trial.after(load)
    shuffled: list[Frame] = []
    for first in range(0, 120, 5):  # 25 s, the lateness is 30
        part = minutes("shuffled")[first : first + 5]
        trial.chance.shuffle(part)
        shuffled += part
    send(trial, [*minutes("ordered"), ended("ordered"), *shuffled, ended("shuffled")])
    send(trial, [*back, ended("back", at=T0 - 3 * DAY_MS + 3000 * 5_000)])
    trial.after(load)
    trial.saw(f"{len(shuffled)} frames shuffled, {len(back):,} of three days ago at once, some late ones in the load")
    trial.finish(load)
    same(trial, "shuffled", "ordered")
    delays = sorted(
        message.timestamp()[1] - fact.known_at
        for message in read(trial.settings, "oee")
        if (fact := Codec().decode(message.value())).machine.startswith("m")
    )
    slowest = delays[len(delays) * 99 // 100]
    trial.saw(f"facts of live machines came {slowest} ms (p99) after the record that they follow from")
    if slowest > 5_000:
        raise Wrong(f"live machines were delayed by {slowest} ms")


@fault(22, "timestamps a year ahead, zero, in the wrong unit; clock stepping back", rounds=1)
def mistimed(trial: Trial) -> None:
    trial.worker()
    trial.sink()
    wrong_times = {"a year ahead": int(time.time() * 1000) + 365 * DAY_MS, "zero": 0, "seconds": T0 // 1000,
                   "microseconds": T0 * 1000}  # fmt: skip
    bad = [
        Frame("dirty", "clock", 1, number, at, states=[StateChange(at, "fault")])
        for number, at in enumerate(wrong_times.values())
    ]
    good = minutes("dirty")
    stepped = [*good[:60], *bad, *good[50:60], *good[60:]]  # the clock steps back: ten frames come again
    send(trial, [*minutes("clean"), ended("clean"), *stepped, ended("dirty"), ended("dirty", "clock")])
    trial.finish()
    same(trial, "dirty", "clean")
    found = reasons(trial)
    if found != Counter(future=2, before_2000=2):
        raise Wrong(f"dead letters {dict(found)}, expected two of the future, two from before 2000")
    trial.saw(f"{', '.join(wrong_times)}: dead letters {dict(found)}; the other frames give what they give alone")


@fault(23, "bytes that are no Avro, unknown schema id, empty value, no key, trailing bytes, a length that lies",
       rounds=1, quick=True)  # fmt: skip
def undecodable(trial: Trial) -> None:
    worker = trial.worker()
    trial.sink()
    codec, frame = Codec(), minutes("m1")[0]
    value = codec.encode(frame)
    lie = value[:5] + struct.pack("B", 0xFE) + b"\xff" * 8 + value[6:]  # a name of 2^62 characters
    bad = [
        (b"m1", b"no avro"), (b"m1", b"\0\0\x01\x00\x00rest"), (b"m1", None), (None, value), (b"m1", value + b"more"),
        (b"m1", lie), (b"m1", value[:-3]), (b"other", value),
    ]  # fmt: skip
    put(trial.settings, "telemetry", [*bad, (b"m1", value)])
    send(trial, [*minutes("m2"), ended("m2")])
    trial.judge()
    codec = Codec()
    letters = [codec.decode(one.value()) for one in read(trial.settings, "dead-letters")]
    addresses = {(letter.topic, letter.partition, letter.offset) for letter in letters}
    got = Counter((letter.key or b"", letter.value or b"") for letter in letters)
    if got != Counter((key or b"", value or b"") for key, value in bad) or len(addresses) != len(bad):
        raise Wrong(f"{len(letters)} dead letters at {len(addresses)} addresses for {len(bad)} bad records")
    trial.saw(f"{len(bad)} bad records: {dict(reasons(trial))}, with their addresses and bytes")
    put(trial.settings, "telemetry", [(b"m1", b"no avro")] * 1200)
    stops(worker, "of the last 1,000 records")
    trial.saw("1,200 more of them stopped the worker")
    trial.processes.remove(worker)


@fault(26, "NaN, infinities, out of range, NUL and right-to-left text, a 10 kB machine name", rounds=1)
def absurd(trial: Trial) -> None:
    trial.worker()
    trial.sink()
    good = minutes("dirty")
    values = np.array([[np.nan, np.inf, -np.inf, 1e308, 50.0]])
    strange = Frame("dirty", "other", 1, 0, T0, signals=[SignalBlock(T0 + np.arange(5), ["other"], values)])
    counts = Frame("dirty", "other", 1, 1, T0, counts=[CountReading(T0, True, total=2**62)])
    state = Frame("dirty", "other", 1, 2, T0, states=[StateChange(T0, "\u202egninnur\0")])
    rtl = "\u202e\u05de\u05db\u05d5\u05e0\u05d4"
    forgeries = [
        ("x" * 10_240, forged(Frame("x" * 10_240, "plc", 1, 0, T0))),
        ("nul\0", forged(Frame("nul\0", "plc", 1, 0, T0))),
    ]
    names = [*minutes(rtl), ended(rtl)]
    strays = [("dirty", forged(one)) for one in (strange, counts, state)]
    send(trial, [*minutes("clean"), ended("clean"), *good[:60], *strays, *forgeries, *good[60:], *names])
    send(trial, [ended("dirty"), ended("dirty", "other")])
    trial.finish()
    same(trial, "dirty", "clean")
    same(trial, rtl, "clean")
    stored = trial.ask("SELECT value FROM telemetry FINAL WHERE machine = 'dirty' AND signal = 'other'")
    if any(not np.isfinite(value) for (value,) in stored):
        raise Wrong(f"values that are no numbers are in the store: {stored}")
    trial.saw(
        f"dead letters {dict(reasons(trial))}; of {values.size} absurd values {len(stored)} finite ones are stored"
    )


@fault(27, "record larger than the broker takes", rounds=1, quick=True)
def too_large(trial: Trial) -> None:
    trial.worker()
    trial.sink()
    at = np.arange(600_000, dtype=np.int64) + T0
    huge = Frame(
        "m1", "plc", 1, 500, T0, signals=[SignalBlock(at, ["load"], np.random.default_rng(1).normal(size=(1, 600_000)))]
    )
    with TelemetryProducer(trial.settings, Codec(), trial.journal) as producer:
        for frame in minutes("m1"):
            producer.send(frame)
        try:
            producer.send(huge)
            raise Wrong("a record of 5 MB was taken without a word")
        except DeliveryFailed as error:
            trial.saw(str(error)[:120])
        producer.send(ended("m1"))
        producer.flush()
        if producer.acknowledged != producer.sent:
            raise Wrong(f"{producer.acknowledged} of {producer.sent} acknowledged")
    trial.finish()


@fault(28, "counter reset, rollover, replaced controller", rounds=1)
def counters(trial: Trial) -> None:
    trial.worker()
    trial.sink()
    wraps = MachineConfig(counter_modulus=1000)
    made = {
        "reset": [10, 60, 110, 3, 53],  # 100, then an unknown number before 3, then 50
        "rollover": [900, 950, 20, 70],  # 50, 70 over the border, 50
        "replaced": [5000, 5050, 0, 50],
    }
    messages: list[Frame | Control] = [Control("rollover", "config", T0 - 60_000, "trial", wraps)]
    for machine, readings in made.items():
        for step, reading in enumerate(readings):
            at = T0 + step * 30_000
            epoch = 2 if machine == "replaced" and step > 1 else 1
            messages.append(Frame(
                machine, "plc", epoch, step, at, states=[StateChange(at, "running")],
                counts=[CountReading(at, True, total=reading, reject=0)],
            ))  # fmt: skip
        messages.append(ended(machine, at=T0 + 300_000))
    send(trial, messages)
    trial.finish()
    found = dict(trial.ask("SELECT machine, sum(good) FROM oee_facts FINAL GROUP BY machine"))
    want = {"reset": 100 + 3 + 50, "rollover": 50 + 70 + 50, "replaced": 50 + 0 + 50}
    if found != want:
        raise Wrong(f"good parts {found}, expected {want}")
    trial.saw(f"good parts {found}")
