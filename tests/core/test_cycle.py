"""Counts against states: what is usual is quiet; slow cycles, parts without running, running without parts are not.

Every case is a log of a machine by the minute, through the engine's own history.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import msgpack
import pytest

from pipeline.core.cycle import Cycles
from pipeline.core.history import History
from pipeline.core.minutes import minute_of
from pipeline.core.model import Context, CountReading, Frame, MachineConfig, StateChange
from pipeline.core.stretches import MINUTE_MS, Key, Stretch, Stretches
from pipeline.core.wording import sentence

START = 1_700_000_040_000
HOUR = 60


def fold(frame: Frame, minutes: int, config: MachineConfig | None = None, silent: range = range(0)) -> list[Stretch]:
    """The flags, as they were in the end, of a machine that says this; it gives a sign of life each 10 s."""
    history, cycles, open_ = History("m"), Cycles(), Stretches()
    history.configure(config or MachineConfig(stale_after_ms=300_000))
    history.insert(frame)
    for minute in range(minutes):
        if minute not in silent:
            at = START + minute * MINUTE_MS
            history.heard.add(at, at + 50_000, 60_000)
    found = {}
    for minute in range(minutes):
        said = cycles.look(minute_of(history, START + minute * MINUTE_MS), open_)
        for key, stretch in said + open_.close(START + (minute + 1) * MINUTE_MS):
            found[key, stretch.first] = stretch
        cycles = Cycles.unpack(msgpack.unpackb(msgpack.packb(cycles.pack())))
        open_ = Stretches.unpack(msgpack.unpackb(msgpack.packb(open_.pack())))
    return [stretch for _, stretch in sorted(found.items(), key=lambda one: one[1].first)]


def kinds(frame: Frame, minutes: int, **more: object) -> list[str]:
    return [what(stretch) for stretch in fold(frame, minutes, **more)]  # type: ignore[arg-type]


def what(stretch: Stretch) -> str:
    if stretch.state != "running":
        return "parts"
    return "run" if stretch.low == 0.0 else "slow" if (stretch.value or 0) > (stretch.expected or 0) else "fast"


def always(seconds: float) -> Callable[[int], float]:
    return lambda _: seconds


def made(minutes: int, seconds: Callable[[int], float], every: int = 1, seed: int = 1) -> Frame:
    """Runs all the time; a part takes `seconds(minute)` and some chance; counted when `every` parts are made."""
    chance, at, parts = random.Random(seed), 0.0, 0
    frame = Frame("m", "plc", 0, 0, 0, states=[StateChange(START, "running")])
    while True:
        at += seconds(int(at // 60)) * chance.uniform(0.95, 1.1) * (1.6 if chance.random() < 0.01 else 1.0)
        if at >= 60 * minutes:
            return frame
        parts += 1
        if parts % every == 0:
            frame.counts.append(CountReading(START + int(1000 * at), True, total=parts))


@pytest.mark.parametrize("every", [1, 10, 60])
@pytest.mark.parametrize("seconds", [4, 35, 200])
def test_usual_cycles_are_quiet_however_rarely_they_are_counted(seconds: int, every: int) -> None:
    assert kinds(made(24 * HOUR, always(seconds), every), 24 * HOUR) == []


@pytest.mark.parametrize(("factor", "kind"), [(1.3, "slow"), (0.75, "fast")])
def test_a_cycle_that_changes_is_flagged_and_ends(factor: float, kind: str) -> None:
    frame = made(14 * HOUR, lambda minute: 35 * (factor if 480 <= minute < 660 else 1.0))
    (flag,) = fold(frame, 14 * HOUR)
    assert what(flag) == kind
    assert abs(flag.first - (START + 480 * MINUTE_MS)) <= 15 * MINUTE_MS
    assert abs(flag.last - (START + 660 * MINUTE_MS)) <= 15 * MINUTE_MS
    assert flag.value == pytest.approx(36 * factor, rel=0.1)
    assert flag.low < flag.expected < flag.high
    assert f"% {'slower' if kind == 'slow' else 'faster'} than usual" in words(flag, kind)


def words(flag: Stretch, kind: str) -> str:
    return sentence(Key("", "cycle", kind), flag)


def test_another_product_has_its_own_usual_cycle() -> None:
    frame = made(20 * HOUR, lambda minute: 60 if minute // 240 % 2 else 25)
    frame.contexts = [Context(START + k * 240 * MINUTE_MS, "AB"[k % 2]) for k in range(5)]
    assert kinds(frame, 20 * HOUR) == []


def test_stops_do_not_count_as_cycle_time() -> None:
    chance, frame = random.Random(3), Frame("m", "plc", 0, 0, 0)
    at, parts, left = 0, 0, 40
    while at < 60 * 16 * HOUR:  # runs for minutes, stands for seconds or half an hour; parts go on where they stopped
        frame.states.append(StateChange(START + 1000 * at, "running"))
        for _ in range(chance.randint(30, 900)):
            at, left = at + 1, left - 1
            if not left:
                parts, left = parts + 1, chance.randint(38, 44)
                frame.counts.append(CountReading(START + 1000 * at, False, good=1))
        frame.states.append(StateChange(START + 1000 * at, chance.choice(("stopped", "starved", "setup"))))
        at += chance.choice((5, 40, 90, 300, 2000))
    assert kinds(frame, 16 * HOUR) == []


def test_running_without_parts_is_flagged_until_the_next_one() -> None:
    frame = made(10 * HOUR, always(35))
    frame.counts = [one for one in frame.counts if not START + 400 * MINUTE_MS <= one.at < START + 450 * MINUTE_MS]
    (flag,) = fold(frame, 10 * HOUR)
    assert what(flag) == "run"
    assert abs(flag.first - (START + 400 * MINUTE_MS)) < MINUTE_MS
    assert abs(flag.last - (START + 450 * MINUTE_MS)) <= MINUTE_MS
    assert "has run 50 min without a part while running" in words(flag, "run")


def test_a_machine_that_never_counts_is_not_asked_for_parts() -> None:
    assert kinds(Frame("m", "plc", 0, 0, 0, states=[StateChange(START, "running")]), 12 * HOUR) == []


def test_a_silent_machine_is_not_said_to_run_without_parts() -> None:
    frame = made(14 * HOUR, always(35))
    frame.counts = [one for one in frame.counts if not START + 400 * MINUTE_MS <= one.at < START + 600 * MINUTE_MS]
    assert kinds(frame, 14 * HOUR, silent=range(400, 600)) == []
    assert kinds(frame, 14 * HOUR, silent=range(400, 600), config=MachineConfig()) == []


def standing(state: str, counts: list[tuple[float, int]]) -> Frame:
    """Runs six hours, then stands; parts counted then, as (minute, parts)."""
    frame = made(6 * HOUR, always(35))
    frame.states.append(StateChange(START + 360 * MINUTE_MS, state))
    parts = frame.counts[-1].total or 0
    for minute, more in counts:
        parts += more
        frame.counts.append(CountReading(START + int(minute * MINUTE_MS), True, total=parts))
    return frame


def test_parts_of_a_machine_that_stands_are_flagged() -> None:
    frame = standing("idle", [(365 + k, 2) for k in range(20)])
    (flag,) = fold(frame, 9 * HOUR)
    assert (what(flag), flag.state) == ("parts", "idle")
    assert flag.last == START + 384 * MINUTE_MS
    assert "parts were counted while idle" in words(flag, "parts")


@pytest.mark.parametrize(
    ("state", "counts"),
    [
        ("stopped", [(360.1, 1), (361, 1)]),  # what was made just before it stopped
        ("idle", [(420, 50)]),  # one report at the end of the shift
        ("setup", [(370 + k, 1) for k in range(20)]),  # parts of a trial run
        ("idle", [(365 + k, 0) for k in range(20)]),  # readings that say the same
    ],
)
def test_parts_that_a_standing_machine_may_tell(state: str, counts: list[tuple[float, int]]) -> None:
    assert kinds(standing(state, counts), 9 * HOUR) == []


def test_a_counter_that_begins_again_is_no_cycle() -> None:
    frame = made(12 * HOUR, always(35))
    frame.counts = [one._replace(total=(one.total or 0) % 300) for one in frame.counts]
    assert kinds(frame, 12 * HOUR) == []
    assert kinds(frame, 12 * HOUR, config=MachineConfig(counter_modulus=300)) == []
