"""The compiled rules against the plain definition, one value at a time."""

from __future__ import annotations

import numpy as np
import pytest

from mlsys_ray.byzshield.aggregation import Auror, Meamed, SignSgd, TrimmedMean
from mlsys_ray.byzshield.aggregation.compiled import load_kernels
from mlsys_ray.byzshield.aggregation.meamed import mean_nearest_median
from mlsys_ray.byzshield.aggregation.rows import Rows

pytestmark = pytest.mark.usefixtures("path")


@pytest.fixture(params=[(5, 2), (8, 3), (25, 5), (70, 9)], ids=str)
def case(request: pytest.FixtureRequest) -> tuple[np.ndarray, int]:
    n, c = request.param
    return np.random.default_rng(n).standard_normal((n, 333)).astype(np.float32), c


def test_trimmed_mean(case: tuple[np.ndarray, int]) -> None:
    gradients, c = case
    expected = [sorted(column)[c : len(column) - c] for column in gradients.T]
    result = TrimmedMean(c).aggregate(gradients)
    np.testing.assert_allclose(result, np.mean(expected, axis=1), rtol=1e-4, atol=1e-6)


def test_meamed(case: tuple[np.ndarray, int]) -> None:
    gradients, c = case
    expected = []
    for column in gradients.T:
        median = np.median(column)
        nearest = sorted(column, key=lambda value: abs(value - median))
        expected.append(np.mean(nearest[: len(column) - c]))
    np.testing.assert_allclose(Meamed(c).aggregate(gradients), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("n", "dropped"), [(9, 6), (9, 8), (11, 5), (12, 7), (4, 0)])
def test_kernel_may_drop_more_than_it_keeps(n: int, dropped: int) -> None:
    kernels = load_kernels()
    assert kernels is not None
    rows = Rows.of(np.random.default_rng(n).standard_normal((n, 100)).astype(np.float32))
    result, finite = kernels.reduce_rows("nearest_mean", rows.addresses(), 100, dropped)
    assert finite
    np.testing.assert_allclose(result, mean_nearest_median(rows.array, dropped), atol=1e-6)


def test_signsgd(case: tuple[np.ndarray, int]) -> None:
    gradients, _ = case
    gradients[:, 0] = 0
    expected = np.sign((gradients > 0).sum(axis=0) - (gradients < 0).sum(axis=0))
    np.testing.assert_array_equal(SignSgd().aggregate(gradients), expected)


def test_auror_finds_the_best_split(case: tuple[np.ndarray, int]) -> None:
    gradients, _ = case
    result = Auror().aggregate(gradients)
    for value, column in zip(result, gradients.T, strict=True):
        ordered = np.sort(column.astype(np.float64))
        splits = [(ordered[:k], ordered[k:]) for k in range(1, len(ordered))]
        low, high = min(splits, key=lambda s: sum(((p - p.mean()) ** 2).sum() for p in s))
        larger = low if len(low) >= len(high) else high
        assert value == pytest.approx(larger.mean(), abs=1e-5)


def test_auror_keeps_all_where_the_clusters_are_close(case: tuple[np.ndarray, int]) -> None:
    gradients, _ = case
    expected = gradients.mean(axis=0)
    np.testing.assert_allclose(Auror(1e3).aggregate(gradients), expected, atol=1e-6)


def test_auror_falls_to_two_opposed_inputs() -> None:
    gradients = np.random.default_rng(0).standard_normal((9, 20)).astype(np.float32)
    gradients[0], gradients[1] = 1e6, -1e6
    assert np.abs(Auror().aggregate(gradients)).min() > 1e4


def test_auror_refuses_a_negative_threshold() -> None:
    with pytest.raises(ValueError, match=r"threshold is -1"):
        Auror(-1)
