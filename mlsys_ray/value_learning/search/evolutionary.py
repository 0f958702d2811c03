"""Evolution of measured schedules, as autotuners do it: for comparison with value functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol, Self, TypeVar

import numpy as np

from mlsys_ray.value_learning.search.base import (
    Actions,
    Clock,
    Found,
    Measure,
    SearchState,
    complete_randomly,
    starts_of,
)
from mlsys_ray.value_learning.search.random import TRIES, Record


class SequenceState(SearchState, Protocol):
    """A state that remembers what was decided."""

    @property
    def actions(self) -> Sequence[Any]:
        """The decisions so far, the first one first."""

    def take(self, action: Any, /) -> Self:
        """The state after one more decision."""


Q = TypeVar("Q", bound=SequenceState)


def evolutionary_search(
    start: Q | Sequence[Q],
    actions: Actions[Q],
    measure: Measure[Q],
    *,
    trials: int,
    budget: float = math.inf,
    population: int = 16,
    first: int = 32,
    known: Sequence[Q] = (),
    seed: int = 0,
    keep: int = 8,
) -> Found[Q]:
    """Measure random states, then mutations and crossings of the fastest ones.

    Args:
        start: state without decisions, or several of which each random state draws one and each
            mutation keeps its mother's.
        actions: legal ones.
        measure: runtime of a complete state.
        trials: measurements at most.
        budget: seconds at most.
        population: fastest states that are parents.
        first: states that are measured before evolution begins, random ones where `known` has not
            as many.
        known: complete states from the first start that are measured first of all, such as another
            search has found; whatever the budget, until one could be measured.
        seed: of all choices.
        keep: complete states returned at most.

    Raises:
        NoSolutionError: none could be measured and no complete state is reached plainly either.
    """
    rng, starts = np.random.default_rng(seed), starts_of(start)
    record = Record(measure, Clock(budget))
    began: dict[Q, Q] = {}
    for state in known[:trials]:
        if record.best(1) and record.clock.is_over():
            break
        record.measure(state)
    misses = 0
    while record.num_measured < trials and not record.clock.is_over() and misses < TRIES:
        if record.num_measured < first or not (parents := record.best(population)):
            own = starts[int(rng.integers(len(starts)))]
            child = complete_randomly(own, actions, rng)
        else:
            mother, father = (parents[int(rng.integers(len(parents)))] for _ in range(2))
            own = began.get(mother, starts[0])
            child = _child(own, actions, mother, father, rng)
        if child is None or child in record:
            misses += 1
            continue
        misses = 0
        began[child] = own
        record.measure(child)
    return record.found(starts[0], actions, keep)


def _child(
    start: Q, actions: Actions[Q], mother: Q, father: Q, rng: np.random.Generator
) -> Q | None:
    """One decision of the mother replaced, and some of the others by the father's where legal."""
    mutated = int(rng.integers(len(mother.actions)))
    state = start
    for position, decided in enumerate(mother.actions):
        choices = actions(state)
        if not choices:
            return None
        wanted = father.actions[position] if rng.random() < 0.5 else decided
        if position == mutated or wanted not in choices:
            wanted = choices[int(rng.integers(len(choices)))]
        state = state.take(wanted)
    return state if state.is_complete else None
