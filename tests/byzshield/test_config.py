import pickle

import pytest

from mlsys_ray.byzshield.config import TrainConfig


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch_size": 301}, "batch_size is 301, must be a multiple of the 25 files of mols"),
        ({"iterations": 0}, "iterations is 0, must be at least 1"),
        ({"learning_rate": 0.0}, r"learning_rate is 0\.0, must be positive"),
        ({"decay": 1.5}, r"decay is 1\.5, must be in \(0, 1\]"),
        ({"momentum": 1.0}, r"momentum is 1\.0, must be in \[0, 1\)"),
        ({"deadline": 0.0}, r"deadline is 0\.0, must be positive"),
        ({"dirichlet_alpha": 0.0}, r"dirichlet_alpha is 0\.0, must be positive"),
        ({"seed": -1}, "seed is -1, must be at least 0"),
        ({"byzantine": 8}, "byzantine is 8, must be at least 0 and below half of the 15 workers"),
        ({"byzantine_choice": "x"}, "byzantine_choice is x, must be one of worst, random, rot"),
        ({"byzantine_workers": (3, 15)}, r"byzantine_workers is \(3, 15\), must be different"),
        ({"byzantine_workers": (3, 3)}, r"byzantine_workers is \(3, 3\), must be different"),
        ({"byzantine": 2, "byzantine_workers": (1,)}, "byzantine is 2, must be left out or 1"),
        ({"scheme": "x"}, "scheme is 'x', must be one of"),
        ({"rule": "x"}, "rule is 'x', must be one of"),
        ({"attack": "x"}, "attack is 'x', must be one of"),
        ({"data": "x"}, "data is x, must be one of digits, cifar10"),
        ({"model": "x"}, r"model is 'x', must be cnn, resnet18 or package\.module:function"),
        ({"faults": ("1:x",)}, "fault is '1:x', must be worker:kind"),
        ({"num_workers": 16, "load": 5, "replication": 3}, "num_workers is 16, but mols"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_accepted(fields, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**fields)


def test_the_byzantine_set_is_a_worst_case_or_as_given():
    assert TrainConfig(byzantine=3).byzantine_at(7) == (0, 5, 11)
    assert TrainConfig(byzantine_workers=(7, 2)).byzantine_at(7) == (2, 7)
    assert TrainConfig().byzantine_at(7) == ()


def test_random_sets_follow_the_seed_and_rotating_ones_the_iteration():
    random, other = (TrainConfig(byzantine=3, byzantine_choice="random", seed=s) for s in (0, 1))
    assert random.byzantine_at(0) == random.byzantine_at(9) != other.byzantine_at(0)
    rotating = TrainConfig(byzantine=3, byzantine_choice="rotating")
    sets = {rotating.byzantine_at(iteration) for iteration in range(50)}
    assert len(sets) > 30
    assert all(len(workers) == 3 and sorted(set(workers)) == list(workers) for workers in sets)


def test_a_rule_that_does_not_stand_the_worst_case_is_refused_unless_asked_for():
    fields = {"scheme": "frc", "byzantine": 6, "batch_size": 300}
    with pytest.raises(ValueError, match="num_byzantine is 3, but median stands at most 2 of 5"):
        TrainConfig(**fields)
    assert TrainConfig(**fields, allow_beyond_tolerance=True).make_rule().name == "median"


def test_it_travels_between_processes():
    config = TrainConfig(byzantine=2, attack="alie")
    assert pickle.loads(pickle.dumps(config)) == config
