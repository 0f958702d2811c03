import pandas as pd

from mlsys_ray.byzshield.config import TrainConfig
from mlsys_ray.byzshield.data import load_dataset
from mlsys_ray.byzshield.training import train_in_process
from mlsys_ray.cluster.suspects import suspects


def test_proof_comes_before_accusation_and_many_before_few():
    metrics = pd.DataFrame(
        {
            "iteration": [1, 2],
            "proved_workers": [[], [4]],
            "distrusted_workers": [[9], [9]],
            "outvoted_workers": [[7, 7, 2], [7]],
        }
    )
    names = ("proved", "distrusted", "outvoted", "outvoted_iterations", "first_iteration")
    found = {row["worker"]: tuple(row[name] for name in names) for row in suspects(metrics)}
    assert list(found.items()) == [
        (4, (1, 0, 0, 0, 2)),
        (9, (0, 2, 0, 0, 1)),
        (7, (0, 0, 3, 2, 1)),
        (2, (0, 0, 1, 1, 1)),
    ]


def test_the_byzantine_workers_of_a_run_are_the_most_outvoted():
    config = TrainConfig(byzantine=3, attack="constant", batch_size=75, iterations=3)
    rows = [row for row, _ in train_in_process(config, load_dataset("digits"))]
    found = suspects(pd.DataFrame(rows))
    assert {row["worker"] for row in found[:3]} == set(config.byzantine_at(0))
    assert {row["outvoted"] for row in found[:3]} == {3 * 3}
    assert max(row["outvoted"] for row in found[3:]) == 3
