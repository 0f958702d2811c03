"""Evaluation on a cluster: what is stored is not computed again, what is damaged is."""

import json

import pytest

from mlsys_ray.cli.main import main
from mlsys_ray.cluster.placement import evaluate_on_ray
from mlsys_ray.fireplace.config import EvaluationConfig, WorkloadConfig
from mlsys_ray.fireplace.model import shipped_model
from mlsys_ray.fireplace.traces.microvm import microvm
from mlsys_ray.fireplace.traces.table import write_table

CONFIG = EvaluationConfig(
    workload=WorkloadConfig(num_vms=2000, num_pms=5, alive_per_pm=20),
    policies="least_requested,telemetry_since,certainty_equivalent,fireplace",
    num_seeds=2,
    hindsight=True,
)


@pytest.mark.usefixtures("cluster")
def test_results_are_kept_and_damaged_ones_computed_again(tmp_path):
    done = []
    summary, records = evaluate_on_ray(CONFIG, tmp_path, lambda *what: done.append(what))
    assert [what[1:3] for what in done] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    best = min(summary["policies"], key=lambda name: summary["policies"][name]["par"])
    assert done[-1][3].startswith(f"best {best}, PAR ")
    assert len(records) == 8
    rungs = summary["hindsight"]
    assert 1 <= rungs["full"] < rungs["spike_blind"]
    assert rungs["spike_blind"] < summary["policies"]["least_requested"]["par"]
    assert summary["best_baseline"] in {"least_requested", "telemetry_since"}
    assert summary["policies"]["fireplace"]["gap_closed_to_spike_blind"] > 0

    done.clear()
    again, _ = evaluate_on_ray(CONFIG, tmp_path, lambda *what: done.append(what))
    assert done == []
    assert again == summary

    (cut,) = (tmp_path / "policies").glob("seed-1-*.parquet")
    cut.write_bytes(cut.read_bytes()[:100])
    repaired, _ = evaluate_on_ray(CONFIG, tmp_path, lambda *what: done.append(what))
    assert [what[0] for what in done] == ["policies"]
    for name, row in summary["policies"].items():
        assert repaired["policies"][name]["par"] == row["par"]


@pytest.mark.usefixtures("cluster")
def test_another_model_or_trace_under_the_same_name_is_computed_anew(tmp_path):
    model, table = tmp_path / "model.safetensors", tmp_path / "trace.parquet"
    model.write_bytes(shipped_model("microvm").to_bytes())
    write_table(microvm(num_vms=1500, alive=100, num_functions=20), table)
    config = EvaluationConfig(
        workload=WorkloadConfig(trace=str(table), num_vms=1000, num_pms=5, alive_per_pm=20),
        policies="mixture,certainty_equivalent",
        model=str(model),
    )
    done = []

    def evaluate():
        done.clear()
        evaluate_on_ray(config, tmp_path, lambda *what: done.append(what))
        return len(done)

    assert evaluate() == 1
    assert evaluate() == 0
    model.write_bytes(shipped_model("microvm-short").to_bytes())
    assert evaluate() == 1
    write_table(microvm(num_vms=1500, alive=100, num_functions=20, seed=1), table)
    assert evaluate() == 1


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_the_command_given_again_places_nothing_again(tmp_path, capsys):
    workload = ["--num-vms", "1000", "--num-pms", "5", "--alive-per-pm", "20", "--num-seeds", "2"]
    command = ["fireplace", "evaluate", *workload, "--policies", "random,mixture", "--json"]
    shown = []
    for _ in range(2):
        assert main([*command, "--run-dir", str(tmp_path / "run")]) == 0
        shown.append(capsys.readouterr())
    assert "2 of 2 traces" in shown[0].err
    assert "of 2 traces" not in shown[1].err
    assert json.loads(shown[1].out) == json.loads(shown[0].out)


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policies", "best"], "policies best are unknown"),
        (["--model", "mine"], "no model is shipped for 'mine'"),
    ],
)
def test_a_mistake_in_the_command_is_exit_status_2(arguments, message, tmp_path, capsys):
    command = ["fireplace", "evaluate", *arguments, "--run-dir", str(tmp_path / "run")]
    assert main(command) == 2
    assert message in capsys.readouterr().err


@pytest.mark.usefixtures("cluster")
def test_a_mistake_is_told_before_any_work(tmp_path):
    wrong = EvaluationConfig(workload=CONFIG.workload, policies="best")
    with pytest.raises(ValueError, match="policies best are unknown"):
        evaluate_on_ray(wrong, tmp_path)
    unknown = EvaluationConfig(workload=WorkloadConfig(trace="mine.csv"), model="microvm")
    with pytest.raises(ValueError, match=r"trace is 'mine\.csv'; accepted: microvm"):
        evaluate_on_ray(unknown, tmp_path)
