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
from mlsys_ray.fireplace.policies.certainty_equivalent import (
    Potential,
    PotentialWeights,
    open_potential,
    renew,
    renew_pm,
    score,
)
from mlsys_ray.fireplace.policies.forecast import (
    NUM_HORIZONS,
    Forecast,
    arrival_curve,
    forecast_arrival,
    forecast_departure,
    forecast_tick,
    open_forecast,
)
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
from mlsys_ray.fireplace.statistics import Statistics
from mlsys_ray.fireplace.trace import Trace, TraceArrays

SHORT_LIST = 32
"""PMs of the best certainty-equivalent scores that the network ranks."""
LARGEST_FEATURE = 3.0
PER_RESOURCE = NUM_HORIZONS + 6


@compiled()
def num_pm_features(num_resources: int) -> int:
    """Features of a PM: 13 of each resource, and its certainty-equivalent score."""
    return PER_RESOURCE * num_resources + 1


@compiled()
def num_vm_features(num_resources: int) -> int:
    """Features of a VM: request and expected use, presence at each horizon, rest of the tick."""
    return 2 * num_resources + NUM_HORIZONS + 1


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
        forecast = open_forecast(state, trace, self.statistics)
        potential = open_potential(state, self.weights)
        means = Means(np.zeros(resources), np.zeros(resources))
        _run(state, trace.arrays, forecast, potential, means, self.network, decisions)
        return decisions


class Means(NamedTuple):
    """Cluster means that features are relative to, float64 `[D]`, as parts of the capacity."""

    telemetry: np.ndarray
    requested: np.ndarray


@compiled(nogil=True)
def _run(
    state: State,
    trace: TraceArrays,
    forecast: Forecast,
    potential: Potential,
    means: Means,
    network: Network,
    decisions: Decisions,
) -> None:
    pms, resources = state.capacity.shape
    size = min(SHORT_LIST, pms)
    scores = np.empty(pms)
    short_list = np.empty(size, dtype=np.int64)
    base = np.empty(size, dtype=np.float32)
    pm_features = np.empty((size, num_pm_features(resources)), dtype=np.float32)
    vm_features = np.empty(num_vm_features(resources), dtype=np.float32)
    while True:
        kind, index = next_event(state, trace)
        if kind == END:
            break
        if kind == TICK:
            open_tick(state, trace)
            forecast_tick(forecast, state, trace)
            renew(potential, forecast, state)
            renew_means(means, state)
        elif kind == DEPARTURE:
            pm = remove(state, trace, index)
            if pm >= 0:
                forecast_departure(forecast, state, trace, index, pm)
                renew_pm(potential, forecast, state, pm)
                count_request(means, state, trace, index, pm, -1.0)
        elif kind == ARRIVAL:
            score(potential, forecast, state, trace, index, scores)
            listed = _list_best(state, trace, index, scores, short_list)
            pm = NOT_PLACED
            if listed > 0:
                standardise(scores, short_list, listed, base)
                describe_vm(forecast, potential, means, state, trace, index, vm_features)
                for place_in_list in range(listed):
                    describe_pm(
                        forecast,
                        potential,
                        means,
                        state,
                        short_list[place_in_list],
                        base[place_in_list],
                        pm_features[place_in_list],
                    )
                pm = short_list[_rank(network, pm_features[:listed], vm_features, base)]
                if decisions.wanted[index]:
                    row = decisions.num_recorded[0]
                    decisions.num_recorded[0] += 1
                    decisions.vm[row] = index
                    decisions.short_list[row, :listed] = short_list[:listed]
                    decisions.pm_features[row, :listed] = pm_features[:listed]
                    decisions.vm_features[row] = vm_features
                    decisions.base[row, :listed] = base[:listed]
            place(state, trace, index, pm)
            if pm >= 0:
                forecast_arrival(forecast, state, trace, index, pm)
                renew_pm(potential, forecast, state, pm)
                count_request(means, state, trace, index, pm, 1.0)


@compiled()
def renew_means(means: Means, state: State) -> None:
    """A tick has begun, with new telemetry."""
    pms = len(state.capacity)
    means.telemetry[:] = 0.0
    for pm in range(pms):
        for d in range(state.capacity.shape[1]):
            means.telemetry[d] += state.telemetry[pm, d] / state.capacity[pm, d] / pms


@compiled()
def count_request(
    means: Means, state: State, trace: TraceArrays, vm: int, pm: int, sign: float
) -> None:
    """A VM has come (sign 1) or gone (-1)."""
    for d in range(state.capacity.shape[1]):
        part = trace.request[vm, d] / state.capacity[pm, d]
        means.requested[d] += sign * part / len(state.capacity)


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


@compiled()
def standardise(scores: np.ndarray, short_list: np.ndarray, listed: int, base: np.ndarray) -> None:
    """Write the standardised logarithms of the listed scores to `base`."""
    total, squares = 0.0, 0.0
    for place_in_list in range(listed):
        value = np.log(max(scores[short_list[place_in_list]], 1e-30))
        base[place_in_list] = value
        total += value
        squares += value * value
    mean = total / listed
    deviation = np.sqrt(max(squares / listed - mean * mean, 1e-12))
    for place_in_list in range(listed):
        base[place_in_list] = (base[place_in_list] - mean) / deviation


@compiled()
def _clip(value: float) -> float:
    return min(max(value, -LARGEST_FEATURE), LARGEST_FEATURE)


@compiled()
def describe_pm(
    forecast: Forecast,
    potential: Potential,
    means: Means,
    state: State,
    pm: int,
    base: float,
    features: np.ndarray,
) -> None:
    """Write the features of a PM; all but the first are relative to the cluster's means."""
    pms, resources = state.capacity.shape
    features[0] = _clip(base)
    position = 1
    for d in range(resources):
        used = state.capacity[pm, d] * max(means.telemetry[d], 1e-9)
        asked = state.capacity[pm, d] * max(means.requested[d], 1e-9)
        features[position] = _clip(state.telemetry[pm, d] / used - 1.0)
        features[position + 1] = _clip(state.average[pm, d] / used - 1.0)
        features[position + 2] = _clip(forecast.residual[pm, d] / used)
        features[position + 3] = _clip(np.sqrt(max(forecast.spread[pm, d], 0.0)) / used)
        features[position + 4] = _clip(state.requested[pm, d] / asked - 1.0)
        features[position + 5] = _clip(10.0 * state.since[pm, d] / asked)
        for h in range(NUM_HORIZONS):
            cell = h * resources + d
            mean = max(potential.total[cell] / pms, 1e-12)
            features[position + 6 + h] = _clip(potential.load[pm, cell] / mean - 1.0)
        position += 6 + NUM_HORIZONS


@compiled()
def describe_vm(
    forecast: Forecast,
    potential: Potential,
    means: Means,
    state: State,
    trace: TraceArrays,
    vm: int,
    features: np.ndarray,
) -> None:
    """Write the features of a VM; sizes are tenfold parts of what the mean PM holds."""
    pms, resources = state.capacity.shape
    for d in range(resources):
        capacity = state.capacity[:, d].mean()
        asked = capacity * max(means.requested[d], 1e-9)
        used = capacity * max(potential.total[d] / pms, 1e-9)
        features[2 * d] = _clip(10.0 * trace.request[vm, d] / asked)
        features[2 * d + 1] = _clip(10.0 * forecast.mean[vm, d] / used)
    position = 2 * resources
    features[position] = state.clock[0] + 1 - trace.arrival[vm] / trace.tick
    curve = arrival_curve(forecast, state, trace, vm)
    for h in range(NUM_HORIZONS):
        features[position + 1 + h] = curve[h]


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
