import importlib.util
from importlib.metadata import PackageNotFoundError

import pytest

from mlsys_ray.value_learning.baselines import tvm as tvm_module
from mlsys_ray.value_learning.baselines.compare import compare
from mlsys_ray.value_learning.baselines.torch import Torch
from mlsys_ray.value_learning.baselines.tvm import MetaSchedule
from mlsys_ray.value_learning.operators import MatMul, chain
from mlsys_ray.value_learning.target import host_target

MATMUL = chain((24, 10), MatMul(out_features=36))


@pytest.mark.skipif(importlib.util.find_spec("tvm") is not None, reason="TVM is installed")
def test_without_tvm_it_is_a_row_that_failed():
    rows = compare(MATMUL, host_target(1), [MetaSchedule(trials=4), Torch()], rounds=1)
    assert "pip install 'mlsys-ray[tvm]'" in rows[0].failed
    assert not rows[1].failed


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
