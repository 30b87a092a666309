"""factory.yaml: what it resolves to, and one clear sentence with file, line and remedy for every mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.calendar import unusable
from pipeline.core.model import MachineConfig, Shift, SignalConfig
from pipeline.errors import FactoryFileError
from pipeline.factory import MACHINE_KEYS, TOP_KEYS, dump, load, loads
from pipeline.factory_levels import CALENDAR_KEYS
from pipeline.factory_machine import CHART_KEYS
from pipeline.reasons import LOSSES

EXAMPLE = Path(__file__).parents[1] / "deploy/examples/factory.yaml"

GOOD = """\
version: 1
site: lyon
timezone: Europe/Paris
calendar:
  shifts:
    - {name: early, start: 06:00, end: 14:00, days: [1, 2]}
    - {name: night, start: 22:00, end: 06:00}
  breaks:
    - {name: lunch, start: 12:00, end: 12:30}
  planned_down:
    - {from: 2026-03-02T10:00:00Z, to: 2026-03-02T10:30:00Z}
  closed: [2026-12-25]
defaults:
  stale_after_s: 300
areas:
  body: {calendar: always}
lines:
  L1:
    area: body
    stations: [cut, [weld-a, weld-b]]
machines:
  cut:
    ideal_cycle_s: {A: 12.5, "*": 15}
    micro_stop_s: 120
    oee_target: 0.75
    signals:
      load: {unit: "%", low: 0, high: 110, flatline_s: 600, learn: true}
  weld-a:
  weld-b: {}
  paint:
    area: finishing
"""

# what is written instead of what, the line that must be named, words of the sentence, words of the remedy
MISTAKES = {
    "unknown key": ("micro_stop_s: 120", "micro_stops_s: 120", 24, "'micro_stops_s'", "did you mean `micro_stop_s`"),
    "unknown top key": ("areas:", "area:", 15, "unknown key 'area'", "`areas`"),
    "key in the wrong case": ("    stations:", "    Stations:", 20, "'Stations'", "`stations`"),
    "shift key": ("end: 14:00, days", "ende: 14:00, days", 6, "'ende'", "`end`"),
    "signal key": ("low: 0", "lo: 0", 27, "'lo'", "`low`"),
    "wrong version": ("version: 1", "version: 2", 1, "version 2", "write 1"),
    "no version": ("version: 1\n", "", 1, "`version` is missing", "add `version: ...`"),
    "no site": ("site: lyon\n", "", 1, "`site` is missing", "add `site: ...`"),
    "site empty": ("site: lyon", "site:", 2, "nothing is given", "name of the site"),
    "site is a list": ("site: lyon", "site: [lyon]", 2, "a list", "name of the site"),
    "unknown zone": ("Europe/Paris", "Europe/Pariss", 3, "'Europe/Pariss' is unknown", "did you mean `Europe/Paris`"),
    "zone as an offset": ("Europe/Paris", "+01:00", 3, "unknown", "such as Europe/Paris"),
    "zone without a continent": ("Europe/Paris", "paris", 3, "'paris' is unknown", "did you mean `Europe/Paris`"),
    "shifts overlap": ("end: 14:00", "end: 22:30", 7, "overlap on Monday", "see line 6; move"),
    "overlap over midnight": ("end: 06:00}", "end: 06:30}", 7, "night (22:00-06:30) and early", "move"),
    "overlap over the week's end": (
        "early, start: 06:00, end: 14:00, days: [1, 2]", "early, start: 04:00, end: 06:00, days: [1]", 7,
        "overlap on Monday", "see line 6",
    ),
    "shift without a name": ("name: early, ", "", 6, "`name` is missing", "add `name"),
    "no list of shifts": ("breaks:\n    - {name: lunch,", "breaks:\n    {name: lunch,", 9, "not a list", "dash"),
    "hour 25": ("start: 06:00, end: 14", "start: 25:00, end: 14", 6, "'25:00' is no time of day", "00:00 to 24:00"),
    "minute 60": ("end: 14:00", "end: 13:60", 6, "'13:60'", "such as 06:30"),
    "time without minutes": ("end: 14:00", "end: 14", 6, "'14' is no time", "hours and minutes"),
    "am and pm": ("end: 14:00", "end: 2 pm", 6, "'2 pm'", "06:30"),
    "starts at 24:00": ("start: 22:00", "start: 24:00", 7, "end of a day", "00:00"),
    "weekday 0": ("days: [1, 2]", "days: [0, 1]", 6, "'0' is no weekday", "1 (Monday)"),
    "weekday unknown": ("days: [1, 2]", "days: [monkey]", 6, "'monkey' is no weekday", "mon, tue"),
    "weekday twice": ("days: [1, 2]", "days: [1, mon]", 6, "stands twice", "once"),
    "days no list": ("days: [1, 2]", "days: mon-fri", 6, "not a list", "in [ ]"),
    "break of a day": ("end: 12:30", "end: 12:00", 9, "lasts a whole day", "correct its end"),
    "stop ends before it starts": ("T10:30:00Z", "T09:30:00Z", 11, "ends (2026-03-02T09:30:00Z) before it", "later"),
    "stop without length": ("T10:30:00Z", "T10:00:00Z", 11, "when it starts", "`to` a later time"),
    "stop without an end": (", to: 2026-03-02T10:30:00Z", "", 11, "`to` is missing", "add `to"),
    "moment impossible": ("2026-03-02T10:30", "2026-02-30T10:30", 11, "is no moment", "write it as"),
    "moment in words": ("2026-03-02T10:30:00Z", "tomorrow", 11, "'tomorrow'", "2026-03-02T10:00:00Z"),
    "date impossible": ("[2026-12-25]", "[2026-02-30]", 12, "'2026-02-30' is no date", "year-month-day"),
    "date in local habit": ("[2026-12-25]", "[25.12.2026]", 12, "is no date", "2026-12-25"),
    "calendar word": ("body: {calendar: always}", "body: {calendar: alway}", 16, "'alway'", "`always`"),
    "calendar empty": ("body: {calendar: always}", "body: {calendar: {}}", 16, "says nothing", "always"),
    "area unused": ("area: body", "area: bdy", 16, "no line or machine", "did you mean `bdy`"),
    "area on line and machine": ("cut:\n", "cut:\n    area: x\n", 23, "on line L1", "to the line"),
    "unknown machine on a line": ("[weld-a, weld-b]", "[weld-a, weldb]", 20, "'weldb' is not under", "`weld-b`"),
    "machine twice on a line": ("[weld-a, weld-b]", "[weld-a, cut]", 20, "twice on this line", "one place"),
    "machine on two lines": (
        "machines:", "  L2: {stations: [cut]}\nmachines:", 21, "already on line L1", "one line",
    ),
    "line without stations": ("stations: [cut, [weld-a, weld-b]]", "stations: []", 20, "no station", "serial order"),
    "station without machines": ("[weld-a, weld-b]", "[]", 20, "no machine", "delete it"),
    "machine defined twice": ("weld-b: {}", "weld-a: {}", 29, "stands here twice, first in line 28", "rename one"),
    "key twice": ("micro_stop_s: 120", "micro_stop_s: 120\n    micro_stop_s: 60", 25, "first in line 24", "delete"),
    "machine is a number": ("weld-b: {}", "weld-b: 12", 29, "the text '12', not a mapping", "key: value"),
    "cycle negative": ("12.5", "-12.5", 23, "-12.5 is out of range", "above 0"),
    "cycle zero": ("12.5", "0", 23, "0 is out of range", "above 0"),
    "cycle finer than 1 us": ("12.5", "0.0000005", 23, "no whole number of microseconds", "6 decimals"),
    "cycle infinite": ("12.5", ".inf", 23, "'.inf' is not", "in digits"),
    "decimal comma": ('{A: 12.5, "*": 15}', "12,5", 23, "'12,5' is not", "12.5"),
    "number with a unit": ("micro_stop_s: 120", "micro_stop_s: 120s", 24, "'120s' is not", "the number alone (120)"),
    "number in words": ("micro_stop_s: 120", "micro_stop_s: two", 24, "'two' is not a number of seconds", "in digits"),
    "number is a mapping": ("micro_stop_s: 120", "micro_stop_s: {A: 1}", 24, "this is a mapping", "number of seconds"),
    "cycle of weeks": ("12.5", "604801", 23, "604801 is out of range", "above 0 to 604800"),
    "no part per cycle": ("micro_stop_s: 120", "units_per_cycle: 0", 24, "0 is out of range", "parts per cycle from 1"),
    "half a part": ("micro_stop_s: 120", "units_per_cycle: {A: 0.5}", 24, "0.5 is not a whole", "from 1 to 100000"),
    "no parts": ("micro_stop_s: 120", "units_per_cycle: {}", 24, "no number of parts", '{"*": 2}'),
    "split unknown": ("micro_stop_s: 120", "split: even", 24, "'even' is unknown", "none, proportional"),
    "enterprise without a name": ("site: lyon", "site: lyon\nenterprise: {calendar: always}", 3, "`name` is", "add"),
    "enterprise empty": ("site: lyon", "site: lyon\nenterprise:", 3, "nothing is given", "name of the enterprise"),
    "inherit in words": ("body: {calendar: always}", "body: {calendar: {inherit: maybe}}", 16, "'maybe'", "true"),
    "shifts empty": ("body: {calendar: always}", "body: {calendar: {shifts: []}}", 16, "is empty", "delete the key"),
    "no cycle at all": ('{A: 12.5, "*": 15}', "{}", 23, "no ideal cycle time", "seconds per part"),
    "stale after nothing": ("stale_after_s: 300", "stale_after_s: 0", 14, "0 is out of range", "above 0"),
    "mistake in unused defaults": ("  stale_after_s: 300", "  oee_target: x", 14, "'x' is not a target", "0 to 1"),
    "target in percent": ("0.75", "75", 25, "75 is not between 0 and 1", "write 0.75"),
    "target negative": ("0.75", "-1", 25, "-1 is not between", "0.75"),
    "target with a sign": ("0.75", "75%", 25, "75% is not a share", "75% as 0.75"),
    "modulus broken": ("micro_stop_s: 120", "counter_modulus: 1.5", 24, "1.5 is not a whole number", "from 2"),
    "modulus too small": ("micro_stop_s: 120", "counter_modulus: 1", 24, "1 is out of range", "from 2"),
    "profile unknown": ("micro_stop_s: 120", "profile: iso22401", 24, "'iso22401' is unknown", "`iso22400`"),
    "unknown_as unknown": ("micro_stop_s: 120", "unknown_as: gain", 24, "'gain' is unknown", "exclude, loss"),
    "limits crossed": ("high: 110", "high: -1", 27, "high (-1) is not above low (0)", "larger"),
    "limits equal": ("high: 110", "high: 0", 27, "not above low", "larger"),
    "truth in words": ("learn: true", "learn: maybe", 27, "'maybe' is neither", "true or false"),
    "no machines": ("machines:\n", "machines: {}\nx:\n", 22, "unknown key 'x'", "known are"),
    "unquoted star": ('"*": 15', "*: 15", 23, "no valid YAML", "'*'"),
    "unquoted percent": ('"%"', "%", 27, "no valid YAML", "quotes"),
    "tab": ("  cut:\n", "\tcut:\n", 22, "a tab", "indent with blanks"),
    "no blank after the colon": ("site: lyon", "site:lyon", 3, "no valid YAML", "blank after one"),
    "wrong indentation": ("    micro_stop_s", "   micro_stop_s", 24, "no valid YAML", "same column"),
    "bracket open": ("days: [1, 2]", "days: [1, 2", 6, "no valid YAML", "close the bracket"),
    "quote open": ("unit: \"%\"", "unit: \"%", 27, "no valid YAML", "never closed"),
    "two documents": ("defaults:", "---\ndefaults:", 13, "a second document", "---"),
    "undefined alias": ("site: lyon", "site: *lyon", 2, "no anchor", "&name"),
    "alias of itself": ("weld-b: {}", "weld-b: &x [*x]", 29, "*x has no anchor", "&name"),
    "merge key": ("weld-b: {}", "weld-b: {<<: 1}", 29, "merge keys", "`defaults`"),
    "tag": ("site: lyon", "site: !!python/name:os.system lyon", 2, "means nothing here", "delete it"),
    "no-break space": ("  weld-b: {}", "  \u00a0weld-b: {}", 29, "cannot be a key", "ordinary blanks"),
    "control character": ("lyon", "ly\x07on", 2, "control character", "delete it"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "problem", "remedy"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_sentence_with_file_line_and_remedy(
    old: str, new: str, line: int, problem: str, remedy: str
) -> None:
    assert GOOD.count(old) >= 1
    with pytest.raises(FactoryFileError) as refused:
        loads(GOOD.replace(old, new, 1), "plant/factory.yaml")
    said = str(refused.value)
    assert said.startswith(f"plant/factory.yaml:{line}: ")
    what, cure = said.rsplit("; ", 1) if "; move" not in said else said.split("; ", 1)
    assert problem in what
    assert remedy in cure
    assert "\n" not in said


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "F:1: the file is empty; start from deploy/examples"),
        (b"# nothing yet\n", "F:1: the file is empty; start from deploy/examples"),
        (b"- version: 1\n", "F:1: this is a list, not a mapping; write lines of `key: value`, such as `version: ...`"),
        (
            b"hello\n",
            "F:1: this is the text 'hello', not a mapping; write lines of `key: value`, such as `version: ...`",
        ),
        (b"version: 1\nsite: M\xfcnchen\n", "F:2: this is no UTF-8 text; save the file with the encoding UTF-8"),
        (GOOD.encode("utf-16"), "F:1: this is no UTF-8 text; save the file with the encoding UTF-8"),
    ],
)
def test_content_that_is_no_factory_file(tmp_path: Path, content: bytes, sentence: str) -> None:
    file = tmp_path / "factory.yaml"
    file.write_bytes(content)
    with pytest.raises(FactoryFileError) as refused:
        load(file)
    assert str(refused.value) == sentence.replace("F", str(file), 1)


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FactoryFileError, match="there is no such file; check the path"):
        load(tmp_path / "factory.yaml")
    with pytest.raises(FactoryFileError, match="this is a folder; name the file in it"):
        load(tmp_path)
    (loop := tmp_path / "loop").symlink_to(loop)
    with pytest.raises(FactoryFileError, match="cannot be read"):
        load(loop)


def test_an_alias_bomb_does_not_unfold() -> None:
    rows = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 40)]
    with pytest.raises(FactoryFileError, match="unknown key 'a0'"):
        loads("\n".join(rows))
    many = "closed: [" + "*a," * 10_001 + "]"
    with pytest.raises(FactoryFileError, match="more than 10000 aliases"):
        loads(f"site: &a x\n{many}\n")


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(FactoryFileError, match=r"^factory.yaml:1: .*(too deep|no valid YAML)"):
        loads("a: " + "[" * 100_000)


def test_a_good_file_resolves_every_machine() -> None:
    factory = loads(GOOD)
    assert list(factory.machines) == ["cut", "weld-a", "weld-b", "paint"]
    assert factory.machines["cut"] == MachineConfig(
        site="lyon",
        area="body",
        line="L1",
        position=1,
        timezone="Europe/Paris",
        always=True,
        calendar_level="area",
        ideal_cycle_us={"A": 12_500_000, "*": 15_000_000},
        micro_stop_ms=120_000,
        stale_after_ms=300_000,
        oee_target=0.75,
        signals=(SignalConfig("load", "%", 0.0, 110.0, 600_000, True),),
    )
    assert factory.machines["weld-b"].position == 2
    ten = 1_772_445_600_000  # 2026-03-02T10:00:00Z
    assert factory.machines["paint"] == MachineConfig(
        site="lyon",
        area="finishing",
        timezone="Europe/Paris",
        always=False,
        calendar_level="site",
        shifts=(Shift("early", "06:00", "14:00", (1, 2)), Shift("night", "22:00", "06:00")),
        breaks=(Shift("lunch", "12:00", "12:30"),),
        planned_down=((ten, ten + 1_800_000),),
        closed=("2026-12-25",),
        stale_after_ms=300_000,
    )
    assert factory.lines["L1"].stations == (("cut",), ("weld-a", "weld-b"))


def test_the_nearest_level_gives_the_calendar() -> None:
    day = "{shifts: [{name: day, start: 8:00, end: 24:00}]}"
    night = "{shifts: [{name: night, start: 00:00, end: 24:00}]}"
    text = GOOD.replace("area: body", f"area: body\n    calendar: {day}").replace(
        "weld-b: {}", f"weld-b: {{calendar: {night}}}"
    )
    machines = loads(text).machines
    assert machines["weld-a"].shifts == (Shift("day", "08:00", "00:00"),)
    assert machines["weld-b"].shifts == (Shift("night", "00:00", "00:00"),)
    assert [shift.name for shift in machines["paint"].shifts] == ["early", "night"]
    assert loads(GOOD).machines["weld-a"].always


def test_names_are_taken_as_they_are_written() -> None:
    text = (
        "version: 1\nsite: 0815\ntimezone: UTC\nmachines:\n  4711: {ideal_cycle_s: {on: 1, no: 2, 22:00: 3, 1e3: 4}}\n"
    )
    factory = loads(text)
    assert factory.site == "0815"
    assert factory.machines["4711"].ideal_cycle_us == {
        "on": 10**6,
        "no": 2 * 10**6,
        "22:00": 3 * 10**6,
        "1e3": 4 * 10**6,
    }
    assert loads(dump(factory)).machines == factory.machines


def test_windows_line_ends_and_a_byte_order_mark_are_fine(tmp_path: Path) -> None:
    file = tmp_path / "factory.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load(file).machines == loads(GOOD).machines


def test_cycle_times_are_exact() -> None:
    text = GOOD.replace("12.5", "12.345678").replace('"*": 15', '"*": 0.000001')
    assert loads(text).machines["cut"].ideal_cycle_us == {"A": 12_345_678, "*": 1}


def test_parts_per_cycle_and_how_sparse_totals_are_spread() -> None:
    text = GOOD.replace("micro_stop_s: 120", 'units_per_cycle: {A: 2, "*": 1}\n    split: proportional')
    text = text.replace("weld-b: {}", "weld-b: {units_per_cycle: 4, split: none}")
    machines = loads(text).machines
    assert (machines["cut"].units_per_cycle, machines["cut"].count_split) == ({"A": 2, "*": 1}, "proportional")
    assert (machines["weld-b"].units_per_cycle, machines["weld-b"].count_split) == ({"*": 4}, "")
    assert loads(dump(loads(text))).machines == machines


def test_what_the_file_may_say_the_engine_can_reckon_with() -> None:
    text = GOOD.replace("12.5", "604800").replace("micro_stop_s: 120", "units_per_cycle: 100000")
    assert unusable(loads(text).machines["cut"]) == ""


def test_the_documentation_names_every_key_and_its_example_works() -> None:
    page = (EXAMPLE.parents[2] / "docs/factory.md").read_text(encoding="utf-8")
    keys = [*TOP_KEYS, *MACHINE_KEYS, *CALENDAR_KEYS, *LOSSES, "stations", "area"]
    keys += ["unit", "low", "high", "flatline_s", "learn", "loss", "name", "start", "end", "days", "from", "to", "on"]
    keys += ["detector", *CHART_KEYS]
    keys += ["country", "subdivision", "years", "except"]
    assert [key for key in keys if f"`{key}`" not in page] == []
    assert [meaning for meaning in LOSSES.values() if meaning not in page] == []
    example = page.split("```yaml\n")[1].split("```")[0]
    assert loads(example).machines["cut"].ideal_cycle_us == {"*": 12_500_000}
