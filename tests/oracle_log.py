"""What a log says, for the oracle: states and stops, products, counters and parts, corrections that stand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from pipeline.core.model import (
    Control,
    Correction,
    CountReading,
    EndOfSource,
    Frame,
    MachineConfig,
    StateChange,
)

STOPS = ("stopped", "fault")


class Made(NamedTuple):
    """Parts at an instant."""

    at: int
    good: int
    reject: int
    rework: int
    flags: frozenset[str] = frozenset()
    since: int | None = None  # instant of the count before


class Run(NamedTuple):
    """The machine in one state, corrected, for a while; `end` None: until today."""

    start: int
    end: int | None
    state: str


class Told:
    """What a log says of one machine, each message once."""

    def __init__(self, messages: Iterable[Frame | Control]) -> None:
        frames: dict[tuple[str, int, int], Frame] = {}
        controls: dict[str, Control] = {}
        for message in messages:
            if isinstance(message, Frame):
                frames.setdefault((message.source, message.epoch, message.sequence), message)
            else:
                controls.setdefault(message.id, message)
        ordered = [frame for _, frame in sorted(frames.items())]
        bodies = [control.body for control in controls.values()]
        self.states = sorted((said for frame in ordered for said in frame.states), key=lambda said: said.at)
        self.contexts = sorted((said for frame in ordered for said in frame.contexts), key=lambda said: said.at)
        self.counts = [said for frame in ordered for said in frame.counts]
        self.life = sorted({at for frame in ordered if not frame.opening for at in instants(frame)})
        self.ended = max(body.at for body in bodies if isinstance(body, EndOfSource))
        self.configs = [body for body in bodies if isinstance(body, MachineConfig)]
        self.corrections = standing([body for body in bodies if isinstance(body, Correction)])
        self.runs = list(self._runs())

    def config(self, at: int) -> MachineConfig | None:
        """The newest that is in force; of two from the same instant on, the later in the log."""
        found = None
        for config in self.configs:
            if config.effective <= at and (found is None or config.effective >= found.effective):
                found = config
        return found

    def corrected(self, at: int, what: str) -> Any:
        """What the highest revision says of it, of equal ones the later."""
        revision, found = 0, None
        for correction in self.corrections:
            said = getattr(correction, what)
            if correction.start <= at < correction.end and said is not None and correction.revision >= revision:
                revision, found = correction.revision, said
        return found

    def context(self, at: int, what: str) -> str:
        said = [getattr(entry, what) for entry in self.contexts if entry.at <= at]
        told = [word for word in said if word is not None]
        corrected = self.corrected(at, what)
        return corrected if corrected is not None else told[-1] if told else ""

    def state(self, at: int) -> str:
        said: list[StateChange] = [entry for entry in self.states if entry.at <= at]
        return self.corrected(at, "state") or (said[-1].state if said else "unknown")

    def fresh(self, at: int) -> bool:
        if self.corrected(at, "state") is not None:
            return True
        config = self.config(at)
        if config is None or config.stale_after_ms is None:
            return True  # before the first event the state is unknown
        heard = [life for life in self.life if life <= at]
        return bool(heard) and at - heard[-1] < config.stale_after_ms

    def _runs(self) -> Iterator[Run]:
        edges = {said.at for said in self.states} | {at for c in self.corrections for at in (c.start, c.end)}
        start, state = 0, "unknown"
        for edge in sorted(edges):
            if self.state(edge) != state:
                yield Run(start, edge, state)
                start, state = edge, self.state(edge)
        yield Run(start, None, state)

    def stops(self) -> list[tuple[Run, bool, list[Run]]]:
        """Logical stops, whether they are micro-stops, and what they consist of."""
        together: list[list[Run]] = []
        for before, run in pairwise([Run(0, 0, ""), *self.runs]):
            if run.state in STOPS:
                if before.state in STOPS:
                    together[-1].append(run)
                else:
                    together.append([run])
        found = []
        for parts in together:
            whole = Run(parts[0].start, parts[-1].end, "stop")
            config = self.config(whole.start)
            limit = config.micro_stop_ms if config else 0
            found.append((whole, whole.end is not None and whole.end - whole.start <= limit, parts))
        return found

    def made(self) -> list[Made]:
        """Parts per instant at which counts were said, from counters and from reports."""
        before: dict[str, int] = {}
        known: set[str] = set()
        found: list[Made] = []
        for at in sorted({count.at for count in self.counts}):
            said = [count for count in self.counts if count.at == at]
            config = self.config(at) or MachineConfig()
            flags, parts = set[str](), dict[str, int | None]()
            for what in ("total", "good", "reject", "rework"):
                parts[what] = counted(said, what, before, config.counter_modulus, flags)
            known |= {what for what, number in parts.items() if number is not None}
            good, reject = two_of_three(parts, known, flags)
            units = config.units_per_cycle
            each = units.get(self.context(at, "product"), units.get("*", 1))
            since = found[-1].at if found else None
            numbers = (each * good, each * reject, each * (parts["rework"] or 0))
            found.append(Made(at, *numbers, frozenset(flags), since))
        return found


def instants(frame: Frame) -> list[int]:
    """When a frame says something; an empty one when it was sent."""
    said = [entry.at for entries in (frame.states, frame.counts, frame.contexts, frame.events) for entry in entries]
    said += [int(at) for block in frame.signals for at in block.at]
    return said or [frame.sent]


def standing(said: Sequence[Correction]) -> list[Correction]:
    """The corrections that hold: under one id only the highest revision, and it unless it is withdrawn."""
    return [
        one for place, one in enumerate(said)
        if not one.withdrawn
        and not (one.id and any(
            other.id == one.id and (other.revision, number) > (one.revision, place) for number, other in enumerate(said)
        ))
    ]  # fmt: skip


def counted(
    said: Sequence[CountReading], what: str, before: dict[str, int], modulus: int | None, flags: set[str]
) -> int | None:
    """Parts of one kind at one instant; None: nothing was said of it."""
    reports = [n for count in said if not count.cumulative and (n := getattr(count, what)) is not None]
    readings = [n for count in said if count.cumulative and (n := getattr(count, what)) is not None]
    if not readings:
        return sum(reports) if reports else None
    value, more = max(readings), 0
    if what in before:
        last = before[what]
        if value >= last:
            more = value - last
        elif modulus and 10 * last > 9 * modulus and 10 * value < modulus:
            more = value + modulus - last
        else:
            more = value
            flags.add("counter_reset")
    before[what] = value
    return more + sum(reports)


def two_of_three(parts: dict[str, int | None], known: set[str], flags: set[str]) -> tuple[int, int]:
    """Good and reject: of two that are said the third follows; of one, by what the machine has reported up to now."""
    now = {what for what in ("total", "good", "reject") if parts[what] is not None}
    total, good, reject = (parts[what] or 0 for what in ("total", "good", "reject"))
    if len(now) == 3 and total != good + reject:
        flags.add("counts_disagree")
    by = now if len(now) > 1 else known
    if {"total", "good"} <= by:
        return good, total - good
    if {"total", "reject"} <= by:
        return total - reject, reject
    if now and "reject" not in by:
        flags.add("no_quality_signal")
    return total + good, reject
