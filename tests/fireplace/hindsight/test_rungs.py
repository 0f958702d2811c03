from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys_ray.fireplace.hindsight.local_search import loads
from mlsys_ray.fireplace.hindsight.rungs import lower_bound, rungs, without_spikes
from mlsys_ray.fireplace.machines import equal_machines
from mlsys_ray.fireplace.metrics import score
from mlsys_ray.fireplace.trace import Trace, presence
from mlsys_ray.fireplace.traces.microvm import microvm
from mlsys_ray.testing.traces import traces


@pytest.fixture(scope="module")
def trace():
    return microvm(num_vms=3000, alive=200, num_functions=50, seed=3)


def test_rungs_are_in_order(trace):
    capacity = equal_machines(trace, 4)
    found = rungs(trace, capacity)
    assert 1 <= found.lower_bound <= found.full <= found.greedy
    assert found.full < found.spike_blind
    assert found.refused == 0
    tight = rungs(trace, 0.525 * capacity)
    assert tight.refused > 0
    assert rungs(trace, 0.525 * capacity, overcommit=1.7).refused == 0


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
