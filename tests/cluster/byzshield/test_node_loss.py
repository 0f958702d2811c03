"""A cluster of two raylets on this machine, of which one is killed in the middle of training."""

import contextlib
import json
import signal
import subprocess
import sys

import pytest
from waiting import wait_until

from mlsys_ray.cluster.local_cluster import family

pytestmark = pytest.mark.slow

NUM_PROCESSES = 4
NUM_WORKERS = 15


@pytest.fixture
def own_nodes(start_cluster):
    started = []

    def start(num_cpus):
        started.append(start_cluster(num_cpus=num_cpus))
        return started[-1]

    yield start
    for nodes in started:
        nodes.close()


def rows_of(run):
    path = run / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


@contextlib.contextmanager
def training_that_loses_the_second_node(nodes, run, iterations):
    """The driver, its log, and how many worker processes the lost node had."""
    command = [sys.executable, "-m", "mlsys_ray", "byzshield", "train"]
    command += ["--address", nodes.address, "--run-dir", str(run)]
    command += ["--processes", str(NUM_PROCESSES), "--batch-size", "75"]
    command += ["--iterations", str(iterations), "--eval-interval", str(iterations)]
    path = run.parent / "driver.log"
    with path.open("w") as log:
        driver = subprocess.Popen(command, env=nodes.environment, stdout=log, stderr=log)
    try:
        wait_until(lambda: len(rows_of(run)) >= 10, "the run does not start", 120)
        lines = [" ".join(process.cmdline()) for process in family(nodes.nodes[1])]
        num_lost = sum("WorkerProcess" in line for line in lines)
        nodes.raylet(1).send_signal(signal.SIGKILL)
        yield driver, path, num_lost
    finally:
        driver.kill()
        driver.wait()


def assert_the_lost_are_named(silent, num_lost):
    homes = {worker % NUM_PROCESSES for worker in silent}
    assert 0 < num_lost < NUM_PROCESSES
    assert len(homes) == num_lost
    assert silent == {worker for worker in range(NUM_WORKERS) if worker % NUM_PROCESSES in homes}


def test_where_there_is_no_room_for_them_lost_workers_are_erasures_to_the_end(own_nodes, tmp_path):
    nodes, run = own_nodes(num_cpus=2), tmp_path / "run"
    losing = training_that_loses_the_second_node(nodes, run, 200)
    with losing as (driver, log, num_lost):
        assert driver.wait(timeout=400) == 0, log.read_text()
    rows, summary = rows_of(run), json.loads((run / "summary.json").read_text())
    assert summary["status"] == "done"
    assert len(rows) == 200
    assert_the_lost_are_named(set(summary["silent"]), num_lost)
    assert rows[-1]["silent_workers"] == summary["silent"]
    assert 0 < rows[-1]["decided_files"] < rows[0]["decided_files"] == 25


def test_where_there_is_room_lost_workers_are_replaced_on_the_other_node(own_nodes, tmp_path):
    nodes, run = own_nodes(num_cpus=NUM_PROCESSES), tmp_path / "run"
    losing = training_that_loses_the_second_node(nodes, run, 100_000)
    with losing as (driver, log, num_lost):

        def ever_silent():
            return {worker for row in rows_of(run) for worker in row["silent_workers"]}

        wait_until(ever_silent, "nobody is missed", 200)
        wait_until(lambda: not rows_of(run)[-1]["silent_workers"], "nobody is replaced", 400)
        assert driver.poll() is None, log.read_text()
    assert_the_lost_are_named(ever_silent(), num_lost)
    assert rows_of(run)[-1]["decided_files"] == 25
