"""Least loaded, where load is a weighted mixture of what is known of each PM."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from mlsys_ray.fireplace.compiled import compiled
from mlsys_ray.fireplace.policies.base import Knowledge, Policy
from mlsys_ray.fireplace.simulator import (
    ARRIVAL,
    DEPARTURE,
    END,
    NOT_PLACED,
    TICK,
    State,
    fits,
    next_event,
    open_tick,
    place,
    remove,
)
from mlsys_ray.fireplace.trace import Trace, TraceArrays

if TYPE_CHECKING:
    from mlsys_ray.fireplace.statistics import Statistics

FEATURES = ("telemetry", "requested", "since", "departed", "average")
LEARNED_FEATURES = ("learned", "learned_since", "learned_departed")
NUM_FEATURES = len(FEATURES) + len(LEARNED_FEATURES)
Weights = dict[str, float | tuple[float, ...]]


def weights_of(vector: np.ndarray, features: tuple[str, ...]) -> Weights:
    """The weights of a flat vector of a search, one for each feature and resource."""
    rows = vector.reshape(len(features), -1).tolist()
    return {feature: tuple(row) for feature, row in zip(features, rows, strict=True)}


class MixturePolicy(Policy):
    """The admitting PM of the least sum over resources d and features j of w[j, d] x load[j, d].

    Loads are parts of the PM's capacity, by telemetry or by requests. With weights on one feature
    this is a plain least-loaded rule.

    Args:
        name: of the policy.
        weights: feature of `FEATURES` -> weight, or one for each resource.
        largest: take the larger of the resources, not their sum.
    """

    def __init__(self, name: str, weights: Weights, *, largest: bool = False) -> None:
        known = FEATURES + LEARNED_FEATURES
        if unknown := sorted(set(weights) - set(known)):
            raise ValueError(f"features {unknown} are unknown; accepted: {', '.join(known)}")
        self.name = name
        self.weights = weights
        self._largest = largest

    def _weight_table(self, resources: int) -> np.ndarray:
        table = np.zeros((NUM_FEATURES, resources))
        for position, feature in enumerate(FEATURES + LEARNED_FEATURES):
            table[position] = self.weights.get(feature, 0.0)
        return table

    def _expected_use(self, trace: Trace) -> np.ndarray:
        return np.zeros(trace.request.shape)

    def run(self, state: State, trace: Trace, seed: int) -> None:
        """Place all VMs; see `Policy.run`. The seed breaks ties."""
        weights = self._weight_table(len(trace.resources))
        learned = Learned(self._expected_use(trace), *np.zeros((3, *state.capacity.shape)))
        _run(state, trace.arrays, learned, weights, self._largest, np.random.default_rng(seed))


class TunedMixturePolicy(MixturePolicy):
    """A mixture whose weights were tuned on a training trace."""

    knowledge: ClassVar[Knowledge] = "tuned"


class LearnedMixturePolicy(MixturePolicy):
    """A tuned mixture that also counts each VM by the mean use learned of its function."""

    knowledge: ClassVar[Knowledge] = "learned"

    def __init__(self, name: str, weights: Weights, statistics: Statistics) -> None:
        super().__init__(name, weights)
        self._statistics = statistics

    def _expected_use(self, trace: Trace) -> np.ndarray:
        return self._statistics.expected_use(trace)


class Learned(NamedTuple):
    """Sums of learned mean use: of VMs alive, of arrivals and of departures since telemetry."""

    expected_use: np.ndarray
    alive: np.ndarray
    since: np.ndarray
    departed: np.ndarray


@compiled(nogil=True)
def _run(
    state: State,
    trace: TraceArrays,
    learned: Learned,
    weights: np.ndarray,
    largest: bool,
    rng: np.random.Generator,
) -> None:
    while True:
        kind, index = next_event(state, trace)
        if kind == END:
            break
        if kind == TICK:
            open_tick(state, trace)
            learned.since[:] = 0.0
            learned.departed[:] = 0.0
        elif kind == DEPARTURE:
            pm = remove(state, trace, index)
            if pm >= 0:
                learned.alive[pm] -= learned.expected_use[index]
                recent = trace.first_tick[index] == state.clock[0]
                if recent:
                    learned.since[pm] -= learned.expected_use[index]
                else:
                    learned.departed[pm] += learned.expected_use[index]
        elif kind == ARRIVAL:
            pm = _choose(state, trace, learned, weights, largest, index, rng)
            place(state, trace, index, pm)
            if pm >= 0:
                learned.alive[pm] += learned.expected_use[index]
                learned.since[pm] += learned.expected_use[index]


@compiled()
def _choose(
    state: State,
    trace: TraceArrays,
    learned: Learned,
    weights: np.ndarray,
    largest: bool,
    vm: int,
    rng: np.random.Generator,
) -> int:
    best, best_score, ties = NOT_PLACED, np.inf, 1
    for pm in range(len(state.capacity)):
        score = -np.inf if largest else 0.0
        for d in range(state.capacity.shape[1]):
            load = (
                weights[0, d] * state.telemetry[pm, d]
                + weights[1, d] * state.requested[pm, d]
                + weights[2, d] * state.since[pm, d]
                + weights[3, d] * state.departed[pm, d]
                + weights[4, d] * state.average[pm, d]
                + weights[5, d] * learned.alive[pm, d]
                + weights[6, d] * learned.since[pm, d]
                + weights[7, d] * learned.departed[pm, d]
            ) / state.capacity[pm, d]
            score = max(score, load) if largest else score + load
        if score > best_score or not fits(state, trace, vm, pm):
            continue
        if score == best_score:
            # One of k equal PMs with chance 1 / k each, without a second pass.
            ties += 1
            if rng.random() * ties >= 1.0:
                continue
        else:
            ties = 1
        best, best_score = pm, score
    return best
