"""One episode of VM placement: the compiled simulator, stepped one decision at a time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mlsys_ray.fireplace.compiled import compiled
from mlsys_ray.fireplace.metrics import peak_to_average
from mlsys_ray.fireplace.policies.features import (
    describe_pm,
    describe_vm,
    num_pm_features,
    num_vm_features,
    standardise,
)
from mlsys_ray.fireplace.policies.potential import PotentialWeights, score
from mlsys_ray.fireplace.policies.tracker import Tracker, open_tracker, place_vm, to_arrival
from mlsys_ray.fireplace.simulator import NOT_PLACED, State, fits, open_state
from mlsys_ray.fireplace.statistics import Statistics
from mlsys_ray.fireplace.trace import Trace, TraceArrays


class Observation(NamedTuple):
    """Arrays that an observation is written to."""

    pms: np.ndarray
    vm: np.ndarray
    action_mask: np.ndarray


class PlacementCore:
    """A run over one trace that stops at every arrival some PM admits.

    Args:
        trace: what arrives.
        capacity: float64 `[P, D]`.
        statistics: of the functions; nothing is expected of a function without.
        warm_up_vms: VMs placed by the least requested PM before the first decision.
        telemetry_delay: age of the newest telemetry [ticks].
        overcommit: the part of a PM's capacity that requests may take.
    """

    def __init__(
        self,
        trace: Trace,
        capacity: np.ndarray,
        statistics: Statistics | None,
        *,
        warm_up_vms: int,
        telemetry_delay: int,
        overcommit: float,
    ) -> None:
        self._trace = trace.arrays
        self.state = open_state(
            trace, capacity, telemetry_delay=telemetry_delay, overcommit=overcommit
        )
        self._tracker = plain_tracker(self.state, trace, statistics)
        self._excess, self._ticks = 0.0, 0
        self.refused = 0
        self._vm = 0
        _warm_up(self.state, self._trace, self._tracker, warm_up_vms)
        self._first_tick = max(int(self.state.clock[0]), 0)

    @property
    def mean_par(self) -> float:
        """Mean PAR over the ticks that have been rewarded; 1 before the first."""
        return 1 + self._excess / self._ticks if self._ticks else 1.0

    def begin(self, observation: Observation) -> bool:
        """Go to the first decision; whether there is one."""
        alive = self._advance()
        if alive:
            self.observe(observation)
        return alive

    def step(self, pm: int, observation: Observation) -> tuple[float, bool]:
        """Place the VM that waits, and go on to the next decision.

        Returns:
            Minus the excess PAR of the ticks that have ended since, and whether the trace has.
        """
        tick = int(self.state.clock[0])
        place_vm(self.state, self._trace, self._tracker, self._vm, pm)
        alive = self._advance()
        end = int(self.state.clock[0]) if alive else len(self.state.load)
        excess = self._excess_of(max(tick, self._first_tick), end)
        if alive:
            self.observe(observation)
        return -excess, not alive

    def admits(self, pm: int) -> bool:
        """Whether a PM admits the VM that waits."""
        return bool(fits(self.state, self._trace, self._vm, pm))

    def _excess_of(self, first: int, end: int) -> float:
        """The sum of PAR - 1 over ticks, a mean over the resources used; counts them."""
        if first >= end:
            return 0.0
        excess = peak_to_average(self.state.load[first:end] / self.state.capacity) - 1
        used = np.maximum((~np.isnan(excess)).sum(axis=1), 1)
        total = float((np.nansum(excess, axis=1) / used).sum())
        self._excess += total
        self._ticks += end - first
        return total

    def _advance(self) -> bool:
        while True:
            self._vm = int(to_arrival(self.state, self._trace, self._tracker))
            if self._vm < 0:
                return False
            if admits_anywhere(self.state, self._trace, self._vm):
                return True
            self.refused += 1

    def observe(self, observation: Observation) -> None:
        """Write what is known of the VM that waits."""
        observe(self.state, self._trace, self._tracker, self._vm, *observation)


def plain_tracker(state: State, trace: Trace, statistics: Statistics | None) -> Tracker:
    """The tracker of an empty cluster; without statistics a VM uses its request and stays."""
    known = statistics or _nothing_known(trace)
    return open_tracker(state, trace, known, PotentialWeights())


def feature_shapes(num_resources: int) -> tuple[int, int]:
    """Features of a PM and of a VM."""
    return num_pm_features(num_resources), num_vm_features(num_resources)


def _nothing_known(trace: Trace) -> Statistics:
    """Statistics that expect of every VM to use its request for as long as the episode lasts."""
    ages = np.array([0.0, trace.tick])
    template = Statistics.learn(trace.slice(0, 1).without_functions())
    return Statistics(
        tick=trace.tick,
        functions=(),
        ages=ages,
        use=np.ones((1, len(trace.resources))),
        spread=np.zeros((1, len(trace.resources))),
        survival=np.ones((1, 2)),
        presence=np.ones((1, 2, template.presence.shape[2])),
        first_presence=np.ones((1, *template.first_presence.shape[1:])),
    )


@compiled()
def admits_anywhere(state: State, trace: TraceArrays, vm: int) -> bool:
    """Whether some PM admits a VM."""
    for pm in range(len(state.capacity)):  # noqa: SIM110, numba compiles no generator
        if fits(state, trace, vm, pm):
            return True
    return False


@compiled()
def _warm_up(
    state: State,
    trace: TraceArrays,
    tracker: Tracker,
    num_vms: int,
) -> None:
    """Place VMs on the PM of the least requests, by the larger of the resources."""
    for _ in range(num_vms):
        vm = to_arrival(state, trace, tracker)
        if vm < 0:
            return
        best, best_fill = NOT_PLACED, np.inf
        for pm in range(len(state.capacity)):
            fill = (state.requested[pm] / state.capacity[pm]).max()
            if fill < best_fill and fits(state, trace, vm, pm):
                best, best_fill = pm, fill
        place_vm(state, trace, tracker, vm, best)


@compiled()
def observe(
    state: State,
    trace: TraceArrays,
    tracker: Tracker,
    vm: int,
    pms: np.ndarray,
    vm_features: np.ndarray,
    action_mask: np.ndarray,
) -> None:
    """Write the observation of the VM that has arrived."""
    count = len(state.capacity)
    scores = np.empty(count)
    base = np.empty(count, dtype=np.float32)
    score(tracker.potential, tracker.forecast, state, trace, vm, scores)
    standardise(scores, np.arange(count), count, base)
    describe_vm(tracker, state, trace, vm, vm_features)
    for pm in range(count):
        describe_pm(tracker, state, pm, base[pm], pms[pm])
        action_mask[pm] = fits(state, trace, vm, pm)
