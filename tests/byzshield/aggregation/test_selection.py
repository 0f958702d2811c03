"""Krum, Bulyan, MDA, SMEA and CAF against slow programmes written from their definitions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mlsys_ray.byzshield.aggregation import Bulyan, Caf, Krum, Mda, MultiKrum, Smea
from mlsys_ray.byzshield.aggregation.mda import smallest_diameter

pytestmark = pytest.mark.usefixtures("path")


def draw(n: int, d: int = 30) -> np.ndarray:
    return np.random.default_rng([n, d]).standard_normal((n, d)).astype(np.float32)


def slow_krum(gradients: list[np.ndarray], c: int) -> int:
    scores = []
    for i, x in enumerate(gradients):
        others = (np.sum((x - y) ** 2) for j, y in enumerate(gradients) if j != i)
        scores.append(sum(sorted(others)[: max(1, len(gradients) - c - 2)]))
    return int(np.argmin(scores))


@pytest.mark.parametrize(("n", "c"), [(9, 3), (25, 5), (7, 1)])
def test_krum(n: int, c: int) -> None:
    gradients = draw(n).astype(np.float64)
    expected = draw(n)[slow_krum(list(gradients), c)]
    np.testing.assert_array_equal(Krum(c).aggregate(draw(n)), expected)


@pytest.mark.parametrize(("n", "c"), [(15, 3), (25, 5), (23, 5)])
def test_bulyan_selects_one_after_the_other(n: int, c: int) -> None:
    gradients = draw(n)
    left, picked = list(gradients.astype(np.float64)), []
    for _ in range(n - 2 * c):
        picked.append(left.pop(slow_krum(left, c)))
    expected = []
    for column in np.array(picked).T:
        nearest = sorted(column, key=lambda value: abs(value - np.median(column)))
        expected.append(np.mean(nearest[: len(picked) - 2 * c]))
    np.testing.assert_allclose(Bulyan(c).aggregate(gradients), expected, atol=1e-5)


@pytest.mark.parametrize(("n", "c"), [(5, 2), (9, 4), (12, 3), (10, 0)])
@pytest.mark.parametrize("ties", [False, True])
def test_mda_finds_the_first_smallest_set(n: int, c: int, ties: bool) -> None:
    for seed in range(10):
        points = np.random.default_rng(seed).standard_normal((n, 2))
        distances = np.linalg.norm(points[:, None] - points, axis=2)
        if ties:
            distances = np.round(distances)
        sets = itertools.combinations(range(n), n - c)
        expected = min(sets, key=lambda s: distances[np.ix_(s, s)].max())
        assert smallest_diameter(distances, c) == list(expected)


def test_mda_needs_no_enumeration() -> None:
    result = Mda(20).aggregate(draw(60, 100))
    assert np.isfinite(result).all()


@pytest.mark.parametrize(("n", "c"), [(7, 2), (10, 4)])
def test_smea(n: int, c: int) -> None:
    gradients = draw(n).astype(np.float64)

    def largest_variance(chosen: tuple[int, ...]) -> float:
        return float(np.linalg.eigvalsh(np.cov(gradients[list(chosen)].T))[-1])

    best = min(itertools.combinations(range(n), n - c), key=largest_variance)
    expected = gradients[list(best)].mean(axis=0)
    np.testing.assert_allclose(Smea(c).aggregate(draw(n)), expected, atol=1e-5)


@pytest.mark.parametrize(("n", "c"), [(7, 2), (12, 4)])
def test_caf(n: int, c: int) -> None:
    gradients = draw(n).astype(np.float64)
    weights, best, least = np.ones(n), gradients.mean(axis=0), np.inf
    while weights.sum() > n - 2 * c:
        mean = weights @ gradients / weights.sum()
        centred = gradients - mean
        values, vectors = np.linalg.eigh((centred.T * weights) @ centred / weights.sum())
        if values[-1] < least:
            best, least = mean, values[-1]
        spread = (centred @ vectors[:, -1]) ** 2
        weights = weights * np.maximum(0, 1 - spread / spread[weights > 0].max())
    np.testing.assert_allclose(Caf(c).aggregate(draw(n)), best, atol=1e-5)


def test_caf_of_equal_inputs() -> None:
    gradients = np.ones((7, 20), dtype=np.float32)
    np.testing.assert_allclose(Caf(3).aggregate(gradients), 1, rtol=1e-6)


def test_multi_krum_of_all_is_the_average() -> None:
    result = MultiKrum(num_selected=8).aggregate(draw(8))
    np.testing.assert_allclose(result, draw(8).mean(axis=0), atol=1e-6)


def test_multi_krum_refuses_no_selection() -> None:
    with pytest.raises(ValueError, match="num_selected is 0"):
        MultiKrum(num_selected=0)
