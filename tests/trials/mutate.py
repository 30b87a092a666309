"""Inputs that nobody should send: good records and lines, bent, cut, spliced; seeded, so that each comes again."""

from __future__ import annotations

import random

import numpy as np

from pipeline.core.model import (
    Acknowledge,
    Context,
    Control,
    Correction,
    CountReading,
    EndOfSource,
    Frame,
    MachineConfig,
    MachineEvent,
    Mute,
    Shift,
    SignalBlock,
    SignalConfig,
    StateChange,
    Tick,
)

T0 = 1_772_434_800_000  # 2026-03-02T07:00:00Z
HOUR_MS = 3_600_000
STATES = ("running", "stopped", "fault", "idle", "setup", "off", "unknown", "maintenance", "no such state", "")
NASTY_BYTES = [
    b"\xff" * 9 + b"\1",
    b"\x80" * 4 + b"\0",
    b"\1",
    b"\2",
    b"\xff",
    b"\0" * 8,
    b"\x80\x80\x80\x80\x10",
    b"\xfe\xff\xff\xff\x0f",
    b"\xf0\x7f",
    b"\x7f\xf0\0\0\0\0\0\0",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\x01" + b"\xff" * 8,
]
NASTY_TEXTS = [
    "",
    "\0",
    "\u202e",
    "x" * 300,
    "NaN",
    "inf",
    "-1",
    "1e999",
    "0x10",
    "UNAVAILABLE",
    "--multiline--",
    "|",
    '"',
    ";",
    "\t",
    "9" * 25,
    "2017-13-45T99:99:99Z",
    "-62135596800000",
    "@",
    "*",
    "\ufeff",
    "\ud7ff",
    "💥",
]
SHDR_LINES = (
    "2017-11-06T08:00:00.123456Z|program|O100",
    "2017-11-06T08:00:00.5Z|execution|ACTIVE",
    "2017-11-06T08:00:40Z|execution|READY",
    "2017-11-06T08:00:01Z|speed|1200.5|load|37|line|5",
    "2017-11-06T08:00:01.5Z|place|1 -2 3.5",
    "2017-11-06T08:00:02Z|mode|AUTOMATIC",
    "2017-11-06T08:00:02Z|system|Fault|31||HIGH|SERVO | X AXIS",
    "2017-11-06T08:00:03+01:00|note|N7|change the tool",
    "* PING",
    "2017-11-06T08:00:04Z|program|--multiline--AB12",
    "of two lines",
    "AB12",
    "2017-11-06T08:00:05Z|avail|UNAVAILABLE",
    "",
)
CSV_LINES = (
    "2026-03-02T08:00:00Z,run,7,1.5,,Ann",
    "2026-03-02 09:00:01+01:00,,8,2.5,40,",
    f"{T0},stop,9,,,",
    '2026-03-02T08:00:03Z,"run",7,"1.5",,"A ""B"""',
    "",
    "2026-03-02T08:00:04Z,run,12,-3e5,1e-9,",
)
CSV_HEAD = "time,state,made,force,temp,operator"


class Maker:
    """Good frames and controls of a few machines, and with extremes in their values."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.at, self.sequence = T0, 0

    def message(self) -> Frame | Control:
        """The next one; most are plain frames, as in life."""
        self.at += self.chance.choice((1000, 1000, 1000, 0, 50, 60_000))
        machine = f"m{self.chance.randrange(3)}"
        return self._control(machine) if self.chance.random() < 0.1 else self._frame(machine)

    def _frame(self, machine: str) -> Frame:
        chance = self.chance
        self.sequence += chance.choice((1, 1, 1, 1, 0, 5))
        frame = Frame(machine, chance.choice(("plc", "gateway")), T0, self.sequence, self._instant())
        names = ["a", "b", "speed"][: chance.randint(1, 3)]
        at = np.sort(np.array([self.at + chance.randint(0, 999) for _ in range(chance.choice((1, 1, 2, 7)))], np.int64))
        values = np.array([[self._value() for _ in at] for _ in names])
        frame.signals = [SignalBlock(at, names, values, chance.choice(([], ["%"] * len(names))))]
        if chance.random() < 0.3:
            frame.opening = chance.random() < 0.2
            frame.states = [StateChange(self._instant(), chance.choice(STATES), chance.choice((None, "jam")))]
            frame.counts = [CountReading(self._instant(), chance.random() < 0.8, *(self._count() for _ in range(4)))]
            frame.contexts = [Context(self._instant(), chance.choice(("A", "B", None, "")), None, None, self._count())]
            frame.events = [MachineEvent(self._instant(), "alarm", "fault", "31", chance.choice(NASTY_TEXTS[2:4]))]
        if chance.random() < 0.05:
            frame.signals = []
        return frame

    def _control(self, machine: str) -> Control:
        chance = self.chance
        start, end = self._instant(), self._instant()
        config = MachineConfig(
            self._instant(), "site", line=chance.choice(("", "L1")), always=chance.random() < 0.5,
            timezone=chance.choice(("UTC", "Europe/Berlin", "No/Where", "")),
            shifts=(
                Shift("early", chance.choice(("00:00", "33:20")), chance.choice(("14:00", "-5")), (0, 1, 2, 9)),
            ),
            ideal_cycle_us={"*": chance.choice((2_000_000, 0, -1, 1 << 55))},
            micro_stop_ms=chance.choice((0, 5000, -1)),
            stale_after_ms=chance.choice((None, 60_000, 0, -7)), counter_modulus=chance.choice((None, 100, 0, -3)),
            signals=(SignalConfig("a"),), closed=(chance.choice(("2026-03-03", "no date")),),
        )  # fmt: skip
        body = chance.choice((
            config, Tick(self._instant()), EndOfSource("plc", start),
            Correction(start, end, state=chance.choice(STATES)), Correction(start, end, good=self._count()),
            Mute(f"{machine}/{chance.randrange(99)}", end, chance.choice(("", "a")), lifted=chance.random() < 0.3),
            Acknowledge(f"{machine}/{start}", chance.choice(NASTY_TEXTS[2:4])),
        ))  # fmt: skip
        return Control(machine, f"c{chance.randrange(50)}", self._instant(), "fuzz", body)

    def _instant(self) -> int:
        chance = self.chance
        if chance.random() < 0.9:
            return self.at + chance.randint(-3000, 3000)
        return chance.choice((0, -1, T0 * 1000, T0 // 1000, 2**59, -(2**59), self.at + HOUR_MS, self.at - 30 * HOUR_MS))

    def _value(self) -> float:
        chance = self.chance
        return chance.gauss(50, 5) if chance.random() < 0.95 else chance.choice(
            (float("nan"), float("inf"), -float("inf"), 1e308, -1e308, 5e-324, -0.0)
        )  # fmt: skip

    def _count(self) -> int | None:
        chance = self.chance
        return chance.choice((None, None, self.sequence, 0, 1, -1, 10**9, 10**12, 10**13, 2**59))


def bend(chance: random.Random, value: bytes, other: bytes) -> bytes:
    """The bytes with one to four changes; `other` is what pieces are taken from."""
    bent = bytearray(value)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(5 if chance.random() < 0.95 else 0, max(6, len(bent) + 1))
        kind = chance.randrange(7)
        if kind == 0 and at < len(bent):
            bent[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            bent[at : at + chance.randrange(1, 9)] = b""
        elif kind == 2:
            bent[at:at] = chance.randbytes(chance.randint(1, 8))
        elif kind == 3:
            bent[at : at + chance.randint(0, 4)] = chance.choice(NASTY_BYTES)
        elif kind == 4:
            del bent[at:]
        elif kind == 5:
            bent[at:] = other[min(at, len(other)) :]
        else:
            start = chance.randrange(len(other) + 1)
            bent[at:at] = other[start : start + chance.randint(1, 40)]
    return bytes(bent)


def bend_text(chance: random.Random, line: str) -> bytes:
    """The line with some changes, in bytes that need not be UTF-8."""
    for _ in range(chance.randint(0, 3)):
        at = chance.randrange(len(line) + 1)
        kind = chance.randrange(5)
        if kind == 0:
            line = line[:at] + chance.choice(NASTY_TEXTS) + line[at:]
        elif kind == 1:
            line = line[:at] + line[at + chance.randint(1, 5) :]
        elif kind == 2:
            parts = line.split("|" if "|" in line else ",")
            parts[chance.randrange(len(parts))] = chance.choice(NASTY_TEXTS)
            line = ("|" if "|" in line else ",").join(parts)
        elif kind == 3:
            line = line[:at] + chr(chance.choice((0, 9, 13, 0x85, 0x2028, 0xFF, 0x10FFFF, 34))) + line[at:]
        else:
            line += line[at:]
    raw = line.encode()
    return raw if chance.random() < 0.95 else raw + chance.randbytes(chance.randint(1, 6))
