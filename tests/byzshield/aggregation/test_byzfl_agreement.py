"""Values of ByzFL 0.0.11 on random finite inputs."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from mlsys_ray.byzshield.aggregation import (
    AggregationRule,
    Average,
    CenteredClipping,
    Composed,
    GeometricMedian,
    Krum,
    Mda,
    Meamed,
    Median,
    Monna,
    MultiKrum,
    PreAggregator,
    Smea,
    TrimmedMean,
)
from mlsys_ray.byzshield.aggregation.preaggregation import Arc, Bucketing, Clipping, Nnm
from mlsys_ray.testing.peers import import_byzfl

pytestmark = pytest.mark.usefixtures("path")
SHAPES = [(11, 57, 3), (12, 200, 2), (25, 1000, 5)]


@pytest.fixture(scope="module")
def byzfl() -> ModuleType:
    pytest.importorskip("torch")
    try:
        return import_byzfl("aggregators")
    except ImportError as error:
        pytest.skip(str(error))


def draw(n: int, d: int) -> np.ndarray:
    return np.random.default_rng([n, d]).standard_normal((n, d)).astype(np.float32)


def assert_agree(rule: AggregationRule, expected: np.ndarray, gradients: np.ndarray) -> None:
    np.testing.assert_allclose(rule.aggregate(gradients), expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize(("n", "d", "c"), SHAPES)
def test_coordinatewise(byzfl: ModuleType, n: int, d: int, c: int) -> None:
    gradients = draw(n, d)
    assert_agree(Average(), byzfl.Average()(gradients), gradients)
    assert_agree(TrimmedMean(c), byzfl.TrMean(c)(gradients), gradients)
    assert_agree(Meamed(c), byzfl.Meamed(c)(gradients), gradients)
    np.testing.assert_array_equal(Median().aggregate(gradients), byzfl.Median()(gradients))


@pytest.mark.parametrize(("n", "d", "c"), SHAPES)
def test_krum_has_one_neighbour_less_than_byzfl(byzfl: ModuleType, n: int, d: int, c: int) -> None:
    gradients = draw(n, d)
    assert_agree(Krum(c), byzfl.Krum(c + 1)(gradients), gradients)
    multi_krum = MultiKrum(c, num_selected=n - c - 1)
    assert_agree(multi_krum, byzfl.MultiKrum(c + 1)(gradients), gradients)


@pytest.mark.parametrize(("n", "d", "c"), SHAPES)
def test_geometric_median_with_byzfls_smoothing_and_steps(
    byzfl: ModuleType, n: int, d: int, c: int
) -> None:
    gradients = draw(n, d)
    for smoothing, steps in ((0.1, 3), (1e-6, 30)):
        rule = GeometricMedian(smoothing, steps)
        assert_agree(rule, byzfl.GeometricMedian(smoothing, steps)(gradients), gradients)


@pytest.mark.parametrize(("n", "d", "c"), SHAPES)
def test_centered_clipping_from_the_origin(byzfl: ModuleType, n: int, d: int, c: int) -> None:
    gradients = draw(n, d)
    for radius, steps in ((100.0, 1), (3.0, 4)):
        expected = byzfl.CenteredClipping(L=steps, tau=radius)(gradients)
        assert_agree(CenteredClipping(radius, steps), expected, gradients)


@pytest.mark.parametrize(("n", "d", "c"), [(11, 57, 3), (12, 200, 2), (9, 5, 4), (25, 100, 2)])
def test_mda_and_monna(byzfl: ModuleType, n: int, d: int, c: int) -> None:
    gradients = draw(n, d)
    assert_agree(Mda(c), byzfl.MDA(c)(gradients), gradients)
    assert_agree(Monna(c), byzfl.MoNNA(c)(gradients), gradients)


@pytest.mark.parametrize(("n", "c"), [(11, 3), (12, 2), (9, 4)])
def test_smea_in_one_dimension_where_one_power_iteration_is_exact(
    byzfl: ModuleType, n: int, c: int
) -> None:
    gradients = draw(n, 1)
    assert_agree(Smea(c), byzfl.SMEA(c)(gradients), gradients)


@pytest.mark.parametrize(("n", "d", "c"), SHAPES)
def test_preaggregators(byzfl: ModuleType, n: int, d: int, c: int) -> None:
    gradients = draw(n, d) * np.linspace(0.02, 0.5, n, dtype=np.float32)[:, None]
    pairs: list[tuple[PreAggregator, object]] = [
        (Nnm(c), byzfl.NNM(c)),
        (Clipping(2.0), byzfl.Clipping(2.0)),
        (Arc(c), byzfl.ARC(c)),
    ]
    for ours, theirs in pairs:
        mixed = theirs(gradients.copy())  # type: ignore[operator]  # ARC changes its input
        assert_agree(Composed((ours,), Median()), byzfl.Median()(mixed), gradients)
        assert_agree(Composed((ours,), Krum(c)), byzfl.Krum(c + 1)(mixed), gradients)
        geometric = Composed((ours,), GeometricMedian(0.1, 3))
        assert_agree(geometric, byzfl.GeometricMedian(0.1, 3)(mixed), gradients)


@pytest.mark.parametrize(("n", "d", "c"), SHAPES)
def test_bucketing_with_the_same_draw(
    byzfl: ModuleType, n: int, d: int, c: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    gradients = draw(n, d)
    order = np.random.default_rng(0).permutation(n)

    class Draw:
        def permutation(self, count: int) -> np.ndarray:
            return order

    monkeypatch.setattr(np.random, "default_rng", lambda seed: Draw())
    monkeypatch.setattr(np.random, "permutation", lambda vectors: vectors[order])
    for size in (1, 2, 3):
        mixed = byzfl.Bucketing(size)(gradients)
        rule = Composed((Bucketing(size),), Median())
        assert_agree(rule, byzfl.Median()(mixed), gradients)
