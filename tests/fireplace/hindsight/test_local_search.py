"""The search over whole traces; on small windows test_exact.py compares it with the optimum."""

import numpy as np
import pytest

from mlsys_ray.fireplace.hindsight import local_search
from mlsys_ray.fireplace.hindsight.admission import check_placement
from mlsys_ray.fireplace.hindsight.local_search import hindsight_search, loads, mean_load
from mlsys_ray.fireplace.machines import equal_machines
from mlsys_ray.fireplace.metrics import score
from mlsys_ray.fireplace.policies.mixture import MixturePolicy
from mlsys_ray.fireplace.policies.rules import RulePolicy
from mlsys_ray.fireplace.simulator import simulate
from mlsys_ray.fireplace.traces.microvm import microvm

TIGHT = 0.525
"""PMs of this part of their usual size refuse some of the VMs."""


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
    assert found.par <= found.first_par < chance
    assert score(loads(trace, found.placement, capacity)).par == pytest.approx(found.par)
    assert set(found.placement) == {0, 1, 2, 3}


@pytest.mark.parametrize("overcommit", [1.0, 1.3, 1.7])
def test_requests_are_admitted_and_no_more_vms_refused_than_by_a_policy(trace, overcommit):
    capacity = TIGHT * equal_machines(trace, 4)
    policy = MixturePolicy("least_requested", {"requested": 1.0}, largest=True)
    run = simulate(trace, capacity, policy, overcommit=overcommit)
    found = hindsight_search(trace, capacity, overcommit=overcommit)
    check_placement(trace, found.placement, capacity, overcommit)
    assert found.refused <= (run.placement < 0).sum()
    assert (found.refused > 0) == (overcommit == 1.0)
    with pytest.raises(ValueError, match="which admits"):
        check_placement(trace, found.placement, capacity, 0.8)


def test_from_a_start_the_search_betters_it(trace):
    capacity = TIGHT * equal_machines(trace, 4)
    start = simulate(trace, capacity, RulePolicy("random")).placement
    found = hindsight_search(trace, capacity, start=start)
    assert found.refused < (start < 0).sum()
    assert found.par < found.first_par
    best = hindsight_search(trace, capacity).placement
    again = hindsight_search(trace, capacity, start=best)
    assert (again.refused, again.par) <= ((best < 0).sum(), score(loads(trace, best, capacity)).par)
    with pytest.raises(ValueError, match="names PMs from -1 to 4"):
        hindsight_search(trace, capacity, start=np.where(start == 3, 4, start))


def test_a_short_book_of_requests_is_stricter(trace, monkeypatch):
    """Several arrivals to a slot, as for a million VMs on a thousand PMs."""
    capacity = TIGHT * equal_machines(trace, 4)
    fine = hindsight_search(trace, capacity)
    monkeypatch.setattr(local_search, "LARGEST_BOOK", capacity.size * 100)
    coarse = hindsight_search(trace, capacity)
    check_placement(trace, coarse.placement, capacity, 1.0)
    assert fine.refused < coarse.refused < trace.num_vms / 10
