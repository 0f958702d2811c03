from __future__ import annotations

import numpy as np
import pytest

from mlsys_ray.byzshield.aggregation.geometry import Points, measure
from mlsys_ray.byzshield.aggregation.rows import Rows

pytestmark = pytest.mark.usefixtures("path")


def exact(gradients: np.ndarray) -> np.ndarray:
    wide = gradients.astype(np.float64)
    return ((wide[:, None] - wide) ** 2).sum(axis=2)


def points_of(gradients: np.ndarray) -> Points:
    points = measure(Rows.of(gradients))
    assert points is not None
    return points


@pytest.mark.parametrize("n", [1, 2, 7, 13, 70])
@pytest.mark.parametrize("d", [1, 40, 5003])
def test_distances(n: int, d: int) -> None:
    gradients = np.random.default_rng(n).standard_normal((n, d)).astype(np.float32)
    np.testing.assert_allclose(
        points_of(gradients).squared_distances, exact(gradients), rtol=1e-4, atol=1e-12
    )


def test_near_duplicates_within_near_duplicates_far_from_the_origin() -> None:
    draw = np.random.default_rng(0)
    gradients = draw.standard_normal((12, 500)).astype(np.float32)
    gradients[4:] += 100
    gradients[6:10] = gradients[6] + 1e-3 * draw.standard_normal((4, 500)).astype(np.float32)
    gradients[8] = gradients[9]
    points = points_of(gradients)
    np.testing.assert_allclose(points.squared_distances, exact(gradients), rtol=1e-4)
    assert points.squared_distances[8, 9] == 0


def test_mixed_points_lie_where_the_mixed_rows_do() -> None:
    draw = np.random.default_rng(0)
    gradients = draw.standard_normal((9, 200)).astype(np.float32)
    mixing = draw.random((5, 9))
    mixed = points_of(gradients).mixed(mixing)
    rows = mixing @ gradients
    np.testing.assert_allclose(mixed.squared_norms, (rows**2).sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(mixed.squared_distances, exact(rows), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_an_unusable_row_is_noticed(value: float) -> None:
    gradients = np.ones((5, 100), dtype=np.float32)
    gradients[2, 97] = value
    assert measure(Rows.of(gradients)) is None
