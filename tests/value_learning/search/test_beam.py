from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import ToyState, completions, exact_value, toy_actions, toy_runtime

from mlsys_ray.value_learning.search.base import NoSolutionError
from mlsys_ray.value_learning.search.beam import BeamConfig, beam_search, greedy_search


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), width=st.integers(1, 6))
def test_an_exact_value_function_leads_to_the_true_optimum(seed: int, width: int) -> None:
    start = ToyState(seed)
    found = beam_search(start, toy_actions, exact_value, BeamConfig(width=width, budget=60))
    optimum = min(map(toy_runtime, completions(start)))
    assert toy_runtime(found.best.state) == optimum
    assert np.exp(found.best.log_ms) == pytest.approx(optimum)
    assert not found.timed_out


def test_greedy_search_goes_wrong_where_the_value_function_does() -> None:
    """It follows the value function, and does not look at runtimes by itself."""
    start = ToyState(1)
    found = greedy_search(start, toy_actions, lambda states: -exact_value(states), 60)
    assert toy_runtime(found.best.state) > np.median([*map(toy_runtime, completions(start))])


def test_a_wide_beam_with_a_blind_value_still_scores_all_complete_states() -> None:
    """With values that are exact for complete states only, width is what finds the optimum."""

    def blind(states: list[ToyState]) -> np.ndarray:
        return np.array([np.log(toy_runtime(s)) if s.is_complete else 0.0 for s in states])

    start = ToyState(3)
    found = beam_search(start, toy_actions, blind, BeamConfig(width=1000, budget=60, keep=3))
    runtimes = sorted(map(toy_runtime, completions(start)))
    assert [toy_runtime(c.state) for c in found.candidates] == pytest.approx(runtimes[:3])


def test_a_spent_budget_gives_a_complete_answer() -> None:
    def slow(states: list[ToyState]) -> np.ndarray:
        time.sleep(0.2)
        return exact_value(states)

    start = ToyState(5)
    found = beam_search(start, toy_actions, slow, BeamConfig(budget=0.1))
    assert found.timed_out
    assert found.best.state.is_complete
    best_first = min(completions(start), key=toy_runtime).actions[0]
    assert found.best.state.actions[0] == best_first


def test_states_that_lead_nowhere_are_left() -> None:
    """Only the way through choice 2 is not a dead end, and the value function does not know."""

    def actions(state: ToyState) -> list[int]:
        if state.is_complete or (state.actions and state.actions[0] != 2):
            return []
        return [1, 2, 3]

    values = {(): 0.0, (1,): 0.0, (2,): 9.0, (3,): 1.0}
    found = beam_search(
        ToyState(0),
        actions,
        lambda states: np.array([values.get(s.actions, 5.0) for s in states]),
        BeamConfig(width=1, budget=60),
    )
    assert found.best.state.is_complete
    assert found.best.state.actions[0] == 2


def test_a_space_without_solutions_is_told() -> None:
    with pytest.raises(NoSolutionError, match="no complete state"):
        beam_search(ToyState(0), lambda state: (), exact_value)


def test_noise_explores_and_its_seed_repeats_it() -> None:
    start = ToyState(7)

    def run(seed: int) -> tuple[int, ...]:
        config = BeamConfig(width=1, noise=3.0, seed=seed, budget=60)
        return beam_search(start, toy_actions, exact_value, config).best.state.actions

    assert run(1) == run(1)
    assert len({run(seed) for seed in range(20)}) > 3


@pytest.mark.parametrize(
    ("field", "value"), [("width", 0), ("keep", 0), ("noise", -1.0), ("budget", 0.0)]
)
def test_settings_that_make_no_sense_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        beam_search(ToyState(0), toy_actions, exact_value, BeamConfig(**{field: value}))
