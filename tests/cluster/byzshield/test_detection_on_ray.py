import pytest

from mlsys_ray.byzshield.config import TrainConfig
from mlsys_ray.byzshield.data import load_dataset
from mlsys_ray.byzshield.training import train_in_process
from mlsys_ray.cluster.byzshield import train_on_ray


@pytest.mark.parametrize("scheme", ["aspis", pytest.param("aspis_plus", marks=pytest.mark.slow)])
def test_detection_over_actors_is_that_in_process(cluster, scheme):
    fields = {"replication": 3} if scheme == "aspis" else {}
    config = TrainConfig(
        scheme=scheme,
        num_workers=7,
        byzantine=2,
        attack="constant",
        attacked_files="majority",
        batch_size=35,
        iterations=6,
        detection="clique" if scheme == "aspis" else "degree",
        **fields,
    )
    dataset = load_dataset("digits")
    here = [row for row, _ in train_in_process(config, dataset)]
    there = [row for row, _ in train_on_ray(config, dataset, num_processes=2)]
    assert here[-1]["distrusted_workers"] == [0, 1]
    for row, other in zip(here, there, strict=True):
        for name in ("distrusted_workers", "disagreements", "distorted_files", "decided_files"):
            assert row[name] == other[name]
