from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from mlsys_ray.byzshield.aggregation import (
    RULES,
    CenteredClipping,
    Composed,
    DenseRule,
    GeometricMedian,
    Krum,
    Median,
    MedianOfMeans,
    TrimmedMean,
    make_rule,
)
from mlsys_ray.byzshield.aggregation.compiled import load_kernels
from mlsys_ray.byzshield.aggregation.preaggregation import Bucketing, Clipping, Nnm
from mlsys_ray.testing import AggregationRuleTests


@pytest.mark.parametrize("name", sorted(RULES))
def test_refuses_one_more_than_the_tolerance(name: str) -> None:
    n = 15
    tolerance = make_rule(name, num_gradients=n, num_byzantine=0).tolerance(n)
    make_rule(name, num_gradients=n, num_byzantine=tolerance)
    with pytest.raises(ValueError, match=f"num_byzantine is {tolerance + 1}.*it needs .*n|c"):
        make_rule(name, num_gradients=n, num_byzantine=tolerance + 1)


def test_says_the_condition_and_its_source() -> None:
    expected = r"num_byzantine is 5, but krum stands at most 4 .* n >= 2c \+ 3 \(Blanchard"
    with pytest.raises(ValueError, match=expected):
        make_rule("krum", num_gradients=12, num_byzantine=5)


def test_can_be_built_beyond_tolerance() -> None:
    for name in RULES:
        rule = make_rule(name, num_gradients=9, num_byzantine=8, allow_beyond_tolerance=True)
        gradients = np.random.default_rng(0).standard_normal((9, 50)).astype(np.float32)
        assert np.isfinite(rule.aggregate(gradients)).all()


def test_all_parts_are_told_once() -> None:
    rule = make_rule("nnm+trimmed_mean", num_gradients=9, num_byzantine=3)
    assert rule == Composed((Nnm(3),), TrimmedMean(3))
    assert rule.num_byzantine == 3


def test_bucketing_leaves_less_to_stand() -> None:
    rule = make_rule("bucketing+median", num_gradients=12, num_byzantine=2)
    assert rule.tolerance(12) == 2
    with pytest.raises(ValueError, match=r"stands at most 2 of 12"):
        make_rule("bucketing+median", num_gradients=12, num_byzantine=3)


@pytest.mark.parametrize(
    ("name", "n", "c", "message"),
    [
        ("mean", 5, 0, "rule is 'mean', must be one of"),
        ("krum+median", 5, 0, "rule is 'krum.median'"),
        ("nnm", 5, 0, "rule is 'nnm'"),
        ("median", 0, 0, "num_gradients is 0"),
        ("median", 5, -1, "num_byzantine is -1"),
        ("median", 5, 5, "num_byzantine is 5"),
    ],
)
def test_refusals(name: str, n: int, c: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_rule(name, num_gradients=n, num_byzantine=c)


@pytest.mark.parametrize(
    "build",
    [
        lambda: Krum(-1),
        lambda: Bucketing(0),
        lambda: Clipping(0),
        lambda: MedianOfMeans(0),
        lambda: GeometricMedian(smoothing=0),
        lambda: GeometricMedian(steps=0),
        lambda: CenteredClipping(radius=-1.0),
        lambda: CenteredClipping(steps=0),
    ],
)
def test_bad_parameters(build: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        build()  # type: ignore[operator]


@pytest.mark.parametrize(
    "gradients",
    [np.zeros((0, 3), np.float32), np.zeros(3, np.float32), np.zeros((2, 3), np.float64)],
)
def test_input_is_checked(gradients: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"must be float32 \[n, d\]"):
        Median().aggregate(gradients)


def test_nothing_usable() -> None:
    with pytest.raises(ValueError, match="none of the 3 gradients"):
        Median().aggregate(np.full((3, 20), np.nan, np.float32))


def test_a_dropped_row_is_one_byzantine_input_less() -> None:
    gradients = np.random.default_rng(0).standard_normal((7, 30)).astype(np.float32)
    gradients[2] = np.nan
    expected = TrimmedMean(1).aggregate(np.delete(gradients, 2, axis=0))
    np.testing.assert_array_equal(TrimmedMean(2).aggregate(gradients), expected)


def test_import_is_light() -> None:
    code = (
        "import sys, mlsys_ray.byzshield.aggregation;"
        "print([m for m in ('numba', 'torch', 'ray', 'scipy') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    load_kernels.cache_clear()
    monkeypatch.setitem(sys.modules, "mlsys_ray.byzshield.aggregation.compiled.kernels", None)
    monkeypatch.delattr("mlsys_ray.byzshield.aggregation.compiled.kernels", raising=False)
    assert load_kernels() is None
    gradients = np.random.default_rng(0).standard_normal((7, 30)).astype(np.float32)
    np.testing.assert_array_equal(Median().aggregate(gradients), np.median(gradients, axis=0))
    load_kernels.cache_clear()


@dataclass(frozen=True)
class Middle(DenseRule):
    """A rule as a user writes one."""

    name: ClassVar[str] = "middle"

    def tolerance(self, num_gradients: int) -> int:
        return (num_gradients - 1) // 2

    def combine(self, gradients: np.ndarray) -> np.ndarray:
        return np.median(gradients, axis=0)


class TestMiddle(AggregationRuleTests):
    def make(self, num_gradients: int, num_byzantine: int) -> Middle:
        return Middle()
