"""What a simulator planted against the incidents: each pair by machine, signal and time, and how it is told."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipeline import planted, report
from pipeline.cli.simulate import write_truth
from pipeline.core.plant import Plant
from pipeline.errors import UsageError
from pipeline.factory import Factory
from pipeline.planted import Planted
from pipeline.reports.page import as_html
from pipeline.reports.tidy import as_csv

T0 = 1_772_434_800_000
AT = datetime.fromtimestamp(T0 / 1000, UTC)


def incident(machine: str, first_s: int, *signals: str, minutes: float = 0.0) -> dict[str, Any]:
    first = AT + timedelta(seconds=first_s)
    return {"id": f"{machine}/{T0 + 1000 * first_s}", "machine": machine, "signals": list(signals), "kinds": ["spike"],
            "first": first, "minutes": minutes, "severity": "warning", "status": "closed", "lost_minutes": 0.0,
            "lost_parts": None, "message": "load jumped", "muted": False, "acknowledged": None}  # fmt: skip


PUT_IN = [
    Planted("a", "load", "spike", T0, T0, 5.4, "mm/s"),
    Planted("a", "load", "drift", T0 + 3_600_000, T0 + 7_200_000, -3.0, "Cel"),
    Planted("b", "load", "spike", T0, T0 + 2_000, 7.0, "%"),
    Planted("c", "load", "flatline", T0, T0 + 1_200_000),
]
INCIDENTS = [
    incident("a", 120, "load"),  # at the very edge of the two minutes
    incident("a", 1_000, "load"),  # too late for the spike, too early for the drift
    incident("a", 3_000, "speed", "load", minutes=12.0),  # open while the drift began
    incident("b", 0, "speed"),  # the right moment, another signal
    incident("c", 60, "load"),
    incident("a", 60, ""),  # of the whole machine: that says nothing of a signal
]


def test_an_incident_is_about_what_was_planted_near_it_on_its_signal() -> None:
    found = planted.compare(PUT_IN, INCIDENTS)
    assert [(row["machine"], row["kind"], row["incident"]) for row in found.planted] == [
        ("b", "spike", None),
        ("a", "spike", INCIDENTS[0]["id"]),
        ("c", "flatline", INCIDENTS[4]["id"]),
        ("a", "drift", INCIDENTS[2]["id"]),
    ]
    assert found.missed == found.planted[:1]
    assert [row["id"] for row in found.unfounded] == [INCIDENTS[number]["id"] for number in (1, 3, 5)]
    assert (found.recall, found.precision) == (0.75, 0.5)


def test_two_minutes_and_a_moment_are_too_far() -> None:
    assert planted.compare(PUT_IN[:1], [incident("a", 121, "load")]).recall == 0.0


def test_without_anything_to_divide_by_there_is_no_share() -> None:
    nothing = planted.compare([], [])
    assert (nothing.recall, nothing.precision) == (None, None)
    assert nothing.sentences() == ["The simulator planted no anomaly; incidents all the same: 0."]


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (PUT_IN[0], "jumped by +5.4 mm/s for 1 s"),
        (PUT_IN[1], "crept away, by -3 Cel after 60 min"),
        (PUT_IN[3], "stood still for 20 min"),
        (PUT_IN[3]._replace(kind="gap"), "sent nothing for 20 min"),
        (PUT_IN[3]._replace(kind="shift", value=0.25), "off by +0.25 for 20 min"),
    ],
)
def test_what_was_done_is_told_in_words(one: Planted, words: str) -> None:
    assert planted.what(one) == words


def test_the_report_says_how_many_were_found_and_names_the_others() -> None:
    made = report.Report("lyon", AT, AT, [], [], {}, [], [], [], {}, planted.compare(PUT_IN, INCIDENTS), INCIDENTS)
    out = io.StringIO()
    report.render(made, Console(file=out, width=200))
    lines = out.getvalue().splitlines()
    assert any(
        "Found 3 of 4: of 4 anomalies that the simulator put into the signals, 3 led to an inc" in x for x in lines
    )
    assert any("False alarms: 3 of 6 incidents are about nothing that was put in." in line for line in lines)
    [missed] = [" ".join(line.split()) for line in lines if "MISSED" in line]
    assert missed == "07:00:00 b load spike jumped by +7 % for 2 s MISSED"
    page = as_html(made)
    assert "Found 3 of 4" in page
    assert page.count("<td>MISSED</td>") == 1
    assert "planted,b,load,spike,\r\n" in as_csv(made)
    assert '"recall": 0.75' in report.as_json(made)


def test_the_truth_of_a_plant_is_read_back_with_its_units(tmp_path: Path) -> None:
    plant = Plant("p", 1, T0, 2)
    assert list(plant.frames(T0 + 4 * 3_600_000, 600_000))
    write_truth(tmp_path, plant, Factory.of("p", plant.habits.timezone, plant.machines), 60_000, plant.at)
    read = planted.read(tmp_path)
    made = sorted(plant.planted, key=lambda one: one.first)
    assert [one[:6] for one in read] == [tuple(one) for one in made]
    assert read
    assert all(one.unit for one in read)
    assert planted.known_until(tmp_path) == T0 + 4 * 3_600_000
    with pytest.raises(UsageError, match="name the folder that `openoee simulate --truth` wrote"):
        planted.read(tmp_path / "elsewhere")
