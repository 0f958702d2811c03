"""FirePlace: a network re-ranks the certainty-equivalent policy's short list.

One network scores each (arriving VM, PM) pair, so any number of PMs works; features are relative to
the cluster's means. That hindsight teaches the network is the paper's idea (abstract); features,
short list and network are this project's own design.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np

from mlsys_ray.fireplace.compiled import compiled
from mlsys_ray.fireplace.policies.base import Knowledge, Policy
from mlsys_ray.fireplace.policies.features import (
    describe_pm,
    describe_vm,
    num_pm_features,
    num_vm_features,
    standardise,
)
from mlsys_ray.fireplace.policies.potential import PotentialWeights, score
from mlsys_ray.fireplace.policies.tracker import Tracker, open_tracker, place_vm, to_arrival
from mlsys_ray.fireplace.simulator import NOT_PLACED, State, fits
from mlsys_ray.fireplace.statistics import Statistics
from mlsys_ray.fireplace.trace import Trace, TraceArrays

SHORT_LIST = 32
"""PMs of the best certainty-equivalent scores that the network ranks."""


class Network(NamedTuple):
    """A perceptron of two hidden layers; all float32, W_i `[inputs, outputs]`.

    Its first inputs are the PM's features, then the VM's. Its output is added to the standardised
    logarithm of the certainty-equivalent score; the least sum wins.
    """

    weight1: np.ndarray
    bias1: np.ndarray
    weight2: np.ndarray
    bias2: np.ndarray
    weight3: np.ndarray
    bias3: np.ndarray

    @classmethod
    def zero(cls, num_resources: int, width: int = 32) -> Network:
        """The network that leaves the certainty-equivalent score as it is."""
        inputs = num_pm_features(num_resources) + num_vm_features(num_resources)
        shapes = ((inputs, width), (width,), (width, width), (width,), (width, 1), (1,))
        return cls(*(np.zeros(shape, dtype=np.float32) for shape in shapes))


class Decisions(NamedTuple):
    """Decisions recorded for training. R of them, S PMs on each short list.

    Attributes:
        wanted: bool `[N]`, the VMs to record.
        num_recorded: int64 `[1]`, how many were.
        vm: int64 `[R]`.
        short_list: int64 `[R, S]`; -1 behind the last PM that admitted the VM.
        pm_features: float32 `[R, S, I]`.
        vm_features: float32 `[R, J]`.
        base: float32 `[R, S]`, standardised logarithm of the certainty-equivalent score.
    """

    wanted: np.ndarray
    num_recorded: np.ndarray
    vm: np.ndarray
    short_list: np.ndarray
    pm_features: np.ndarray
    vm_features: np.ndarray
    base: np.ndarray


class FirePlacePolicy(Policy):
    """The certainty-equivalent policy's short list, ranked by a network.

    Args:
        statistics: of the functions, from VMs that have ended.
        weights: of the potential.
        network: trained by `imitation.imitate`.
    """

    name = "fireplace"
    knowledge: ClassVar[Knowledge] = "learned"

    def __init__(self, statistics: Statistics, weights: PotentialWeights, network: Network) -> None:
        self.statistics = statistics
        self.weights = weights
        self.network = network

    def run(self, state: State, trace: Trace, seed: int) -> None:
        """Place all VMs; see `Policy.run`. Nothing is random."""
        self.record(state, trace, np.zeros(trace.num_vms, dtype=bool))

    def record(self, state: State, trace: Trace, wanted: np.ndarray) -> Decisions:
        """Place all VMs, and record the decisions about those wanted, bool `[N]`."""
        pms, resources = state.capacity.shape
        rows, size = int(wanted.sum()), min(SHORT_LIST, pms)
        decisions = Decisions(
            wanted,
            np.zeros(1, dtype=np.int64),
            np.zeros(rows, dtype=np.int64),
            np.full((rows, size), NOT_PLACED),
            np.zeros((rows, size, num_pm_features(resources)), dtype=np.float32),
            np.zeros((rows, num_vm_features(resources)), dtype=np.float32),
            np.zeros((rows, size), dtype=np.float32),
        )
        tracker = open_tracker(state, trace, self.statistics, self.weights)
        _run(state, trace.arrays, tracker, self.network, decisions)
        return decisions


@compiled(nogil=True)
def _run(
    state: State, trace: TraceArrays, tracker: Tracker, network: Network, decisions: Decisions
) -> None:
    pms, resources = state.capacity.shape
    size = min(SHORT_LIST, pms)
    scores = np.empty(pms)
    short_list = np.empty(size, dtype=np.int64)
    base = np.empty(size, dtype=np.float32)
    pm_features = np.empty((size, num_pm_features(resources)), dtype=np.float32)
    vm_features = np.empty(num_vm_features(resources), dtype=np.float32)
    while True:
        vm = to_arrival(state, trace, tracker)
        if vm < 0:
            return
        score(tracker.potential, tracker.forecast, state, trace, vm, scores)
        listed = _list_best(state, trace, vm, scores, short_list)
        if listed == 0:
            place_vm(state, trace, tracker, vm, NOT_PLACED)
            continue
        standardise(scores, short_list, listed, base)
        describe_vm(tracker, state, trace, vm, vm_features)
        for row in range(listed):
            describe_pm(tracker, state, short_list[row], base[row], pm_features[row])
        if decisions.wanted[vm]:
            row = decisions.num_recorded[0]
            decisions.num_recorded[0] += 1
            decisions.vm[row] = vm
            decisions.short_list[row, :listed] = short_list[:listed]
            decisions.pm_features[row, :listed] = pm_features[:listed]
            decisions.vm_features[row] = vm_features
            decisions.base[row, :listed] = base[:listed]
        best = _rank(network, pm_features[:listed], vm_features, base)
        place_vm(state, trace, tracker, vm, short_list[best])


@compiled()
def _list_best(
    state: State, trace: TraceArrays, vm: int, scores: np.ndarray, short_list: np.ndarray
) -> int:
    """Fill the short list with the PMs of the least scores that admit the VM; how many they are."""
    for pm in range(len(scores)):
        if not fits(state, trace, vm, pm):
            scores[pm] = np.inf
    size = len(short_list)
    bound = np.partition(scores, size - 1)[size - 1]
    listed = 0
    for pm in range(len(scores)):
        if scores[pm] <= bound and scores[pm] < np.inf and listed < size:
            short_list[listed] = pm
            listed += 1
    return listed


@compiled(fastmath=True)
def _rank(
    network: Network, pm_features: np.ndarray, vm_features: np.ndarray, base: np.ndarray
) -> int:
    """The place in the short list of the least base + network output."""
    pm_inputs, width = pm_features.shape[1], len(network.bias1)
    shared = network.bias1.copy()
    for j in range(len(vm_features)):
        for unit in range(width):
            shared[unit] += vm_features[j] * network.weight1[pm_inputs + j, unit]
    hidden1 = np.empty(width, dtype=np.float32)
    hidden2 = np.empty(width, dtype=np.float32)
    best, best_value = 0, np.inf
    for place_in_list in range(len(pm_features)):
        hidden1[:] = shared
        for j in range(pm_inputs):
            value = pm_features[place_in_list, j]
            for unit in range(width):
                hidden1[unit] += value * network.weight1[j, unit]
        hidden2[:] = network.bias2
        for j in range(width):
            value = max(hidden1[j], np.float32(0.0))
            for unit in range(width):
                hidden2[unit] += value * network.weight2[j, unit]
        output = network.bias3[0] + base[place_in_list]
        for unit in range(width):
            output += max(hidden2[unit], np.float32(0.0)) * network.weight3[unit, 0]
        if output < best_value:
            best, best_value = place_in_list, output
    return best
