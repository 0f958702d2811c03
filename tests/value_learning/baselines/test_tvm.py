import importlib.util
from importlib.metadata import PackageNotFoundError

import pytest

from mlsys_ray.value_learning.baselines import tvm as tvm_module
from mlsys_ray.value_learning.baselines.compare import compare
from mlsys_ray.value_learning.baselines.torch import Torch
from mlsys_ray.value_learning.baselines.tvm import MetaSchedule
from mlsys_ray.value_learning.layers import layer_from_json
from mlsys_ray.value_learning.operators import MatMul, chain
from mlsys_ray.value_learning.target import host_target

MATMUL = chain((24, 10), MatMul(out_features=36))
INSTALLED = importlib.util.find_spec("tvm") is not None


@pytest.mark.skipif(INSTALLED, reason="TVM is installed")
def test_without_tvm_it_is_a_row_that_failed():
    rows = compare(MATMUL, host_target(1), [MetaSchedule(trials=4), Torch()], rounds=1)
    assert "pip install 'mlsys-ray[tvm]'" in rows[0].failed
    assert not rows[1].failed


@pytest.mark.slow
@pytest.mark.skipif(not INSTALLED, reason="TVM is not installed")
@pytest.mark.parametrize(
    "layer",
    [
        {"op": "conv2d", "in_channels": 5, "out_channels": 8, "height": 9, "width": 7,
         "kernel": 3, "padding": 1, "activation": "relu"},
        {"op": "matmul", "m": 12, "n": 24, "k": 10, "panel": 8},
        {"op": "softmax", "rows": 6, "columns": 40},
        {"op": "maxpool2d", "channels": 8, "height": 9, "width": 9, "kernel": 3, "stride": 2},
    ],
    ids=lambda layer: layer["op"],
)  # fmt: skip
def test_tuned_layers_give_what_the_reference_gives(layer):
    pipeline = layer_from_json(layer).pipeline()
    (row,) = compare(pipeline, host_target(1), [MetaSchedule(trials=4)], rounds=1)
    assert not row.failed
    assert row.min_ms > 0


def test_versions_that_do_not_work_together_are_refused(monkeypatch):
    installed = {"apache-tvm": "0.27.0.post1", "apache-tvm-ffi": "0.1.15.post2"}
    monkeypatch.setattr(tvm_module, "version", installed.__getitem__)
    with pytest.raises(RuntimeError, match=r"apache-tvm-ffi is 0\.1\.15\.post2, must be 0\.1\.14"):
        MetaSchedule().prepare(MATMUL, host_target(1))


def test_the_extra_pins_what_the_baseline_asks_for(request):
    text = (request.config.rootpath / "pyproject.toml").read_text()
    for package, wanted in tvm_module.WANTED.items():
        assert f'"{package}=={wanted}"' in text


def test_a_missing_package_is_named(monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(tvm_module, "version", missing)
    with pytest.raises(RuntimeError, match="apache-tvm is not installed"):
        MetaSchedule().prepare(MATMUL, host_target(1))
