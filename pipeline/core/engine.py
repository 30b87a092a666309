"""The engine: folds a partition's records into rows; a pure function of (state, batch)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.core.burst import Burst
from pipeline.core.machine import Machine
from pipeline.core.model import Control, Emitted, Record, Tick
from pipeline.core.settings import Clock, EngineSettings, stopped

__all__ = ["ENGINE_VERSION", "OLDEST_VERSION", "Engine", "EngineSettings"]

ENGINE_VERSION = 2  # format of the snapshots that are written
OLDEST_VERSION = 1  # of those that are read; a worker refuses older and newer ones


class Engine:
    """All machines of one partition. One machine's rows never depend on another's records, nor on batch borders.

    `clock` (seconds) only tells how long the detectors took; no row depends on it.
    """

    def __init__(self, settings: EngineSettings, clock: Clock = stopped) -> None:
        self.settings, self._clock = settings, clock
        self.changed: set[str] = set()
        self._machines: dict[str, Machine] = {}

    @property
    def machines(self) -> Mapping[str, Machine]:
        return self._machines

    def fold(self, records: Sequence[Record | Burst]) -> Emitted:
        """Apply records, those of each machine in offset order; returns the rows that they make known."""
        emitted = Emitted()
        for record in records:
            name = record.machine if isinstance(record, Burst) else record.message.machine
            machine = self._machines.get(name)
            if machine is None:
                machine = self._machines[name] = Machine(name, self.settings, self._clock)
            if isinstance(record, Burst):
                machine.fold_burst(record, emitted)
            else:
                machine.fold(record, emitted)
            self.changed.add(name)
        return emitted

    def ticks(self, now: int, every: int) -> list[Control]:
        """Ticks due at `now` [ms] for live machines that have been silent for `every` ms.

        They stand in the log, so that time passes for a silent machine alike in the worker and in a replay.
        """
        return [
            Control(name, f"tick-{at}", now, "worker", Tick(at))
            for name, machine in self._machines.items()
            if machine.live and now - machine.last_arrived >= every
            for at in [machine.newest + now - machine.last_arrived]
        ]

    def snapshot(self, machine: str) -> dict[str, Any]:
        """Plain values (msgpack-able) that hold the machine's whole state."""
        return self._machines[machine].pack()

    def restore(self, machine: str, snapshot: dict[str, Any]) -> None:
        """Put a machine into the state of a snapshot of OLDEST_VERSION to ENGINE_VERSION."""
        restored = self._machines[machine] = Machine.unpack(machine, self.settings, snapshot, self._clock)
        going_on = restored.windows.going_on
        if going_on is not None and "area" not in snapshot["windows"]["going_on"]:  # version 1 had none: it goes on
            going_on.area = restored.history.timeline.config(going_on.start).config.area
