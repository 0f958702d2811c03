"""What FirePlace's network, and any learned agent, sees of a PM and of a VM."""

from __future__ import annotations

import numpy as np

from mlsys_ray.fireplace.compiled import compiled
from mlsys_ray.fireplace.policies.forecast import NUM_HORIZONS, arrival_curve
from mlsys_ray.fireplace.policies.tracker import Tracker
from mlsys_ray.fireplace.simulator import State
from mlsys_ray.fireplace.trace import TraceArrays

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
def describe_pm(tracker: Tracker, state: State, pm: int, base: float, features: np.ndarray) -> None:
    """Write the features of a PM; all but the first are relative to the cluster's means."""
    forecast, potential, means = tracker
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
    tracker: Tracker, state: State, trace: TraceArrays, vm: int, features: np.ndarray
) -> None:
    """Write the features of a VM; sizes are tenfold parts of what the mean PM holds."""
    forecast, potential, means = tracker
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
