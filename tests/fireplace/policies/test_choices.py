"""Which PM each policy takes, against policies written plainly in Python."""

import numpy as np
import pytest

from mlsys_ray.fireplace.machines import equal_machines
from mlsys_ray.fireplace.metrics import score
from mlsys_ray.fireplace.policies.base import OnlinePolicy
from mlsys_ray.fireplace.policies.certainty_equivalent import (
    CertaintyEquivalentPolicy,
    PotentialWeights,
)
from mlsys_ray.fireplace.policies.fireplace import FirePlacePolicy, Network
from mlsys_ray.fireplace.policies.mixture import MixturePolicy
from mlsys_ray.fireplace.policies.rules import RulePolicy
from mlsys_ray.fireplace.simulator import simulate
from mlsys_ray.fireplace.statistics import HORIZONS, NUM_RESTS, Statistics
from mlsys_ray.fireplace.traces.microvm import microvm


class Plain(OnlinePolicy):
    """The PM of the least score among those that admit the VM, the first of equals."""

    name = "plain"

    def __init__(self, score):
        self.score = score

    def place(self, cluster, vm):
        return int(np.argmin(np.where(vm.admitted, self.score(cluster, vm), np.inf)))


def part(array, cluster):
    return array / cluster.capacity


PLAIN = {
    "first_fit": lambda c, vm: np.arange(c.num_pms),
    "best_fit": lambda c, vm: -part(c.requested, c).max(axis=1),
    "dot_product": lambda c, vm: (
        -(vm.request / c.capacity * (c.capacity - c.requested) / c.capacity).sum(axis=1)
    ),
}


@pytest.fixture(scope="module")
def trace():
    return microvm(num_vms=3000, alive=200, num_functions=50, seed=2)


@pytest.fixture(scope="module")
def capacity(trace):
    return equal_machines(trace, 6) * np.array([1, 1.07, 1.93, 0.97, 0.51, 1.03])[:, None]


@pytest.mark.parametrize("rule", PLAIN)
def test_rules(rule, trace, capacity):
    ours = simulate(trace, capacity, RulePolicy(rule)).placement
    plain = simulate(trace, capacity, Plain(PLAIN[rule])).placement
    np.testing.assert_array_equal(ours, plain)


@pytest.mark.parametrize("largest", [False, True])
def test_mixture(trace, capacity, largest):
    weights = {"telemetry": (1.0, 2.0), "since": 0.4, "departed": -0.2, "average": 0.1}
    merge = np.max if largest else np.sum

    def load(c, vm):
        mixed = c.telemetry * [1, 2] + 0.4 * c.since - 0.2 * c.departed + 0.1 * c.average
        # A tie in the first tick, where nothing is known, is broken at random by ours.
        return merge(part(mixed, c), axis=1)

    ours = simulate(trace, capacity, MixturePolicy("m", weights, largest=largest))
    plain = simulate(trace, capacity, Plain(load))
    assert score(ours.load).par == pytest.approx(score(plain.load).par, rel=0.05)
    assert score(ours.load).par < score(simulate(trace, capacity, RulePolicy("random")).load).par


def test_ties_are_broken_evenly(trace):
    """With no weight at all every PM is equal, and each is taken as often."""
    capacity = equal_machines(trace, 4)
    run = simulate(trace, capacity, MixturePolicy("none", {}))
    shares = np.bincount(run.placement, minlength=4) / trace.num_vms
    np.testing.assert_allclose(shares, 0.25, atol=0.04)


class SlowCertaintyEquivalent(OnlinePolicy):
    """The policy from its definition: everything is computed anew at each arrival.

    It places as told, and keeps by what factor that choice's score is above the least.
    """

    name = "slow"

    def __init__(self, statistics, weights, trace, placement):
        self.statistics, self.weights, self.trace = statistics, weights, trace
        self.placement = placement
        self.mean = statistics.expected_use(trace)
        self.row = statistics.rows(trace)

    def begin(self, rng):
        self.next = 0
        self.pm = {}
        self.factors = []

    def place(self, cluster, vm):
        trace, weights = self.trace, self.weights
        me, moment = self.next, trace.arrival[self.next]
        self.next += 1
        tick = int(moment // trace.tick)
        forecast = np.zeros((cluster.num_pms, len(HORIZONS), 2))
        known = np.zeros((cluster.num_pms, 2))
        for other, pm in self.pm.items():
            forecast[pm] += self._expected(other, tick, moment)
            start, end = (tick - 1) * trace.tick, tick * trace.tick
            lived = min(trace.end[other], end) - max(trace.arrival[other], start)
            known[pm] += self.mean[other] * max(lived, 0) / trace.tick
        residual = cluster.telemetry - known if tick else np.zeros_like(known)
        rho = np.array(weights.residual)[None, :, None]
        load = forecast + rho * residual[:, None] + weights.request * cluster.requested[:, None]
        load = np.maximum(load, 0) / cluster.capacity[:, None]
        average = np.maximum(load.mean(axis=0), 1e-12)
        added = self._arriving(me, tick)[None] / cluster.capacity[:, None]
        growth = np.exp(np.minimum(weights.steepness * added / average, 50)) - 1
        value = np.exp(np.minimum(weights.steepness * (load / average - 1), 50))
        weight = np.outer(weights.horizon, np.broadcast_to(weights.resource, 2))
        scores = (weight * value * growth).sum(axis=(1, 2))
        self.pm[me] = int(self.placement[me])
        self.factors.append(scores[self.pm[me]] / scores[vm.admitted].min())
        return self.pm[me]

    def _arriving(self, vm, tick):
        rest = tick + 1 - self.trace.arrival[vm] / self.trace.tick
        rest_bin = min(int(rest * NUM_RESTS), NUM_RESTS - 1)
        return self.statistics.first_presence[self.row[vm], rest_bin][:, None] * self.mean[vm]

    def _expected(self, vm, tick, moment):
        begin = tick * self.trace.tick
        lived_now = (self.trace.end[vm] - max(self.trace.arrival[vm], begin)) / self.trace.tick
        if self.trace.end[vm] <= moment:
            present = np.zeros(len(HORIZONS))
            present[0] = max(lived_now, 0.0)
            return present[:, None] * self.mean[vm]
        if self.trace.first_tick[vm] == tick:
            return self._arriving(vm, tick)
        age = begin - self.trace.arrival[vm]
        age_bin = np.searchsorted(self.statistics.ages, age, side="right") - 1
        return self.statistics.presence[self.row[vm], age_bin][:, None] * self.mean[vm]


@pytest.fixture(scope="module")
def short():
    return microvm(num_vms=700, alive=100, num_functions=50, seed=2)


@pytest.fixture(scope="module")
def statistics():
    return Statistics.learn(microvm(num_vms=3000, alive=200, num_functions=50, seed=9))


def test_certainty_equivalent_is_its_definition(short, statistics):
    """Means are kept within 2% and not anew at each arrival, so close scores may change places."""
    capacity = equal_machines(short, 4) * np.array([1, 1, 1, 2])[:, None]
    weights = PotentialWeights(resource=(1.0, 2.0), request=0.05)
    ours = simulate(short, capacity, CertaintyEquivalentPolicy(statistics, weights)).placement
    slow = SlowCertaintyEquivalent(statistics, weights, short, ours)
    simulate(short, capacity, slow)
    factors = np.array(slow.factors)
    assert (factors == 1).mean() > 0.97
    assert factors.max() < 1.1


def test_a_network_of_zeros_leaves_the_certainty_equivalent_choice(short, statistics):
    capacity = equal_machines(short, 6)
    weights = PotentialWeights()
    plain = simulate(short, capacity, CertaintyEquivalentPolicy(statistics, weights))
    network = simulate(short, capacity, FirePlacePolicy(statistics, weights, Network.zero(2)))
    np.testing.assert_array_equal(plain.placement, network.placement)


def test_weights_survive_the_way_through_a_vector():
    weights = PotentialWeights(resource=(2.0, 3.0), request=0.1)
    again = PotentialWeights.from_vector(weights.to_vector(2))
    for name in ("horizon", "resource", "residual", "steepness", "request"):
        np.testing.assert_allclose(getattr(again, name), getattr(weights, name))


def test_the_recorded_network_score_is_what_decides(short, statistics):
    """The compiled forward pass equals numpy's on what was recorded."""
    rng = np.random.default_rng(1)
    network = Network(
        *(rng.normal(0, 0.3, array.shape).astype(np.float32) for array in Network.zero(2))
    )
    from mlsys_ray.fireplace.simulator import open_state

    state = open_state(short, equal_machines(short, 40))
    policy = FirePlacePolicy(statistics, PotentialWeights(), network)
    decisions = policy.record(state, short, np.ones(short.num_vms, dtype=bool))
    assert decisions.num_recorded[0] == short.num_vms
    vm = np.repeat(decisions.vm_features[:, None], decisions.pm_features.shape[1], axis=1)
    hidden = np.concatenate([decisions.pm_features, vm], axis=2)
    hidden = np.maximum(hidden @ network.weight1 + network.bias1, 0)
    hidden = np.maximum(hidden @ network.weight2 + network.bias2, 0)
    output = (hidden @ network.weight3 + network.bias3)[..., 0] + decisions.base
    # PMs that look the same, as empty ones do, have scores that differ by rounding only.
    placed = decisions.short_list == state.placement[decisions.vm][:, None]
    assert (placed.sum(axis=1) == 1).all()
    np.testing.assert_allclose(output[placed], output.min(axis=1), atol=1e-4)
    assert np.isfinite(decisions.pm_features).all()
    assert (np.abs(decisions.pm_features) <= 3).all()
