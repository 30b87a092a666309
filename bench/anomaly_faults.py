"""Faults to put into a real machine's signals, and where one is admitted.

Admitted for a fault is what is meant by it, and nothing else:

- measured signals (loads, speeds, temperatures) of the example factory file that are learned. Positions and feeds
  follow the program, overrides the operator, counters the clock: no fault is put there.
- where the machine is known to be running, on a product that it ran for 20 minutes and 200 readings before, with at
  least 20 readings of the signal in the fault and the machine running half of its time (a spike: two minutes around).
- `sigma` is the larger of 1.4826 MAD and the central 95 % / 3.92 of the healthy readings in the same state and product,
  but a reading of 0 of a temperature, which this control gives for a moment every now and then.
- not where the healthy signal does the same: a spike only where less than 0.2 % of the readings in its context are as
  far out on that side, an offset, drift or noise only where less than 2 % of the healthy means (spreads) of so many
  minutes are as far from the usual as the fault's; silence only of a signal that within 12 h kept no such silence while
  the machine ran.

In one pass through the logs faults are at least 90 minutes apart, those of one signal 3 days: what was told lately is
no news, and detectors learn from it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.core.model import SignalBlock

MINUTE, HOUR = 60_000, 3_600_000
MEASURED = (
    "x_load", "y_load", "z_load", "b_load", "c_load", "spindle_load", "spindle2_load", "spindle_speed",
    "spindle2_speed", "spindle_temperature", "spindle2_temperature",
)  # fmt: skip
LENGTH = {"spike": 0, "offset": 10, "drift": 120, "stuck": 30, "noise": 20, "dropout": 15}  # minutes
APART, SAME_APART = 90 * MINUTE, 3 * 24 * HOUR  # of one machine, of one signal
RARE = {"spike": 0.002, "offset": 0.02, "drift": 0.02, "noise": 0.02}  # share of the healthy that may be as far out
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
        if any(name == one.signal and first - APART < one.last and last + APART > one.first for one in found):
            continue
        fault = admitted(made, name, kind, first, last, sign)
        if fault is not None:
            found.append(fault)
    return sorted(found, key=lambda one: one.first)


def passes(faults: list[Fault]) -> list[list[Fault]]:
    """The same in as many passes through the logs as it takes to keep them apart."""
    made: list[list[Fault]] = []
    for fault in faults:
        room = (one for one in made if all(_apart(fault, other) for other in one))
        chosen = next(room, None)
        if chosen is None:
            made.append([fault])
        else:
            chosen.append(fault)
    return made


def _apart(fault: Fault, other: Fault) -> bool:
    apart = SAME_APART if fault.signal == other.signal else APART
    return fault.first - apart >= other.last or other.first - apart >= fault.last


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
        return bool((sign * (x - put) >= 0).mean() > RARE[kind])
    if kind in ("stuck", "dropout"):
        near = track.at[np.abs(track.at - first) < 12 * HOUR]
        pauses = np.diff(made.ran(near))
        inside = made.ran(last) - made.ran(first)
        return bool(len(pauses) < 50 or pauses.max() > inside)
    window = slice(int(np.searchsorted(track.at, first)), int(np.searchsorted(track.at, last)))
    count = window.stop - window.start
    if count > len(x):
        return True
    part = track.x[window][track.context[window] == track.context[place]]
    if kind == "noise":
        spreads, put = _means(np.abs(x - middle), count), 3.0 * np.abs(part - middle).mean()
        return bool((spreads >= put).mean() > RARE[kind])
    tail = part[-(len(part) // 2) :] if kind == "drift" else part
    moved = tail.mean() + size * (0.75 if kind == "drift" else 1.0)
    return bool((sign * (_means(x, count) - moved) >= 0).mean() > RARE[kind])


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
