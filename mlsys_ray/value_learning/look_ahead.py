"""Values of partial schedules by one step of the Bellman equation: V(s) = min over a of V(s, a).

What was measured bounds the value of a partial schedule from above only: few of its completions
were measured, and mostly random ones. The network knows better what the best of them is worth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mlsys_ray.value_learning.features import featurise
from mlsys_ray.value_learning.space import State, legal_actions
from mlsys_ray.value_learning.value_network.model import ValueNetwork

CHUNK = 4096
"""Successors predicted at a time, about."""


def looked_ahead(states: Sequence[State], network: ValueNetwork) -> np.ndarray:
    """Logarithm of the best runtime in ms that a network expects after one more action.

    The best of many predictions is one that errs to the low side. So each member of the ensemble
    says what the action is worth that the others think best (double Q-learning, van Hasselt 2010).

    Returns:
        float64 [B]; NaN for complete states and those without legal actions.
    """
    values = np.full(len(states), np.nan)
    for places, counts, successors in _chunks(states):
        members = network.predict(featurise(successors)).members
        ends = np.cumsum(counts)
        for place, own in zip(places, np.split(members, ends[:-1], axis=1), strict=True):
            values[place] = _best(own)
    return values


def _chunks(states: Sequence[State]) -> Iterator[tuple[list[int], list[int], list[State]]]:
    """Places of states, how many successors each has, and these."""
    places: list[int] = []
    counts: list[int] = []
    successors: list[State] = []
    for place, state in enumerate(states):
        actions = () if state.is_complete else legal_actions(state)
        if not actions:
            continue
        places.append(place)
        counts.append(len(actions))
        successors += map(state.take, actions)
        if len(successors) >= CHUNK:
            yield places, counts, successors
            places, counts, successors = [], [], []
    if places:
        yield places, counts, successors


def _best(members: np.ndarray) -> float:
    """The lowest of the values [A], of which each member [E, A] has an opinion."""
    if len(members) == 1:
        return float(members.min())
    others = (members.sum(0) - members).argmin(1)
    return float(members[np.arange(len(members)), others].mean())
