import json

import numpy as np
import pytest

from mlsys_ray.value_learning.baselines.adams2019_cost_model import read_weights
from mlsys_ray.value_learning.baselines.adams2019_samples import (
    FILE,
    AdamsMaker,
    AdamsRecord,
    collect_adams,
    read_records,
    retrained_on,
)
from mlsys_ray.value_learning.baselines.autoscheduler import built_in_weights
from mlsys_ray.value_learning.measuring import Limits
from mlsys_ray.value_learning.operators import Conv2d, MatMul, chain
from mlsys_ray.value_learning.target import host_target

MATMUL = chain((256, 128), MatMul(out_features=512, activation="relu"))
CONV = chain((16, 10, 10, 1), Conv2d(out_channels=16, kernel=1))
QUICK = Limits(seconds=60, run_seconds=0.002, repetitions=20)


@pytest.fixture(scope="module")
def target():
    return host_target(1)


@pytest.fixture(scope="module")
def collected(tmp_path_factory, target):
    """Schedules by Adams2019 of a layer to learn from and of a held-out one."""
    path = tmp_path_factory.mktemp("store") / FILE
    layers = [(MATMUL, False), (CONV, True)]
    count = collect_adams(layers, target, path, count=12, limits=QUICK)
    assert count == 12 * 3
    return path


@pytest.mark.slow
def test_samples_are_measured_schedules_of_the_autoscheduler(collected):
    records = read_records(collected)
    assert not [record.failed for record in records if record.failed]
    assert all(record.ms > 0 for record in records)
    layouts = {(record.layer, record.layout) for record in records}
    assert layouts == {
        (MATMUL.key, "channels_last"), (CONV.key, "channels_last"), (CONV.key, "planar"),
    }  # fmt: skip
    different = {record.featurization for record in records if record.layer == MATMUL.key}
    assert len(different) >= 8


@pytest.mark.slow
def test_nothing_is_measured_twice_and_a_cut_line_costs_one_sample(collected, target, tmp_path):
    path = tmp_path / FILE
    text = collected.read_text()
    path.write_text(text[: len(text) - 40])
    known = len(read_records(path))
    assert known == 12 * 3 - 1
    layers = [(MATMUL, False), (CONV, True)]
    assert collect_adams(layers, target, path, count=12, limits=QUICK) == 1
    assert len(read_records(path)) == 12 * 3


@pytest.mark.slow
def test_retrained_weights_are_judged_on_held_out_layers(collected, target):
    weights, errors = retrained_on(read_records(collected), target, epochs=50)
    before = read_weights(built_in_weights())
    assert not np.array_equal(read_weights(weights).trunk_filter, before.trunk_filter)
    assert errors["adams2019_samples"] == 12 * 2
    assert errors["adams2019_training_samples"] == 12
    assert errors["msle_adams2019"] > 0
    assert errors["msle_adams2019_retrained"] > 0


@pytest.mark.slow
def test_samples_of_another_machine_are_left_out(collected, target):
    others = [
        AdamsRecord(**{**json.loads(line), "target": "another"})
        for line in collected.read_text().splitlines()
        if line
    ]
    with pytest.raises(ValueError, match="held-out layers"):
        retrained_on(others, target)


def test_a_search_that_hangs_is_a_record(target):
    wanted = AdamsRecord(
        layer=MATMUL.key, layout="channels_last", seed=0, held_out=False, target=target.key,
        cores=1,
    )  # fmt: skip
    with AdamsMaker(target, Limits(seconds=0.0)) as maker:
        maker.make(wanted, MATMUL)
        # The process has started: from now on, the limit is the whole time.
        assert "not done" in maker.make(wanted, MATMUL).failed
        assert maker.make(wanted, MATMUL).ms > 0
