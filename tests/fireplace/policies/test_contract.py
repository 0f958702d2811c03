"""What every policy must do: admit, repeat itself, and not see the future."""

from dataclasses import replace

import numpy as np
import pytest

from mlsys_ray.fireplace.policies.certainty_equivalent import (
    CertaintyEquivalentPolicy,
    PotentialWeights,
)
from mlsys_ray.fireplace.policies.fireplace import FirePlacePolicy, Network
from mlsys_ray.fireplace.policies.mixture import LearnedMixturePolicy, MixturePolicy
from mlsys_ray.fireplace.policies.rules import RulePolicy
from mlsys_ray.fireplace.statistics import Statistics
from mlsys_ray.testing import PlacementPolicyTests


class Rule(PlacementPolicyTests):
    __test__ = False
    rule: str

    def make(self, history):
        return RulePolicy(self.rule)


class TestRandom(Rule):
    __test__ = True
    rule = "random"


class TestRoundRobin(Rule):
    __test__ = True
    rule = "round_robin"


class TestFirstFit(Rule):
    __test__ = True
    rule = "first_fit"


class TestBestFit(Rule):
    __test__ = True
    rule = "best_fit"


class TestDotProduct(Rule):
    __test__ = True
    rule = "dot_product"


class TestPowerOfTwo(Rule):
    __test__ = True
    rule = "power_of_two"


class TestMixture(PlacementPolicyTests):
    def make(self, history):
        weights = {"telemetry": 1.0, "since": 0.4, "departed": -0.2, "average": (0.1, 0.2)}
        return MixturePolicy("mixture", weights)


class TestLearnedMixture(PlacementPolicyTests):
    def make(self, history):
        weights = {"telemetry": 1.0, "learned_since": 1.0, "learned_departed": -1.0}
        return LearnedMixturePolicy("learned", weights, Statistics.learn(history))


class TestCertaintyEquivalent(PlacementPolicyTests):
    def make(self, history):
        return CertaintyEquivalentPolicy(Statistics.learn(history))


class TestFirePlace(PlacementPolicyTests):
    def make(self, history):
        rng = np.random.default_rng(0)
        network = Network(
            *(rng.normal(0, 0.3, array.shape).astype(np.float32) for array in Network.zero(2))
        )
        return FirePlacePolicy(Statistics.learn(history), PotentialWeights(), network)


class TestTheContractItself(PlacementPolicyTests):
    """A policy that reads the loads to come fails the test of the future."""

    __test__ = False

    def make(self, history):
        return Clairvoyant()


class Clairvoyant(RulePolicy):
    def __init__(self):
        super().__init__("random")

    def run(self, state, trace, seed):
        future = int(1e6 * float(trace.use.sum())) % 2**31
        super().run(state, trace, future)


def test_a_clairvoyant_policy_is_caught():
    with pytest.raises(AssertionError):
        TestTheContractItself().test_does_not_see_the_future()


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"rule is 'worst'; accepted: random"):
        RulePolicy("worst")
    with pytest.raises(ValueError, match=r"features \['use'\] are unknown; accepted: telemetry"):
        MixturePolicy("m", {"use": 1.0})
    with pytest.raises(ValueError, match="steepness is 0"):
        replace(PotentialWeights(), steepness=0)
    with pytest.raises(ValueError, match="horizon has 1 values"):
        PotentialWeights(horizon=(1.0,))
