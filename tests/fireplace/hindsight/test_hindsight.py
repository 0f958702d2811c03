from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys_ray.fireplace.hindsight.exact import exact_placement
from mlsys_ray.fireplace.hindsight.local_search import hindsight_search, loads, mean_load
from mlsys_ray.fireplace.hindsight.rungs import lower_bound, rungs, without_spikes
from mlsys_ray.fireplace.machines import equal_machines
from mlsys_ray.fireplace.metrics import peak_to_average, score
from mlsys_ray.fireplace.policies.rules import RulePolicy
from mlsys_ray.fireplace.simulator import simulate
from mlsys_ray.fireplace.trace import Trace, presence
from mlsys_ray.fireplace.traces.microvm import microvm
from mlsys_ray.testing.traces import traces


def mean_par(trace, placement, capacity):
    return np.nanmean(peak_to_average(loads(trace, np.array(placement), capacity)))


def brute_force(trace, capacity):
    best = np.inf
    for placement in product(range(len(capacity)), repeat=trace.num_vms):
        if admitted(trace, placement, capacity):
            best = min(best, mean_par(trace, placement, capacity))
    return best


def admitted(trace, placement, capacity):
    for moment in trace.arrival:
        requested = np.zeros_like(capacity)
        alive = (trace.arrival <= moment) & (trace.end > moment)
        np.add.at(requested, np.array(placement)[alive], trace.request[alive])
        if (requested > capacity + 1e-9).any():
            return False
    return True


@settings(deadline=None, max_examples=25)
@given(traces(max_vms=5, max_ticks=4), st.integers(2, 3), st.sampled_from([20.0, 6.0]))
def test_exact_is_brute_force(trace, num_pms, size):
    capacity = np.full((num_pms, 2), size)
    best = brute_force(trace, capacity)
    if best == np.inf:
        with pytest.raises(ValueError, match="no placement was found"):
            exact_placement(trace, capacity)
        return
    found = exact_placement(trace, capacity)
    assert found.exact
    assert found.par == pytest.approx(best, rel=1e-6)
    assert found.bound == pytest.approx(best, rel=1e-6)
    assert admitted(trace, found.placement, capacity)


@pytest.fixture(scope="module")
def trace():
    return microvm(num_vms=3000, alive=200, num_functions=50, seed=3)


def test_loads_are_the_simulators(trace):
    capacity = equal_machines(trace, 5)
    run = simulate(trace, capacity, RulePolicy("random"))
    np.testing.assert_allclose(loads(trace, run.placement, capacity), run.load, atol=1e-9)
    np.testing.assert_allclose(run.load.mean(axis=1), mean_load(trace, capacity), atol=1e-9)


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (1, 2, 1, 0.5)])
def test_search_is_better_than_greedy_and_greedy_than_chance(trace, sizes):
    capacity = equal_machines(trace, 4) * np.array(sizes)[:, None]
    found = hindsight_search(trace, capacity)
    chance = score(simulate(trace, capacity, RulePolicy("random")).load).par
    assert found.par <= found.greedy_par < chance
    assert score(loads(trace, found.placement, capacity)).par == pytest.approx(found.par)
    assert set(found.placement) == {0, 1, 2, 3}


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1000))
def test_search_is_near_the_optimum_of_small_windows(seed):
    trace = microvm(num_vms=8, alive=6, num_functions=5, seed=seed)
    capacity = equal_machines(trace, 2)
    best = exact_placement(trace, capacity)
    found = mean_par(trace, hindsight_search(trace, capacity).placement, capacity)
    assert best.par - 1e-9 <= found <= best.par * 1.15


def test_rungs_are_in_order(trace):
    capacity = equal_machines(trace, 4)
    found = rungs(trace, capacity)
    assert 1 <= found.lower_bound <= found.full <= found.greedy
    assert found.full < found.spike_blind


@given(traces())
def test_without_spikes_keeps_the_use_of_each_vm(trace):
    calm = without_spikes(trace)
    offset, share = presence(trace.arrival, trace.end, trace.tick)
    for vm in range(trace.num_vms):
        own = slice(offset[vm], offset[vm + 1])
        np.testing.assert_allclose(calm.use[own].sum(axis=0), trace.use[own].sum(axis=0), rtol=1e-4)
        rates = calm.use[own] / share[own, None]
        np.testing.assert_allclose(rates, rates[:1].repeat(len(rates), axis=0), rtol=1e-3)


@settings(deadline=None, max_examples=40)
@given(
    traces(max_vms=4, max_ticks=4),
    st.sampled_from([(5.0, 5.0, 5.0), (5.0, 7.0, 6.0), (2.0, 2.0, 1.0), (1.0, 1.0, 8.0)]),
)
def test_no_placement_is_below_the_bound(trace, sizes):
    """Against the PAR that is scored, whose mean counts every PM equally."""
    capacity = np.array(sizes)[:, None] * [1.0, 2.0]
    bound = lower_bound(trace, capacity)
    for placement in product(range(3), repeat=trace.num_vms):
        load = loads(trace, np.array(placement), capacity)
        assert bound <= score(load).par + 1e-6


def test_the_bound_of_unequal_pms_counts_them_equally():
    """Two large PMs and a small one: weighing the mean by capacity would say 1.67."""
    trace = Trace(
        name="made",
        tick=1.0,
        resources=("cpu",),
        arrival=[0.0, 0.0],
        end=[1.0, 1.0],
        request=[[1.0], [1.0]],
        function=[-1, -1],
        functions=(),
        use=[[1.0], [0.5]],
        use_offset=[0, 1, 2],
    )
    capacity = np.array([[2.0], [2.0], [1.0]])
    best = min(
        score(loads(trace, np.array(placement), capacity)).par
        for placement in product(range(3), repeat=2)
    )
    assert best == pytest.approx(1.5)
    assert lower_bound(trace, capacity) <= best
