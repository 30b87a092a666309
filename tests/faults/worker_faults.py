"""Faults of the worker: killed at every point and in recovery, rolled, frozen, flapping; damaged state; a backlog."""

from __future__ import annotations

import os
import signal
import time

import psutil
from book import NotSeen, Wrong, fault
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from trial import JOIN_S, Trial, last_line, says
from worker_trial import IGNORE_COVER, Worker, delete_until, folded, lag, put, until

from pipeline import topics
from pipeline.codec import Codec
from pipeline.core.model import Frame, StateChange

POINTS = ("before_send", "after_send", "after_state", "after_commit")
RECOVERY_KILLS = 50
BACKLOG = 10_000_000  # records
BACKLOG_MIB = 1_500


@fault(15, "worker killed before and after results are sent, after state, after commit", rounds=4, quick=True)
def worker_killed(trial: Trial) -> None:
    trial.sink()
    load = trial.load()
    for point in POINTS:
        worker = trial.start_worker(crash_at=f"{point}:{trial.chance.randint(2, 9)}")
        until(lambda worker=worker: not worker.running, JOIN_S, f"it is killed at {point}")
        if worker.process.poll() != -signal.SIGKILL:
            raise NotSeen(last_line(worker))
        trial.saw(f"killed {point.replace('_', ' ')} at {folded(trial.settings):,} of {load.sent:,}")
    trial.worker()
    trial.finish(load)


def _position_from_elsewhere(trial: Trial) -> None:
    """The control: state from the topic, position from the commit; what lies between them is never folded."""
    trial.settings = trial.with_settings(snapshot_s=600)
    worker = trial.worker(IGNORE_COVER)
    trial.sink()
    load = trial.load()
    until(lambda: folded(trial.settings) > 500, 60, "positions are committed, state is not saved")
    worker.end(signal.SIGKILL)
    trial.worker(IGNORE_COVER)
    trial.finish(load)


@fault(16, "worker killed during recovery; restarted with a backlog", rounds=1, control=_position_from_elsewhere)
def killed_in_recovery(trial: Trial) -> None:
    trial.sink()
    load = trial.load(frames_per_s=150)
    trial.worker()
    trial.after(load)
    trial.processes[-1].end(signal.SIGKILL)
    loading = 0
    for _ in range(RECOVERY_KILLS):
        worker = trial.start_worker()
        until(lambda worker=worker: worker.says("preparing") or not worker.running, JOIN_S, "it starts", 0.01)
        time.sleep(trial.chance.uniform(0.0, 4.0))  # the instant of the kill is what is tried
        loading += not worker.says("partitions ")
        worker.end(signal.SIGKILL)
    trial.saw(f"{RECOVERY_KILLS} kills, {loading} of them before the state was loaded, {lag(trial.settings):,} behind")
    load.end()
    trial.worker()
    trial.finish()


@fault(17, "rolling SIGTERM every 20 s under load", rounds=1)
def rolled(trial: Trial) -> None:
    trial.sink()
    load = trial.load()
    workers = [trial.worker(), trial.worker()]
    longest = 0.0
    for turn in range(6):
        time.sleep(20)  # the pace of the fault
        began = time.monotonic()
        if code := workers[turn % 2].end(signal.SIGTERM, within=60):
            raise Wrong(f"{workers[turn % 2].log.name} ended with {code}")
        longest = max(longest, time.monotonic() - began)
        workers[turn % 2] = trial.start_worker()
    trial.saw(f"6 SIGTERM, the slowest end took {longest:.1f} s")
    if longest > 10:
        raise Wrong(f"a worker took {longest:.1f} s to drain and to commit")
    trial.finish(load)


@fault(18, "worker SIGSTOP beyond the session time-out, another takes over, SIGCONT", rounds=4, quick=True)
def zombie(trial: Trial) -> None:
    trial.sink()
    load = trial.load()
    frozen = trial.worker()
    trial.after(load)
    frozen.process.send_signal(signal.SIGSTOP)
    heir = trial.start_worker()
    until(lambda: _holds(heir, trial), JOIN_S, "another takes over")
    trial.after(load)
    frozen.process.send_signal(signal.SIGCONT)
    trial.saw(f"frozen at {folded(trial.settings):,} records, awake {load.sent:,} later beside its heir")
    trial.after(load)
    trial.finish(load)


@fault(19, "worker added or removed while windows close; flapping every 5 s", rounds=2)
def flapping(trial: Trial) -> None:
    trial.sink()
    load = trial.load()
    trial.worker()
    for turn in range(8):
        flap = trial.start_worker()
        time.sleep(5)  # the pace of the fault
        flap.end(signal.SIGKILL if turn % 2 else signal.SIGTERM, 60)
    trial.saw("a second worker came and went 8 times, every 5 s")
    trial.finish(load)
    twice = trial.ask(
        "SELECT count() FROM (SELECT machine, segment_start FROM oee_facts FINAL WHERE status IN ('final', 'restated')"
        " GROUP BY machine, segment_start HAVING count() > 1)"
    )
    if twice[0][0]:
        raise Wrong(f"{twice[0][0]} windows have more than one final row")


@fault(30, "state topic truncated, or holding garbage", rounds=3, quick=True)
def state_damaged(trial: Trial) -> None:
    trial.sink()
    load = trial.load()
    worker = trial.worker()
    trial.after(load, 500)
    until(lambda: folded(trial.settings) > 300, 60, "it has saved something")
    worker.end(signal.SIGTERM)
    kind = ("truncated", "garbage", "damaged")[trial.seed % 3]
    partitions = range(trial.settings.int("partitions"))
    if kind == "truncated":
        _cleaned_by(trial, "delete")  # of a compacted topic Kafka lets nobody delete records
        for number in partitions:
            delete_until(trial.settings, "state", number, -1)
        _cleaned_by(trial, "compact")
        trial.saw("every record of the topic state deleted")
    elif kind == "garbage":
        for number in partitions:
            put(trial.settings, "state", [(f"{number}/4/0".encode(), b"garbage")], number)
        trial.saw("garbage on top of the state of each partition")
    else:
        _damage(trial)
        stopped = trial.start_worker()
        until(lambda: not stopped.running, JOIN_S, "the damage is found")
        if not stopped.says("is damaged") or stopped.process.poll() == 0:
            raise Wrong(f"damaged state was read: {stopped.log.read_text()}")
        trial.processes.remove(stopped)
        topics.reset_state(trial.settings)
        trial.saw("snapshots damaged: found at the start; state made anew on command")
    heir = trial.worker()
    if kind == "garbage":
        says(heir, "records of the topic state are no state")
    trial.finish(load)


def _cleaned_by(trial: Trial, policy: str) -> None:
    change = ConfigEntry("cleanup.policy", policy, incremental_operation=AlterConfigOpType.SET)
    state = ConfigResource(ResourceType.TOPIC, trial.settings.topic("state"), incremental_configs=[change])
    admin = AdminClient({"bootstrap.servers": trial.settings["kafka"]})
    for done in admin.incremental_alter_configs([state]).values():
        done.result(15)


def _damage(trial: Trial) -> None:
    """Save every machine's snapshot again with other bytes in it."""
    from pipeline.state import LogReader, state_key

    codec, numbers = Codec(), list(range(trial.settings.int("partitions")))
    states = LogReader(trial.settings, codec).states(numbers)
    for number, records in states.items():
        for record in records:
            record.machines = dict.fromkeys(record.machines, b"(\xb5/\xfd rubbish")
            put(trial.settings, "state", [(state_key(record), codec.encode(record))], number)


@fault(31, "10 million records of lag", rounds=1)
def backlog(trial: Trial) -> None:
    sent = _pile_up(trial, int(os.environ.get("FAULTS_BACKLOG", BACKLOG)))
    worker, sink = trial.worker(), trial.sink()
    began, peaks = time.monotonic(), {"worker": 0, "sink": 0}
    processes = {"worker": psutil.Process(worker.process.pid), "sink": psutil.Process(sink.process.pid)}

    def caught_up() -> bool:
        for name, process in processes.items():
            peaks[name] = max(peaks[name], process.memory_info().rss >> 20)
        return lag(trial.settings) == 0

    until(caught_up, 1800, "the worker has caught up", 0.5)
    took = time.monotonic() - began
    trial.saw(f"{sent:,} records folded in {took:.0f} s ({sent / took:,.0f}/s); MiB at most: {peaks}")
    if max(peaks.values()) > BACKLOG_MIB:
        raise Wrong(f"memory grew to {peaks} MiB, {BACKLOG_MIB} are allowed")
    trial.finish()


def _pile_up(trial: Trial, wanted: int) -> int:
    """So many frames of one sample into the log; how many."""
    from confluent_kafka import Producer

    codec, machines = Codec(), 200
    topic = trial.settings.topic("telemetry")
    producer = Producer({
        "bootstrap.servers": trial.settings["kafka"], "linger.ms": 50, "compression.type": "lz4", "log_level": 0,
        "queue.buffering.max.kbytes": 262_144, "partitioner": "murmur2_random", "batch.size": 1_000_000,
    })  # fmt: skip
    for step in range(wanted // machines):
        at = 1_700_000_000_000 + step * 1_000
        for number in range(machines):
            states = [StateChange(at, "running" if step // 300 % 2 else "stopped")] if step % 300 == 0 else []
            frame = Frame(f"b{number}", "plc", 1, step, at, states=states)
            while True:
                try:
                    producer.produce(topic, codec.encode(frame), frame.machine.encode())
                    break
                except BufferError:
                    producer.poll(0.1)
        producer.poll(0)
    if producer.flush(120):
        raise NotSeen("the backlog could not be made")
    return wanted // machines * machines


def _holds(worker: Worker, trial: Trial) -> bool:
    """Whether a worker was dealt every partition."""
    lines = [line for line in worker.log.read_text().splitlines() if "partitions " in line]
    return bool(lines) and lines[-1].count(" from ") == trial.settings.int("partitions")
