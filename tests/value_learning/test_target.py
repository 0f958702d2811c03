import os

import pytest

from mlsys_ray.value_learning.target import Target, host_target


def test_this_machine():
    target = host_target()
    assert target.cores == len(os.sched_getaffinity(0))
    assert target.lanes in (4, 8, 16)
    assert target.registers in (16, 32)
    many = "avx512" in target.halide or "arm-64" in target.halide
    assert target.registers == (32 if many else 16)
    assert target.caches[0] < target.caches[1] <= target.caches[2]
    assert host_target(cores=1).key != host_target(cores=2).key


@pytest.mark.parametrize(
    "change", [{"lanes": 0}, {"lanes": 12}, {"registers": 0}, {"cores": -1}], ids=str
)
def test_impossible_targets_are_refused(change):
    fields = {"halide": "host", "lanes": 8, "registers": 16, "caches": (1, 2, 3), "cores": 2}
    with pytest.raises(ValueError, match=next(iter(change))):
        Target(**(fields | change))
