"""Machines on a serial line with buffers between them, event by event: states, parts, orders, wear."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from pipeline.core.model import MachineEvent
from pipeline.core.plant_duty import duty
from pipeline.core.plant_layout import LineDesign, MachineDesign, Order
from pipeline.core.plant_reports import Reporter

MINUTE_MS = 60_000
WEAR_LIFE_MS = 45 * 3_600_000
BUFFER_PARTS = 30
STOPS = (  # weight, what happens: (state, shortest, mean beyond it) in seconds, reason
    (62, (("stopped", 3, 22),), "jam"),
    (6, (("fault", 8, 30),), "sensor"),
    (9, (("stopped", 130, 300),), "operator"),
    (7, (("fault", 180, 700),), "drive"),
    (3, (("stopped", 15, 40), ("fault", 120, 500)), "overload"),
    (2, (("fault", 60, 200), ("stopped", 20, 100)), "guard door"),
    (8, (("idle", 40, 200),), "no operator"),
    (2, (("maintenance", 600, 900),), "tool change"),
)
WEIGHTS = tuple(stop[0] for stop in STOPS)


class Segment(NamedTuple):
    """From `at` on the machine is physically in this state, on a product of this load, worn so far (0 to 1)."""

    at: int
    state: str
    load: float
    wear: float


@dataclass(slots=True)
class Buffer:
    """Parts between two positions of a line, as the orders that they belong to."""

    orders: deque[Order] = field(default_factory=deque)
    feeders: list[Machine] = field(default_factory=list)
    takers: list[Machine] = field(default_factory=list)

    def put(self, order: Order, at: int) -> None:
        self.orders.append(order)
        if len(self.orders) >= 3:
            for machine in self.takers:
                machine.wake("starved", at)

    def take(self, at: int) -> Order:
        order = self.orders.popleft()
        if len(self.orders) <= BUFFER_PARTS // 2:
            for machine in self.feeders:
                machine.wake("blocked", at)
        return order


class Source:
    """Raw material for the first position: order after order, never empty."""

    def __init__(self, orders: Iterator[Order]) -> None:
        self._orders = orders
        self._order = next(orders)
        self._left = self._order.quantity

    def peek(self) -> Order:
        return self._order

    def take(self) -> Order:
        order = self._order
        self._left -= 1
        if not self._left:
            self._order = next(self._orders)
            self._left = self._order.quantity
        return order


class Machine:
    """One machine: a semi-Markov process, interrupted by the calendar and by its neighbours.

    `next_at` is when it acts next; `act` is called exactly then.
    """

    def __init__(
        self, design: MachineDesign, reporter: Reporter, seed: str, start: int, source: Source | Buffer,
        sink: Buffer | None, order: Order,
    ) -> None:  # fmt: skip
        self.design, self.reporter = design, reporter
        self.segments: list[Segment] = []  # taken away by whoever makes the signals
        self._marked: tuple[str, float] | None = None
        self._rng = random.Random(seed)
        self._source, self._sink, self._order = source, sink, order
        self._windows = duty(design, self._rng, start)
        self._window = next(self._windows)
        self._since = start
        self._phase = "away"
        self._part_left = self._setup_left = 0
        self._finished: Order | None = None
        self._fresh = 0
        self._wear = self._rng.uniform(0, 0.7)
        self._run_left = self._draw_run()
        self._stops: deque[tuple[str, int]] = deque()
        self._reason = ""
        self.connected_at = self.next_at = start + self._rng.randrange(200, 15_000)

    def wake(self, phase: str, at: int) -> None:
        """A neighbour made room or brought parts."""
        if self._phase == phase:
            self.next_at = at

    def act(self, at: int) -> None:
        """Accounts for the time since it last acted, then goes on."""
        if at == self.connected_at:
            self.reporter.connect(at, self._window.before, self._order)
            self._mark(at, self._window.before)
        elapsed = at - self._since
        self._since = at
        if self._phase == "running":
            self._part_left -= elapsed
            self._run_left -= elapsed
            self._wear = min(1.0, self._wear + elapsed / WEAR_LIFE_MS)
            if self._part_left == 0:
                self._finish(at)
        elif self._phase == "setup":
            self._setup_left -= elapsed
        self._go_on(at)

    def _go_on(self, at: int) -> None:
        if self._stops:
            self._next_stop(at)
        elif at >= self._window.end or at < self._window.start:
            self._leave(at)
        elif self._run_left <= 0:
            self._interrupt(at)
        elif self._finished is not None and not self._pass_on(at):
            self._enter(at, "blocked", self._window.end)
        elif self._setup_left > 0:
            self._enter(at, "setup", min(at + self._setup_left, self._window.end))
        elif self._part_left > 0 or self._start_part(at):
            self._enter(at, "running", min(at + min(self._part_left, self._run_left), self._window.end))
        elif self._setup_left > 0:
            self._enter(at, "setup", min(at + self._setup_left, self._window.end))
        else:
            self._enter(at, "starved", self._window.end)

    def _enter(self, at: int, state: str, until: int, reason: str | None = None) -> None:
        self._phase = state
        self.next_at = until
        self.reporter.state(at, state, reason)
        self._mark(at, state)

    def _mark(self, at: int, state: str) -> None:
        load = self._order.product.load
        if self._marked != (state, load):
            self._marked = state, load
            self.segments.append(Segment(at, state, load, self._wear))

    def _leave(self, at: int) -> None:
        while self._window.end <= at:
            self._window = next(self._windows)
        if self._window.start <= at:
            self._go_on(at)
            return
        self._enter(at, self._window.before, self._window.start)
        self._phase = "away"

    def _interrupt(self, at: int) -> None:
        _, plan, reason = self._rng.choices(STOPS, WEIGHTS)[0]
        for state, shortest, mean in plan:
            self._stops.append((state, int(1000 * (shortest + self._rng.expovariate(1 / mean)))))
        if plan[0][0] == "maintenance":
            self._wear = 0.0
        self._run_left = self._draw_run()
        self._reason = reason
        self._next_stop(at)

    def _next_stop(self, at: int) -> None:
        state, length = self._stops.popleft()
        self._enter(at, state, at + length, self._reason)
        if state == "fault":
            code = f"E{sum(map(ord, self._reason)) % 900 + 100}"
            self.reporter.event(MachineEvent(at, "alarm", "fault", code, self._reason))

    def _pass_on(self, at: int) -> bool:
        assert self._finished is not None
        if self._sink is not None:
            if len(self._sink.orders) >= BUFFER_PARTS:
                return False
            self._sink.put(self._finished, at)
        self._finished = None
        return True

    def _start_part(self, at: int) -> bool:
        """Takes the next part and draws its cycle; False when there is none, or when it asks for setup first."""
        if isinstance(self._source, Buffer):
            if not self._source.orders:
                return False
            order = self._source.orders[0]
        else:
            order = self._source.peek()
        if order.name != self._order.name:
            setup = order.product != self._order.product
            self._order = order
            self.reporter.order(at, order)
            if setup:
                self._setup_left = int(self._rng.uniform(4, 16) * MINUTE_MS)
                self._fresh = 8
                return False
        if isinstance(self._source, Buffer):
            self._source.take(at)
        else:
            self._source.take()
        ideal = order.product.cycle_ms * self.design.cycle_factor
        slow = 1 + self.design.slowness * (0.5 + self._rng.expovariate(1.0)) + 0.04 * self._wear
        if self._rng.random() < 0.01:
            slow += self._rng.uniform(0.2, 1.0)
        self._part_left = int(ideal * slow)
        return True

    def _finish(self, at: int) -> None:
        scrap = self.design.scrap * (1 + 2 * self._wear) + (0.1 if self._fresh else 0)
        self._fresh = max(0, self._fresh - 1)
        good = self._rng.random() >= scrap
        self.reporter.part(at, good, good and self._rng.random() < 0.01)
        if good:
            self._finished = self._order

    def _draw_run(self) -> int:
        return 1000 + int(self._rng.expovariate(1 / self.design.run_mean_ms))


class Line:
    """The machines of one line; `advance(until)` lets everything before `until` happen."""

    def __init__(self, design: LineDesign, reporters: dict[str, Reporter], seed: int, start: int) -> None:
        source = Source(design.orders())
        positions = sorted({machine.config.position for machine in design.machines})
        half = [source.peek()] * (BUFFER_PARTS // 2)
        buffers = {position: Buffer(deque(half)) for position in positions[1:]}
        self.machines: list[Machine] = []
        for machine in design.machines:
            here = positions.index(machine.config.position)
            feed: Source | Buffer = buffers[positions[here]] if here else source
            sink = buffers[positions[here + 1]] if here + 1 < len(positions) else None
            own_seed = f"{seed}/{design.name}/{len(self.machines)}"
            made = Machine(machine, reporters[machine.name], own_seed, start, feed, sink, source.peek())
            self.machines.append(made)
            if isinstance(feed, Buffer):
                feed.takers.append(made)
            if sink is not None:
                sink.feeders.append(made)

    def advance(self, until: int) -> None:
        machines = self.machines
        while True:
            first = machines[0]
            for machine in machines:
                if machine.next_at < first.next_at:
                    first = machine
            if first.next_at >= until:
                break
            first.act(first.next_at)
        for machine in machines:
            machine.reporter.settle(until)
