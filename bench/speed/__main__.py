"""`python -m bench.speed`: the job by everybody, on one machine, in one run; prints the table of bench/README.md."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bench.ending import end_as_exception
from bench.speed import contenders as who
from bench.speed import java_peers, measure, ourselves
from bench.speed.answers import Task
from bench.speed.broker import PLACE, Broker, Source, keep_to, started
from bench.speed.contenders import Contender, Worker
from bench.speed.job import Job
from bench.speed.measure import Spent, Verdict
from bench.speed.report import Result, environment, tables
from pipeline.settings import Settings

VALUES = {1: 3_000_000, 50: 8_000_000, 200: 16_000_000, 1000: 16_000_000}  # by samples per frame
FULL = 5  # times as much
ROUNDS = 2
WITHIN_S = 600.0


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Bench:
    """One broker, and every run against it."""

    def __init__(self, broker: Broker, chosen: Sequence[Contender | Worker], log: Path) -> None:
        self.broker, self.chosen, self.log = broker, chosen, log
        self._runs = 0

    def measure(self, source: Source, starts: dict[str, Spent], rounds: int) -> list[Result]:
        """Every contender on this source, in rounds; of each the round that took least CPU, or one that failed.

        Whatever else a shared machine does can only slow a round down. The source's topics are gone afterwards.
        """
        workers = [one for one in self.chosen if isinstance(one, Worker)]
        lines = [{one.name: self._line(source, one, number) for one in workers} for number in range(rounds)]
        began = time.monotonic()
        topics = [line.topic("telemetry") for in_round in lines for line in in_round.values()]
        frames = self.broker.fill(source, topics)
        say(f"{source.name}: {frames:,} frames, {source.job.values:,} values in {time.monotonic() - began:.0f} s")
        best: dict[str, Result] = {}
        for number in range(rounds):
            for one in self.chosen:
                verdict: Verdict | None
                if isinstance(one, Worker):
                    spent, verdict = self._ours(lines[number][one.name], source)
                else:
                    spent, verdict = self._theirs(one, source)
                result = Result(
                    one.name, one.kind, source.samples, source.job.values, frames, spent, verdict, starts.get(one.name)
                )
                known = best.get(one.name)
                if known is None or result.failed or (spent.cpu_s < known.spent.cpu_s and not known.failed):
                    best[one.name] = result
                took = f"{spent.wall_s:7.2f} s, CPU {spent.cpu_s:7.2f} s"
                say(f"  {one.name:32} {took}, right: {verdict or '-'} {spent.error}")
                if verdict is not None and verdict.example:
                    say(f"    {verdict.example}")
        self.broker.drop([source.name])
        return list(best.values())

    def _theirs(self, one: Contender, source: Source) -> tuple[Spent, Verdict | None]:
        self._runs += 1
        out = self.broker.create(f"answers-{self._runs}")
        task = Task(self.broker.bootstrap, source.name, out, source.job.machines, source.samples)
        spent = measure.spend(one.command_for(task), self.log, WITHIN_S)
        if not one.answers:
            return spent, None
        return spent, measure.judge(source, measure.answers(self.broker.bootstrap, out))

    def _ours(self, line: Settings, source: Source) -> tuple[Spent, Verdict]:
        spent = ourselves.spend(line, self.log, WITHIN_S)
        return spent, measure.judge(source, ourselves.facts(line))

    def _line(self, source: Source, one: Worker, number: int) -> Settings:
        line = self.broker.line(f"{source.name}-{'with' if one.detect else 'without'}-{number}", one.detect)
        self.broker.configure(line.topic("telemetry"), source.job)
        return line


def chosen(only: Sequence[str]) -> list[Contender | Worker]:
    """All contenders, or those with one of these words in their name or kind; what they need is there afterwards."""
    everybody: list[Contender | Worker] = [*who.floors(), *who.python_peers(), *who.java_contenders(), *who.workers()]
    found = [one for one in everybody if not only or any(word in f"{one.name} {one.kind}" for word in only)]
    kinds = {one.kind for one in found}
    if "python" in kinds:
        who.install_peers(say)
    if "java" in kinds:
        java_peers.build()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.speed", description=__doc__)
    parser.add_argument("--values", type=int, help="values per topic, instead of 3 to 16 million by length of frame")
    parser.add_argument("--samples", type=int, action="append", help="only frames of so many samples; may be repeated")
    parser.add_argument("--only", action="append", default=[], help="only contenders with this in their name or kind")
    parser.add_argument("--full", action="store_true", help=f"{FULL} times as many values")
    parser.add_argument("--json", type=Path, help="write every figure into this file too")
    asked = parser.parse_args()
    end_as_exception()
    keep_to(measure.HARNESS_CORE)  # the broker, started from here, stays on it too
    PLACE.mkdir(parents=True, exist_ok=True)
    log = PLACE / "contenders.log"
    log.unlink(missing_ok=True)
    results: list[Result] = []
    with started(say) as broker:
        bench = Bench(broker, chosen(asked.only), log)
        starts: dict[str, Spent] = {}
        for result in bench.measure(Source("start", Job(240, 8), 50), {}, ROUNDS + 1):
            if not result.failed:
                starts[result.name] = result.spent
        for samples in asked.samples or VALUES:
            values = (asked.values or VALUES[samples]) * (FULL if asked.full else 1)
            results += bench.measure(Source.of_values(values, samples), starts, ROUNDS)
    print(environment())
    print(tables(results))
    if asked.json:
        asked.json.write_text(json.dumps([asdict(result) for result in results], indent=1))
    return int(any(result.failed for result in results))


if __name__ == "__main__":
    sys.exit(main())
