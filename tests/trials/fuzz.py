"""A million inputs that nobody should send: no crash, no hang, no error of another tree, and both readers agree.

    python tests/trials/fuzz.py [--inputs 1000000] [--seed N] [--only records,lines]

Three parts of each ten inputs are read by our reader and by fastavro and compared; five go through a whole partition
of a worker (burst reader, admission, engine, results in Avro) and into the sink's rows; two are lines of logs and
tables for the adapters. Input n of a seed is always the same. Each must be done within a second of CPU and may not
make the process grow by more than 64 MB (a batch of 100: five times that); exit code 1 with the first that is not,
and what makes it again.
"""

from __future__ import annotations

import argparse
import gzip
import io
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastavro import parse_schema, schemaless_reader

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[1] / "adapters")]

import test_csv  # noqa: E402
from mutate import CSV_HEAD, CSV_LINES, SHDR_LINES, T0, Maker, bend, bend_text  # noqa: E402
from shdr_log import DEVICES, MAPPING  # noqa: E402
from test_partition import Row  # noqa: E402

from pipeline import codec as codec_module  # noqa: E402
from pipeline import schemas  # noqa: E402
from pipeline.adapters import Refused, Tally, csv_files, shdr  # noqa: E402
from pipeline.burst_reader import BurstReader  # noqa: E402
from pipeline.codec import Codec  # noqa: E402
from pipeline.core.burst import Burst  # noqa: E402
from pipeline.core.engine import ENGINE_VERSION, OLDEST_VERSION  # noqa: E402
from pipeline.core.model import Frame  # noqa: E402
from pipeline.errors import OpenOeeError, ParkError  # noqa: E402
from pipeline.mapping import Mapping, load  # noqa: E402
from pipeline.partition import Counts, Partition, Share, warm_up  # noqa: E402
from pipeline.rows import Rows, read  # noqa: E402
from pipeline.settings import load as load_settings  # noqa: E402
from pipeline.state import Snapshots, pack, unpack  # noqa: E402

WITHIN_S = 1.0  # of CPU, for one input
HANGS_S = 60  # by the clock
GROWTH_KB = 64 << 10
BATCH_TIMES = 5  # a correction or a configuration works a day of a machine out anew, and a batch may hold some
BATCH, FRESH_AFTER = 100, 40  # records of a batch; batches after which a partition is begun anew
FRAME = schemas.current()["Frame"]
SCHEMA = parse_schema(schemas.without_logical_types(FRAME.schema()))
# What our reader refuses and fastavro lets pass: values that Avro has not; sizes of blocks, which it never looks at.
STRICTER = (
    "a boolean is", "a number ", "numbers that are too long", "a block of an array has another size", "branch",
    f"an array of {1 << 63} items",  # a length whose negative is no 64-bit number: fastavro takes it for an empty one
)  # fmt: skip


class Fault(Exception):
    """An input was not dealt with as it must be."""


@contextmanager
def bounded(what: str, times: int = 1) -> Iterator[None]:
    """Time and memory of one input, or of a batch: so many times as much."""
    began, most = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.alarm(HANGS_S)
    yield
    signal.alarm(0)
    took = time.process_time() - began
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - most
    if took > times * WITHIN_S or grown > times * GROWTH_KB:
        raise Fault(f"{what} took {took:.2f} s of CPU and {grown >> 10} MB")


def same(one: Frame, other: Frame) -> bool:
    """Equal in every value; NaN equals NaN."""
    heads = ("machine", "source", "epoch", "sequence", "sent", "opening", "states", "counts", "contexts", "events")
    if any(getattr(one, name) != getattr(other, name) for name in heads) or len(one.signals) != len(other.signals):
        return False
    return all(
        (a.names, a.units, a.at.tolist(), a.values.tobytes()) == (b.names, b.units, b.at.tolist(), b.values.tobytes())
        for a, b in zip(one.signals, other.signals, strict=True)
    )  # fmt: skip


def by_fastavro(value: bytes) -> Frame:
    """What fastavro makes of a frame, with our checks of its sense. Raises whatever it raises."""
    body = io.BytesIO(value)
    body.seek(5)
    row: Any = schemaless_reader(body, SCHEMA, None, return_record_name=True)
    if body.tell() != len(value):
        raise ValueError("bytes after the frame")
    return codec_module._frame(row)


class Records:
    """Bent records through the readers, and through a worker's partition into the sink's rows."""

    def __init__(self, seed: str) -> None:
        self.chance = random.Random(seed)
        self.maker = Maker(self.chance)
        self.codec, self.told = Codec(), Counter[str]()
        self.offset = 0
        self._begin()

    def _begin(self) -> None:
        settings = load_settings({"provisional_s": 1}, {})
        snapshots = Snapshots(0, 4, ENGINE_VERSION, [], OLDEST_VERSION)
        self.part = Partition(0, settings, self.codec, snapshots, Share(1.0), Counts())
        self.part.next = self.offset
        self.sink_bursts, self.batches = BurstReader(self.codec.frame_headers), 0

    def value(self) -> bytes:
        """The next input: bent six times of seven, plain noise now and then."""
        message = self.maker.message()
        good = self.codec.encode(message)
        if self.chance.random() < 0.15:
            return good
        if self.chance.random() < 0.03:
            return self.chance.choice((b"", good[:5])) + self.chance.randbytes(self.chance.randint(0, 60))
        return bend(self.chance, good, self.codec.encode(self.maker.message()))

    def compare(self) -> None:
        """One input by our reader and by fastavro."""
        value = self.value()
        with bounded(value.hex()):
            try:
                mine = self.codec.decode(value)
            except OpenOeeError as error:
                mine, words = None, str(error)
            if not value.startswith(tuple(self.codec.frame_headers)):
                self.told["other records, read" if mine else "other records, refused"] += 1
                return
            try:
                theirs = by_fastavro(value)
            except Exception:  # fastavro stumbles as it likes
                theirs = None
            if mine is not None and (theirs is None or not same(mine, theirs)):  # type: ignore[arg-type]
                raise Fault(f"ours reads {mine}, fastavro {theirs}: {value.hex()}")
            if mine is None and theirs is not None and not any(part in words for part in STRICTER):
                raise Fault(f"ours refuses ({words}), fastavro reads {theirs}: {value.hex()}")
            self.told["frames, read by both" if mine else "frames, refused"] += 1
            self.told["of those by ours alone"] += mine is None and theirs is not None

    def batch(self) -> None:
        """BATCH inputs through a partition of a worker, and what comes of them into rows."""
        rows = []
        for _ in range(BATCH):
            key = None if self.chance.random() < 0.02 else f"m{self.chance.randrange(3)}".encode()
            rows.append(Row(self.offset, self.maker.at + self.chance.randint(0, 2000), key, self.value()))
            self.offset += 1
        for row in rows:
            if row.value and self.chance.random() < 0.9:
                try:
                    row.key = self.codec.decode(row.value).machine.encode()  # type: ignore[union-attr]
                except (ParkError, AttributeError):
                    continue
        shown = " ".join((row.value or b"").hex() for row in rows)
        with bounded(shown, BATCH_TIMES):
            records, letters = self.part.decode(rows)
            self._agree(rows, records, {letter.offset for letter in letters})
            results = self.part.fold(rows, records, letters)
            self._store(rows, [result.value for result in results if result.topic not in ("telemetry", "state")])
        self.told["through a partition"] += BATCH
        self.told["results of them"] += len(results)
        self.batches += 1
        if self.batches == FRESH_AFTER:
            for machine in list(self.part.engine.machines):  # saved state must be readable, whatever came
                self.part.engine.restore(machine, unpack(pack(self.part.engine.snapshot(machine))))
            self._begin()

    def _agree(self, rows: list[Row], records: Any, refused: set[int]) -> None:
        """The burst reader finds in each record just what is found there when it is read alone."""
        found: dict[int, Any] = {}
        for record in records:
            ones = [record.record(k) for k in range(len(record))] if isinstance(record, Burst) else [record]
            found.update((one.offset, one.message) for one in ones)
        if found.keys() | refused != {row.offset for row in rows}:
            raise Fault(f"records that are neither read nor refused: {[(row.key, row.value) for row in rows]}")
        for row in rows:
            if row.offset in found and isinstance(found[row.offset], Frame):
                alone = self.codec.decode(row.value)
                if not isinstance(alone, Frame) or not same(alone, found[row.offset]):
                    raise Fault(f"in a burst {found[row.offset]}, alone {alone}: {(row.value or b'').hex()}")

    def _store(self, rows: list[Row], results: list[bytes]) -> None:
        """The sink's side: telemetry and results into Arrow tables."""
        table = Rows(300_000)
        for one in self.sink_bursts.split(rows, 0):
            if isinstance(one, Burst):
                table.add(one.offsets[0], one)
                continue
            try:
                message = read(self.codec, False, one.key, one.value)
            except ParkError:
                continue
            table.add(one.timestamp, message)
            if isinstance(message, Frame):
                self.sink_bursts.learn(one, message)
        for value in results:
            table.add(T0, read(self.codec, True, b"m0", value))
        for _, made in table.tables():
            made.validate(full=True)


class Lines:
    """Bent lines through the adapters; what comes out must be records."""

    def __init__(self, seed: str, folder: Path) -> None:
        self.chance, self.folder = random.Random(seed), folder
        self.codec, self.told = Codec(), Counter[str]()
        (folder / "Devices.xml").write_text(DEVICES)
        self.maps = {"shdr": self._map("shdr", MAPPING), "csv": self._map("csv", test_csv.MAPPING)}

    def _map(self, name: str, text: str) -> Mapping:
        (self.folder / f"{name}.yaml").write_text(text)
        return load(self.folder / f"{name}.yaml")

    def file(self) -> None:
        """BATCH lines as one file."""
        chance = self.chance
        kind = chance.choice(("shdr", "csv"))
        good = SHDR_LINES if kind == "shdr" else CSV_LINES
        lines = [bend_text(chance, chance.choice(good)) for _ in range(BATCH)]
        if kind == "csv":
            lines.insert(0, CSV_HEAD.encode() if chance.random() < 0.9 else bend_text(chance, CSV_HEAD))
        raw = chance.choice((b"\n", b"\n", b"\r\n")).join(lines)
        if chance.random() < 0.1:
            raw = gzip.compress(raw)
            raw = raw[: chance.randrange(len(raw))] if chance.random() < 0.5 else bend(chance, raw, raw)
        path = self.folder / ("M1-20171106-20171107.txt" if kind == "shdr" else "press-20260302.csv")
        path.write_bytes(raw)
        with bounded(raw.hex()):
            self._read(kind, path)
        self.told[f"lines, {kind}"] += BATCH

    def _read(self, kind: str, path: Path) -> None:
        tally, devices = Tally(), self.folder / "Devices.xml" if kind == "shdr" else None
        adapter = shdr if kind == "shdr" else csv_files
        for one in adapter.read([path], [self.maps[kind]], devices, tally):
            if isinstance(one, Refused):
                self.told[f"refused, {kind}"] += 1
                continue
            self.codec.decode(self.codec.encode(one))
        if not tally.balanced:
            raise Fault(f"the account of {path} does not balance: {tally}")


def parts(seed: int, inputs: int, only: str, folder: Path) -> Iterator[tuple[Callable[[], None], int, Counter[str]]]:
    """What is done next, how many inputs it takes, and the account of it."""
    records, lines = Records(f"{seed}:records"), Lines(f"{seed}:lines", folder)
    done = 0
    while done < inputs:
        if "records" in only:
            for _ in range(3 * BATCH):
                yield records.compare, 1, records.told
            for _ in range(5):
                yield records.batch, BATCH, records.told
            done += 8 * BATCH
        if "lines" in only:
            for _ in range(2):
                yield lines.file, BATCH, lines.told
            done += 2 * BATCH


def _hangs(*_: object) -> None:
    raise Fault(f"not done after {HANGS_S} s")


def main() -> int:
    """All inputs of a seed, to the end of them or to the first that shows a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--only", default="records,lines")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    signal.signal(signal.SIGALRM, _hangs)
    warm_up(load_settings({}, {}), Codec())  # compiling takes more than an input may
    began, done, accounts = time.monotonic(), 0, dict[int, Counter[str]]()
    with tempfile.TemporaryDirectory() as folder:
        for step, count, told in parts(given.seed, given.inputs, given.only, Path(folder)):
            accounts[id(told)] = told
            try:
                step()
            except Exception as error:
                print("".join(traceback.format_exception(error))[-3000:], file=sys.stderr)
                print(f"FAULT at input {done} of seed {given.seed}: {type(error).__name__}: {str(error)[:300]}")
                return 1
            done += count
            if done // 50_000 != (done - count) // 50_000:
                grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
                print(f"{done:,} inputs, {time.monotonic() - began:.0f} s, at most {grown:,} MB", flush=True)
    for account in accounts.values():
        for what, count in sorted(account.items()):
            print(f"{count:>12,}  {what}")
    print(f"{done:,} inputs, no fault")
    return 0


if __name__ == "__main__":
    sys.exit(main())
