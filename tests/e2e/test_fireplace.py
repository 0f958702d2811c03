"""The placement commands as a user types them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


def run(*arguments):
    command = [sys.executable, "-m", "mlsys_ray", "fireplace", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280)


SMALL = ["--num-vms", 2000, "--num-pms", 5, "--alive-per-pm", 20]


@pytest.mark.slow
def test_train_then_evaluate(tmp_path):
    options = ["--evaluations", 4, "--tuning-vms", 500, "--rounds", 1, "--decisions", 100]
    trained = run("train", *SMALL, *options, "--run-dir", tmp_path / "model", "--json")
    assert trained.returncode == 0, trained.stderr
    assert len(json.loads(trained.stdout)["validation_par"]) == 2
    model = tmp_path / "model" / "model.safetensors"
    evaluate = ["evaluate", *SMALL, "--model", model, "--num-seeds", 2, "--hindsight", "--json"]
    evaluated = run(*evaluate, "--run-dir", tmp_path / "evaluation")
    assert evaluated.returncode == 0, evaluated.stderr
    result = json.loads(evaluated.stdout)
    assert {"full", "spike_blind"} == set(result["hindsight"])
    fireplace = result["policies"]["fireplace"]
    assert fireplace["par"] > result["hindsight"]["full"]
    assert fireplace["gap_to_hindsight"] > 0
    for name in ("par_cpu", "par_memory", "par_p95", "overload", "placements_per_second"):
        assert name in fireplace
    assert "excess_reduction_vs_best_baseline" in result
    assert "excess_reduction_vs_certainty_equivalent" in result
    assert (tmp_path / "evaluation" / "report.html").exists()
    assert len(list((tmp_path / "evaluation" / "plots").glob("*.png"))) == 3


def test_trace_is_described_converted_and_read_again(tmp_path, run_here):
    table = tmp_path / "trace.parquet"
    options = ["--num-vms", 500, "--alive", 50, "--convert", table, "--json"]
    made = run("trace", "microvm", *options, "--run-dir", tmp_path / "made")
    assert made.returncode == 0, made.stderr
    read = run_here("fireplace", "trace", table, "--run-dir", tmp_path / "read", "--json")
    assert read.returncode == 0, read.stderr
    one, other = (json.loads(result.stdout) for result in (made, read))
    assert {**one, "run_dir": None} == {**other, "run_dir": None}
    assert one["vms"] == 500


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trace", "broken.csv"], "end is not after arrival: 1 (lines 3)"),
        (["trace", "nothing"], "source is 'nothing'; accepted: microvm"),
        (["train", "--num-pms", "0"], "num_pms is 0"),
        (["agent", "--algorithm", "sac"], "algorithm is 'sac'"),
    ],
)
def test_mistakes_are_one_line_and_exit_status_2(
    arguments, message, tmp_path, monkeypatch, run_here
):
    monkeypatch.chdir(tmp_path)
    Path("broken.csv").write_text("arrival,end,request_cpu\n0,1,1\n5,4,1\n")
    result = run_here("fireplace", *arguments)
    assert result.returncode == 2, result.stderr
    assert message in result.stderr
    assert "Traceback" not in result.stderr
