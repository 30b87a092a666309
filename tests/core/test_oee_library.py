"""The PyPI library `oee` as a second opinion: the same figures where definitions agree, each known difference shown."""

from __future__ import annotations

from typing import NamedTuple

import oee as library
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.calendar import Calendar
from pipeline.core.engine import EngineSettings
from pipeline.core.model import FACTS, Control, EndOfSource, Frame, MachineConfig, Shift, StateChange
from pipeline.core.oee import ratios, summed
from pipeline.replay import current, run

# Where they differ, seen in version 0.2.0: name -> (what the library does, what openoee does).
# Each row has its test below, test_difference_NAME, and each such test its row.
DIFFERENCES = {
    "several_products": (
        "from_log weights quality by count; A x P x Q is not what aggregate() says of the same runs",
        "quality is weighted by ideal time, so that A x P x Q = OEE with any mix; q_count stands beside it",
    ),
    "performance_is_capped": (
        "performance above 1 becomes 1, and OEE, OOE, TEEP with it; an alert says so",
        "OEE is ideal time of good parts over planned time, whatever P is; only p_capped is cut, for display",
    ),
    "capped_before_the_roll_up": (
        "aggregate() sums what was capped: two halves are less than the whole, performance_raw is lost",
        "facts are summed, then divided: any partition gives the same",
    ),
    "parts_without_run_time": (
        "performance and OEE 0, but TEEP above 0, a negative performance loss, and an OEE above 0 once aggregated",
        "performance has no value, OEE is still ideal_good / PBT, everywhere",
    ),
    "nothing_was_made": ("an error; idle hours cannot be rolled up", "P 0, Q no value, OEE 0"),
    "nothing_was_planned": ("an error", "A, P, Q, OEE have no value; the row is kept and sums"),
    "ideal_cycle_is_unknown": ("an error, availability is lost too", "A and q_count are given, the rest has no value"),
    "planned_stops_of_a_log": (
        "an event with `planned` is availability loss, as setup",
        "a planned stop is no planned time (profile smrp: loss, as the library has it)",
    ),
    "time_without_data": ("does not exist: the caller must call it run time or downtime", "loss or excluded, as told"),
    "events_at_the_same_time": (
        "a log has durations, no instants: what happened at once counts twice",
        "every instant is in one element",
    ),
    "the_clocks_change": ("planned time is a number that the caller must know", "it comes from the calendar"),
    "floats": ("times are floats: a sum over parts is near the whole", "facts are integers: it is the whole, with =="),
    "it_reads_the_clock": (
        "a result has the time of its computation: the same input gives results that are not equal",
        "the same input gives the same figures",
    ),
}

SETTINGS = EngineSettings(lateness_ms=0, provisional_ms=5_000, max_future_ms=10**9)
MINUTE = 60_000


class Window(NamedTuple):
    """A window of one machine and one product. Times in ms, the ideal cycle time in us."""

    t: int
    pdot: int
    pbt: int
    apt: int
    micro: int
    ict: int
    total: int
    good: int

    def facts(self) -> dict[str, int]:
        ideal = {"ideal_total_us": self.ict * self.total, "ideal_good_us": self.ict * self.good}
        return facts(
            t_ms=self.t, nonwork_ms=self.t - self.pdot - self.pbt, pdot_ms=self.pdot, pbt_ms=self.pbt,
            apt_ms=self.apt, adet_ms=self.pbt - self.apt, micro_stop_ms=self.micro,
            total=self.total, good=self.good, reject=self.total - self.good, **ideal,
        )  # fmt: skip

    def result(self, micro_stops_run: bool = False) -> library.OEEResult:
        """What the library makes of it."""
        return library.oee(
            self.pbt, run_time=self.apt + self.micro * micro_stops_run, ideal_cycle_time=self.ict / 1000,
            total_count=self.total, good_count=self.good, all_time=self.t, planned_downtime=self.pdot,
        )  # fmt: skip


def facts(**given_facts: int) -> dict[str, int]:
    return dict.fromkeys(FACTS, 0) | given_facts


def added(*windows: dict[str, int]) -> dict[str, int]:
    return {name: sum(window[name] for window in windows) for name in FACTS}


def close(figure: float | None) -> object:
    return pytest.approx(figure, rel=1e-12, abs=1e-15)


@st.composite
def windows(draw: st.DrawFn, fast: bool = True) -> Window:
    """A window with run time and parts; `fast`: performance may be above 1."""
    apt = draw(st.integers(1, 10**8))
    micro = draw(st.integers(0, 10**6))
    pbt = apt + micro + draw(st.integers(0, 10**8))
    pdot, nonwork = draw(st.integers(0, 10**7)), draw(st.integers(0, 10**8))
    total = draw(st.integers(1, 10**5 if fast else min(10**5, apt * 1000)))
    ict = draw(st.integers(1, 10**9 if fast else apt * 1000 // total))
    return Window(nonwork + pdot + pbt, pdot, pbt, apt, micro, ict, total, draw(st.integers(0, total)))


@given(windows())
def test_one_product_has_the_librarys_figures(window: Window) -> None:
    kpi, result = ratios(window.facts()), window.result()
    assert kpi["a"] == close(result.availability)
    assert kpi["p"] == close(result.performance_raw)
    assert kpi["p_capped"] == pytest.approx(result.performance, rel=1e-8)  # it lets 1 + 1e-9 pass
    assert kpi["q"] == close(result.quality)
    assert kpi["q_count"] == result.quality
    assert kpi["utilization"] == close(result.utilization)
    assert kpi["a"] * kpi["p_capped"] * kpi["q"] == pytest.approx(result.oee, rel=1e-8)
    assert kpi["oee"] == close(result.availability * result.performance_raw * result.quality)


@given(windows(fast=False))
def test_below_the_ideal_rate_oee_and_its_relatives_agree(window: Window) -> None:
    kpi, result = ratios(window.facts()), window.result()
    assert kpi["oee"] == close(result.oee)
    assert kpi["ooe"] == close(result.ooe)
    assert kpi["teep"] == close(result.teep)


@given(windows(fast=False))
def test_the_profiles_are_the_library_with_other_times(window: Window) -> None:
    vorne, result = ratios(window.facts(), "vorne"), window.result(micro_stops_run=True)
    assert (vorne["a"], vorne["p"], vorne["oee"]) == (
        close(result.availability), close(result.performance), close(result.oee),
    )  # fmt: skip
    smrp = ratios(window.facts(), "smrp")
    all_of_it = library.oee(
        window.pbt + window.pdot, downtime=window.pbt + window.pdot - window.apt, ideal_rate=1000 / window.ict,
        total_count=window.total, reject_count=window.total - window.good,
    )  # fmt: skip
    assert (smrp["a"], smrp["oee"]) == (close(all_of_it.availability), close(all_of_it.oee))


@given(st.lists(windows(fast=False), min_size=1, max_size=6))
def test_machines_of_any_cycle_time_roll_up_alike(parts: list[Window]) -> None:
    kpi = ratios(added(*(part.facts() for part in parts)))
    result = library.aggregate([part.result() for part in parts])
    assert kpi["a"] == close(result.availability)
    assert kpi["p"] == close(result.performance)
    assert kpi["q"] == close(result.quality)
    assert kpi["oee"] == close(result.oee)
    assert kpi["teep"] == close(result.teep)


@given(st.integers(1, 10**9), st.lists(st.integers(0, 10**7), max_size=9))
def test_time_between_failures_and_to_repair_agree(apt: int, repairs: list[int]) -> None:
    kpi = ratios(facts(apt_ms=apt, failures=len(repairs), repair_ms=sum(repairs)))
    result = library.reliability(apt, repair_times=repairs)
    assert (kpi["mtbf_ms"], kpi["mttr_ms"]) == (result.mtbf, result.mttr)


def test_every_known_difference_is_shown() -> None:
    shown = {name.removeprefix("test_difference_") for name in globals() if name.startswith("test_difference_")}
    assert shown == set(DIFFERENCES)


def test_difference_several_products() -> None:
    one = Window(400, 0, 400, 300, 0, 1_000, 100, 50)  # half of the quick parts are scrap
    other = Window(0, 0, 0, 0, 0, 10_000, 10, 10)  # of the same run, none of the slow ones
    kpi = ratios(added(one.facts(), other.facts()))
    made = [{"count": 100, "good": 50, "ideal_cycle_time": 1}, {"count": 10, "good": 10, "ideal_cycle_time": 10}]
    result = library.from_log(400, runs=made, downtime_events=[{"reason": "jam", "duration": 100}])
    assert (kpi["a"], kpi["p"]) == (close(result.availability), close(result.performance))
    assert (kpi["q"], kpi["q_count"], kpi["oee"]) == (close(150 / 200), close(60 / 110), close(150 / 400))
    assert (result.quality, result.oee) == (close(60 / 110), close(0.75 * 200 / 300 * 60 / 110))
    apart = [library.from_log(200, runs=run, downtime_events=[{"duration": 50}]) for run in made]
    assert library.aggregate(apart).oee == close(kpi["oee"])  # the same runs, apart: then it agrees


def test_difference_performance_is_capped() -> None:
    window = Window(200, 0, 100, 50, 0, 1_000, 60, 60)
    kpi, result = ratios(window.facts()), window.result()
    assert (result.performance, result.oee, result.ooe, result.teep) == (1.0, 0.5, 0.5, 0.25)
    assert [alert.indicator for alert in result.alerts] == ["performance", "oee"]
    assert (kpi["p"], kpi["p_capped"], kpi["oee"], kpi["ooe"], kpi["teep"]) == (1.2, 1.0, 0.6, 0.6, 0.3)


def test_difference_capped_before_the_roll_up() -> None:
    first, second = Window(60, 0, 60, 60, 0, 1_000, 70, 70), Window(60, 0, 60, 60, 0, 1_000, 50, 50)
    whole = Window(120, 0, 120, 120, 0, 1_000, 120, 120)
    halves = library.aggregate([first.result(), second.result()])
    assert (whole.result().oee, halves.oee, halves.performance_raw) == (1.0, close(110 / 120), close(110 / 120))
    assert ratios(added(first.facts(), second.facts())) == ratios(whole.facts())


def test_difference_parts_without_run_time() -> None:
    result = library.oee(100, run_time=0, ideal_cycle_time=1, total_count=5, good_count=4, all_time=100)
    assert (result.performance, result.oee, result.performance_loss) == (0.0, 0.0, -5.0)
    assert (result.teep, library.aggregate([result]).oee) == (0.04, 0.04)
    kpi = ratios(Window(100, 0, 100, 0, 0, 1_000, 5, 4).facts())
    assert (kpi["a"], kpi["p"], kpi["oee"], kpi["teep"]) == (0.0, None, 0.04, 0.04)


def test_difference_nothing_was_made() -> None:
    with pytest.raises(ValueError, match="total_count must be positive"):
        library.oee(100, run_time=50, ideal_cycle_time=1, total_count=0, good_count=0)
    with pytest.raises(ValueError, match="no pieces"):
        library.from_log(100, runs=[{"count": 0, "good": 0, "ideal_cycle_time": 1}])
    kpi = ratios(Window(100, 0, 100, 50, 0, 1_000, 0, 0).facts())
    assert (kpi["a"], kpi["p"], kpi["q"], kpi["oee"]) == (0.5, 0.0, None, 0.0)


def test_difference_nothing_was_planned() -> None:
    with pytest.raises(ValueError, match="planned_production_time must be positive"):
        library.oee(0, run_time=0, ideal_cycle_time=1, total_count=1, good_count=1)
    night, day = Window(100, 0, 0, 0, 0, 1_000, 0, 0), Window(100, 0, 100, 80, 0, 1_000, 40, 40)
    kpi = ratios(night.facts())
    assert (kpi["a"], kpi["p"], kpi["q"], kpi["oee"], kpi["teep"]) == (None, None, None, None, 0.0)
    both = ratios(added(night.facts(), day.facts()))
    assert (both["oee"], both["teep"]) == (0.4, 0.2)


def test_difference_ideal_cycle_is_unknown() -> None:
    with pytest.raises(ValueError, match="exactly one of ideal_cycle_time or ideal_rate"):
        library.oee(100, run_time=50, total_count=4, good_count=3)
    kpi = ratios(facts(t_ms=100, pbt_ms=100, apt_ms=50, total=4, good=3, no_ideal_total=4))
    assert (kpi["a"], kpi["q_count"]) == (0.5, 0.75)
    assert (kpi["p"], kpi["q"], kpi["oee"], kpi["teep"]) == (None, None, None, None)


def test_difference_planned_stops_of_a_log() -> None:
    made = {"count": 40, "good": 40, "ideal_cycle_time": 1}
    stop = {"reason": "inspection", "duration": 20, "planned": True}
    result = library.from_log(100, runs=made, downtime_events=[stop])
    assert (result.availability, result.oee, result.six_losses["setup_and_adjustments"]) == (0.8, close(0.4), 20)
    window = Window(100, 20, 80, 80, 0, 1_000, 40, 40)
    assert (ratios(window.facts())["a"], ratios(window.facts())["oee"]) == (1.0, 0.5)
    assert (ratios(window.facts(), "smrp")["a"], ratios(window.facts(), "smrp")["oee"]) == (0.8, 0.4)


def test_difference_time_without_data() -> None:
    told = facts(t_ms=100, pbt_ms=100, apt_ms=50, unknown_ms=50, total=50, good=50, ideal_total_us=50_000)
    told["ideal_good_us"] = 50_000
    result = library.oee(100, run_time=50, ideal_cycle_time=1, total_count=50, good_count=50)
    assert (result.availability, result.oee) == (0.5, 0.5)
    loss, exclude = ratios(told, unknown_as="loss"), ratios(told, unknown_as="exclude")
    assert (loss["oee"], exclude["oee"], loss["coverage"]) == (0.5, 1.0, 0.5)
    nothing = ratios(facts(t_ms=100, pbt_ms=100, unknown_ms=100))
    assert (nothing["a"], nothing["oee"], nothing["coverage"]) == (None, None, 0.0)


def test_difference_events_at_the_same_time() -> None:
    #  0    jam         15  door open, still jammed   30  running                     60
    ten = 1_772_445_600_000  # 2026-03-02T10:00:00Z
    changes = ((0, "fault", "jam"), (15, "fault", "door"), (30, "running", None))
    told = []
    for number, (minute, state, reason) in enumerate(changes):
        at = ten + minute * MINUTE
        told.append(Frame("m", "plc", 0, number, at, states=[StateChange(at, state, reason)]))
    end = Control("m", "end", 0, "t", EndOfSource("plc", ten + 60 * MINUTE))
    hour = summed(current(run([Control("m", "c", 0, "t", MachineConfig(always=True)), *told, end], SETTINGS).facts))
    assert (hour["pbt_ms"], hour["adet_ms"], ratios(hour)["a"]) == (60 * MINUTE, 30 * MINUTE, 0.5)
    events = [{"reason": "jam", "duration": 30}, {"reason": "door", "duration": 15}]
    result = library.from_log(60, runs={"count": 9, "good": 9, "ideal_cycle_time": 1}, downtime_events=events)
    assert (result.availability, result.availability_loss) == (0.25, 45)


def test_difference_the_clocks_change() -> None:
    night = MachineConfig(always=False, timezone="Europe/Berlin", shifts=(Shift("night", "22:00", "06:00"),))
    evening = 1_774_717_200_000  # 2026-03-28T17:00:00Z; at 02:00 it will be 03:00
    pbt = Calendar(night).busy_ms(evening, evening + 15 * 60 * MINUTE)
    window = Window(pbt, 0, pbt, pbt, 0, 60_000_000, 420, 420)  # it ran all night, one part a minute
    assert (pbt, ratios(window.facts())["a"], ratios(window.facts())["oee"]) == (7 * 60 * MINUTE, 1.0, 1.0)
    result = library.oee(480, run_time=420, ideal_cycle_time=1, total_count=420, good_count=420)  # "8 hours", 22 to 6
    assert (result.availability, result.oee) == (0.875, 0.875)


def test_difference_floats() -> None:
    # tenths of a second: 1 part and 5 parts are 6 parts
    one, five, six = (
        library.oee(planned, run_time=planned, ideal_cycle_time=0.1, total_count=count, good_count=count)
        for planned, count in ((5, 1), (5, 5), (10, 6))
    )
    assert library.aggregate([one, five]).oee == close(six.oee)
    assert library.aggregate([one, five]).oee != six.oee
    parts = Window(5_000, 0, 5_000, 5_000, 0, 100_000, 1, 1), Window(5_000, 0, 5_000, 5_000, 0, 100_000, 5, 5)
    whole = Window(10_000, 0, 10_000, 10_000, 0, 100_000, 6, 6)
    assert ratios(added(*(part.facts() for part in parts))) == ratios(whole.facts())


def test_difference_it_reads_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    window, found = Window(100, 0, 100, 80, 0, 1_000, 40, 40), []
    for clock in ("2026-03-02T10:00:00+00:00", "2026-03-02T10:00:01+00:00"):
        monkeypatch.setattr("oee.core.utcnow", lambda clock=clock: clock)
        found.append(window.result())
    assert found[0] != found[1]
    assert found[0].meta["input_hash"] == found[1].meta["input_hash"]
    assert ratios(window.facts()) == ratios(window.facts())
