from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mlsys_ray.byzshield.aggregation import Median
from mlsys_ray.byzshield.aggregation.compiled import load_kernels


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("n", [1, 3, 25, 101])
@pytest.mark.parametrize("d", [1, 15, 1000, 70_001])
def test_equals_torch_in_every_bit_for_odd_n(n: int, d: int) -> None:
    torch = pytest.importorskip("torch")
    gradients = np.random.default_rng(n).standard_normal((n, d)).astype(np.float32)
    expected = torch.from_numpy(gradients).median(dim=0).values.numpy()
    assert Median().aggregate(gradients).tobytes() == expected.tobytes()


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("n", [2, 12, 24])
def test_is_the_mean_of_the_middle_two_for_even_n(n: int) -> None:
    gradients = np.random.default_rng(n).standard_normal((n, 100)).astype(np.float32)
    np.testing.assert_array_equal(Median().aggregate(gradients), np.median(gradients, axis=0))


@settings(deadline=None, max_examples=60)
@given(
    arrays(
        np.float32,
        st.tuples(st.sampled_from([5, 8]), st.integers(16, 40)),
        elements=st.floats(-1e6, 1e6, width=32),
    )
)
def test_ties_and_zeros(gradients: np.ndarray) -> None:
    np.testing.assert_array_equal(Median().aggregate(gradients), np.median(gradients, axis=0))


def test_rows_need_not_be_neighbours_in_memory() -> None:
    wide = np.random.default_rng(0).standard_normal((14, 300)).astype(np.float32)
    for gradients in (wide[::2], wide[::-2], wide[:7, 20:220], np.asfortranarray(wide[:7])):
        np.testing.assert_array_equal(Median().aggregate(gradients), np.median(gradients, axis=0))


def test_threads_split_the_columns_without_gaps() -> None:
    kernels = load_kernels()
    assert kernels is not None
    d = 5 * (1 << 15) + 3
    gradients = np.random.default_rng(0).standard_normal((5, d)).astype(np.float32)
    np.testing.assert_array_equal(Median().aggregate(gradients), np.median(gradients, axis=0))
