"""Faults put into real signals, and healthy days: what the detectors make of a Mazak turning centre's logs (NIST).

The logs are not part of the project; they are looked for at <repository>/../shared/data/nist_sms. They are read once
through the engine; what it hands to the detectors is kept, changed (bench/anomaly_faults.py) and handed to new ones.

A fault is found when a flag of its signal begins within it, a minute before it or up to an hour after it. Flags of a
machine less than an hour apart are one incident; an incident in which nothing was found is a false one.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.anomaly_faults import HOUR, MEASURED, MINUTE, Call, Fault, Floats, Healthy, Track, choose, passes, put
from pipeline import factory, mapping, replay
from pipeline.adapters import Refused, Tally
from pipeline.adapters.shdr import read
from pipeline.core import scoring
from pipeline.core.detectors import MachineDetectors
from pipeline.core.minutes import Minute, Piece
from pipeline.core.model import Anomaly, SignalBlock
from pipeline.core.silence import Silences
from pipeline.core.stretches import Stretches
from pipeline.settings import load

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "nist_sms"
EXAMPLES = ROOT / "deploy" / "examples"
MACHINE = "Mazak01"
FAULTS = 32  # of a kind


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


class Flag(NamedTuple):
    signal: str
    kind: str
    first: int
    last: int


def flags(made: Healthy, calls: list[Call], tier: str) -> list[Flag]:
    """What new detectors say, and who watches for silence: each flag once, in order of its first instant."""
    found = {Flag(row.signal, row.kind, row.first, 0): row.last for row in detected(calls, tier)}
    found |= {flag._replace(last=0): flag.last for flag in silences(made, calls)}
    return sorted((flag._replace(last=last) for flag, last in found.items()), key=lambda one: one.first)


def silences(made: Healthy, calls: list[Call]) -> list[Flag]:
    """Signals that fell silent, minute by minute as the worker looks at them."""
    blocks = [call.block for call in calls if call.block is not None]
    watch, open_, said = Silences(), Stretches(), []
    for block in blocks:
        watch.add(block)
    minutes = np.unique(np.concatenate([block.at // MINUTE for block in blocks])).tolist()
    heard = set(minutes)
    for start in range(minutes[0] * MINUTE, minutes[-1] * MINUTE, MINUTE):
        low, high = np.searchsorted(made.run_to, start, side="right"), np.searchsorted(made.run_from, start + MINUTE)
        edges = zip(made.run_from[low:high].tolist(), made.run_to[low:high].tolist(), strict=True)
        pieces = [Piece(max(a, start), min(b, start + MINUTE), "running", "", a) for a, b in edges]
        said += watch.look(Minute(start, pieces, start // MINUTE in heard), frozenset(), open_)
    return [
        Flag(one.key.signal, "silence", one.stretch.first, one.stretch.last)
        for one in said
        if one.key.signal in MEASURED
    ]


def detected(calls: list[Call], tier: str) -> list[Anomaly]:
    """The last row of each flag of new detectors; `tier` rich: of both tiers, as where the factory file asks for it."""
    machine, rows = MachineDetectors(), []
    tiers: dict[int, Any] = {}
    for call in calls:
        rest = call.rest
        if call.block is not None and tier != "default":
            known = tiers.setdefault(id(rest[2]), {name: replace(one, detector=tier) for name, one in rest[2].items()})
            rest = (*rest[:2], known, *rest[3:])
        rows += getattr(machine, call.method)(*([call.block] if call.block is not None else []), *rest)
    return list({(row.signal, row.kind, row.first): row for row in rows}.values())


def incidents(found: list[Flag]) -> list[list[Flag]]:
    """Flags of a machine that touch, or are less than an hour apart."""
    groups: list[list[Flag]] = []
    until = 0
    for flag in found:
        if not groups or flag.first > until + HOUR:
            groups.append([])
            until = flag.last
        groups[-1].append(flag)
        until = max(until, flag.last)
    return groups


def finds(flag: Flag, fault: Fault) -> bool:
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


def measure(made: Healthy, kind: str, tier: str, seed: int = 0) -> Score:
    """Faults of one kind found, and false incidents: of all passes, each once, as the month is one and the same."""
    faults = choose(made, kind, np.random.default_rng([seed, len(kind), ord(kind[1])]), FAULTS)
    tally, false = Score(put=len(faults)), set()
    for some in passes(faults):
        found = flags(made, put(made.calls, some), tier)
        tally.found += sum(any(finds(flag, one) for flag in found) for one in some)
        for group in incidents(found):
            if any(finds(flag, one) for flag in group for one in some):
                tally.true += 1
            else:
                false.add(group[0].first)
    tally.incidents = tally.true + len(false)
    return tally
