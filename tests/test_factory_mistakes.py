"""factory.yaml as new users get it wrong: each mistake is one sentence with file, line and remedy, traceback never."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pipeline import yaml_lines
from pipeline.errors import FactoryFileError
from pipeline.factory import Factory, dump, load, loads

# What stands above a mistake; the first line after it is 4, 6 or 7.
SITE = "version: 1\nsite: lyon\ntimezone: Europe/Paris\n"
PLANT = SITE + "machines:\n  cut: {ideal_cycle_s: 12.5}\n"
MACHINE = SITE + "machines:\n  cut:\n"
LINES = SITE + "machines: {cut: , weld: , paint: }\nlines:\n"
CALENDAR = PLANT + "calendar:\n"

Cases = dict[str, tuple[str, int, str, str]]  # text, the line that must be named, words of the problem, of the remedy

SHAPE: Cases = {
    "tab after blanks": (MACHINE + "  \tideal_cycle_s: 3\n", 6, "a tab", "indent with blanks"),
    "tab on an empty line": (
        MACHINE + "    ideal_cycle_s: 3\n\t\n    micro_stop_s: 3\n", 7, "a tab", "indent with blanks"),
    "colon missing after a key": (MACHINE + "    ideal_cycle_s 12\n", 6, "'ideal_cycle_s 12', not a map", "key: value"),
    # where a block follows, YAML notices one line later; the remedy says so
    "colon missing above a block": (SITE + "machines\n  cut: {}\n", 5, "expected ':'", "here or one line above"),
    "equals signs": ("version = 1\nsite = lyon\n", 1, "the text 'version = 1", "key: value"),
    "two colons in a value": (
        "version: 1\nsite: lyon: east\ntimezone: UTC\nmachines: {cut: }\n", 2, "not allowed", "a second colon"),
    "comma missing in braces": (
        CALENDAR + "  shifts:\n    - {name: early start: 06:00, end: 14:00}\n", 8, "expected ','", "put a comma"),
    "bracket closed by a brace": (LINES + "  L1: {stations: [cut, weld}}\n", 6, "expected ',' or ']'", "close the br"),
    "quote never closed in the last line": (PLANT + "lines: {}\nareas: '{}\n", 7, "end of stream", "never closed"),
    "machine not indented": (SITE + "machines:\ncut: {ideal_cycle_s: 12.5}\n", 5, "unknown key 'cut'", "known are"),
    "key beside its machine": (
        SITE + "machines:\n  cut:\n  ideal_cycle_s: 12.5\n", 6, "ideal_cycle_s: this is the text", "key: value"),
    "key deeper than the one above": (
        MACHINE + "    ideal_cycle_s: 12.5\n      micro_stop_s: 3\n", 7, "not allowed", "wrong indentation"),
    "dash deeper than the one above": (
        CALENDAR + "  breaks:\n    - {start: 6:00, end: 7:00}\n      - {start: 8:00, end: 9:00}\n", 9,
        "this is no valid YAML", "in the same column"),
    "no blank after the dashes": (
        LINES + "  L1:\n    stations:\n      -cut\n      -weld\n", 8, "'-cut -weld', not a list", "each after a dash"),
    "machines as a list": (SITE + "machines:\n  - cut\n  - weld\n", 5, "machines: this is a list", "key: value"),
    "signals as a list": (MACHINE + "    signals: [load]\n", 6, "signals: this is a list", "key: value"),
    "shifts by name": (
        CALENDAR + "  shifts:\n    early: {start: 6:00, end: 14:00}\n", 8, "a mapping, not a list", "{name: early,"),
    "stations as a text": (LINES + "  L1:\n    stations: cut, weld\n", 7, "'cut, weld', not a list", "all in [ ]"),
    "shifts without `shifts`": (
        CALENDAR + "  - {name: a, start: 6:00, end: 14:00}\n", 7, "calendar: this is a list", "key: value"),
    "nothing under machines": (
        "version: 1\nmachines:\nsite: lyon\ntimezone: UTC\n", 2, "machines: nothing is given", "key: value"),
    "no machine": (SITE + "machines: {}\n", 4, "there is no machine", "at least one"),
    "null for a list": (LINES + "  L1: {stations: null}\n", 6, "stations: nothing is given", "in serial order"),
    "tilde in a list": (LINES + "  L1:\n    stations:\n      - cut\n      - ~\n", 9, "[2]: nothing", "of a machine"),
    "top key twice": (PLANT + "machines:\n  weld: {}\n", 6, "'machines' stands here twice, first in line 4", "delete"),
    "quoted and unquoted twice": (
        SITE + 'machines:\n  cut: {}\n  "cut": {}\n', 6, "'cut' stands here twice, first in line 5", "rename one"),
    "star as a product of a block": (
        MACHINE + "    ideal_cycle_s:\n      A: 3\n      *: 15\n", 8, "no valid YAML", "put quotes around"),
    "alias as a key": (SITE + "machines:\n  &m cut: {}\n  *m : {}\n", 6, "a key must be a plain name", "name: ..."),
    "common part at the top": ("x-common: &c {micro_stop_s: 3}\n" + PLANT, 1, "unknown key 'x-common'", "defaults"),
    "code fence of a web page": ("```yaml\n" + PLANT + "```\n", 1, "cannot start any token", "a backquote"),
    "template not filled in": (PLANT.replace("lyon", "{{ site }}"), 2, "a key must be a plain name", "name: ..."),
    "merge conflict": (
        MACHINE + "<<<<<<< HEAD\n    micro_stop_s: 3\n=======\n    micro_stop_s: 4\n>>>>>>> x\n", 7,
        "expected ':'", "here or one line above"),
    "comment of another language": (MACHINE + "    micro_stop_s: 3 // s\n", 6, "'3 // s' is not a number", "in digits"),
    "zero-width space in a value": (PLANT.replace("lyon", "ly\u200bon"), 2, r"'ly\u200bon'", "printable characters"),
    "soft hyphen in a name": (SITE + "machines:\n  cu\xadt: {}\n", 5, r"'cu\xadt' cannot be a key", "plain characters"),
    "no-break space in a line": (MACHINE + "    micro_stop_s:\xa03\n", 6, r"'micro_stop_s:\xa03', not", "key: value"),
    "file of another program": ("version: '3'\nservices:\n  kafka: {}\n", 2, "unknown key 'services'", "known are"),
    "table of a spreadsheet": ("machine;cycle\ncut;12\n", 1, "'machine;cycle cut;12', not a mapping", "key: value"),
}  # fmt: skip

MEANING: Cases = {
    "version with a decimal": (PLANT.replace("1\n", "1.0\n", 1), 1, "version 1.0 of the format", "write 1"),
    "version not said": (PLANT.replace(" 1\n", "\n", 1), 1, "version: nothing is given", "version of the format"),
    "site as a mapping": (PLANT.replace("lyon", "{name: lyon}"), 2, "a mapping, not the name", "name of the site"),
    "time_zone": (PLANT.replace("timezone", "time_zone"), 3, "unknown key 'time_zone'", "did you mean `timezone`"),
    "zone is a country": (PLANT.replace("Europe/Paris", "Germany"), 3, "'Germany' is unknown", "such as Europe/Paris"),
    "zone with a blank": (PLANT.replace("Europe/Paris", "New York"), 3, "'New York' is unknown", "`America/New_York`"),
    "zone not said": (PLANT.replace("Europe/Paris", "~"), 3, "timezone: nothing is given", "such as Europe/Paris"),
    "hyphens for underscores": (MACHINE + "    ideal-cycle-s: 12\n", 6, "'ideal-cycle-s'", "`ideal_cycle_s`"),
    "unit of one's own": (MACHINE + "    ideal_cycle_ms: 12500\n", 6, "'ideal_cycle_ms'", "mean `ideal_cycle_s`"),
    "line said of a machine": (MACHINE + "    line: L1\n", 6, "machines.cut: unknown key 'line'", "known are: area"),
    "area among the defaults": (PLANT + "defaults:\n  area: hall\n", 7, "defaults: unknown key 'area'", "known are"),
    "cycle time in microseconds": (MACHINE + "    ideal_cycle_s: 12500000\n", 6, "out of range", "above 0 to 604800"),
    "cycle time as a rate": (MACHINE + "    ideal_cycle_s: 4800/h\n", 6, "'4800/h' is not a number", "in digits"),
    "cycle time as a clock": (MACHINE + "    ideal_cycle_s: 00:00:12\n", 6, "'00:00:12' is not a number", "in digits"),
    "cycle time in a list": (MACHINE + "    ideal_cycle_s: [12, 13]\n", 6, "a list, not a number", "number of seconds"),
    "cycle time of a product not said": (
        MACHINE + "    ideal_cycle_s:\n      A: 12\n      B:\n", 8, "ideal_cycle_s.B: nothing", "number of seconds"),
    "micro-stop in thin thousands": (MACHINE + "    micro_stop_s: 1 000\n", 6, "'1 000' is not a number", "in digits"),
    "stale below a millisecond": (MACHINE + "    stale_after_s: 0.0001\n", 6, "0.0001 s is no whole", "3 decimals"),
    "stale never": (MACHINE + "    stale_after_s: never\n", 6, "'never' is not a number of seconds", "in digits"),
    "default target in percent": (PLANT + "defaults:\n  oee_target: 45 %\n", 7, "45 % is not a share", "as 0."),
    "target beyond percent": (MACHINE + "    oee_target: 8500\n", 6, "8500 is not between", "a share from 0 to 1"),
    "target by product": (MACHINE + "    oee_target: {A: 0.8}\n", 6, "a mapping, not a target", "from 0 to 1"),
    "profile in capitals": (MACHINE + "    profile: ISO22400\n", 6, "'ISO22400' is unknown", "did you mean `iso22400`"),
    "two profiles": (MACHINE + "    profile: [vorne, smrp]\n", 6, "a list, not one of iso22400", "one of iso22400"),
    "unknown_as as an adjective": (PLANT + "defaults: {unknown_as: excluded}\n", 6, "'excluded'", "mean `exclude`"),
    "limits as min and max": (MACHINE + "    signals:\n      load: {min: 0}\n", 7, "unknown key 'min'", "learn, low"),
    "chart of another school": (
        MACHINE + "    signals:\n      load: {spc: shewhart}\n", 7, "'shewhart' is unknown", "nelson, western"),
    "spacing without a chart": (
        MACHINE + "    signals:\n      load: {spc_every_s: 60}\n", 7, "`spc_every_s` without", "write `spc: nelson`"),
    "points of half a minute": (
        MACHINE + "    signals:\n      load: {spc: nelson, spc_every_s: 30}\n", 7, "of whole minutes", "60, 120"),
    "chart since no moment": (
        MACHINE + "    signals:\n      load: {spc: nelson, spc_since: spring}\n", 7, "'spring' is no moment", "as"),
    "limit that is none": (MACHINE + "    signals:\n      load: {low: .nan}\n", 7, "'.nan' is not", "in digits"),
    "calendar 24/7": (PLANT + "calendar: 24/7\n", 6, "calendar: '24/7' is unknown", "always"),
    "time with a point": (
        CALENDAR + "  shifts:\n    - {name: a, start: 06.00, end: 14.00}\n", 8, "'06.00' is no time of day", "06:30"),
    "time of four digits": (
        CALENDAR + "  breaks:\n    - start: 09:00\n      end: 0915\n", 9, "end: '0915' is no time of day", "06:30"),
    "time with am": (
        CALENDAR + "  shifts:\n    - {name: a, start: 6:00 am, end: 14:00}\n", 8, "'6:00 am' is no time", "24:00"),
    "times in one": (CALENDAR + "  breaks:\n    - {start: 12:00-12:30}\n", 8, "the key `end` is missing", "add `end"),
    "break as a text": (CALENDAR + "  breaks: [12:00-12:30]\n", 7, "breaks[1]: this is the text", "start: ..."),
    "break with a duration": (
        CALENDAR + "  breaks:\n    - {start: 12:00, duration: 30}\n", 8, "unknown key 'duration'", "days, end, name"),
    "weekdays as a range": (
        CALENDAR + "  shifts:\n    - name: a\n      start: 6:00\n      end: 14:00\n      days: [1-5]\n", 11,
        "'1-5' is no weekday", "7 (Sunday)"),
    "no weekday at all": (
        CALENDAR + "  shifts:\n    - {name: a, start: 6:00, end: 14:00, days: []}\n", 8, "days is empty", "name the"),
    "shift within a whole day": (
        CALENDAR + "  shifts:\n    - {name: all, start: 00:00, end: 24:00}\n"
        "    - {name: early, start: 05:00, end: 13:00, days: [wed]}\n", 9, "overlap on Wednesday", "see line 8; move"),
    "overlap over midnight of one machine": (
        MACHINE + "    calendar:\n      shifts:\n        - {name: night, start: 22:00, end: 06:00, days: [sun]}\n"
        "        - {name: early, start: 05:45, end: 14:00}\n", 9, "overlap on Monday", "see line 8; move"),
    "planned stop as dates": (
        CALENDAR + "  planned_down:\n    - {from: 2026-03-02, to: 2026-03-03}\n", 8, "no moment", "2026-03-02T10:00"),
    "planned stop of a century ago": (
        CALENDAR + "  planned_down:\n    - from: 2026-03-02 10:00\n      to: 1926-03-02 11:00\n", 9,
        "before the year 2000", "2026-03-02 11:00"),
    "planned stop with a zone's name": (
        CALENDAR + "  planned_down:\n    - {from: 2026-03-02 10:00 CET, to: 2026-03-02 11:00 CET}\n", 8,
        "'2026-03-02 10:00 CET' is no moment", "2026-03-02T10:00:00Z"),
    "planned stop from UTC to local time": (  # 11:00 to 10:30 in Paris
        CALENDAR + "  planned_down:\n    - {from: 2026-03-02T10:00:00Z, to: 2026-03-02 10:30}\n", 8,
        "before it starts", "`to` a later time"),
    "one closed date": (CALENDAR + "  closed: 2026-12-25\n", 7, "'2026-12-25', not a list", "all in [ ]"),
    "closed from to": (CALENDAR + "  closed: [2026-12-24/2027-01-01]\n", 7, "is no date", "year-month-day"),
    "closed twice": (
        CALENDAR + "  closed:\n    - 2026-12-25\n    - 2026-12-26\n    - 2026-12-25\n", 10, "stands twice", "delete"),
    "line without the key": (LINES + "  L1: {area: hall}\n", 6, "`stations` is missing", "add `stations"),
    "line twice": (LINES + "  L1: {stations: [cut]}\n  L1: {stations: [weld]}\n", 7, "first in line 6", "rename one"),
    "station within a station": (
        LINES + "  L1: {stations: [cut, [weld, [paint]]]}\n", 6, "[2][2]: this is a list", "name of a machine"),
    "machine beside itself": (LINES + "  L1: {stations: [[cut, cut]]}\n", 6, "'cut' is twice on this", "one place"),
    "machine in the wrong case": (LINES + "  L1: {stations: [Cut]}\n", 6, "'Cut' is not under", "did you mean `cut`"),
    "machine in parallel on a second line": (
        LINES + "  L1: {stations: [cut, weld]}\n  L2:\n    stations:\n      - paint\n      - [weld]\n", 10,
        "already on line L1", "one line"),
    "line on a line": (LINES + "  L1: {stations: [cut]}\n  L2: {stations: [L1]}\n", 7, "'L1' is not", "known are"),
}  # fmt: skip


def zone(name: str) -> str:
    return PLANT.replace("Europe/Paris", name)


def machine(words: str) -> str:
    return f"{MACHINE}    {words}\n"


ABBREVIATION, IANA = "an abbreviation or an offset", "write an IANA name such as Europe/Paris, or UTC"
TAB = "a tab stands where YAML wants blanks"

FOUND: Cases = {  # by one who tried
    "break backwards": (
        CALENDAR + "  breaks: [{start: 12:30, end: 12:00}]\n", 7, "from 12:30 to 12:00 lasts 23 h 30 min",
        "correct its end, or use `planned_down`"),
    "break of more than a shift": (CALENDAR + "  breaks: [{start: 22:00, end: 6:01}]\n", 7, "8 h 01 min", "its end"),
    "zone of the computer": (zone("localtime"), 3, "another one on every computer", IANA),
    "zone of no place": (zone("Factory"), 3, "another one on every computer", IANA),
    **{f"zone {name}": (zone(name), 3, ABBREVIATION, IANA)
       for name in ("GMT+1", "Etc/GMT+1", "GMT0", "EST", "MST", "HST", "CET", "IST", "BST", "PST")},
    **{f"zone {name}": (zone(name), 3, "is unknown", IANA)
       for name in ("CEST", "Z", "UTC+1", "W. Europe Standard Time", "Central European Time")},
    "zone in small letters": (zone("utc"), 3, "'utc' is unknown", "did you mean `UTC`?"),
    "planned stop without end": (
        CALENDAR + "  planned_down: [{from: 2026-03-02 10:00, to: 9999-12-31 23:59}]\n", 7,
        "after the year 2100", "as"),
    "planned stop just after 2100": (
        CALENDAR + "  planned_down: [{from: 2100-12-31 10:00, to: 2100-12-31T23:30:00-02:00}]\n", 7,
        "after the year 2100", "write it as"),
    "planned stop with a strange offset": (
        CALENDAR + "  planned_down: [{from: 2026-03-02T10:00+25:00, to: 2026-03-03 11:00}]\n", 7,
        "no moment in time (no offset is +25:00)", "write it as"),
    "closed before anything": (CALENDAR + "  closed: [1926-12-25]\n", 7, "before the year 2000", "year-month-day"),
    "exception after everything": (CALENDAR + "  exceptions: [{on: 2206-12-25}]\n", 7,
        "after the year 2100", "such as"),
    "time in Arabic digits": (
        CALENDAR + "  breaks: [{start: ٠٦:٠٠, end: 07:00}]\n", 7, "no time of day", "such as 06:30"),
    "date in wide digits": (CALENDAR + "  closed: [２０２６-12-25]\n", 7, "is no date", "such as 2026-12-25"),
    "number in wide digits": (machine("ideal_cycle_s: １２.５"), 6, "is not a number", "write 12.5, with the digits"),
    "hours": (machine("stale_after_s: 8h"), 6, "'8h' is not a number of seconds", "write seconds: 28800"),
    "minutes": (machine("stale_after_s: 5 min"), 6, "'5 min' is not a number", "write seconds: 300"),
    "milliseconds": (machine("ideal_cycle_s: 250 ms"), 6, "'250 ms' is not a number", "write seconds: 0.25"),
    "thousands or decimals": (machine("micro_stop_s: 3,600"), 6, "'3,600' is not", "write 3600 or 3.6"),
    "thousands twice": (machine("counter_modulus: 1,000,000"), 6, "'1,000,000' is not", "write 1000000"),
    "decimal comma in braces": (machine("ideal_cycle_s: {A: 12,5}"), 6, "ideal_cycle_s.A: 12,5 has a comma", "12.5"),
    "decimal comma in the midst": (machine("ideal_cycle_s: {A: 3, B: 12,5, C: 3}"), 6, "s.B: 12,5 has", "write 12.5"),
    "target of more than all": (machine("oee_target: 1.5"), 6, "1.5 is not between", "from 0 to 1, such as 0.75"),
    "target in words": (machine("oee_target: 75 percent"), 6, "75 percent is not a share", "write 75% as 0.75"),
    "key with a letter of another alphabet": (
        PLANT.replace("site", "ѕite"), 2, "unknown key", "`site`? (character 1 is CYRILLIC SMALL LETTER DZE)"),
    "key of such letters": (PLANT.replace("site", "ѕіtе"), 2, "unknown key", "(character 1 is CYRILLIC"),
    "machines by case": (SITE + "machines:\n  cut:\n  Cut:\n", 6, "'Cut' and 'cut' in line 5 look alike", "rename"),
    "machines by alphabet": (SITE + "machines:\n  cut-a:\n  cut-а:\n", 6, r"'cut-\u0430' and 'cut-a' in", "rename"),
    "machines by accent": (SITE + "machines:\n  caf\xe9:\n  cafe\u0301:\n", 6, "look alike", "rename one"),
    "machine of a long name": (SITE + f"machines:\n  {'c' * 201}:\n", 5, "is too long", "1 to 200 characters"),
    "curly quotes": (PLANT.replace("lyon", "“lyon”"), 2, "'“lyon”' cannot be the name", "curly quotes by straight"),
    "curly quotes of a key": (PLANT.replace("cut", "“cut”"), 5, "'“cut”' cannot be a key", "curly quotes by straight"),
    "variable": (PLANT.replace("lyon", "${SITE}"), 2, "'${SITE}' cannot be the name", "variables are not filled in"),
    "quote closed by the next one": (
        'version: 1\nsite: "lyon\ntimezone: UTC\nenterprise: "acme"\n', 2, "a quote is opened here", "close it"),
    "quote of a list closed by the next one": (
        LINES + "  L1:\n    stations:\n    - 'cut\n    - 'weld'\n", 8, "a quote is opened here", "close it"),
    "quote within quotes": (PLANT.replace("lyon", "'l'usine'"), 2, "a quote stands inside quotes", "other kind"),
    "quote within quotes in brackets": (
        LINES + "  L1: {stations: ['l'usine']}\n", 6, "a quote stands inside quotes", "other kind"),
    "bracket too many": (machine("signals: {load: {}}}"), 6, "no valid YAML", "there is a closing bracket too many"),
    "tab after a dash": (LINES + "  L1:\n    stations:\n      -\tcut\n", 8, TAB, "write blanks"),
    "tab after a colon": (PLANT.replace("site: ", "site:\t"), 2, TAB, "write blanks"),
    "tab before a comment": (PLANT.replace("lyon", "lyon\t# city"), 2, TAB, "write blanks"),
    "colon missing in the last line": (SITE + "machines\n", 4, "could not find expected ':'", "missing colon"),
    "bracket open in the last line": (PLANT + "lines: [\n", 6, "no valid YAML", "compare"),
    "comment of another language above": ("// my plant\n" + PLANT, 1, "`//` begins no comment", "with #"),
    "such a comment with a colon": (SITE + "// machines: all\n", 4, "`//` begins no comment", "with #"),
    "power": (machine("counter_modulus: 2^16"), 6, "'2^16' is not the number at", "it rolls over, in digits"),
    "always as a key": (CALENDAR + "  always: true\n", 7, "`always` is no key", "write `calendar: always`"),
}  # fmt: skip
CASES = SHAPE | MEANING | FOUND


def is_refused(read: Callable[[], Factory], file: str, line: int, problem: str, remedy: str) -> None:
    with pytest.raises(FactoryFileError) as refused:
        read()
    said = str(refused.value)
    assert said.startswith(f"{file}:{line}: "), said
    assert len(said.splitlines()) == 1
    what, cure = said.split("; ", 1)
    assert problem in what
    assert remedy in cure


@pytest.mark.parametrize("loader", [yaml.SafeLoader, yaml_lines.LOADER], ids=["python", "libyaml"])
@pytest.mark.parametrize(("text", "line", "problem", "remedy"), CASES.values(), ids=CASES)
def test_a_new_users_mistake_is_named_whichever_parser_this_computer_has(
    text: str, line: int, problem: str, remedy: str, loader: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yaml_lines, "LOADER", loader)
    is_refused(lambda: loads(text, "plant/factory.yaml"), "plant/factory.yaml", line, problem, remedy)


@pytest.mark.parametrize("text", [PLANT, MACHINE, LINES + "  L1: {stations: [cut]}\n", CALENDAR + "  closed: []\n"])
def test_what_stands_above_the_mistakes_is_good(text: str) -> None:
    assert "cut" in loads(text).machines


def test_only_keys_that_may_be_left_out_are_said_to_be_deleted() -> None:
    for text, optional in ((PLANT.replace("lyon", "null"), False), (machine("split: null"), True)):
        with pytest.raises(FactoryFileError, match="nothing is given here") as refused:
            loads(text)
        assert ("or delete the line" in str(refused.value)) is optional


@pytest.mark.parametrize("loader", [yaml.SafeLoader, yaml_lines.LOADER], ids=["python", "libyaml"])
def test_what_resembles_a_mistake_is_good(loader: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_lines, "LOADER", loader)
    named = PLANT.replace("lyon", "'l''usine\t#1'  # the\tfirst").replace("12.5", "{A: 3,B: 5, 7: 12}")
    assert loads(named.replace("\t#1", " #1")).site == "l'usine #1"
    assert loads(named.replace("\t#1", "")).machines["cut"].ideal_cycle_us["7"] == 12_000_000
    factory = loads(CALENDAR + "  breaks: [{start: 22:00, end: 06:00}]\n  closed: [2000-01-01, 2100-12-31]\n"
                    "  planned_down: [{from: 2000-01-01T00:00Z, to: 2100-12-31T23:59:59.999Z}]\n")  # fmt: skip
    assert loads(dump(factory)).calendars == factory.calendars
    for name in ("UTC", "GMT", "Etc/UTC", "Japan", "America/Argentina/Ushuaia"):
        assert loads(zone(name)).timezone == name


def test_a_path_that_can_be_none_is_refused() -> None:
    with pytest.raises(FactoryFileError, match="there is no such file; check the path"):
        load("a\0b")


FILES = {
    "picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 1, "no UTF-8 text", "encoding UTF-8"),
    "workbook": (b"PK\x03\x04\x14\0\x06\0\x08\0\0\0!\0\xa4\x9e", 1, "no UTF-8 text", "encoding UTF-8"),
    "printed page": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", 2, "no UTF-8 text", "encoding UTF-8"),
    "quotes of a word processor": (PLANT.encode().replace(b"lyon", b"\x93lyon\x94"), 2, "no UTF-8 text", "UTF-8"),
    "comment of an old editor": (PLANT.replace("\n", "\r\n").encode() + b"# caf\xe9\r\n", 6, "no UTF-8 text", "UTF-8"),
    "mark and lines of Windows": (
        b"\xef\xbb\xbf" + MACHINE.replace("\n", "\r\n").encode() + b"    ideal_cycle_s: 12 s\r\n", 6,
        "machines.cut.ideal_cycle_s: '12 s'", "the number alone (12)"),
    "byte of a broken disk": (PLANT.replace("lyon", "ly\0on").encode(), 2, "control character (code 0)", "delete it"),
    "zeros of a broken disk": (b"\0" * 512, 1, "this is no text file", "check the path"),
    "end mark of DOS": (PLANT.encode() + b"\x1a", 6, "control character (code 26)", "delete it"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "line", "problem", "remedy"), FILES.values(), ids=FILES)
def test_a_file_that_is_none_says_so_with_its_line(
    tmp_path: Path, content: bytes, line: int, problem: str, remedy: str
) -> None:
    file = tmp_path / "factory.yaml"
    file.write_bytes(content)
    is_refused(lambda: load(file), str(file), line, problem, remedy)
