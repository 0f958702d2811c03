import numpy as np
import pytest

from mlsys_ray.fireplace.labels import counterfactual_regret
from mlsys_ray.fireplace.machines import equal_machines
from mlsys_ray.fireplace.policies.certainty_equivalent import PotentialWeights
from mlsys_ray.fireplace.policies.fireplace import FirePlacePolicy, Network
from mlsys_ray.fireplace.simulator import open_state
from mlsys_ray.fireplace.statistics import Statistics
from mlsys_ray.fireplace.traces.microvm import microvm


def soft_par(load, mean, steepness):
    value = np.exp(steepness * (load / mean[:, None] - 1)).sum(axis=1)
    return (np.log(value) / steepness).mean()


@pytest.mark.parametrize(("steepness", "horizon"), [(5.0, None), (15.0, None), (15.0, 1)])
def test_regret_is_the_change_of_the_soft_par(steepness, horizon):
    """Against the whole run scored again with one VM, or the first ticks of it, moved."""
    trace = microvm(num_vms=600, alive=120, num_functions=30, seed=4)
    statistics = Statistics.learn(trace)
    capacity = equal_machines(trace, 5)
    state = open_state(trace, capacity)
    policy = FirePlacePolicy(statistics, PotentialWeights(), Network.zero(2))
    wanted = np.zeros(trace.num_vms, dtype=bool)
    wanted[100::40] = True
    decisions = policy.record(state, trace, wanted)
    regret = counterfactual_regret(state, trace, decisions, steepness=steepness, horizon=horizon)
    mean = (state.load / capacity).mean(axis=1)
    for row in range(decisions.num_recorded[0]):
        vm = decisions.vm[row]
        first, start = trace.first_tick[vm], trace.use_offset[vm]
        length = min(trace.use_offset[vm + 1] - start, trace.num_ticks - first)
        length = min(length, horizon or length)
        series = trace.use[start : start + length]
        costs = []
        for pm in decisions.short_list[row]:
            load = state.load.copy()
            load[first : first + length, state.placement[vm]] -= series
            load[first : first + length, pm] += series
            costs.append(soft_par(load / capacity, mean, steepness))
        np.testing.assert_allclose(regret[row], np.array(costs) - min(costs), atol=1e-9)
