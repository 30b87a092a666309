"""`openoee simulate`: the telemetry of a seeded plant, whose truth is known, into Kafka."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline import settings
from pipeline.cli.answer import Progress, event
from pipeline.cli.spooling import SPOOL, producer_of, spool_lines

if TYPE_CHECKING:
    from threading import Event

    from pipeline.core.model import Frame
    from pipeline.core.plant import Plant
    from pipeline.core.plant_dirt import Dirt
    from pipeline.producer import TelemetryProducer
    from pipeline.settings import Settings

EXAMPLE = "Example: openoee simulate --site demo --seed 7 --hours 8 --truth truth/ --dirt repeat=0.01,shuffle"
FRAME_MS = 60_000
STOP_S = 15.0
SETTLE_MS = 3_000
USUAL_DIRT = {"repeat": 0.01, "shuffle": 0.0, "late": 0.001, "gaps": 8.0, "resets": 24.0, "clock": 0.001}


@click.command(epilog=EXAMPLE)
@click.option("--site", default="demo", show_default=True, help="Name of the site; machines are called after it.")
@click.option("--machines", default=12, show_default=True, type=click.IntRange(1), help="Machines, six to a line.")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same plant and the same history.")
@click.option("--from", "start", metavar="TIME", help="Start, ISO 8601 (UTC).  [default: --hours before this minute]")
@click.option("--hours", default=8.0, show_default=True, type=click.FloatRange(0), help="Length of the history.")
@click.option("--timezone", default="Europe/Berlin", show_default=True, metavar="ZONE|awake",
              help="Zone of shifts and days; awake: one where an early shift ends about now.")  # fmt: skip
@click.option("--live", is_flag=True, help="Then go on in real time, until SIGTERM or Ctrl-C.")
@click.option("--speed", type=click.FloatRange(0, min_open=True), metavar="N",
              help="Send the history N times as fast as it happened.  [default: flat out]")  # fmt: skip
@click.option("--signal-period", default=1.0, show_default=True, metavar="S", type=click.FloatRange(0.001),
              help="Seconds between samples; 4 signals a machine.")  # fmt: skip
@click.option("--dirt", default="", metavar="WORDS", help=(
    "Comma-separated, each alone or with =N: repeat (share of frames sent twice), shuffle (seconds of disorder), late "
    "(share up to an hour late), gaps, resets (hours between silences, counter losses of a machine), clock (share "
    "beside which a broken clock's frame is sent: a year ahead, at 0, in seconds; none of it is used)."))  # fmt: skip
@click.option("--truth", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help=(
    "Write the exact truth of the history once all of it is stored in Kafka: oee_facts.parquet, anomalies.parquet "
    "(planted; value: its size in unit), factory.yaml."))  # fmt: skip
@click.option("--journal", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Append a line per acknowledged record: machine, source, sequence, partition, offset.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document a line, as things happen.")
@settings.options(
    "kafka", "topic_prefix", "registry", "lateness_s", "frame_ms", "window_s", "metrics_port", "metrics_host",
    "log_format", *SPOOL,
)  # fmt: skip
def command(
    site: str, machines: int, seed: int, start: str | None, hours: float, timezone: str, live: bool,
    speed: float | None, signal_period: float, dirt: str, truth: Path | None, journal: Path | None, as_json: bool,
    **flags: Any,
) -> None:  # fmt: skip
    """Simulate a plant: states, parts, orders, wear, signals, alarms, faults; with its factory file and its truth.

    Sends the factory file first, then the history as fast as Kafka takes it, then, without --live, the end of source.
    With --spool Kafka may be away: records wait on disk.
    """
    import time

    from pipeline import endpoint, logs
    from pipeline.codec import Codec
    from pipeline.core.plant import Plant
    from pipeline.core.plant_layout import Habits
    from pipeline.core.truth import decided_until
    from pipeline.factory import Factory
    from pipeline.factory_apply import announce
    from pipeline.producer import ProducerHealth

    values = settings.load(flags)
    logs.setup(values)
    click.get_current_context().with_resource(endpoint.served(values, health := ProducerHealth()))
    frame_ms = FRAME_MS if speed is None else max(1000, min(FRAME_MS, int(speed) * 1000))
    mess, frame_ms = read_dirt(dirt, frame_ms, values.int("lateness_s") * 1000)
    now = time.time_ns() // 1_000_000
    settled = now - values.int("lateness_s") * 1000 - SETTLE_MS if live else now  # so that the history is final at once
    begin, end = span(start, hours, settled, live, values.int("window_s") * 1000)
    habits = Habits(zone(timezone, now), signal_period_ms=round(signal_period * 1000))
    plant = Plant(site, seed, begin, machines, habits=habits, dirt=mess, truth=truth is not None)
    factory = Factory.of(site, habits.timezone, plant.machines)
    codec = Codec.agreed(values.registry)
    head = {"site": site, "machines": machines, "lines": len(plant.lines), "seed": seed, "start": iso(begin)}
    event(
        "site", {**head, "timezone": habits.timezone},
        f"{site}: {machines} machines on {len(plant.lines)} lines, seed {seed}, from {iso(begin)}, {habits.timezone}",
        as_json,
    )  # fmt: skip
    stop = stop_signal()
    with producer_of(values, codec, journal, stop.is_set) as producer:
        health.producer = producer
        announce(producer, factory, values, codec, now, f"simulate --seed {seed}")
        finish = producer.flush if truth is not None or not live else producer.settle  # live goes on without Kafka
        _send_history(plant, producer, end, frame_ms, speed, stop, finish, as_json)
        for line in [] if as_json else spool_lines(producer):
            click.echo(line)
        if truth is not None:
            known_until = decided_until(plant, plant.at) if live else plant.at
            facts = write_truth(truth, plant, factory, values.int("window_s") * 1000, known_until)
            event(
                "truth", {"facts": facts, "planted": len(plant.planted), "folder": str(truth)},
                f"{facts:,} OEE facts, {len(plant.planted):,} planted anomalies in {truth}", as_json,
            )  # fmt: skip
        if not live and not stop.is_set():
            for control in plant.ends(plant.at, time.time_ns() // 1_000_000):
                producer.send(control)
            producer.flush()
        elif not stop.is_set():
            _send_live(plant, producer, values, stop, as_json)
        if stop.is_set():
            for control in plant.ends(plant.at, time.time_ns() // 1_000_000):
                producer.send(control)
            producer.flush(STOP_S)
            stopped = {"at": iso(plant.at), "acknowledged": producer.acknowledged}
            event("stopped", stopped, f"at {iso(plant.at)}; {producer.acknowledged:,} records acknowledged", as_json)


def _send_history(
    plant: Plant, producer: TelemetryProducer, end: int, frame_ms: int, speed: float | None, stop: Event,
    finish: Callable[[], None], as_json: bool,
) -> None:  # fmt: skip
    import time

    from pipeline.core.plant_dirt import disturb

    began, first = time.monotonic(), plant.at
    now = time.time_ns() // 1_000_000
    told = producer.sent
    with Progress("sending the history", end - first, as_json) as progress:
        for frame in disturb(plant.frames(end, frame_ms), plant.dirt, plant.seed, now):
            if speed is not None:
                stop.wait(began + (frame.sent - first) / 1000 / speed - time.monotonic())
                producer.serve()
            if stop.is_set():
                return
            producer.send(frame)
            progress(f"up to {iso(plant.at)}", plant.at - first)
        finish()
    seconds = time.monotonic() - began
    done = producer.acknowledged >= producer.sent
    hours, frames = (end - first) / 3_600_000, producer.sent - told
    sent = {"hours": hours, "frames": frames, "values": producer.values, "bytes": producer.bytes, "acknowledged": done}
    event(
        "history", {**sent, "took_s": round(seconds, 3)},
        f"{hours:g} h: {frames:,} frames, {producer.values:,} values, {producer.bytes / 1e6:,.1f} MB "
        f"{'acknowledged' if done else 'in the spool'} in {seconds:.1f} s", as_json,
    )  # fmt: skip


def _send_live(plant: Plant, producer: TelemetryProducer, values: Settings, stop: Event, as_json: bool) -> None:
    from pipeline.core.plant_dirt import disturb

    plant.forget()
    event("live", {"start": iso(plant.at)}, f"from {iso(plant.at)}; stop with SIGTERM or Ctrl-C", as_json)
    for frame in disturb(_as_time_passes(plant, values.int("frame_ms"), stop), plant.dirt, plant.seed):
        producer.send(frame)
        producer.serve()


def _as_time_passes(plant: Plant, frame_ms: int, stop: Event) -> Iterator[Frame]:
    import time

    while not stop.is_set():
        yield from plant.frames(time.time_ns() // 1_000_000, frame_ms)
        stop.wait((plant.at + frame_ms) / 1000 - time.time())


def read_dirt(words: str, frame_ms: int, lateness_ms: int) -> tuple[Dirt, int]:
    """The dirt that --dirt asks for, and frames short enough for it (ms). Raises UsageError."""
    from pipeline.core.plant_dirt import Dirt
    from pipeline.errors import UsageError

    asked = dict(USUAL_DIRT.fromkeys(USUAL_DIRT, 0.0))
    for word in filter(None, words.split(",")):
        name, _, number = word.partition("=")
        try:
            asked[name] = float(number) if number else USUAL_DIRT[name]
        except (KeyError, ValueError):
            raise UsageError(f"--dirt {word!r}: expected {', '.join(USUAL_DIRT)}, alone or with =N") from None
    shuffle_ms = round(asked["shuffle"] * 1000)
    if "shuffle" in words:
        frame_ms = min(frame_ms, max(1000, lateness_ms // 3000 * 1000))
        shuffle_ms = shuffle_ms or lateness_ms - frame_ms
        if not 0 < shuffle_ms <= lateness_ms - frame_ms:
            raise UsageError(
                f"--dirt shuffle={shuffle_ms / 1000:g}: frames of {frame_ms / 1000:g} s may be shuffled by at most "
                f"{(lateness_ms - frame_ms) / 1000:g} s within a lateness of {lateness_ms / 1000:g} s (--lateness-s)"
            )
    mess = Dirt(
        asked["repeat"], shuffle_ms, asked["late"], gaps=asked["gaps"], resets=asked["resets"], clock=asked["clock"]
    )
    return mess, frame_ms


def span(start: str | None, hours: float, now: int, live: bool, window_ms: int) -> tuple[int, int]:
    """Start and end of the history in ms, on window borders. Raises UsageError."""
    from datetime import UTC, datetime

    from pipeline.errors import UsageError

    length = round(hours * 3_600_000) // window_ms * window_ms
    if start is None:
        return now // window_ms * window_ms - length, now // window_ms * window_ms
    try:
        moment = datetime.fromisoformat(start)
    except ValueError:
        raise UsageError(f"--from {start!r} is no moment in time: write 2026-03-02T06:00:00Z") from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    begin = round(moment.timestamp() * 1000) // window_ms * window_ms
    if begin + length > now:
        raise UsageError(f"--from {start} and {hours:g} h end in the future: start earlier, or ask for fewer hours")
    if live:
        raise UsageError("--live goes on from the end of the history: leave --from out, --hours says how much")
    return begin, begin + length


def zone(name: str, now: int) -> str:
    """The IANA zone of that name, or one that is awake. Raises UsageError."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    from pipeline.core.plant_layout import awake_zone
    from pipeline.errors import UsageError

    if name == "awake":
        return awake_zone(now)
    try:
        return ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError):
        raise UsageError(f"--timezone {name!r} is no IANA time zone: write for example Europe/Berlin") from None


def write_truth(folder: Path, plant: Plant, factory: Any, window_ms: int, until: int) -> int:
    """oee_facts.parquet, anomalies.parquet and factory.yaml of the plant; facts up to an instant (UTC ms), and how many
    they are."""
    from pipeline import parquet
    from pipeline.core.model import OeeFact
    from pipeline.core.plant_signals import Planted
    from pipeline.core.truth import plant_facts
    from pipeline.factory import dump

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "factory.yaml").write_text(dump(factory), encoding="utf-8")
    rows = sorted(plant.planted, key=lambda planted: planted.first)
    columns: dict[str, list[Any]] = {name: [getattr(row, name) for row in rows] for name in Planted._fields}
    columns["value"] = columns.pop("size")
    units = {(name, one.name): one.unit for name, design in plant.designs.items() for one in design.signals}
    columns["unit"] = [units[row.machine, row.signal] for row in rows]
    parquet.write(folder / "anomalies.parquet", columns)
    facts = plant_facts(plant, until, window_ms)
    parquet.write_rows(folder / "oee_facts.parquet", OeeFact, facts)
    return len(facts)


def stop_signal() -> Event:
    """An event that SIGTERM and SIGINT set."""
    import signal
    from threading import Event

    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def iso(at: int) -> str:
    """An instant (ms) for a person, UTC."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
