import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mlsys_ray.fireplace.metrics import peak_to_average, score


def test_by_hand():
    load = np.zeros((10, 2, 1))
    load[:, 0] = 0.5
    load[:, 1] = 1.5
    load[2] = 0.0
    scores = score(load)
    assert scores.par == pytest.approx(1.5)
    assert scores.overload == pytest.approx(7 / 16)
    assert scores.overload_excess == pytest.approx(0.5)


def test_the_warm_up_does_not_count():
    load = np.ones((10, 2, 2))
    load[:2, 0] = 100
    assert score(load).par == 1.0


def test_nothing_used_is_no_score():
    with pytest.raises(ValueError, match="too short"):
        score(np.zeros((10, 2, 1)))


@given(arrays(float, (6, 3, 2), elements=st.floats(0.01, 10)))
def test_par_is_between_one_and_the_number_of_pms(load):
    par = peak_to_average(load)
    assert (par >= 1 - 1e-12).all()
    assert (par <= 3 + 1e-12).all()
    np.testing.assert_allclose(peak_to_average(load * 7), par)
