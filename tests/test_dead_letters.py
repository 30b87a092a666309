"""Dead letters without Kafka: what bytes say up to a fault, what is sent again and why, what mending refuses."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fastavro import parse_schema, schemaless_writer
from hypothesis import given
from hypothesis import strategies as st

from pipeline import avro_json, letter_replay, schemas
from pipeline.codec import Codec
from pipeline.core.admission import admit, refused
from pipeline.core.engine import Engine
from pipeline.core.model import (
    Context,
    Control,
    Correction,
    CountReading,
    DeadLetter,
    Frame,
    MachineConfig,
    MachineEvent,
    Record,
    Shift,
    SignalBlock,
    StateChange,
)
from pipeline.core.settings import EngineSettings
from pipeline.dead_letters import Address, Choice, Parked, Refusal, address, replay_of
from pipeline.errors import UsageError
from pipeline.settings import Settings, load

T0 = 1_772_434_800_000
MINUTE, FUTURE_MS = 60_000, 300_000
CODEC = Codec()
BLOCK = SignalBlock(np.array([T0, T0 + 1000]), ["load", "speed"], np.array([[1.5, np.nan], [np.inf, -2.0]]), ["%", "1"])
FRAME = Frame(
    "saw-1", "plc", 5, 7, T0, states=[StateChange(T0, "running", None)], counts=[CountReading(T0, False, 3)],
    contexts=[Context(T0, "P1", planned=10)], events=[MachineEvent(T0, "alarm", "fault", "E7", "door öffen ⚙")],
    signals=[BLOCK],
)  # fmt: skip
CONFIG = MachineConfig(site="lyon", shifts=(Shift("early", "06:00", "14:00", (1, 2)),), ideal_cycle_us={"*": 5})
CONTROLS = [
    Control("saw-1", "c1", T0, "ann", CONFIG),
    Control("saw-1", "c2", T0, "ann", Correction(T0, T0 + 1, reason="jam")),
]


@pytest.fixture
def settings() -> Settings:
    return load({"topic_prefix": "p."}, {})


def parked(message: Frame | Control | bytes, *refusals: Refusal, key: bytes | None = b"saw-1") -> Parked:
    """A record of telemetry that was refused."""
    value = message if isinstance(message, bytes) else CODEC.encode(message)
    held = {refusal.reason: refusal for refusal in refusals}
    return Parked(Address("p.telemetry", 2, 41), T0, "saw-1", len(value), 2, key, value, held)


def by_engine(reason: str, entries: int) -> Refusal:
    return Refusal(reason, "as the engine says", entries, judged=True)


def sent(one: Parked, now: int = T0) -> letter_replay.Sendable:
    return letter_replay.sendable(one, CODEC, now, FUTURE_MS)


# What the bytes say


@pytest.mark.parametrize("message", [FRAME, *CONTROLS], ids=["frame", "config", "correction"])
def test_a_record_becomes_json_and_the_same_record_again(message: Frame | Control) -> None:
    found = avro_json.said(CODEC.encode(message))
    assert (found.name, found.fault) == (type(message).__name__, "")
    again = avro_json.written(found.name, json.loads(json.dumps(found.record, allow_nan=False)))
    assert repr(CODEC.decode(again)) == repr(message)


def test_a_letter_itself_and_every_released_version_can_be_shown() -> None:
    letter = DeadLetter("t", 1, 2, T0, None, "undecodable", "d", 0, b"\xff", b"\0\1")
    assert avro_json.said(CODEC.encode(letter)).record["value"] == "0001"
    (version,) = [one for one in schemas.bundle() if (one.name, one.version) == ("Frame", 1)]
    plain = schemas.without_logical_types(version.schema())
    row = avro_json.said(CODEC.encode(FRAME)).record | {"signals": []}
    out = io.BytesIO()
    schemaless_writer(out, parse_schema(plain), row)
    assert avro_json.said(b"\0" + version.id.to_bytes(4, "big") + out.getvalue()).record["machine"] == "saw-1"


@given(cut=st.integers(5, len(CODEC.encode(FRAME)) - 1))
def test_bytes_that_end_early_are_read_up_to_there(cut: int) -> None:
    whole = CODEC.encode(FRAME)
    found, full = avro_json.said(whole[:cut]), avro_json.said(whole).record
    assert found.fault.startswith("byte ")
    assert found.record is not None
    assert all(found.record[name] == full[name] for name in list(found.record)[:-1])
    assert cut <= whole.index(b"load") or found.record["signals"][0]["start"] == T0


@given(st.binary(max_size=200))
def test_whatever_bytes_there_are_they_are_told(noise: bytes) -> None:
    for header in (b"", b"\0\0\0\0\x09", b"\0\0\0\0\x0a", b"\0\0\0\0\x06"):
        json.dumps(avro_json.said(header + noise).record, allow_nan=False)


def test_a_fault_is_named_with_its_field() -> None:
    whole = CODEC.encode(FRAME)
    assert avro_json.said(whole + b"xy").fault == f"byte {len(whole):,}: 2 bytes after the Frame"
    at = whole.index(b"load")
    lying = whole[: at - 1] + b"\xfe\x7f" + whole[at:]
    found = avro_json.said(lying)
    assert "signals[0].names[0]: 8191 bytes are wanted where" in found.fault
    assert found.record["states"][0]["state"] == "running"
    assert "first byte is 110" in avro_json.said(b"no avro").fault
    assert "schema id 999999 is not in the bundle" in avro_json.said(b"\0\0\x0f\x42\x3f..").fault


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sates": []}, "Frame has no field 'sates': did you mean 'states'?"),
        ({"states": [{"at": T0}]}, r"Frame.states\[0\] lacks the field 'state'"),
        ({"signals": 5}, "Frame.signals is '5': expected array"),
        ({"sent": "soon"}, "no valid Frame"),
    ],
)
def test_a_mistake_in_json_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        avro_json.written("Frame", avro_json.said(CODEC.encode(FRAME)).record | change)


# Which part of a frame was refused


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    times = st.integers(-3, 3).map(lambda n: T0 + n * 200_000) | st.just(1000)
    states = draw(st.lists(st.builds(StateChange, times, st.sampled_from(["running", "idle", "asleep"])), max_size=4))
    counts = draw(st.lists(st.builds(CountReading, times, st.just(True), st.sampled_from([1, -1])), max_size=3))
    events = draw(st.lists(st.builds(MachineEvent, times, st.just("alarm"), st.just("fault")), max_size=2))
    at = sorted(draw(st.lists(times, max_size=4)))
    signals = [SignalBlock(np.array(at, np.int64), ["load"], np.ones((1, len(at))))] if at else []
    return Frame(
        "m", "plc", 0, draw(st.integers(0, 9)), T0, states=states, counts=counts, events=events, signals=signals
    )


def entries(frame: Frame) -> list[tuple[Any, ...]]:
    plain = [tuple(entry) for part in (frame.states, frame.counts, frame.contexts, frame.events) for entry in part]
    return sorted([*plain, *((int(at),) for block in frame.signals for at in block.at)], key=repr)


@given(frames())
def test_what_was_kept_and_what_was_refused_make_up_the_frame(frame: Frame) -> None:
    kept, out = admit(frame, T0, FUTURE_MS)
    if out and entries(frame):
        assert sorted(entries(kept) + entries(refused(frame, out)), key=repr) == entries(frame)


def test_what_came_too_late_is_told_by_its_number() -> None:
    """Minutes -60 (too late), 0; the engine has closed what lies more than its retention back."""
    engine = Engine(EngineSettings(retention_ms=10 * MINUTE))
    for number, at in enumerate(range(T0, T0 + 60 * MINUTE, MINUTE)):
        engine.fold([Record(at, Frame("saw-1", "plc", 0, number, at, states=[StateChange(at, "running")]), 0, number)])
    now = T0 + 60 * MINUTE
    states = [StateChange(T0 + MINUTE, "idle"), StateChange(T0 + 2 * MINUTE, "setup"), StateChange(now, "idle")]
    late = Frame("saw-1", "plc", 0, 99, now, states=states, counts=[CountReading(T0, True, 5)])
    (letter,) = engine.fold([Record(now, late, 0, 99)]).dead_letters
    assert (letter.reason, letter.entries) == ("too_late", 3)
    rest = refused(late, {letter.reason: letter.entries})
    assert (rest.states, rest.counts) == (states[:2], late.counts)


# What is sent again


def test_bytes_that_can_be_decoded_by_now_are_sent_as_they_were() -> None:
    one = parked(FRAME, Refusal("unknown_schema", "id", 0, judged=False))
    found = sent(one)
    assert (found.value, found.key, found.unusable) == (one.value, b"saw-1", "")


def test_bytes_that_still_cannot_be_decoded_are_told() -> None:
    found = sent(parked(b"no avro", Refusal("undecodable", "d", 0, judged=False)))
    assert found.value == b"no avro"
    assert found.unusable.startswith("undecodable: first byte is 110")
    wrong = sent(parked(FRAME, Refusal("invalid", "d", 0, judged=False), key=b"saw-2"))
    assert "key b'saw-2' is not the machine 'saw-1'" in wrong.unusable


def test_a_record_without_a_key_gets_its_machine() -> None:
    one = parked(FRAME, Refusal("no_key", "d", 0, judged=False), key=None)
    found = sent(one)
    assert (found.key, found.value, found.unusable) == (b"saw-1", one.value, "")


def test_of_a_frame_that_was_used_in_part_the_rest_is_sent_and_counts_once() -> None:
    """Two states are minutes ahead of their record; three minutes later one of them has come near enough."""
    ahead = [StateChange(T0 + 6 * MINUTE, "fault"), StateChange(T0 + 9 * MINUTE, "idle")]
    frame = replace(FRAME, states=[*FRAME.states, *ahead])
    engine = Engine(EngineSettings())
    (letter,) = engine.fold([Record(T0, frame, 2, 41)]).dead_letters
    one = parked(frame, by_engine(letter.reason, letter.entries))
    found = sent(one, T0 + 3 * MINUTE)
    assert found.unusable == "future: 1 entries"
    rest = CODEC.decode(sent(one, T0 + 10 * MINUTE).value)
    assert sent(one, T0 + 10 * MINUTE).unusable == ""
    assert isinstance(rest, Frame)
    assert (rest.states, rest.counts, rest.signals) == (ahead, [], [])
    assert (rest.source, rest.epoch, rest.sequence) == ("replay", 0, 41)
    now = T0 + 10 * MINUTE
    assert engine.fold([Record(now, frame, 2, 50)]).dead_letters == []  # as it was, it is a repeat
    assert engine.fold([Record(now, rest, 2, 51), Record(now, rest, 2, 52)]).dead_letters == []
    states = engine.machines["saw-1"].history.states
    assert [states.at(T0 + minute * MINUTE) for minute in (1, 7, 9)] == ["running", "fault", "idle"]


def test_a_control_is_sent_as_it_was() -> None:
    one = parked(CONTROLS[1], by_engine("too_late", 0))
    assert sent(one).value == one.value


def test_only_telemetry_is_sent_again(settings: Settings) -> None:
    one = parked(FRAME)
    assert letter_replay.forbidden(one, settings) == ""
    one.address = Address("p.oee", 0, 3)
    assert "p.oee/0/3 is no telemetry" in letter_replay.forbidden(one, settings)
    assert "holds no bytes" in letter_replay.forbidden(parked(b""), settings)


# Mending


def document(one: Parked) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(letter_replay.document(one, CODEC, ""), allow_nan=False))
    return found


def test_bytes_that_end_early_are_mended() -> None:
    one = parked(CODEC.encode(FRAME)[:-9], Refusal("undecodable", "ends early", 0, judged=False))
    said = document(one)
    assert said["fault"].startswith("byte ")
    assert bytes.fromhex(said["value_hex"]) == one.value
    record = said["record"]["Frame"]
    with pytest.raises(UsageError, match=r"\(invalid\): 3 values for 2 signals at 2 instants"):
        letter_replay.mended(one, said, CODEC)
    record["signals"][0]["values"].append(-2.0)
    found = letter_replay.mended(one, said, CODEC)
    assert (found.key, found.mended, found.unusable) == (b"saw-1", True, "")
    assert repr(CODEC.decode(found.value)) == repr(FRAME)


def test_of_a_frame_that_was_used_in_part_the_refused_part_is_mended() -> None:
    bad = replace(FRAME, states=[*FRAME.states, StateChange(T0 + 1, "runing")])
    one = parked(bad, by_engine("invalid", 1))
    said = document(one)
    assert said["record"]["Frame"]["states"] == [{"at": T0 + 1, "state": "runing", "reason": None}]
    assert len(said["as_found"]["Frame"]["states"]) == 2
    said["record"]["Frame"]["states"][0]["state"] = "running"
    mended = CODEC.decode(letter_replay.mended(one, said, CODEC).value)
    assert isinstance(mended, Frame)
    assert (mended.states, mended.counts, mended.sequence) == ([StateChange(T0 + 1, "running")], [], 41)
    with pytest.raises(UsageError, match="the worker has seen frame 7 of plc"):
        letter_replay.mended(one, said | {"record": said["as_found"]}, CODEC)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"address": "p.telemetry/2/42"}, "is about p.telemetry/2/42, not p.telemetry/2/41"),
        ({"record": None}, "must be"),
        ({"record": {"Fram": {}}}, "'Fram' is no record of this line"),
        ({"record": {"OeeFact": {}}}, "OeeFact lacks the field 'machine'"),
    ],
)
def test_a_document_that_cannot_be_is_refused(change: dict[str, Any], words: str) -> None:
    one = parked(FRAME, Refusal("undecodable", "d", 0, judged=False))
    with pytest.raises(UsageError, match=words):
        letter_replay.mended(one, document(one) | change, CODEC)


# Addresses, choices, notes


def test_addresses(settings: Settings) -> None:
    assert address("telemetry/3/1042", settings) == address("p.telemetry/3/1042", settings)
    assert str(address("telemetry/3/1042", settings)) == "p.telemetry/3/1042"
    with pytest.raises(UsageError, match="is no address"):
        address("3/1042", settings)


def test_what_is_chosen() -> None:
    letter = DeadLetter("p.telemetry", 2, 41, T0, None, "undecodable", "d", 0, b"saw-1", b"x")
    for good in (Choice(), Choice(machine="saw-1"), Choice(reason="undecodable", start=T0, end=T0 + 1)):
        assert good.takes(letter)
    for bad in (Choice(machine="saw-2"), Choice(reason="future"), Choice(end=T0), Choice(start=T0 + 1)):
        assert not bad.takes(letter)
    assert not Choice(topic="p.oee").takes(letter)
    assert not Choice(addresses=frozenset({Address("p.telemetry", 2, 42)})).takes(letter)


def test_a_note_is_told_from_a_letter() -> None:
    class Message:
        def __init__(self, headers: list[tuple[str, bytes]] | None) -> None:
            self.headers = lambda: headers
            self.timestamp = lambda: (1, T0)

    assert replay_of(Message(None)) is None
    assert replay_of(Message([("other", b"x")])) is None
    note = replay_of(Message([("openoee-replayed", b"t/0/9"), ("openoee-by", b"ann"), ("openoee-mended", b"")]))
    assert note == (T0, "t/0/9", "ann", False)
