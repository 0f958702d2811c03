"""Evaluation on a cluster: what is stored is not computed again, what is damaged is."""

import pytest

from mlsys_ray.cluster.placement import evaluate_on_ray
from mlsys_ray.fireplace.config import EvaluationConfig, WorkloadConfig

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
    assert [what[1:] for what in done] == [(1, 4), (2, 4), (3, 4), (4, 4)]
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

    cut = tmp_path / "policies" / "seed-1.parquet"
    cut.write_bytes(cut.read_bytes()[:100])
    repaired, _ = evaluate_on_ray(CONFIG, tmp_path, lambda *what: done.append(what))
    assert [what[0] for what in done] == ["policies"]
    for name, row in summary["policies"].items():
        assert repaired["policies"][name]["par"] == row["par"]


@pytest.mark.usefixtures("cluster")
def test_a_mistake_is_told_before_any_work(tmp_path):
    wrong = EvaluationConfig(workload=CONFIG.workload, policies="best")
    with pytest.raises(ValueError, match="policies best are unknown"):
        evaluate_on_ray(wrong, tmp_path)
    unknown = EvaluationConfig(workload=WorkloadConfig(trace="mine.csv"), model="microvm")
    with pytest.raises(ValueError, match=r"trace is 'mine\.csv'; accepted: microvm"):
        evaluate_on_ray(unknown, tmp_path)
