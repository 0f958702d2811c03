from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest
from toy import ToyState, completions, toy_actions, toy_runtime

from mlsys_ray.value_learning.search.base import complete_randomly
from mlsys_ray.value_learning.search.evolutionary import evolutionary_search
from mlsys_ray.value_learning.search.random import random_search

SEARCHES = [random_search, evolutionary_search]


@pytest.mark.parametrize("search", SEARCHES)
def test_every_state_is_measured_once_and_the_optimum_found(search: Any) -> None:
    start = ToyState(2, num_stages=3, num_choices=4)
    everything = completions(start)
    measured = []

    def measure(state: ToyState) -> float:
        measured.append(state)
        return toy_runtime(state)

    found = search(start, toy_actions, measure, trials=10_000, seed=1)
    assert len(set(measured)) == len(measured) == found.evaluated <= len(everything)
    assert toy_runtime(found.best.state) == min(map(toy_runtime, measured))
    if search is random_search:
        assert set(measured) == set(everything)


@pytest.mark.parametrize("search", SEARCHES)
def test_failed_measurements_do_not_win_and_trials_are_kept(search: Any) -> None:
    start = ToyState(4, num_stages=6)

    def measure(state: ToyState) -> float | None:
        return None if state.actions[0] == 1 else toy_runtime(state)

    found = search(start, toy_actions, measure, trials=40, seed=2)
    assert found.evaluated == 40
    assert all(c.state.actions[0] != 1 for c in found.candidates)
    assert [c.log_ms for c in found.candidates] == sorted(c.log_ms for c in found.candidates)
    best = [ms for _, ms in found.history]
    assert best == sorted(best, reverse=True)
    assert math.log(best[-1]) == found.best.log_ms


@pytest.mark.parametrize("search", SEARCHES)
def test_there_is_an_answer_where_nothing_can_be_measured(search: Any) -> None:
    found = search(ToyState(4), toy_actions, lambda state: None, trials=5)
    assert found.best.state.is_complete
    assert found.best.log_ms == math.inf


def test_evolution_beats_random_search_of_as_many_measurements() -> None:
    better = 0
    for seed in range(10):
        start = ToyState(seed, num_stages=8, num_choices=6)
        runs = [s(start, toy_actions, toy_runtime, trials=200, seed=seed) for s in SEARCHES]
        better += runs[1].best.log_ms < runs[0].best.log_ms
    assert better >= 8


@pytest.mark.parametrize("search", SEARCHES)
def test_a_budget_ends_the_search(search: Any) -> None:
    def measure(state: ToyState) -> float:
        end = time.perf_counter() + 0.02
        while time.perf_counter() < end:
            pass
        return toy_runtime(state)

    found = search(ToyState(4, num_stages=8), toy_actions, measure, trials=10_000, budget=0.2)
    assert found.timed_out
    assert 1 <= found.evaluated <= 11


def test_evolution_goes_on_from_states_that_are_known() -> None:
    """Whatever the budget, known states are measured until one could be."""
    start = ToyState(4, num_stages=3)
    known = [complete_randomly(start, toy_actions, np.random.default_rng(n)) for n in range(4)]
    assert len(set(known)) == 4
    asked = []

    def measure(state: ToyState) -> float | None:
        asked.append(state)
        return None if state in known[:2] else toy_runtime(state)

    found = evolutionary_search(start, toy_actions, measure, trials=50, budget=1e-9, known=known)
    assert asked == known[:3]
    assert found.best.state == known[2]
    found = evolutionary_search(start, toy_actions, toy_runtime, trials=4, known=known)
    assert found.best.log_ms == math.log(min(map(toy_runtime, known)))
