"""Every rule, alone and behind pre-aggregators, keeps the contract that users' rules are put to."""

from __future__ import annotations

import pytest

from mlsys_ray.byzshield.aggregation import (
    RULES,
    AggregationRule,
    CenteredClipping,
    MedianOfMeans,
    make_rule,
)
from mlsys_ray.testing import AggregationRuleTests


@pytest.mark.usefixtures("path")
class _Named(AggregationRuleTests):
    name: str

    def make(self, num_gradients: int, num_byzantine: int) -> AggregationRule:
        return make_rule(self.name, num_gradients=num_gradients, num_byzantine=num_byzantine)


class TestAuror(_Named):
    name = "auror"


class TestAverage(_Named):
    name = "average"


class TestBulyan(_Named):
    name = "bulyan"


class TestCaf(_Named):
    name = "caf"


class TestCenteredClipping(_Named):
    name = "centered_clipping"
    translation_equivariant = False

    def make(self, num_gradients: int, num_byzantine: int) -> AggregationRule:
        return CenteredClipping(radius=5.0, steps=3)


class TestGeometricMedian(_Named):
    name = "geometric_median"


class TestKrum(_Named):
    name = "krum"


class TestMda(_Named):
    name = "mda"
    # Of several sets with the least diameter it takes the first.
    permutation_invariant = False


class TestMeamed(_Named):
    name = "meamed"


class TestMedian(_Named):
    name = "median"


class TestMedianOfMeans(_Named):
    name = "median_of_means"
    permutation_invariant = False


class TestMedianOfSingles(_Named):
    def make(self, num_gradients: int, num_byzantine: int) -> AggregationRule:
        return MedianOfMeans(bucket_size=1)


class TestMonna(_Named):
    name = "monna"
    permutation_invariant = False
    honest_positions_first = True


class TestMultiKrum(_Named):
    name = "multi_krum"


class TestSignSgd(_Named):
    name = "signsgd"
    translation_equivariant = False


class TestSmea(_Named):
    name = "smea"


class TestTrimmedMean(_Named):
    name = "trimmed_mean"


class TestNnmMedian(_Named):
    name = "nnm+median"


class TestNnmKrum(_Named):
    name = "nnm+krum"


class TestNnmBulyan(_Named):
    name = "nnm+bulyan"
    # Mixing makes equal inputs, between which rounding decides.
    permutation_invariant = False
    translation_equivariant = False


class TestBucketingMedian(_Named):
    name = "bucketing+median"
    permutation_invariant = False
    translation_equivariant = False


class TestBucketingGeometricMedian(TestBucketingMedian):
    name = "bucketing+geometric_median"


class TestClippingTrimmedMean(_Named):
    name = "clipping+trimmed_mean"
    translation_equivariant = False


class TestArcNnmMultiKrum(_Named):
    name = "arc+nnm+multi_krum"
    translation_equivariant = False


def test_no_rule_is_left_out() -> None:
    tested = {cls.name for cls in globals().values() if getattr(cls, "name", None)}
    assert tested >= set(RULES)
