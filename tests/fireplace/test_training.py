"""Training in small: it must learn what helps, on traces it has not seen."""

import numpy as np
import pytest

from mlsys_ray.fireplace.config import TrainingConfig, WorkloadConfig
from mlsys_ray.fireplace.evaluation import (
    all_policies,
    choose,
    evaluate_one,
    excess_reduction,
    summarise,
)
from mlsys_ray.fireplace.model import load_model, shipped_model
from mlsys_ray.fireplace.policies.mixture import TunedMixturePolicy
from mlsys_ray.fireplace.training import history_of, train
from mlsys_ray.fireplace.tuning import tune
from mlsys_ray.fireplace.workload import make_workload

WORKLOAD = WorkloadConfig(num_vms=8000, num_pms=8)


@pytest.fixture(scope="module")
def model():
    config = TrainingConfig(evaluations=20, tuning_vms=4000, rounds=2, decisions=500)
    return train(WORKLOAD, config)


@pytest.fixture(scope="module")
def records(model):
    policies = all_policies(model, history_of(WORKLOAD))
    return [
        record
        for seed in (0, 1)
        for record in evaluate_one(make_workload(WORKLOAD, "test", seed), policies, seed)
    ]


def test_learned_policies_beat_the_best_baseline_on_held_out_traces(records):
    summary = summarise(records, [])
    assert summary["policies"]["certainty_equivalent"]["excess_reduction"] > 5
    assert summary["excess_reduction_vs_best_baseline"] > 5
    assert summary["policies"][summary["best_baseline"]]["knowledge"] != "learned"
    assert summary["policies"]["random"]["par"] > summary["policies"]["fireplace"]["par"]


def test_a_model_survives_its_file(model, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(model.to_bytes())
    again = load_model(path)
    assert again.potential == model.potential
    assert again.mixture == model.mixture
    assert again.card == model.card
    for one, other in zip(again.network, model.network, strict=True):
        np.testing.assert_array_equal(one, other)
    damaged = path.read_bytes()
    path.write_bytes(damaged[:200])
    with pytest.raises(ValueError, match="is damaged"):
        load_model(path)
    with pytest.raises(ValueError, match="does not exist"):
        load_model(tmp_path / "none")


def test_a_file_of_another_kind_is_refused(tmp_path):
    from safetensors.numpy import save

    path = tmp_path / "other.safetensors"
    path.write_bytes(save({"a": np.zeros(3)}))
    with pytest.raises(ValueError, match="is not a model"):
        load_model(path)


def test_names_of_policies(model):
    policies = all_policies(model, history_of(WORKLOAD))
    assert [p.name for p in choose(policies, "fireplace, random")] == ["fireplace", "random"]
    with pytest.raises(ValueError, match="policies worst are unknown; accepted: all, random"):
        choose(policies, "fireplace,worst")
    with pytest.raises(ValueError, match="no model is shipped for 'mine'; there are: microvm"):
        shipped_model("mine")


def test_search_finds_the_weight_of_a_known_optimum():
    """Telemetry alone herds; the search must leave it."""
    workload = make_workload(WORKLOAD, "train", 1, 4000)

    def build(vector):
        return TunedMixturePolicy("m", {"telemetry": 1.0, "since": float(vector[0])})

    tuned = tune(build, np.array([0.0]), [workload], evaluations=24)
    assert tuned.par == min(tuned.history) < tuned.history[0] - 0.1
    assert workload.par(build(tuned.vector)) == pytest.approx(tuned.par)
    assert tuned.vector[0] > 0.1
    with pytest.raises(ValueError, match="0 workloads"):
        tune(build, np.array([0.0]), [])


def test_excess_reduction_by_hand():
    reduction = excess_reduction([1.1, 1.3], [1.2, 1.4])
    assert reduction.mean == pytest.approx((50 + 25) / 2)
    assert excess_reduction([1.1], [1.2]).half_width is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_pms": 0}, "num_pms is 0"),
        ({"alive_per_pm": -1.0}, r"alive_per_pm is -1\.0"),
        ({"telemetry_delay": 0}, "telemetry_delay is 0"),
    ],
)
def test_settings_out_of_range(changes, message):
    with pytest.raises(ValueError, match=message):
        WorkloadConfig(**changes)


def test_segments_are_disjoint():
    traces = [make_workload(WORKLOAD, s, 0, 500).trace for s in ("train", "validation", "test")]
    for one in traces:
        for other in traces:
            assert one is other or not np.isin(one.arrival, other.arrival).any()
