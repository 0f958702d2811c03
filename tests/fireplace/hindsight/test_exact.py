"""The programme against looking at every placement, with refusals, overcommitment, a background."""

from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mlsys_ray.fireplace.hindsight.exact import exact_placement
from mlsys_ray.fireplace.hindsight.local_search import hindsight_search, loads
from mlsys_ray.fireplace.machines import equal_machines
from mlsys_ray.fireplace.metrics import peak_to_average
from mlsys_ray.fireplace.traces.microvm import microvm
from mlsys_ray.testing.traces import traces

SIZES = [(20.0, 20.0), (20.0, 20.0, 20.0), (6.0, 6.0), (5.0, 5.0, 5.0), (9.0, 4.0), (4.0, 7.0, 5.0)]


@st.composite
def windows(draw, max_vms=5):
    """A small trace, PMs that may admit all VMs or not, and how far they are overcommitted."""
    trace = draw(traces(max_vms=max_vms, max_ticks=4))
    capacity = np.array(draw(st.sampled_from(SIZES)))[:, None] * np.array([1.0, 1.25])
    return trace, capacity, draw(st.sampled_from([1.0, 0.6, 1.5]))


def admitted(trace, placement, capacity, overcommit):
    """At every arrival, the requests of the VMs that are on a PM by then stay within bounds."""
    for moment in trace.arrival:
        for pm, size in enumerate(capacity):
            there = [
                vm
                for vm in range(trace.num_vms)
                if placement[vm] == pm and trace.arrival[vm] <= moment < trace.end[vm]
            ]
            if (trace.request[there].sum(axis=0) > overcommit * size + 1e-9).any():
                return False
    return True


def mean_peak(trace, placement, capacity):
    """Over ticks and resources: the largest load over the load of all VMs spread evenly."""
    spread = loads(trace, np.zeros(trace.num_vms, dtype=int), capacity.sum(axis=0)[None])[:, 0]
    peaks = loads(trace, np.array(placement), capacity).max(axis=1)
    return np.mean([p / s for p, s in zip(peaks.ravel(), spread.ravel(), strict=True) if s > 0])


def brute_force(trace, capacity, overcommit=1.0, fixed=None):
    """The fewest VMs refused, and the least mean peak of such placements."""
    fixed = [-1] * trace.num_vms if fixed is None else fixed
    choices = [range(-1, len(capacity)) if pm < 0 else [int(pm)] for pm in fixed]
    return min(
        (placement.count(-1), mean_peak(trace, placement, capacity))
        for placement in product(*choices)
        if admitted(trace, placement, capacity, overcommit)
    )


def assert_is_best(found, window, fixed=None):
    trace, capacity, overcommit = window
    refused, peak = brute_force(trace, capacity, overcommit, fixed)
    assert found.exact
    assert (found.placement == -1).sum() == refused
    assert found.mean_peak == pytest.approx(peak, rel=1e-6)
    assert found.bound == pytest.approx(peak, rel=1e-6)
    assert mean_peak(trace, found.placement, capacity) == pytest.approx(peak, rel=1e-6)
    assert admitted(trace, found.placement, capacity, overcommit)


@settings(deadline=None, max_examples=40)
@given(windows())
def test_exact_is_brute_force(window):
    trace, capacity, overcommit = window
    found = exact_placement(trace, capacity, overcommit=overcommit)
    assert_is_best(found, window)
    if (found.placement >= 0).all() and (capacity == capacity[0]).all():
        par = np.nanmean(peak_to_average(loads(trace, found.placement, capacity)))
        assert found.mean_peak == pytest.approx(par)
        assert found.par == pytest.approx(par)


@settings(deadline=None, max_examples=40)
@given(windows(max_vms=7), st.data())
def test_exact_around_a_fixed_background_is_brute_force(window, data):
    """Some VMs stay where a random placement has put them."""
    trace, capacity, overcommit = window
    pms = st.integers(-1, len(capacity) - 1)
    fixed = np.array([data.draw(pms) for _ in range(trace.num_vms)])
    assume((fixed < 0).any() and (fixed < 0).sum() <= 4)
    if not admitted(trace, fixed, capacity, overcommit):
        with pytest.raises(ValueError, match=r"asks up to .* of PM \d, which admits"):
            exact_placement(trace, capacity, overcommit=overcommit, fixed=fixed)
        return
    found = exact_placement(trace, capacity, overcommit=overcommit, fixed=fixed)
    np.testing.assert_array_equal(found.placement[fixed >= 0], fixed[fixed >= 0])
    assert_is_best(found, window, fixed)


@settings(deadline=None, max_examples=30)
@given(windows())
def test_a_start_changes_nothing_but_the_way(window):
    """Whether it is the best placement, a worse one, or refuses more than need be."""
    trace, capacity, overcommit = window
    best = exact_placement(trace, capacity, overcommit=overcommit)
    worse = hindsight_search(trace, capacity, overcommit=overcommit).placement
    for start in (best.placement, worse, np.full(trace.num_vms, -1)):
        found = exact_placement(trace, capacity, overcommit=overcommit, start=start)
        assert found.exact
        assert (found.placement < 0).sum() == (best.placement < 0).sum()
        assert found.mean_peak == pytest.approx(best.mean_peak, rel=1e-6)


def test_a_start_is_the_result_where_time_is_too_short():
    trace = microvm(num_vms=40, alive=20, num_functions=5, seed=0)
    capacity = equal_machines(trace, 4)
    with pytest.raises(ValueError, match=r"no placement was found in 0\.001 s"):
        exact_placement(trace, capacity, time_limit=0.001)
    start = hindsight_search(trace, capacity).placement
    found = exact_placement(trace, capacity, start=start, time_limit=0.001)
    assert not found.exact
    np.testing.assert_array_equal(found.placement, start)
    assert 0 <= found.bound <= found.mean_peak


def test_what_is_no_placement_is_refused():
    trace = microvm(num_vms=3, alive=2, num_functions=5, seed=0)
    capacity = equal_machines(trace, 2)
    for fixed, message in (
        ([0, 1, 1], "none is to be placed"),
        ([0, 1], r"is 3 integers; this one has the shape \(2,\)"),
        ([0.0, 1.0, -1.0], "type float64"),
        ([0, 2, -1], "names PMs from -1 to 2; there are 0 to 1"),
        ([0, -2, -1], "names PMs from -2 to 0"),
    ):
        with pytest.raises(ValueError, match=message):
            exact_placement(trace, capacity, fixed=np.array(fixed))
    with pytest.raises(ValueError, match="elsewhere than where they are fixed"):
        exact_placement(trace, capacity, fixed=np.array([0, -1, -1]), start=np.array([1, -1, -1]))


@settings(deadline=None, max_examples=60)
@given(windows(max_vms=8), st.booleans())
def test_the_search_is_admitted_and_refuses_no_more_than_its_start(window, from_start):
    trace, capacity, overcommit = window
    start = None
    if from_start:
        start = exact_placement(trace, capacity, overcommit=overcommit).placement
    try:
        found = hindsight_search(trace, capacity, overcommit=overcommit, start=start)
    except ValueError as error:
        # All VMs that use something behind the warm-up are refused.
        assume("nothing is used after the warm-up" not in str(error))
        raise
    assert admitted(trace, found.placement, capacity, overcommit)
    if start is not None:
        assert found.refused <= (start < 0).sum()


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1000))
def test_search_is_near_the_optimum_of_small_windows(seed):
    trace = microvm(num_vms=8, alive=6, num_functions=5, seed=seed)
    capacity = equal_machines(trace, 2)
    best = exact_placement(trace, capacity)
    placement = hindsight_search(trace, capacity).placement
    found = mean_peak(trace, placement, capacity)
    assert best.mean_peak - 1e-9 <= found <= best.mean_peak * 1.15
