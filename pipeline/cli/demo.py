"""`openoee demo`: a simulated plant through the whole line, its report, and the plant running on."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline import settings
from pipeline.cli.answer import Progress, answer, json_option

if TYPE_CHECKING:
    from datetime import datetime

    from pipeline.compare import Comparison
    from pipeline.local.stack import Stack
    from pipeline.report import Report
    from pipeline.settings import Settings

WORKERS = ("worker-1", "worker-2")
HOUR_MS = 3_600_000
PAGE = "report.html"
WITHIN_S = 240.0
NO_KAFKA = "Kafka: not run (no Java 17 or newer on this machine)"
FINAL = """
SELECT count() FROM facts
WHERE site = {site:String} AND status != 'provisional' AND window_end <= {end:DateTime64(3, 'UTC')}
"""
SUMMED = """
SELECT
    (SELECT (sum(pbt_ms), sum(total)) FROM facts
     WHERE site = {site:String} AND window_end <= {end:DateTime64(3, 'UTC')})
    = (SELECT (sum(pbt_ms), sum(total))
       FROM oee_by(level = 'site', grain = 'total', profile = '', start = toDateTime64(0, 3, 'UTC'),
                   end = {end:DateTime64(3, 'UTC')})
       WHERE site = {site:String})
"""  # the sink sums the hours after it has written their rows


@click.command(epilog="Example:  openoee demo")
@click.option("--hours", default=8.0, show_default=True, type=click.FloatRange(1), help="Length of the history.")
@click.option("--seed", default=7, show_default=True, help="The same seed gives the same plant.")
@json_option
@settings.options("home", "kafka", "store", "database", "web_port")
def command(hours: float, seed: int, as_json: bool, **flags: Any) -> None:
    """Run a simulated shift of a plant of 12 machines on two lines through the whole line, and print its report.

    Starts the local stack when it does not run, and leaves the plant and its board running live. Each run is a
    site of its own. `openoee stop` ends it all; data survive.
    """
    from pipeline.local.stack import Stack, java_available

    began = time.monotonic()
    values = settings.load(flags)
    stack = Stack(values)
    with_kafka = java_available() is not None
    if not with_kafka:
        click.secho(f"{NO_KAFKA}.", fg="red", bold=True, err=True)
        click.echo("The same plant now runs through the same engine in one process, into the same store.", err=True)
    site, folder = _new_site(values.home)
    for name in ("plant", "board"):
        stack.supervisor.stop(name)
    step = Steps(as_json)
    _start(step, stack, values, with_kafka)
    _board(stack, values)
    if with_kafka:
        end = _through_kafka(step, stack, values, site, seed, hours, folder)
    else:
        end = _in_one_process(step, values, site, seed, hours, folder)
    found, told = _look(values, site, end - round(hours * HOUR_MS), end, folder)
    took_s = time.monotonic() - began
    if as_json:
        _answer(found, told, folder, took_s)
        return
    _tell(found, told)
    click.echo(f"{took_s:.0f} s in all.")
    _where(values, site, folder, with_kafka, stack.supervisor.alive("board") is not None)


def _new_site(home: Path) -> tuple[str, Path]:
    """A name that no run had before, and the folder for what is known of it."""
    runs = home / "demo"
    runs.mkdir(parents=True, exist_ok=True)
    number = 1 + max((int(path.name.removeprefix("demo-")) for path in runs.glob("demo-*")), default=0)
    folder = runs / f"demo-{number}"
    folder.mkdir()
    return folder.name, folder


class Steps:
    """Steps of the demo, one after another: how far each has come, then a line with what it took; `quiet`: nothing."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet

    @contextmanager
    def __call__(self, title: str, total: float | None = None) -> Iterator[Progress]:
        """A step of `total` to do; call what it yields with how far it has come."""
        began = time.monotonic()
        with Progress(title, total, self._quiet) as progress:
            yield progress
        if not self._quiet:
            click.echo(f"  {title}: {time.monotonic() - began:.1f} s", err=True)


def _start(step: Steps, stack: Stack, values: Settings, with_kafka: bool) -> None:
    from pipeline import topics
    from pipeline.store.migrate import migrate

    with step("Local stack") as progress:
        stack.up(progress, with_kafka=with_kafka)
        migrate(values)
        if with_kafka:
            topics.ensure(values)
    if with_kafka:
        for number, (name, verb) in enumerate((*((worker, "worker") for worker in WORKERS), ("sink", "sink"))):
            if stack.supervisor.alive(name) is None:
                command = [sys.executable, "-m", "pipeline", verb]
                stack.supervisor.spawn(name, command, _environment(values, number + 1))


def _board(stack: Stack, values: Settings) -> None:
    """Start the board beside the plant; where its port is another's, say so and go on without it."""
    from pipeline.errors import StackError
    from pipeline.local.machine import require_free_port

    try:
        require_free_port(values.int("web_port"), "the board", values["web_host"])
    except StackError as error:
        click.echo(f"  No board: {error} (--web-port)", err=True)
        return
    stack.supervisor.spawn("board", [sys.executable, "-m", "pipeline", "web"], values.environment())


def _environment(values: Settings, number: int) -> dict[str, str]:
    """Settings of one of the processes: each with a metrics port of its own, if there are to be any."""
    port = values.int("metrics_port")
    return values.environment() | ({"OPENOEE_METRICS_PORT": str(port + number)} if port else {})


def _through_kafka(
    step: Steps, stack: Stack, values: Settings, site: str, seed: int, hours: float, folder: Path
) -> int:
    """Let the plant produce and the line work; returns the end of the history (ms) once all of it can be queried."""
    import pyarrow.parquet as pq

    arguments = ["simulate", "--site", site, "--seed", str(seed), "--hours", str(hours)]
    arguments += ["--live", "--timezone", "awake", "--truth", str(folder)]
    stack.supervisor.spawn("plant", [sys.executable, "-m", "pipeline", *arguments], _environment(values, 0))
    truth = folder / "oee_facts.parquet"
    with step(f"{hours:g} hours of 12 machines into Kafka") as progress:
        _wait(stack, ("plant",), lambda: truth.exists(), lambda: progress("simulating"))
    expected: list[datetime] = pq.read_table(truth, columns=["window_end"]).column("window_end").to_pylist()
    with step("Workers and sink: OEE and flags into the store", len(expected)) as progress:
        got = 0

        def done() -> bool:
            nonlocal got
            got = _answer_of(values, FINAL, site, max(expected))
            return got >= len(expected) and bool(_answer_of(values, SUMMED, site, max(expected)))

        _wait(
            stack, ("plant", "sink", *WORKERS), done, lambda: progress(f"{got:,} of {len(expected):,} rows final", got)
        )
    return _ms(max(expected))


def _in_one_process(step: Steps, values: Settings, site: str, seed: int, hours: float, folder: Path) -> int:
    from itertools import chain

    from pipeline import inline
    from pipeline.cli.simulate import write_truth
    from pipeline.core.plant import Plant
    from pipeline.core.plant_layout import Habits, awake_zone
    from pipeline.factory import Factory, controls

    now = time.time_ns() // 1_000_000
    end = now // 60_000 * 60_000
    plant = Plant(site, seed, end - round(hours * HOUR_MS), habits=Habits(awake_zone(now)))
    factory = Factory.of(site, plant.habits.timezone, plant.machines)
    with step(f"{hours:g} hours of 12 machines through the engine in one process", hours) as progress:

        def frames() -> Iterator[Any]:
            for frame in plant.frames(end):
                passed = (plant.at - end) / HOUR_MS + hours
                progress(f"{passed:.1f} h", passed)
                yield frame
            yield from plant.ends(end, now)

        inline.run(chain(controls(factory, now, "demo"), frames()), values)
    write_truth(folder, plant, factory, values.int("window_s") * 1000, end)
    return end


def _answer_of(values: Settings, sql: str, site: str, end: datetime) -> int:
    """The one figure that a question about a site up to an instant answers."""
    from contextlib import closing

    from pipeline.store.client import Store

    with closing(Store(values)) as store:
        return int(store.query(sql, {"site": site, "end": end}).result_rows[0][0])


def _wait(stack: Stack, needed: tuple[str, ...], done: Callable[[], bool], show: Callable[[], None]) -> None:
    """Wait until `done()`; say so when a process that it needs has ended, or after some minutes."""
    from pipeline.errors import StackError

    deadline = time.monotonic() + WITHIN_S
    while not done():
        show()
        for name in needed:
            if stack.supervisor.alive(name) is None:
                words = " | ".join(line for line in stack.supervisor.tail(name, 3) if line.strip())
                raise StackError(
                    f"{name} has ended: {words or 'it said nothing'}; its log is {stack.supervisor.logs / name}.log"
                )
        if time.monotonic() > deadline:
            raise StackError(
                f"after {WITHIN_S:.0f} s not all results are in the store; `openoee status` shows who lags, the logs "
                f"are in {stack.supervisor.logs}"
            )
        time.sleep(0.2)


def _look(values: Settings, site: str, start: int, end: int, folder: Path) -> tuple[Report, Comparison]:
    """The report of the history, written as a page too, and the store's facts held against the truth."""
    from contextlib import closing

    from pipeline import compare, planted, report
    from pipeline.reports import page
    from pipeline.store.client import Store

    with closing(Store(values)) as store:
        found = report.gather(store, site, start, end, planted.read(folder))
        told = compare.with_truth(store, folder / "oee_facts.parquet")
    (folder / PAGE).write_text(page.as_html(found), encoding="utf-8")
    return found, told


def _answer(found: Report, told: Comparison, folder: Path, took_s: float) -> None:
    """All of it as one JSON document, for programs."""
    from dataclasses import asdict

    truth = {"rows": told.rows, "differences": len(told.differences), "told": str(told)}
    extra = {"held_against_truth": truth, "folder": str(folder), "page": str(folder / PAGE), "took_s": round(took_s, 1)}
    answer({**asdict(found), **extra}, (), as_json=True)


def _tell(found: Report, told: Comparison) -> None:
    from pipeline import report

    click.echo()
    report.render(found, report.console())
    click.echo(f"Held against what the simulator knows: {told}.")


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _where(values: Settings, site: str, folder: Path, with_kafka: bool, with_board: bool) -> None:
    click.echo(f"\nThe plant runs on live, as site {site}." if with_kafka else "")
    openoee = "openoee" if shutil.which("openoee") else _shown(Path(sys.executable).with_name("openoee"))
    secret = _shown(values.home / "secrets" / "store")
    board = f"http://{values['web_host']}:{values['web_port']}/?site={site}"
    for what, how in (
        *([(board, "the board, live")] if with_board else []),
        (_shown(folder / PAGE), "this report as a page"),
        (f"{openoee} report --site {site}", "the report again, up to now"),
        (f"{openoee} query", "the ready questions by name; --sql for your own"),
        (values["store"], f"for any ClickHouse client: user {values['store_user']}, password in {secret}"),
        (f"{openoee} status", "every part, its health, its lag, its log"),
        ("make stop", "ends it all; data survive until make clean"),
    ):
        click.echo(f"  {what:<40} {how}")
    if not with_kafka:
        click.secho(NO_KAFKA, fg="red", bold=True)


def _shown(path: Path) -> str:
    """A path as short as it can be said from here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
