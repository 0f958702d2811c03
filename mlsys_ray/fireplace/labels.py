"""Hindsight labels: what each choice would have cost, seen from the end of the run.

The label that training uses is the counterfactual regret on the policy's realised trajectory: the
change of the soft PAR had the VM gone elsewhere, all else as it happened. It is this project's own
design, in the sense of the paper's abstract: the true future is known once the run is over.
"""

from __future__ import annotations

import numpy as np

from mlsys_ray.fireplace.compiled import compiled
from mlsys_ray.fireplace.policies.fireplace import Decisions
from mlsys_ray.fireplace.simulator import State
from mlsys_ray.fireplace.trace import Trace, TraceArrays


def counterfactual_regret(
    state: State,
    trace: Trace,
    decisions: Decisions,
    *,
    steepness: float,
    horizon: int | None = None,
) -> np.ndarray:
    """Cost of each PM on the short list of each decision, less that of the best of them.

    The soft PAR of a tick and resource is (1 / K) log sum_p exp(K (u_p / mean - 1)).

    Args:
        state: at the end of the run.
        trace: that was run.
        decisions: recorded during the run.
        steepness: K, above 0.
        horizon: ticks of a VM's life that count, None for all of them [ticks].

    Returns:
        float64 `[R, S]`, in units of the mean PAR of the run, at least 0; inf where the short list
        is empty.
    """
    load = state.load / state.capacity
    mean = np.maximum(load.mean(axis=1), 1e-12)
    potential = np.exp(np.minimum(steepness * (load / mean[:, None] - 1), 50.0))
    costs = _costs(
        state,
        trace.arrays,
        decisions,
        load,
        mean,
        potential,
        potential.sum(axis=1),
        steepness,
        horizon or len(load),
    )
    return costs - costs.min(axis=1, keepdims=True)


@compiled(nogil=True)
def _costs(
    state: State,
    trace: TraceArrays,
    decisions: Decisions,
    load: np.ndarray,
    mean: np.ndarray,
    potential: np.ndarray,
    total: np.ndarray,
    steepness: float,
    horizon: int,
) -> np.ndarray:
    ticks, _, resources = load.shape
    costs = np.zeros_like(decisions.short_list, dtype=np.float64)
    rows, choices = decisions.short_list.shape
    for row in range(rows):
        vm = decisions.vm[row]
        actual = state.placement[vm]
        first, start = trace.first_tick[vm], trace.use_offset[vm]
        length = min(trace.use_offset[vm + 1] - start, ticks - first, horizon)
        for choice in range(choices):
            if decisions.short_list[row, choice] < 0:
                costs[row, choice] = np.inf
        for position in range(length):
            tick = first + position
            for d in range(resources):
                use = trace.use[start + position, d]
                if use == 0.0:
                    continue
                own = use / (state.capacity[actual, d] * mean[tick, d])
                without = potential[tick, actual, d] * np.exp(-steepness * own)
                rest = max(total[tick, d] - potential[tick, actual, d] + without, 1e-30)
                for choice in range(choices):
                    pm = decisions.short_list[row, choice]
                    if pm < 0:
                        break
                    value = without if pm == actual else potential[tick, pm, d]
                    relative = use / (state.capacity[pm, d] * mean[tick, d])
                    growth = np.exp(steepness * relative) - 1.0
                    costs[row, choice] += np.log1p(value * growth / rest) / steepness
    return costs / (ticks * resources)
