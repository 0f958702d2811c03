"""A small decision problem with known optimum: stages whose runtimes depend on each other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np


@dataclass(frozen=True)
class ToyState:
    """Decisions of the first stages of a toy pipeline; choice 0 is the plainest."""

    seed: int
    num_stages: int = 4
    num_choices: int = 5
    actions: tuple[int, ...] = ()

    @property
    def is_complete(self) -> bool:
        return len(self.actions) == self.num_stages

    def take(self, action: int) -> ToyState:
        return ToyState(self.seed, self.num_stages, self.num_choices, (*self.actions, action))


def toy_actions(state: ToyState) -> Sequence[int]:
    """A choice may not repeat the one before it, so legality depends on the state."""
    if state.is_complete:
        return ()
    return [c for c in range(state.num_choices) if not state.actions or c != state.actions[-1]]


@cache
def _costs(seed: int, num_stages: int, num_choices: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.lognormal(0, 1.5, (num_stages, num_choices, num_choices))


def toy_runtime(state: ToyState) -> float:
    """Runtime [ms] of a complete state: each stage's depends on its own and the last decision."""
    costs = _costs(state.seed, state.num_stages, state.num_choices)
    before = (0, *state.actions[:-1])
    return float(
        sum(costs[i, a, b] for i, (a, b) in enumerate(zip(before, state.actions, strict=True)))
    )


def completions(state: ToyState) -> list[ToyState]:
    """All complete states that can be reached, enumerated without the search's help."""
    left = state.num_stages - len(state.actions)
    found = []
    for rest in itertools.product(range(state.num_choices), repeat=left):
        actions = (*state.actions, *rest)
        if all(a != b for a, b in itertools.pairwise(actions)):
            found.append(ToyState(state.seed, state.num_stages, state.num_choices, actions))
    return found


def exact_value(states: Sequence[ToyState]) -> np.ndarray:
    """Logarithm of the best reachable runtime, by brute force."""
    return np.array([math.log(min(map(toy_runtime, completions(state)))) for state in states])
