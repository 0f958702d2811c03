import numpy as np
import pytest
import torch

from mlsys_ray.fireplace.config import TrainingConfig
from mlsys_ray.fireplace.imitation import ImitationConfig, _labelled, _module, _train
from mlsys_ray.fireplace.policies.certainty_equivalent import PotentialWeights
from mlsys_ray.fireplace.policies.fireplace import FirePlacePolicy, Network
from mlsys_ray.fireplace.statistics import Statistics
from mlsys_ray.fireplace.traces.microvm import microvm
from mlsys_ray.fireplace.workload import Workload


@pytest.mark.parametrize(("overcommit", "all_recorded"), [(1.0, False), (3.0, True)])
def test_decisions_are_of_the_workload_as_it_is_run(overcommit, all_recorded):
    """On PMs that are too small without overcommitment some VMs meet no decision."""
    trace = microvm(num_vms=600, alive=200, num_functions=20)
    workload = Workload(trace, np.tile(trace.peak_request / 4, (3, 1)), overcommit=overcommit)
    policy = FirePlacePolicy(Statistics.learn(trace), PotentialWeights(), Network.zero(2))
    config = ImitationConfig(decisions=trace.num_vms)
    decisions, regret = _labelled(policy, workload, config, np.random.default_rng(0))
    placed = int((workload.run(policy).placement >= 0).sum())
    assert decisions.num_recorded[0] == len(regret) == placed
    assert (placed == trace.num_vms) == all_recorded


def test_decisions_see_telemetry_as_old_as_the_workload_says():
    trace = microvm(num_vms=600, alive=200, num_functions=20)
    capacity = np.tile(trace.peak_request, (3, 1))
    policy = FirePlacePolicy(Statistics.learn(trace), PotentialWeights(), Network.zero(2))
    config = ImitationConfig(decisions=trace.num_vms)
    fresh, old = (
        _labelled(
            policy,
            Workload(trace, capacity, telemetry_delay=delay),
            config,
            np.random.default_rng(0),
        )[0]
        for delay in (1, 3)
    )
    assert not np.array_equal(fresh.pm_features, old.pm_features)


def best_choices_taken(labels):
    """How often a freshly trained network takes the choice that its labels say is best."""
    trace = microvm(num_vms=1500, alive=200, num_functions=20)
    workload = Workload(trace, np.tile(trace.peak_request * 40, (4, 1)))
    policy = FirePlacePolicy(Statistics.learn(trace), PotentialWeights(), Network.zero(2))
    config = ImitationConfig(decisions=1500, rounds=1, epochs=8, labels=labels)
    decisions, regret = _labelled(policy, workload, config, np.random.default_rng(0))
    torch.manual_seed(0)
    module = _module(2, config.width)

    def share():
        inputs = torch.cat(
            [
                torch.from_numpy(decisions.pm_features),
                torch.from_numpy(decisions.vm_features)[:, None].expand(
                    -1, decisions.pm_features.shape[1], -1
                ),
            ],
            dim=2,
        )
        with torch.no_grad():
            score = torch.from_numpy(decisions.base) + module(inputs).squeeze(2)
        chosen = np.where(np.isinf(regret), np.inf, score.numpy()).argmin(axis=1)
        return float((chosen == regret.argmin(axis=1)).mean())

    before = share()
    _train(module, [(decisions, regret)], config)
    return before, share()


@pytest.mark.parametrize("labels", ["regret", "best", "myopic"])
def test_training_moves_choices_to_those_that_the_labels_prefer(labels):
    before, after = best_choices_taken(labels)
    assert after > before


def test_unknown_labels_are_refused():
    with pytest.raises(ValueError, match="labels is 'soft'; accepted: regret, best, myopic"):
        TrainingConfig(labels="soft")
