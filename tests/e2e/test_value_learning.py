"""The value-learning commands as a user types them."""

import json
import subprocess
import sys

import numpy as np
import pytest

from mlsys_ray.value_learning.baselines.adams2019_samples import FILE, collect_adams
from mlsys_ray.value_learning.measuring import Limits
from mlsys_ray.value_learning.operators import MatMul, chain
from mlsys_ray.value_learning.store import read_samples
from mlsys_ray.value_learning.target import host_target


def run(*arguments, cwd=None):
    command = [sys.executable, "-m", "mlsys_ray", "value-learning", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=cwd)


def test_a_layer_is_scheduled_by_the_shipped_network():
    layer = ["--layer", "matmul", "--m", 32, "--n", 48, "--k", 16]
    done = run("schedule", *layer, "--budget", 20, "--threads", 2, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["layer"] == {"op": "matmul", "m": 32, "n": 48, "k": 16} | {
        name: value for name, value in found["layer"].items() if name not in "mnk"
    }
    assert found["predicted_ms"] > 0
    assert found["states_scored"] > 50
    assert not found["timed_out"]
    assert len(found["schedule"]["actions"]) >= 2


def test_unknown_layers_are_a_usage_error(run_here):
    done = run_here("value-learning", "schedule", "--layer", "conv9d")
    assert done.returncode == 2
    assert "conv9d" in done.stderr
    assert "matmul" in done.stderr


@pytest.mark.slow
def test_collect_train_and_schedule(tmp_path, run_here):
    """A network of one's own, from nothing; a second collection goes on with the first."""
    store = ["--store", tmp_path / "store"]
    small = ["--pipelines", 2, "--threads", 2, "--json"]
    first = run("collect", *store, *small, "--schedules", 3)
    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout)["measured"] == 6
    second = run_here("value-learning", "collect", *store, *small, "--schedules", 4)
    assert json.loads(second.stdout)["measured"] == 2
    assert json.loads(second.stdout)["stored"] == 8
    folder = tmp_path / "run"
    train = ["train", *store, "--run-dir", folder, "--epochs", 2, "--members", 1, "--json"]
    trained = run_here("value-learning", *train)
    assert trained.returncode == 0, trained.stderr
    card = json.loads(trained.stdout)
    assert card["samples"] == 8
    own = run(
        "schedule", "--layer", "matmul", "--m", 16, "--model", folder / "value.safetensors",
        "--measure", "--measure-top", 2, "--threads", 2, "--json",
    )  # fmt: skip
    assert own.returncode == 0, own.stderr
    rows = {row["contender"]: row for row in json.loads(own.stdout)["measured"]}
    assert rows["value"]["min_ms"] > 0
    assert rows["torch"]["min_ms"] > 0
    assert len(json.loads(own.stdout)["measured_top_ms"]) == 2
    layer = chain((64, 48), MatMul(out_features=80))
    layers = [(chain((256, 128), MatMul(out_features=512)), False), (layer, True)]
    limits = Limits(seconds=60, run_seconds=0.002)
    collect_adams(layers, host_target(2), tmp_path / "store" / FILE, count=12, limits=limits)
    (tmp_path / "layers.json").write_text('[{"op": "matmul", "m": 48, "n": 80, "k": 64}]')
    evaluate = ["evaluate", *store, "--layers", tmp_path / "layers.json", "--rounds", 1, "--json"]
    evaluate += ["--threads", 2, "--model", folder / "value.safetensors", "--tvm-trials", 2]
    evaluate += ["--prefixes", 6, "--default-beam"]
    evaluated = run_here("value-learning", *evaluate, "--run-dir", tmp_path / "table")
    assert evaluated.returncode == 0, evaluated.stderr
    result = json.loads(evaluated.stdout)
    assert result["accuracy"]["msle_adams2019_retrained"] >= 0
    assert result["accuracy"]["adams2019_samples"] == 12
    assert result["layers"][0]["adams2019_retrained_ms"] > 0
    assert result["layers"][0]["adams2019_default_beam_ms"] > 0
    assert result["geomean_vs_adams2019_default_beam"] > 0
    for kind in ("", "_within", "_measured_twice"):
        assert -1 <= result["accuracy"][f"rank_correlation_partial{kind}"] <= 1
    assert "tvm_2_ms" in result["layers"][0]
    assert (tmp_path / "table" / "adams2019.weights").exists()
    assert (tmp_path / "table" / "tables" / "partial schedules.json").exists()
    small = ["--number", 3, "--threads", 2, "--json"]
    again = run("remeasure", *store, *small, "--run-dir", tmp_path / "again")
    assert again.returncode == 0, again.stderr
    apart = json.loads(again.stdout)
    assert apart["samples"] + apart["failed"] == 3
    assert 0 <= apart["median_log_ratio"] <= apart["p90_log_ratio"]
    assert len(json.loads((tmp_path / "again" / "tables" / "measured twice.json").read_text())) == 3
    before = {sample.key: sample.min_ms for sample in read_samples(tmp_path / "store")}
    doubted = ["--keep", "--model", folder / "value.safetensors", "--run-dir", tmp_path / "kept"]
    kept = run("remeasure", *store, *small, *doubted)
    assert kept.returncode == 0, kept.stderr
    after = {sample.key: sample.min_ms for sample in read_samples(tmp_path / "store")}
    rows = json.loads((tmp_path / "kept" / "tables" / "measured twice.json").read_text())
    shorter = {row["key"]: np.fmin(row["first_ms"], row["second_ms"]) for row in rows}
    assert after == {**before, **shorter}
    elsewhere = run("remeasure", *store, "--threads", 1, "--run-dir", tmp_path / "elsewhere")
    assert elsewhere.returncode == 2
    assert "cores=2" in elsewhere.stderr
