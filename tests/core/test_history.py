"""Runs that are carried on from what is new are those that all states together give."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.history import History
from pipeline.core.model import Correction, Frame, StateChange
from pipeline.core.series import runs_of

INSTANTS = st.integers(0, 400)
SAID = st.lists(
    st.tuples(INSTANTS, st.sampled_from(["running", "idle", "stopped", "fault"]), st.sampled_from([None, "jam"])),
    min_size=1,
    max_size=4,
)
CORRECTIONS = st.builds(
    lambda start, length, state, reason, good, name, withdrawn: Correction(
        start, start + length, state=state, reason=reason, good=good, id=name, withdrawn=withdrawn
    ),
    INSTANTS,
    st.integers(1, 60),
    st.sampled_from([None, "running", "fault", "setup"]),
    st.sampled_from([None, "operator"]),
    st.sampled_from([None, 3]),
    st.sampled_from(["", "a", "b"]),
    st.booleans(),
)
FORGOTTEN = st.integers(0, 300)
PLAIN = st.lists(SAID | FORGOTTEN, max_size=30)
CORRECTED = st.lists(SAID | FORGOTTEN | CORRECTIONS, max_size=30)


@given(PLAIN | CORRECTED)
@settings(max_examples=300)
def test_runs_are_those_of_all_states_whatever_came_late_or_was_forgotten(steps: list[object]) -> None:
    history = History("m")
    for sequence, step in enumerate(steps):
        if isinstance(step, Correction):
            history.correct(step)
        elif isinstance(step, int):
            history.forget(step)
        elif isinstance(step, list):
            states = [StateChange(*said) for said in sorted(step, key=lambda said: said[0])]
            history.insert(Frame("m", "s", 0, sequence, 0, states=states))
        assert history.runs == runs_of(history.states, history.reasons, history.standing)


def test_a_state_that_comes_last_leaves_the_runs_before_it_alone() -> None:
    history = History("m")
    for at in range(2_000):
        history.insert(Frame("m", "s", 0, at, 0, states=[StateChange(at, ("running", "idle")[at % 2])]))
    before = list(history.runs)
    history.insert(Frame("m", "s", 0, 2_000, 0, states=[StateChange(2_000, "fault")]))
    assert all(kept is known for kept, known in zip(history.runs[:1_999], before[:1_999], strict=True))
    assert [run.state for run in history.runs[1_999:]] == ["idle", "fault"]
