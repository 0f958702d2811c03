import numpy as np
import pytest

from mlsys_ray.byzshield.faults import apply_fault, parse_faults

GRADIENT = np.ones(4, np.float32)


def test_kinds():
    assert np.isnan(apply_fault("nan", GRADIENT, 1.0)).all()
    assert apply_fault("shape", GRADIENT, 1.0).shape == (3,)
    assert apply_fault("dtype", GRADIENT, 1.0).dtype == np.float64
    with pytest.raises(RuntimeError, match="injected"):
        apply_fault("error", GRADIENT, 1.0)
    np.testing.assert_array_equal(apply_fault("slow", GRADIENT, 0.001), GRADIENT)
    assert (GRADIENT == 1).all()


@pytest.mark.parametrize("item", ["", "3", "3:", "x:nan", "15:nan", "-1:nan", "3:other", "3:nan:1"])
def test_malformed_items_are_refused_with_what_is_accepted(item):
    with pytest.raises(ValueError, match="must be worker:kind with a worker below 15"):
        parse_faults([item], num_workers=15)
