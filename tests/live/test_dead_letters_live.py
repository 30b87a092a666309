"""Dead letters on a real line: parked by a worker, listed, shown, mended, sent again, folded, and counted once."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click import Abort
from click.testing import CliRunner
from live_stack import LiveStack
from sink_trial import SinkProcess
from sink_trial import lag as sink_lag
from worker_trial import T0, Worker, put, read, until
from worker_trial import lag as worker_lag

from pipeline import topics
from pipeline.audit import Options, audit
from pipeline.audit.report import PASS
from pipeline.cli.dead_letters import command
from pipeline.codec import Codec
from pipeline.core.model import Control, CountReading, DeadLetter, EndOfSource, Frame, MachineConfig, StateChange
from pipeline.errors import BrokerUnavailable, UsageError
from pipeline.settings import Settings
from pipeline.store.client import Store
from pipeline.store.migrate import migrate

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]
CODEC = Codec()
CAUGHT_UP_S = 120
MINUTE = 60_000
UNKNOWN = b"\0\0\x0f\x42\x3f" + b"whatever"
MADE = "SELECT sum(total), sum(good) FROM facts WHERE machine = 'm1'"


@pytest.fixture
def line(stack: LiveStack, tmp_path: Path) -> Iterator[Settings]:
    """One partition, a worker and a sink; two sound frames, and four records that are refused, offsets 3 to 6."""
    settings = stack.settings("letters", partitions=1, session_s=6, snapshot_s=1, tick_s=600, provisional_s=1)
    topics.ensure(settings)
    migrate(settings)
    config = Control("m1", "config", T0, "trial", MachineConfig(site="trial", ideal_cycle_us={"*": 1_000_000}))
    sound = [frame(0, [StateChange(T0, "running")], 10), frame(1, [], 10)]
    half = frame(2, [StateChange(T0 + 2 * MINUTE, "stoped")], 10)  # the count is used, the state is not
    torn = CODEC.encode(frame(3, [], 5))[:-1]
    good = [(b"m1", CODEC.encode(message)) for message in (config, *sound)]
    put(settings, "telemetry", [*good, (b"m1", torn), (b"m1", UNKNOWN), (None, CODEC.encode(frame(4, [], 7)))])
    put(settings, "telemetry", [(b"m1", CODEC.encode(half))])
    running: list[Worker | SinkProcess] = []
    running += [Worker(settings, tmp_path / "worker.log"), SinkProcess(settings, tmp_path / "sink.log")]
    try:
        settled(settings)
        yield settings
    finally:
        codes = [one.end(signal.SIGTERM, 30) for one in running]
    assert codes == [0, 0]


def frame(number: int, states: list[StateChange], made: int) -> Frame:
    at = T0 + number * MINUTE + 1000
    counts = [CountReading(at, False, total=made, good=made)]
    return Frame("m1", "plc", 1, number, at, states=states, counts=counts)


def settled(settings: Settings) -> None:
    """Return when worker and sink have taken everything."""
    until(lambda: worker_lag(settings) == 0, CAUGHT_UP_S, "the worker has folded everything", 0.2)
    until(lambda: sink_lag(settings) == 0, CAUGHT_UP_S, "the sink has written everything", 0.2)


def ended(settings: Settings) -> tuple[int, ...]:
    """Parts and good parts of m1, once its last window is closed."""
    at = T0 + 10 * MINUTE
    put(settings, "telemetry", [(b"m1", CODEC.encode(Control("m1", "end", at, "trial", EndOfSource("plc", at))))])
    settled(settings)
    with closing(Store(settings)) as store:
        return tuple(map(int, store.query(MADE).result_rows[0]))


def letters(settings: Settings, *arguments: str, stdin: str = "") -> str:
    """What the command prints. Its errors are raised as they are."""
    places = [f"--kafka={settings['kafka']}", f"--topic-prefix={settings['topic_prefix']}"]
    result = CliRunner().invoke(command, [*arguments, *places], stdin, catch_exceptions=False, standalone_mode=False)
    return result.stdout


def listed(settings: Settings, *arguments: str) -> dict[str, Any]:
    """Letters by the offset of their record."""
    found = json.loads(letters(settings, "list", "--json", *arguments))
    return {one["address"].rpartition("/")[2]: one for one in found}


def mended(settings: Settings, offset: int, path: Path, change: Any) -> Path:
    """A file for --mend: what `show --json` prints, with a change."""
    document = json.loads(letters(settings, "show", f"telemetry/0/{offset}", "--json"))
    change(document["record"]["Frame"])
    path.write_text(json.dumps(document))
    return path


def headers(settings: Settings, offset: int) -> dict[str, bytes]:
    """Headers of a record of telemetry."""
    (found,) = [message for message in read(settings, "telemetry") if message.offset() == offset]
    return dict(found.headers() or [])


def test_parked_listed_shown_mended_replayed_and_counted_once(line: Settings, tmp_path: Path) -> None:
    found = listed(line)
    assert {at: [one["reason"] for one in row["refusals"]] for at, row in found.items()} == {
        "3": ["undecodable"], "4": ["unknown_schema"], "5": ["no_key"], "6": ["invalid"],
    }  # fmt: skip
    assert list(listed(line, "--reason", "invalid")) == ["6"]
    assert list(listed(line, "--machine", "m1")) == ["6", "4", "3"]
    assert listed(line, "--to", "2020-01-01") == {}
    assert list(listed(line, "--from", "2020-01-01", "--limit", "1")) == ["6"]
    table = letters(line, "list", "--by", "reason")
    assert "undecodable" in table
    assert "telemetry/0/3" in letters(line, "list")

    shown = letters(line, "show", "telemetry/0/3")
    assert "up to     byte" in shown
    assert '"machine": "m1"' in shown
    assert CODEC.encode(frame(3, [], 5))[:-1].hex()[:16] in shown.replace(" ", "")

    torn = mended(line, 3, tmp_path / "torn.json", lambda record: record.update(signals=[]))
    planned = letters(line, "replay", "telemetry/0/3", "--mend", str(torn), "--dry-run")
    assert "mended, frame 3 of plc" in planned
    assert listed(line)["3"]["replays"] == []
    with pytest.raises(Abort):
        letters(line, "replay", "telemetry/0/3", "--mend", str(torn), stdin="n\n")
    assert listed(line)["3"]["replays"] == []
    said = letters(line, "replay", "telemetry/0/3", "--mend", str(torn), "--by", "ann", stdin="y\n")
    assert f"{line.topic('telemetry')}/0/3 -> {line.topic('telemetry')}/0/7" in said
    assert headers(line, 7) == {"openoee-replayed": f"{line.topic('telemetry')}/0/3".encode()}
    (replay,) = listed(line)["3"]["replays"]
    assert (replay["to"], replay["by"], replay["mended"]) == (f"{line.topic('telemetry')}/0/7", "ann", True)
    with pytest.raises(UsageError, match=r"was replayed at .* by ann and stands at .*/0/7: --again"):
        letters(line, "replay", "telemetry/0/3", "--yes")
    letters(line, "replay", "telemetry/0/3", "--mend", str(torn), "--again", "--yes")
    assert len(listed(line)["3"]["replays"]) == 2

    half = mended(line, 6, tmp_path / "half.json", lambda record: record["states"][0].update(state="stopped"))
    letters(line, "replay", "telemetry/0/6", "--mend", str(half), "--yes")
    letters(line, "replay", "--reason", "no_key", "--yes")
    assert ended(line) == (42, 42)  # 10 + 10 + 10, the mended 5, the 7 that had no key
    with closing(Store(line)) as store:
        (row,) = store.query("SELECT sum(adet_ms) > 0 FROM facts WHERE machine = 'm1'").result_rows
        assert row == (1,)
        assert store.query("SELECT offset, count() FROM parked GROUP BY offset ORDER BY offset").result_rows == [
            (3, 1), (4, 1), (5, 1), (6, 1),
        ]  # fmt: skip
    report = audit(line, Options(wait_s=60), lambda _: None)
    assert report.verdict == PASS, list(report.lines())


def test_what_is_still_unusable_becomes_a_letter_again_and_filters_leave_it_out(line: Settings) -> None:
    assert letters(line, "replay", "--reason", "unknown_schema", "--yes") == ""
    assert "will be refused again (unknown_schema" in letters(line, "replay", "telemetry/0/4", "--yes")
    settled(line)
    found = listed(line, "--reason", "unknown_schema")
    assert list(found) == ["7", "4"]
    assert found["4"]["replays"][0]["to"] == found["7"]["address"]
    assert headers(line, 7)


def test_results_are_not_replayed_and_mistakes_are_told_in_words(line: Settings) -> None:
    letter = DeadLetter(line.topic("oee"), 0, 9, T0, None, "undecodable", "d", 0, b"m1", b"rubbish")
    put(line, "dead-letters", [(b"m1", CODEC.encode(letter)), (b"m1", b"no letter")])
    with pytest.raises(UsageError, match=r"oee/0/9 is no telemetry: results are made by the worker"):
        letters(line, "replay", "oee/0/9", "--yes")
    assert letters(line, "replay", "--topic", "oee", "--yes") == ""
    with pytest.raises(UsageError, match="which ones"):
        letters(line, "replay", "--yes")
    with pytest.raises(UsageError, match=r"no dead letter of .*telemetry/0/99"):
        letters(line, "show", "telemetry/0/99")
    with pytest.raises(UsageError, match="name its address"):
        letters(line, "replay", "--reason", "invalid", "--mend", __file__)
    with pytest.raises(BrokerUnavailable, match="check OPENOEE_KAFKA"):
        letters(Settings({**line.values, "kafka": "127.0.0.1:9"}), "list")
