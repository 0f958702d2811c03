"""Training over actors: the same numbers as in one process, whatever workers do."""

import os
import signal
from contextlib import closing

import psutil
import pytest
from waiting import first_row

from mlsys_ray.byzshield.config import TrainConfig
from mlsys_ray.byzshield.data import load_dataset
from mlsys_ray.byzshield.training import train_in_process

SMALL = {"batch_size": 75, "iterations": 6, "eval_interval": 3}


@pytest.fixture
def train(cluster):
    from mlsys_ray.cluster.byzshield import train_on_ray

    def run(config, num_processes=2, **options):
        return train_on_ray(
            config,
            load_dataset("digits"),
            num_processes=num_processes,
            **options,
        )

    return run


def measured(rows):
    """The metrics that are neither times nor of the transport."""
    left_out = ("seconds_", "bytes_")
    return [
        {name: value for name, value in row.items() if not name.startswith(left_out)}
        for row, _ in rows
    ]


def in_process(config, **options):
    return list(train_in_process(config, load_dataset("digits"), **options))


@pytest.mark.parametrize("num_processes", [1, pytest.param(2, marks=pytest.mark.slow), 4])
def test_the_curve_is_that_of_one_process(train, num_processes):
    config = TrainConfig(byzantine=3, attack="alie", **SMALL)
    assert measured(train(config, num_processes)) == measured(in_process(config))


@pytest.mark.slow
def test_it_goes_on_from_a_checkpoint(train):
    config = TrainConfig(byzantine=3, attack="alie", **SMALL)
    whole = in_process(config, checkpoint_interval=3)
    assert measured(train(config, state=whole[2][1])) == measured(whole[3:])


@pytest.mark.slow
def test_the_dashboard_says_what_each_actor_does(train):
    import ray
    from ray.util.state import list_actors

    with closing(train(TrainConfig(byzantine=1, attack="constant", **SMALL))) as rows:
        next(rows)
        # Not any other cluster that runs on this machine.
        address = ray.get_runtime_context().gcs_address
        names = {actor.repr_name for actor in list_actors(address, detail=True)}
    evens, odds = (", ".join(map(str, range(start, 15, 2))) for start in (0, 1))
    assert names >= {
        "Server(mols median against constant)",
        f"WorkerProcess(workers {evens})",
        f"WorkerProcess(workers {odds})",
    }


@pytest.mark.parametrize(
    "fault",
    ["error", *(pytest.param(name, marks=pytest.mark.slow) for name in ("nan", "shape", "dtype"))],
)
def test_a_faulty_worker_costs_nothing_but_an_event(train, fault):
    clean = in_process(TrainConfig(**SMALL))
    faulty = list(train(TrainConfig(faults=(f"4:{fault}",), **SMALL)))
    assert [row["test_accuracy"] for row, _ in faulty] == [row["test_accuracy"] for row, _ in clean]
    event = "event_error" if fault == "error" else "event_outvoted"
    assert all(row[event] > 0 for row, _ in faulty)


@pytest.mark.slow
def test_a_late_worker_is_an_erasure_and_the_run_goes_on(train):
    config = TrainConfig(
        faults=("4:slow",), deadline=1.0, **{**SMALL, "iterations": 3, "eval_interval": 1}
    )
    rows = list(train(config, num_processes=15 // 3))
    assert len(rows) == 3
    assert all(row["event_late"] > 0 for row, _ in rows)


def test_a_killed_worker_process_is_an_erasure_comes_back_and_the_run_finishes(train):
    config = TrainConfig(**{**SMALL, "iterations": 5000, "eval_interval": 5000})
    before = _worker_pids()
    rows = train(config, num_processes=3)
    next(rows)
    os.kill(min(_worker_pids() - before), signal.SIGKILL)
    assert _erased(first_row(rows, lambda row: _erased(row) > 0)) == 5
    back = first_row(rows, lambda row: _erased(row) == 0)
    assert back["decided_files"] == 25
    rows.close()


@pytest.mark.slow
def test_a_hanging_worker_process_is_an_erasure_and_is_replaced(train):
    config = TrainConfig(**{**SMALL, "iterations": 5000, "eval_interval": 5000}, deadline=1.0)
    before = _worker_pids()
    rows = train(config, num_processes=3)
    next(rows)
    victim = min(_worker_pids() - before)
    os.kill(victim, signal.SIGSTOP)
    assert _erased(first_row(rows, lambda row: _erased(row) > 0)) == 5
    assert first_row(rows, lambda row: _erased(row) == 0)["decided_files"] == 25
    assert victim not in _worker_pids()
    rows.close()


def _erased(row):
    """Workers of which nothing came."""
    return row["event_dead"] + row["event_late"]


def _worker_pids():
    """Processes that run logical workers, those of runs just ended included."""
    return {
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if any("WorkerProcess" in part for part in process.info["cmdline"] or [])
    }


@pytest.fixture
def uneven_model(user_modules):
    """A model whose gradients differ a little from process to process."""
    (user_modules / "different_model.py").write_text(
        "import os, torch\n"
        "from mlsys_ray.byzshield.models import small_cnn\n"
        "class Different(torch.nn.Module):\n"
        "    def __init__(self, net):\n"
        "        super().__init__()\n"
        "        self.net = net\n"
        "    def forward(self, images):\n"
        "        return self.net(images) * (1 + 1e-6 * (os.getpid() % 1000))\n"
        "def model(shape, classes):\n"
        "    return Different(small_cnn(shape, classes))\n"
    )
    return "different_model:model"


def test_processes_whose_arithmetic_differs_are_named_at_the_start(train, uneven_model):
    config = TrainConfig(model=uneven_model, **{**SMALL, "iterations": 1})
    with pytest.warns(UserWarning, match=r"1 of 2 worker processes .* process [01] \(.*torch"):
        list(train(config, num_processes=2))


@pytest.mark.slow
def test_with_a_tolerance_processes_whose_arithmetic_differs_are_heard(train, uneven_model):
    attack = {"byzantine": 3, "attack": "constant"}
    config = TrainConfig(model=uneven_model, vote_tolerance=1e-2, **attack, **SMALL)
    rows = [row for row, _ in train(config, num_processes=3)]
    assert [row["decided_files"] for row in rows] == [25] * 6
    assert [row["distorted_files"] for row in rows] == [3] * 6
    ((exact, _),) = in_process(TrainConfig(**{**SMALL, "iterations": 1}))
    assert all(row["bytes_received"] > 2 * exact["bytes_received"] for row in rows)
    liars = set(config.byzantine_at(0))
    outvoted = {worker for row in rows for worker in row["outvoted_workers"]}
    assert liars <= outvoted


@pytest.mark.slow
def test_with_encryption_the_curve_is_the_same(train):
    config = TrainConfig(byzantine=3, attack="alie", **SMALL)
    assert measured(train(config, encrypt=True)) == measured(in_process(config))


@pytest.mark.parametrize("num_processes", [0, 16])
def test_processes_out_of_range_are_refused(train, num_processes):
    with pytest.raises(ValueError, match="must be 1 to the 15 workers"):
        next(train(TrainConfig(**SMALL), num_processes))
