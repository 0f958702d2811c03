"""The whole training round in one process."""

import numpy as np
import pytest

from mlsys_ray.byzshield.config import TrainConfig
from mlsys_ray.byzshield.data import load_dataset
from mlsys_ray.byzshield.gradients import GradientComputer
from mlsys_ray.byzshield.sampling import FileSampler
from mlsys_ray.byzshield.server import ParameterServer, step_size
from mlsys_ray.byzshield.training import train_in_process
from mlsys_ray.byzshield.worker import InProcessTransport

SMALL = {"batch_size": 75, "iterations": 6, "eval_interval": 3}


def rows_of(config, **options):
    return list(train_in_process(config, load_dataset("digits"), **options))


def measured(rows):
    """The metrics that are not times."""
    return [
        {name: value for name, value in row.items() if not name.startswith("seconds_")}
        for row, _ in rows
    ]


def test_the_step_schedule_is_x_times_y_to_the_power_of_every_z():
    config = TrainConfig(learning_rate=0.1, decay=0.5, decay_interval=3)
    assert [step_size(config, i) for i in range(7)] == [0.1] * 3 + [0.05] * 3 + [0.025]


def test_the_same_seed_gives_the_same_run_and_another_seed_another():
    config = TrainConfig(byzantine=3, attack="alie", **SMALL)
    assert measured(rows_of(config)) == measured(rows_of(config))
    other = TrainConfig(byzantine=3, attack="alie", seed=1, **SMALL)
    assert measured(rows_of(config)) != measured(rows_of(other))


def test_without_byzantine_workers_it_is_momentum_sgd_on_the_median_of_file_gradients():
    config = TrainConfig(**{**SMALL, "iterations": 3})
    dataset = load_dataset("digits")
    server = ParameterServer(config, dataset, InProcessTransport(config, dataset))
    computer = GradientComputer("cnn", dataset)
    sampler = FileSampler(dataset.train_labels, 25, 75, seed=0)
    parameters, velocity = server.state.parameters.copy(), 0
    for iteration in range(3):
        computer.load(parameters.astype(np.float32))
        gradients = [computer.gradient(rows) for rows in sampler.files(iteration)]
        velocity = 0.9 * velocity + np.median(gradients, axis=0)
        parameters = parameters - 0.05 * velocity
    list(server.train(None))
    np.testing.assert_allclose(server.state.parameters, parameters, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("num_byzantine", [2, 3, 5])
def test_a_worst_case_set_distorts_as_many_files_as_the_table_says(num_byzantine):
    config = TrainConfig(byzantine=num_byzantine, attack="constant", batch_size=75, iterations=1)
    ((row, _),) = rows_of(config)
    assert row["distorted_files"] == {2: 1, 3: 3, 5: 8}[num_byzantine]
    assert row["decided_files"] == 25


def test_bytes_received_are_one_copy_of_each_file_and_all_digests():
    config = TrainConfig(batch_size=75, iterations=1)
    dataset = load_dataset("digits")
    server = ParameterServer(config, dataset, InProcessTransport(config, dataset))
    assert server.step()["bytes_received"] == 25 * server.state.parameters.nbytes + 75 * 32


@pytest.mark.parametrize(
    ("fault", "event"),
    [("nan", "nonfinite"), ("shape", "malformed"), ("dtype", "malformed"), ("error", "error")],
)
def test_a_lone_faulty_worker_is_outvoted_or_noticed_and_changes_nothing(fault, event):
    clean = rows_of(TrainConfig(**SMALL))
    faulty = rows_of(TrainConfig(faults=(f"4:{fault}",), **SMALL))
    for (row, _), (other, _) in zip(clean, faulty, strict=True):
        assert other["test_accuracy"] == row["test_accuracy"]
        assert other["decided_files"] == 25
        assert other["event_error"] == (1 if fault == "error" else 0)
        assert other["event_outvoted"] == (0 if fault == "error" else 5)


@pytest.mark.parametrize(
    ("fault", "event"),
    [("nan", "nonfinite"), ("shape", "malformed"), ("dtype", "malformed"), ("error", "error")],
)
def test_without_replication_a_faulty_worker_loses_its_file_and_the_run_goes_on(fault, event):
    config = TrainConfig(scheme="baseline", faults=(f"4:{fault}",), **SMALL)
    for row, _ in rows_of(config):
        assert row["decided_files"] == 14
        assert row["event_undecided"] == 1
        assert row[f"event_{event}"] == 1


def test_a_run_in_which_nobody_answers_goes_to_its_end():
    faults = tuple(f"{worker}:error" for worker in range(15))
    rows = rows_of(TrainConfig(faults=faults, **SMALL))
    assert [row["decided_files"] for row, _ in rows] == [0] * 6
    assert rows[2][0]["test_accuracy"] == rows[5][0]["test_accuracy"]


def test_a_run_goes_on_from_a_checkpoint_as_if_it_had_never_stopped():
    config = TrainConfig(byzantine=3, attack="alie", **SMALL)
    whole = rows_of(config, checkpoint_interval=2)
    assert [state is not None for _, state in whole] == [False, True] * 3
    resumed = rows_of(config, state=whole[3][1])
    assert measured(resumed) == measured(whole[4:])


@pytest.mark.parametrize("attack", ["alie", "label_flipping"])
def test_shared_replicas_change_the_time_only(attack):
    config = TrainConfig(byzantine=3, attack=attack, faults=("4:nan",), **SMALL)
    assert measured(rows_of(config)) == measured(rows_of(config, share_replicas=True))


def test_a_slow_worker_needs_processes():
    with pytest.raises(ValueError, match="a slow worker needs worker processes"):
        rows_of(TrainConfig(faults=("1:slow",), **SMALL))


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(ValueError, match="batch_size is 1500, must be at most the 1437"):
        rows_of(TrainConfig(batch_size=1500))


def test_training_on_skewed_files():
    config = TrainConfig(dirichlet_alpha=0.1, **SMALL)
    assert measured(rows_of(config)) == measured(rows_of(config))
    assert measured(rows_of(config)) != measured(rows_of(TrainConfig(**SMALL)))


@pytest.mark.parametrize("attack", ["alie", "reversed_gradient", "label_flipping", "optimal_alie"])
def test_training_under_attack_stays_finite(attack):
    config = TrainConfig(byzantine=3, attack=attack, **SMALL)
    *_, (_, state) = rows_of(config, checkpoint_interval=6)
    assert np.isfinite(state.parameters).all()
