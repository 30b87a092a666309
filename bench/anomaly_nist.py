"""Faults put into real signals, and healthy days: what the detectors make of a Mazak turning centre's logs (NIST).

The logs are not part of the project; they are looked for at <repository>/../shared/data/nist_sms. They are read once
through the engine; what it hands to the detectors is kept, changed and handed to new ones, fault by fault.

Admitted for a fault is what is meant by it, and nothing else:

- measured signals (loads, speeds, temperatures) of the example factory file that are learned. Positions and feeds
  follow the program, overrides the operator, counters the clock: no fault is put there.
- where the machine is known to be running, on a product that it ran for 20 minutes and 200 readings before, with at
  least 20 readings of the signal in the fault and the machine running half of its time (a spike: two minutes around).
- `sigma` is the larger of 1.4826 MAD and the central 95 % / 3.92 of the healthy readings in the same state and product,
  but a reading of 0 of a temperature, which this control gives for a moment every now and then.
- not where the healthy signal does the same: a spike only where less than 0.2 % of the readings in its context are as
  far out on that side, an offset, drift or noise only where less than 2 % of the healthy means (spreads) of so many
  minutes are as far from the usual as the fault's; silence only of a signal whose longest healthy pause of running time
  is shorter than the fault's running time.

Faults on one machine are at least 90 minutes apart. A fault is found when a flag of its signal begins within it, a
minute before it or up to an hour after it. Flags of a machine less than an hour apart are
one incident; an incident in which nothing was found is a false one.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline import factory, mapping, replay
from pipeline.adapters import Refused, Tally
from pipeline.adapters.shdr import read
from pipeline.core import scoring
from pipeline.core.detectors import MachineDetectors
from pipeline.core.model import Anomaly, SignalBlock
from pipeline.settings import load

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "nist_sms"
EXAMPLES = ROOT / "deploy" / "examples"
MINUTE, HOUR = 60_000, 3_600_000
MACHINE = "Mazak01"
MEASURED = (
    "x_load", "y_load", "z_load", "b_load", "c_load", "spindle_load", "spindle2_load", "spindle_speed",
    "spindle2_speed", "spindle_temperature", "spindle2_temperature",
)  # fmt: skip
LENGTH = {"spike": 0, "offset": 10, "drift": 120, "stuck": 30, "noise": 20, "dropout": 15}  # minutes
APART = 90 * MINUTE
EACH = 16  # faults of a kind in one pass through the logs
PASSES = 2
Floats = NDArray[np.float64]


class Call(NamedTuple):
    """What the engine said to the detectors: the method, its block of samples (or None), everything else."""

    method: str
    block: SignalBlock | None
    rest: tuple[Any, ...]


class Fault(NamedTuple):
    signal: str
    kind: str
    first: int
    last: int
    size: float  # of a spike, offset or drift, in the signal's unit
    middle: float  # around which noise grows


@dataclass
class Track:
    """All healthy readings of one signal, with the context each was judged in."""

    at: NDArray[np.int64]
    x: Floats
    context: NDArray[np.int64]  # an index of `Healthy.contexts`


@dataclass
class Healthy:
    calls: list[Call]
    tracks: dict[str, Track]
    contexts: list[tuple[str, str]]
    run_from: NDArray[np.int64]
    run_to: NDArray[np.int64]

    def ran(self, at: Any) -> Any:
        """Running time of the machine until an instant, ms."""
        k = np.searchsorted(self.run_from, at, side="right") - 1
        before = np.concatenate(([0], np.cumsum(self.run_to - self.run_from)))[np.maximum(k, 0)]
        part = np.minimum(at - self.run_from[np.maximum(k, 0)], (self.run_to - self.run_from)[np.maximum(k, 0)])
        return np.where(k >= 0, before + part, 0)


class Recorder(MachineDetectors):
    """Detectors that keep what they are told."""

    __slots__ = ()
    calls: list[Call] = []  # noqa: RUF012

    def observe(self, block: SignalBlock, *rest: Any) -> list[Anomaly]:  # type: ignore[override]
        self.calls.append(Call("observe", block, rest))
        return super().observe(block, *rest)

    def advance(self, *rest: Any) -> list[Anomaly]:  # type: ignore[override]
        self.calls.append(Call("advance", None, rest))
        return super().advance(*rest)


def healthy(machine: str = MACHINE) -> Healthy:
    """The logs of a machine as its detectors see them."""
    rules = mapping.load(EXAMPLES / f"{machine.lower()}.mapping.yaml")
    logs = sorted((DATA / machine).glob(f"{machine}-*.txt.gz"))
    messages = [one for one in read(logs, [rules], DATA / "Devices.xml", Tally()) if not isinstance(one, Refused)]
    plant = factory.load(EXAMPLES / "nist.factory.yaml")
    configs = [control for control in factory.controls(plant, 0, "bench") if control.machine == machine]
    Recorder.calls = calls = []
    scoring.MachineDetectors = Recorder  # type: ignore[misc]
    try:
        emitted = replay.run([*configs, *messages], load({}).engine())
    finally:
        scoring.MachineDetectors = MachineDetectors  # type: ignore[misc]
    runs = sorted(
        (row.start, row.end) for row in replay.current(emitted.intervals) if row.state == "running" and row.end
    )
    tracks, contexts = _tracks(calls)
    return Healthy(calls, tracks, contexts, *(np.array(edge, dtype=np.int64) for edge in zip(*runs, strict=True)))


def _tracks(calls: list[Call]) -> tuple[dict[str, Track], list[tuple[str, str]]]:
    found: dict[str, list[tuple[NDArray[np.int64], Floats, int]]] = defaultdict(list)
    numbers: dict[tuple[str, str], int] = {}
    for call in calls:
        if call.block is None:
            continue
        state, product = call.rest[0], call.rest[1] if call.rest[0] == "running" else ""
        number = numbers.setdefault((state, product), len(numbers))
        for row, name in enumerate(call.block.names):
            if name in MEASURED:
                found[name].append((call.block.at, call.block.values[row], number))
    tracks = {}
    for name, parts in found.items():
        at, x = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
        context = np.concatenate([np.full(len(part[0]), part[2]) for part in parts])
        tracks[name] = Track(at, x, context)
    return tracks, list(numbers)


def usual(name: str, x: Floats) -> tuple[float, float]:
    """Middle and robust sigma of readings."""
    if name.endswith("temperature"):
        x = x[x != 0.0]
    if not len(x):
        return 0.0, 0.0
    middle = float(np.median(x))
    low, high = np.percentile(x, [2.5, 97.5])
    return middle, max(1.4826 * float(np.median(np.abs(x - middle))), float(high - low) / 3.92)


def choose(made: Healthy, kind: str, rng: np.random.Generator, count: int) -> list[Fault]:
    """Faults at random places that are admitted, on signals in turn as far as they go."""
    found: list[Fault] = []
    names = [name for name in MEASURED if name in made.tracks]
    for turn in range(400 * count):
        if len(found) == count:
            break
        name = names[turn % len(names)]
        track = made.tracks[name]
        first = int(track.at[rng.integers(len(track.at))])
        sign = float(rng.choice([-1.0, 1.0]))
        last = first + LENGTH[kind] * MINUTE
        if any(first - APART < one.last and last + APART > one.first for one in found):
            continue
        fault = admitted(made, name, kind, first, last, sign)
        if fault is not None:
            found.append(fault)
    return sorted(found, key=lambda one: one.first)


def admitted(made: Healthy, name: str, kind: str, first: int, last: int, sign: float) -> Fault | None:
    track = made.tracks[name]
    place = int(np.searchsorted(track.at, first))
    context = int(track.context[place])
    if made.contexts[context][0] != "running":
        return None
    here = track.context == context
    before = here & (track.at < first)
    span = (max(first - MINUTE, 0), first + MINUTE) if kind == "spike" else (first, last)
    ran = made.ran(np.array(span))
    alive = int(((track.at >= span[0]) & (track.at < span[1])).sum())
    if before.sum() < 200 or made.ran(first) - made.ran(int(track.at[before][0])) < 20 * MINUTE:
        return None
    if ran[1] - ran[0] < 0.5 * (span[1] - span[0]) or (kind != "spike" and alive < 20):
        return None
    middle, sigma = usual(name, track.x[here])
    size = sign * sigma * (6.0 if kind == "spike" else 3.0)
    if sigma == 0.0 or _does_so_itself(made, track, kind, place, here, first, last, middle, size):
        return None
    return Fault(name, kind, first, last, size, middle)


def _does_so_itself(
    made: Healthy, track: Track, kind: str, place: int, here: NDArray[np.bool_], first: int, last: int, middle: float,
    size: float,
) -> bool:  # fmt: skip
    """Whether the healthy signal looks like the fault, so that nobody could tell."""
    x, sign = track.x[here], np.sign(size)
    if kind == "spike":
        put = track.x[place] + size
        return bool((sign * (x - put) >= 0).mean() > 0.002)
    if kind in ("stuck", "dropout"):
        pauses = np.diff(made.ran(track.at[np.abs(track.at - first) < 12 * HOUR]))
        inside = made.ran(last) - made.ran(first)
        return bool(len(pauses) < 50 or pauses.max() > inside)
    window = slice(int(np.searchsorted(track.at, first)), int(np.searchsorted(track.at, last)))
    count = window.stop - window.start
    if count > len(x):
        return True
    part = track.x[window][track.context[window] == track.context[place]]
    if kind == "noise":
        spreads, put = _means(np.abs(x - middle), count), 3.0 * np.abs(part - middle).mean()
        return bool((spreads >= put).mean() > 0.02)
    tail = part[-(len(part) // 2) :] if kind == "drift" else part
    moved = tail.mean() + size * (0.75 if kind == "drift" else 1.0)
    return bool((sign * (_means(x, count) - moved) >= 0).mean() > 0.02)


def _means(x: Floats, count: int) -> Floats:
    total = np.concatenate(([0.0], np.cumsum(x)))
    return np.asarray((total[count:] - total[:-count]) / count)


def put(calls: list[Call], faults: list[Fault]) -> list[Call]:
    """The same with faults in it."""
    changed: list[Call] = []
    held: dict[Fault, float] = {}
    spent: set[Fault] = set()
    for call in calls:
        block = call.block
        if block is None:
            changed.append(call)
            continue
        near = [
            one for one in faults
            if one.signal in block.names and one.first <= block.at[-1] and one.last >= block.at[0]
        ]  # fmt: skip
        if not near:
            changed.append(call)
            continue
        values = block.values.copy()
        for one in near:
            row = block.names.index(one.signal)
            inside = (block.at >= one.first) & (block.at < one.last)
            if one.kind == "spike" and one not in spent and (block.at == one.first).any():
                values[row, block.at == one.first] += one.size
                spent.add(one)
            elif one.kind == "offset":
                values[row, inside] += one.size
            elif one.kind == "drift":
                values[row, inside] += one.size * (block.at[inside] - one.first) / (one.last - one.first)
            elif one.kind == "noise":
                values[row, inside] = one.middle + 3.0 * (values[row, inside] - one.middle)
            elif one.kind == "stuck" and inside.any():
                values[row, inside] = held.setdefault(one, float(values[row, inside][0]))
            elif one.kind == "dropout":
                values[row, inside] = np.nan
        changed += _said(Call(call.method, replace(block, values=values), call.rest), near)
    return changed


def _said(call: Call, near: list[Fault]) -> list[Call]:
    """Without the readings that dropped out, as if they had never been sent."""
    block = call.block
    assert block is not None
    silent = sorted({block.names.index(one.signal) for one in near if one.kind == "dropout"})
    if not silent:
        return [call]
    rest = [row for row in range(len(block.names)) if row not in silent]
    parts = [(rest, np.ones(len(block.at), dtype=bool))] if rest else []
    parts += [([row], ~np.isnan(block.values[row])) for row in silent]
    made = []
    for rows, keep in parts:
        if keep.any():
            units = [block.units[row] for row in rows] if block.units else []
            kept = SignalBlock(block.at[keep], [block.names[row] for row in rows], block.values[rows][:, keep], units)
            made.append(Call(call.method, kept, call.rest))
    return made


def flags(calls: list[Call], tier: str) -> list[Anomaly]:
    """What new detectors say: the last row of each flag, in order of its first instant."""
    machine, rows = MachineDetectors(), []
    tiers: dict[int, Any] = {}
    for call in calls:
        rest = call.rest
        if call.block is not None and tier != "default":
            known = tiers.setdefault(id(rest[2]), {name: replace(one, detector=tier) for name, one in rest[2].items()})
            rest = (*rest[:2], known, *rest[3:])
        rows += getattr(machine, call.method)(*([call.block] if call.block is not None else []), *rest)
    return sorted({(row.signal, row.kind, row.first): row for row in rows}.values(), key=lambda row: row.first)


def incidents(found: list[Anomaly]) -> list[list[Anomaly]]:
    """Flags of a machine that touch, or are less than an hour apart."""
    groups: list[list[Anomaly]] = []
    until = 0
    for flag in found:
        if not groups or flag.first > until + HOUR:
            groups.append([])
            until = flag.last
        groups[-1].append(flag)
        until = max(until, flag.last)
    return groups


def finds(flag: Anomaly, fault: Fault) -> bool:
    return flag.signal == fault.signal and fault.first - MINUTE <= flag.first <= fault.last + HOUR


@dataclass
class Score:
    put: int = 0
    found: int = 0
    incidents: int = 0
    true: int = 0

    def __str__(self) -> str:
        return (
            f"recall {self.found}/{self.put} = {self.found / max(self.put, 1):.2f}, "
            f"precision {self.true}/{self.incidents} = {self.true / max(self.incidents, 1):.2f}"
        )


def measure(made: Healthy, kind: str, tier: str) -> tuple[Score, list[tuple[Fault, bool]]]:
    tally, each = Score(), []
    for seed in range(PASSES):
        faults = choose(made, kind, np.random.default_rng([seed, len(kind), ord(kind[1])]), EACH)
        found = flags(put(made.calls, faults), tier)
        for one in faults:
            each.append((one, any(finds(flag, one) for flag in found)))
        groups = incidents(found)
        tally.incidents += len(groups)
        tally.true += sum(any(finds(flag, one) for flag in group for one in faults) for group in groups)
    tally.put, tally.found = len(each), sum(hit for _, hit in each)
    return tally, each
