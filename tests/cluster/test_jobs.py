"""Each experiment as a job on a cluster of two nodes with a token, as a user submits it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mlsys_ray.cluster.run_reader import load_run

pytestmark = pytest.mark.timeout(600)
ROOT = Path(__file__).parents[2]
TINY = {
    "byzshield_train": ["--batch-size", 75, "--iterations", 4, "--eval-interval", 2],
    "byzshield_sweep": [
        *("--batch-size", 75, "--iterations", 4, "--eval-interval", 2),
        *("--attacks", "alie:1.0", "constant"),
    ],
    "fireplace_evaluate": [
        *("--num-vms", 300, "--num-pms", 5, "--num-seeds", 2, "--policies", "least_requested"),
    ],
    "fireplace_study": [
        *("--num-vms", 300, "--num-pms", 5, "--episode-vms", 100, "--train-seconds", 2),
    ],
    "ios_search": ["--strategies", "ios_merge", "--group-sizes", 1, "--num-threads", 1],
    "value_learning_search": [
        "--methods",
        "random",
        "--layers",
        "matmul 128x256x512",
        "--trials",
        3,
    ],
}


def submit(nodes, *command, environment=None):
    line = [sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--working-dir", "."]
    return subprocess.run(
        [*line, "--", *map(str, command)],
        cwd=ROOT,
        env=environment or nodes.environment,
        capture_output=True,
        text=True,
        timeout=550,
    )


def test_there_is_a_tiny_variant_of_each_experiment():
    # Reproduction runs commands one after another, and has tests of its own.
    assert set(TINY) == {path.stem for path in (ROOT / "experiments").glob("*.py")} - {"reproduce"}


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_an_experiment_runs_as_a_job_and_leaves_its_run_in_the_storage(name, two_nodes, tmp_path):
    place = ["--run-dir", "tiny", "--storage", tmp_path]
    done = submit(two_nodes, "python", f"experiments/{name}.py", *TINY[name], *place)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    run = load_run(tmp_path / "tiny")
    assert run.status == "done"
    assert f"{tmp_path}/tiny" in (tmp_path / "tiny/driver.log").read_text()
    assert f"{tmp_path}/tiny" in done.stdout
    if (tmp_path / "tiny/trials").exists():
        trials = list((tmp_path / "tiny/trials").glob("*/summary.json"))
        assert {json.loads(path.read_text())["status"] for path in trials} == {"done"}
        assert (tmp_path / "tiny/results.parquet").exists()


@pytest.mark.slow
def test_a_job_submitted_without_the_token_is_refused_and_told_what_is_missing(two_nodes, tmp_path):
    environment = {k: v for k, v in two_nodes.environment.items() if not k.startswith("RAY_AUTH")}
    environment["HOME"] = str(tmp_path)
    done = submit(two_nodes, "touch", tmp_path / "ran", environment=environment)
    assert done.returncode != 0
    assert "RAY_AUTH_TOKEN" in done.stdout + done.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
def test_a_driver_without_the_token_is_told_what_to_export(two_nodes, tmp_path):
    environment = {k: v for k, v in two_nodes.environment.items() if not k.startswith("RAY_AUTH")}
    environment |= {"HOME": str(tmp_path), "RAY_ADDRESS": two_nodes.address}
    run = str(tmp_path / "run")
    command = [sys.executable, "-m", "mlsys_ray", "byzshield", "sweep", "--run-dir", run]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 4, done.stderr
    assert "export RAY_AUTH_MODE=token\n" in done.stderr
    assert "export RAY_AUTH_TOKEN_PATH=" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_nodes_with_another_version_are_named_before_anything_runs(two_nodes, tmp_path):
    """A node whose package differs, as where one was updated and another forgotten."""
    code = (
        "from mlsys_ray.cluster import nodes, session\n"
        "nodes.package_digest = lambda: 'other'\n"
        "with session.ray_session(): print('ran')"
    )
    environment = {**two_nodes.environment, "RAY_ADDRESS": two_nodes.address}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=550,
    )
    assert done.returncode != 0
    assert "ran" not in done.stdout
    assert done.stderr.count("files of mlsys_ray is") == len(alive(two_nodes))
    assert "node 127.0.0.2:" in done.stderr
    assert "here other" in done.stderr


def alive(nodes):
    return [node for node in nodes.nodes if node.is_running()]
