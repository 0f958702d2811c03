"""The certainty-equivalent policy (CE): forecasts taken as true, under a convex potential.

A PM's load in each of the ticks to come is forecast from its VMs' functions and ages, corrected by
how far telemetry was off. The VM goes where the potential grows least. It is this project's own
design.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from mlsys_ray.fireplace.compiled import compiled
from mlsys_ray.fireplace.policies.base import Knowledge, Policy
from mlsys_ray.fireplace.policies.potential import PotentialWeights, score
from mlsys_ray.fireplace.policies.tracker import Tracker, open_tracker, place_vm, to_arrival
from mlsys_ray.fireplace.simulator import NOT_PLACED, State, fits
from mlsys_ray.fireplace.statistics import Statistics
from mlsys_ray.fireplace.trace import Trace, TraceArrays


class CertaintyEquivalentPolicy(Policy):
    """CE; see the module.

    Args:
        statistics: of the functions, from VMs that have ended.
        weights: of the potential.
    """

    name = "certainty_equivalent"
    knowledge: ClassVar[Knowledge] = "learned"

    def __init__(self, statistics: Statistics, weights: PotentialWeights | None = None) -> None:
        self.statistics = statistics
        self.weights = weights or PotentialWeights()

    def run(self, state: State, trace: Trace, seed: int) -> None:
        """Place all VMs; see `Policy.run`. Nothing is random."""
        _run(state, trace.arrays, open_tracker(state, trace, self.statistics, self.weights))


@compiled(nogil=True)
def _run(state: State, trace: TraceArrays, tracker: Tracker) -> None:
    scores = np.empty(len(state.capacity))
    while True:
        vm = to_arrival(state, trace, tracker)
        if vm < 0:
            return
        score(tracker.potential, tracker.forecast, state, trace, vm, scores)
        place_vm(state, trace, tracker, vm, _least(state, trace, vm, scores))


@compiled()
def _least(state: State, trace: TraceArrays, vm: int, scores: np.ndarray) -> int:
    best = NOT_PLACED
    for pm in range(len(scores)):
        if (best < 0 or scores[pm] < scores[best]) and fits(state, trace, vm, pm):
            best = pm
    return best
