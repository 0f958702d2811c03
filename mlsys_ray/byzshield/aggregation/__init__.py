"""Robust aggregation rules: from the votes of an iteration to one gradient."""

from __future__ import annotations

from mlsys_ray.byzshield.aggregation.base import AggregationRule
from mlsys_ray.byzshield.aggregation.mean import Mean
from mlsys_ray.byzshield.aggregation.median import Median
from mlsys_ray.byzshield.aggregation.median_of_means import MedianOfMeans

RULES: dict[str, type[AggregationRule]] = {
    rule.name: rule for rule in (Mean, Median, MedianOfMeans)
}


def make_rule(name: str) -> AggregationRule:
    """Build a rule with its default parameters from its name.

    Raises:
        ValueError: no rule has that name.
    """
    if name not in RULES:
        raise ValueError(f"rule is {name!r}, must be one of {', '.join(RULES)}")
    return RULES[name]()


__all__ = ["RULES", "AggregationRule", "Mean", "Median", "MedianOfMeans", "make_rule"]
