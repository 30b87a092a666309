"""Faults of the store and of the sink: away, slow, killed, full, other passwords; sinks killed, doubled, frozen."""

from __future__ import annotations

import signal
import time

from book import NotSeen, Wrong, fault
from sink_trial import COLUMNS, NO_TOKENS, OTHER_GROUP, Load, SinkProcess, drained, held, lag, wrong
from trial import Trial, expect, last_line, says, stops
from worker_trial import until

from pipeline.core.model import OeeFact

AWAY_S = 60.0
STEPS = 60
NO_MERGES = "max_bytes_to_merge_at_max_space_in_pool = 1, max_bytes_to_merge_at_min_space_in_pool = 1"
IMPATIENT = "from pipeline.store import client; client.Store.__init__.__defaults__ = (None, 2.0); "
TIGHT = """
import pathlib
from collections.abc import Mapping
from pipeline.store import client

class Tight(Mapping):
    def __init__(self, plain):
        self.plain = plain
    def _now(self):
        tight = {"max_memory_usage": 1000, "max_untracked_memory": 1}
        return {**self.plain, **(tight if pathlib.Path(PATH).exists() else {})}
    def __getitem__(self, name):
        return self._now()[name]
    def __iter__(self):
        return iter(self._now())
    def __len__(self):
        return len(self._now())

client.INSERT = Tight(client.INSERT)
"""  # a limit of the server that comes and goes with a file


def rows_of(trial: Trial) -> Load:
    """Records whose rows are known; no merge may hide a row that is there twice, not even after a restart."""
    for table in COLUMNS.keys() - {"oee_facts"}:
        trial.command(f"ALTER TABLE {table} MODIFY SETTING {NO_MERGES}")
    return Load(trial.settings, trial.seed)


def settled(trial: Trial, rows: Load, sink: SinkProcess) -> None:
    """Let the sink take everything, end it, compare every row, copies and all."""
    drained(trial.settings, sink)
    trial.end_processes()
    compare(trial, rows)


def compare(trial: Trial, rows: Load, final: bool = False) -> None:
    if found := wrong(held(trial.settings, final), rows.want):
        raise Wrong(str(found))


@fault(7, "store down for minutes, at start and mid-run", rounds=2)
def store_down(trial: Trial) -> None:
    rows = rows_of(trial)
    rows.send(range(STEPS))
    trial.place.signal("store", signal.SIGKILL)
    sink = trial.sink()
    says(sink, "does not answer")
    trial.place.up()
    drained(trial.settings, sink)
    trial.place.stack.store.stop()
    rows.send(range(STEPS, 2 * STEPS))
    before = len(sink.log.read_text())
    expect(lambda: "does not answer" in sink.log.read_text()[before:], 60, "the sink says that it waits", sink)
    time.sleep(AWAY_S)  # the very fault
    behind = lag(trial.settings)
    trial.place.up()
    trial.saw(f"store away at the start, then {AWAY_S:.0f} s more with {behind:,} records waiting")
    settled(trial, rows, sink)


def _slow_without_tokens(trial: Trial) -> None:
    """The control: without a token the insert that is done again is there twice."""
    store_slow(trial, NO_TOKENS)


@fault(8, "store slow: the insert succeeded, the client timed out", rounds=3, control=_slow_without_tokens, quick=True)
def store_slow(trial: Trial, patch: str = "") -> None:
    rows, slow = rows_of(trial), trial.place.slow_store
    rows.send(range(STEPS))
    sink = trial.sink(IMPATIENT + patch, trial.with_settings(store=f"http://127.0.0.1:{slow.port}"), sink_rows="2000")
    says(sink, "dealt out", 60)
    lost = slow.lost
    for part in range(1, 4):
        slow.lose_answers()
        rows.send(range(part * STEPS, part * STEPS + STEPS))
        seen = slow.lost
        until(lambda seen=seen: slow.lost > seen, 60, "an answer of the store is lost")
        until(lambda: sink.says("timed out") or sink.says("does not answer"), 60, "the sink gives the answer up")
        slow.pass_on()
    trial.saw(f"{slow.lost - lost:,} bytes of the store's answers lost, each after the rows had gone through")
    settled(trial, rows, sink)


@fault(9, "store killed during an insert", rounds=4)
def store_killed(trial: Trial) -> None:
    rows, way = rows_of(trial), trial.place.slow_store
    sink = trial.sink("", trial.with_settings(store=f"http://127.0.0.1:{way.port}"), sink_rows="20000", sink_ms="2000")
    says(sink, "dealt out", 60)
    for part in range(3):
        drained(trial.settings, sink)
        asked = way.asked
        way.lose_answers()
        rows.send(range(part * STEPS, part * STEPS + STEPS))
        most = trial.chance.randint(2_000, 60_000)
        until(
            lambda asked=asked, most=most: way.asked > asked + most, 60, "rows are on their way into the store", 0.001
        )
        trial.place.signal("store", signal.SIGKILL)
        trial.saw(f"killed with {way.asked - asked:,} bytes of rows under way")
        way.pass_on()
        trial.place.up()
    settled(trial, rows, sink)


@fault(10, "too many parts, memory limit, read-only, disk full", rounds=1, quick=True)
def store_full(trial: Trial) -> None:
    rows = rows_of(trial)
    rows.send(range(10))
    memory = trial.folder / "memory"
    sink = trial.sink(TIGHT.replace("PATH", repr(str(memory))))
    drained(trial.settings, sink)
    memory.touch()
    rows.send(range(10, 20))
    _backs_off(trial, sink, "memory")
    memory.unlink()
    for sent in range(20, 60, 10):  # a part each
        rows.send(range(sent, sent + 10))
        drained(trial.settings, sink)
    sent = 60
    limits = {
        "too many parts": ("parts_to_throw_insert", "1"),
        "disk full": ("min_free_disk_bytes_to_perform_insert", str(1 << 60)),
        "read-only": ("table_readonly", "1"),
    }
    for name, (setting, value) in limits.items():
        trial.command(f"ALTER TABLE counts MODIFY SETTING {setting} = {value}")
        rows.send(range(sent, sent + 10))
        sent += 10
        _backs_off(trial, sink, name)
        trial.command(f"ALTER TABLE counts RESET SETTING {setting}")
        drained(trial.settings, sink)
    settled(trial, rows, sink)


def _backs_off(trial: Trial, sink: SinkProcess, name: str) -> None:
    before = sink.log.read_text().count("cannot take this now")
    expect(lambda: sink.log.read_text().count("cannot take this now") > before, 40, f"it waits: {name}", sink)
    told = [line for line in sink.log.read_text().splitlines() if "cannot take this now" in line][-1]
    trial.saw(f"{name}: {told.partition('cannot take this now: ')[2][:60]}")


@fault(11, "one bad row in a batch", rounds=1, quick=True)
def bad_row(trial: Trial) -> None:
    rows = rows_of(trial)
    rows.send(range(5))
    for number, (topic, reason) in enumerate(_bad(rows)):
        trial.saw(f"{topic}: {reason}") if number < 4 else None
        rows.send(range(5 + number, 6 + number))
    settled(trial, rows, trial.sink())


def _bad(rows: Load) -> list[tuple[str, str]]:
    """Put records that cannot become rows between those that can; topic and reason of each."""
    good = OeeFact(
        "machine-1", "lyon", "", "L1", 0, 60_000, 0, 60_000, "early", 0, 0, "A", "", t_ms=60_000, pbt_ms=60_000,
        apt_ms=0, adet_ms=0, good=0, known_at=1,
    )  # fmt: skip
    encoded = rows._codec.encode(good)
    bad = [
        ("telemetry", b"rubbish", "undecodable"),
        ("oee", encoded + b"more", "undecodable"),
        ("oee", encoded[: len(encoded) // 2], "undecodable"),
        ("intervals", b"\0" + encoded[1:5], "undecodable"),
        ("anomalies", b"\0\xff\xff\xff\xff", "unknown_schema"),
    ]
    for topic, value, reason in bad:
        rows.raw(topic, value, b"machine-1", reason)
    return [(topic, reason) for topic, _, reason in bad]


@fault(12, "password rotated or grant revoked mid-run", rounds=1)
def password_rotated(trial: Trial) -> None:
    rows = rows_of(trial)
    rows.send(range(20))
    secret = trial.place.home / "secrets" / "store"
    sink = trial.sink()
    drained(trial.settings, sink)
    old = secret.read_text()
    trial.place.stack.store.stop()
    secret.write_text("another-password")
    trial.place.up()
    try:
        stale = trial.folder / "stale"
        stale.write_text(old)
        rows.send(range(20, 40))
        late = trial.sink("", trial.with_settings(store_password_file=str(stale)))
        stops(late, "turns user openoee away")
        trial.processes.remove(late)
        trial.saw("the store was given another password while the sink ran")
        settled(trial, rows, sink)
    finally:
        trial.place.stack.store.stop()
        secret.write_text(old)
        trial.place.up()


def _killed_at(trial: Trial, point: str, patch: str = "") -> None:
    """Kill the sink at a point of its third batch, let another finish."""
    rows = rows_of(trial)
    rows.send(range(STEPS))
    dying = trial.sink(patch, crash_at=f"{point}:3", sink_rows="3000")
    until(lambda: dying.process.poll() is not None, 60, f"it is killed at {point}")
    if dying.process.poll() != -signal.SIGKILL:
        raise NotSeen(last_line(dying))
    trial.saw(f"killed {point.replace('_', ' ')}")
    rows.send(range(STEPS, STEPS + 10))
    settled(trial, rows, trial.sink(patch, sink_rows="3000"))


def _killed_without_tokens(trial: Trial) -> None:
    _killed_at(trial, "after_insert", NO_TOKENS)


@fault(13, "sink killed before the insert, during, after it before the commit, after", rounds=8,
       control=_killed_without_tokens)  # fmt: skip
def sink_killed(trial: Trial) -> None:
    points = ("before_insert", "during", "after_insert", "after_commit")
    _killed_at(trial, points[trial.seed % len(points)])


@fault(14, "two sinks at once, same group; another group by mistake", rounds=2)
def sinks_at_once(trial: Trial) -> None:
    rows = rows_of(trial)
    rows.send(range(30))
    sinks = [trial.sink(sink_rows="3000"), trial.sink(sink_rows="3000")]
    for step in range(30, 90, 10):
        rows.send(range(step, step + 10))
    until(lambda: all(sink.says("dealt out") for sink in sinks), 60, "both join")
    sinks[0].end(signal.SIGKILL)
    rows.send(range(90, 100))
    settled(trial, rows, sinks[1])
    stray = trial.sink(OTHER_GROUP, sink_rows="1777")
    drained(trial.settings, stray, "by-mistake")
    trial.saw("two shared the partitions, one was killed; a third read everything as another group")
    trial.end_processes()
    compare(trial, rows, final=True)
