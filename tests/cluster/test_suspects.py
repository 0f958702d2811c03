from dataclasses import replace

import pandas as pd

from mlsys_ray.byzshield.config import TrainConfig
from mlsys_ray.byzshield.data import load_dataset
from mlsys_ray.byzshield.training import train_in_process
from mlsys_ray.cluster.suspects import suspects


def row(worker, **evidence):
    nothing = dict.fromkeys(
        ("proved", "distrusted", "outvoted", "outvoted_iterations", "silent", "disagreements"), 0
    )
    return {"worker": worker, "first_iteration": 1, **nothing, "disagreed_with": [], **evidence}


def test_proof_comes_before_accusation_and_many_before_few():
    metrics = pd.DataFrame(
        {
            "iteration": [1, 2],
            "proved_workers": [[], [4]],
            "distrusted_workers": [[], [7]],
            "outvoted_workers": [[7, 7, 2], [7]],
            "silent_workers": [[], [9]],
            "disagreements": [[(2, 7, 1), (3, 7, 2)], [(3, 7, 4)]],
        }
    )
    assert suspects(metrics) == [
        row(4, first_iteration=2, proved=1),
        row(
            7,
            distrusted=1,
            outvoted=3,
            outvoted_iterations=2,
            disagreements=7,
            disagreed_with=[3, 2],
        ),
        row(2, outvoted=1, outvoted_iterations=1, disagreements=1, disagreed_with=[7]),
        row(9, first_iteration=2, silent=1),
    ]


def test_the_byzantine_workers_of_a_run_are_the_most_outvoted():
    config = TrainConfig(byzantine=3, attack="constant", batch_size=75, iterations=3)
    rows = [row for row, _ in train_in_process(config, load_dataset("digits"))]
    found = suspects(pd.DataFrame(rows))
    assert {row["worker"] for row in found[:3]} == set(config.byzantine_at(0))
    assert {row["outvoted"] for row in found[:3]} == {3 * 3}
    assert max(row["outvoted"] for row in found[3:]) == 3


def test_liars_that_are_detected_are_named_with_whom_they_disagreed():
    config = TrainConfig(
        scheme="aspis",
        detection="clique",
        num_workers=7,
        replication=3,
        byzantine=2,
        attack="constant",
        batch_size=35,
    )
    rows = [
        row for row, _ in train_in_process(replace(config, iterations=3), load_dataset("digits"))
    ]
    found = suspects(pd.DataFrame(rows))
    assert [(row["worker"], row["distrusted"], row["first_iteration"]) for row in found] == [
        (0, 3, 1),
        (1, 3, 1),
    ]
    for row in found:
        # In three iterations each honest one is met on five files.
        assert row["disagreements"] == 3 * 5 * 5
        assert sorted(row["disagreed_with"]) == [2, 3, 4, 5, 6]


def test_detection_is_evidence_under_codes_that_only_vote():
    config = TrainConfig(byzantine=3, attack="constant", batch_size=75, iterations=1)
    rows = [row for row, _ in train_in_process(config, load_dataset("digits"))]
    found = suspects(pd.DataFrame(rows))
    assert {row["worker"] for row in found if row["distrusted"]} == set(config.byzantine_at(0))
    assert rows[0]["distorted_files"] == 3
