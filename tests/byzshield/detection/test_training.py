"""Detection within the training round."""

from math import comb

import numpy as np
import pytest

from mlsys_ray.byzshield.config import TrainConfig
from mlsys_ray.byzshield.data import load_dataset
from mlsys_ray.byzshield.detection import undetected_c_max
from mlsys_ray.byzshield.gradients import GradientComputer
from mlsys_ray.byzshield.sampling import FileSampler
from mlsys_ray.byzshield.server import ParameterServer
from mlsys_ray.byzshield.training import train_in_process
from mlsys_ray.byzshield.worker import InProcessTransport

ASPIS = {
    "scheme": "aspis",
    "num_workers": 7,
    "replication": 3,
    "batch_size": 35,
    "detection": "clique",
}
DESIGN = {"scheme": "aspis_plus", "num_workers": 15, "batch_size": 70, "detection": "degree"}


def rows_of(**fields):
    config = TrainConfig(**{"iterations": 1, "attack": "constant", "learning_rate": 0.01, **fields})
    rows = train_in_process(config, load_dataset("digits"), share_replicas=True)
    return [row for row, _ in rows]


def step(**fields):
    """The step of the first iteration and the gradients of the files, all true."""
    config = TrainConfig(iterations=1, momentum=0.0, learning_rate=1.0, **fields)
    dataset = load_dataset("digits")
    transport = InProcessTransport(config, dataset, share_replicas=True)
    server = ParameterServer(config, dataset, transport)
    before = server.state.parameters
    computer = GradientComputer("cnn", dataset)
    computer.load(before)
    num_files = config.make_assignment().num_files
    sampler = FileSampler(dataset.train_labels, num_files, config.batch_size, 0)
    gradients = np.array([computer.gradient(rows) for rows in sampler.files(0)])
    server.step()
    return before - server.state.parameters, gradients


def close(one, other):
    return np.allclose(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("q", [2, 3])
def test_att_1_all_are_detected_and_only_their_own_files_lost(q):
    (row,) = rows_of(byzantine=q, **ASPIS)
    assert row["distrusted_workers"] == list(range(q))
    assert (row["distorted_files"], row["decided_files"]) == (0, 35 - comb(q, 3))
    assert row["event_outvoted"] == 0
    assert {(one, other) for one, other, _ in row["disagreements"]} == {
        (liar, honest) for liar in range(q) for honest in range(q, 7)
    }


@pytest.mark.parametrize("q", [2, 3])
def test_att_2_nobody_is_detected_and_the_bound_is_reached(q):
    (row,) = rows_of(byzantine=q, attacked_files="framing", **ASPIS)
    assert row["distrusted_workers"] == []
    assert (row["distorted_files"], row["decided_files"]) == (undetected_c_max(q, 3), 35)


def test_what_is_proved_is_averaged():
    for attack in (None, "constant"):
        moved, gradients = step(byzantine=2, attack=attack, **ASPIS)
        assert close(moved, gradients.mean(axis=0))
        assert not close(moved, np.median(gradients, axis=0))


def test_where_lies_may_hide_in_files_without_an_honest_holder_the_rule_is_used():
    # Three liars may hold a file alone and disagree with nobody.
    moved, gradients = step(byzantine=3, attack=None, rule="median", **ASPIS)
    assert close(moved, np.median(gradients, axis=0))
    assert not close(moved, gradients.mean(axis=0))


def test_a_design_finds_liars_that_hide_and_leaves_them_out():
    rows = rows_of(byzantine=3, attacked_files="majority", iterations=8, **DESIGN)
    liars = TrainConfig(byzantine=3, **DESIGN).byzantine_at(0)
    assert rows[0]["distrusted_workers"] == []
    assert sum(row["distorted_files"] for row in rows) > 0
    assert rows[-1]["distrusted_workers"] == list(liars)
    assert rows[-1]["distorted_files"] == 0


def test_without_detection_liars_are_named_and_go_on_voting():
    (row,) = rows_of(**{**ASPIS, "detection": "none"}, byzantine=2)
    assert row["distrusted_workers"] == [0, 1]
    assert row["distorted_files"] == 5
    assert row["decided_files"] == 35


def test_detection_by_cliques_suits_other_codes():
    fields = {"scheme": "mols", "batch_size": 75, "byzantine": 3, "detection": "clique"}
    (row,) = rows_of(**fields)
    assert row["distrusted_workers"] == list(TrainConfig(**fields).byzantine_at(0))
    assert (row["distorted_files"], row["decided_files"]) == (0, 25)


def test_an_unknown_detection_or_choice_of_files_is_refused():
    with pytest.raises(ValueError, match="detection is x, must be one of none, clique, degree"):
        TrainConfig(detection="x")
    with pytest.raises(ValueError, match="attacked_files is x, must be one of held, majority"):
        TrainConfig(attacked_files="x")


def test_the_rule_reckons_with_what_detection_leaves():
    # Of 35 files 3 liars win 13 by vote, but 10 at most undetected.
    fields = {**ASPIS, "byzantine": 3, "rule": "trimmed_mean"}
    assert TrainConfig(**fields).make_rule().num_byzantine == 10
    assert TrainConfig(**{**fields, "detection": "none"}).make_rule().num_byzantine == 13


def test_a_run_goes_on_within_a_window_as_if_it_had_never_stopped():
    config = TrainConfig(
        byzantine=3, attack="alie", attacked_files="majority", iterations=6, **DESIGN
    )
    dataset = load_dataset("digits")
    whole = list(train_in_process(config, dataset, checkpoint_interval=4, share_replicas=True))
    state = whole[3][1]
    resumed = list(train_in_process(config, dataset, state=state, share_replicas=True))
    for (row, _), (other, _) in zip(whole[4:], resumed, strict=True):
        for name, value in row.items():
            assert name.startswith("seconds_") or other[name] == value
