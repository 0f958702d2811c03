"""Robust aggregation rules: from the votes of an iteration to one gradient."""

from __future__ import annotations

from mlsys_ray.byzshield.aggregation.auror import Auror
from mlsys_ray.byzshield.aggregation.average import Average
from mlsys_ray.byzshield.aggregation.base import AggregationRule, DenseRule, ToldByzantine
from mlsys_ray.byzshield.aggregation.bulyan import Bulyan
from mlsys_ray.byzshield.aggregation.caf import Caf
from mlsys_ray.byzshield.aggregation.centered_clipping import CenteredClipping
from mlsys_ray.byzshield.aggregation.coordinatewise import CoordinatewiseRule
from mlsys_ray.byzshield.aggregation.geometric_median import GeometricMedian
from mlsys_ray.byzshield.aggregation.krum import Krum
from mlsys_ray.byzshield.aggregation.linear import LinearRule
from mlsys_ray.byzshield.aggregation.mda import Mda
from mlsys_ray.byzshield.aggregation.meamed import Meamed
from mlsys_ray.byzshield.aggregation.median import Median
from mlsys_ray.byzshield.aggregation.median_of_means import MedianOfMeans
from mlsys_ray.byzshield.aggregation.monna import Monna
from mlsys_ray.byzshield.aggregation.multi_krum import MultiKrum
from mlsys_ray.byzshield.aggregation.preaggregation import PRE_AGGREGATORS, Composed, PreAggregator
from mlsys_ray.byzshield.aggregation.signsgd import SignSgd
from mlsys_ray.byzshield.aggregation.smea import Smea
from mlsys_ray.byzshield.aggregation.trimmed_mean import TrimmedMean

RULES: dict[str, type[AggregationRule]] = {
    rule.name: rule
    for rule in (
        Auror,
        Average,
        Bulyan,
        Caf,
        CenteredClipping,
        GeometricMedian,
        Krum,
        Mda,
        Meamed,
        Median,
        MedianOfMeans,
        Monna,
        MultiKrum,
        SignSgd,
        Smea,
        TrimmedMean,
    )
}


def make_rule(
    name: str,
    *,
    num_gradients: int,
    num_byzantine: int,
    allow_beyond_tolerance: bool = False,
) -> AggregationRule:
    """Build a rule with its default parameters from its name.

    Args:
        name: a key of `RULES`, after any number of `PRE_AGGREGATORS` and plus signs: `median`,
            `nnm+median`, `arc+nnm+trimmed_mean`.
        num_gradients: inputs n that the rule will be given.
        num_byzantine: how many of them c may be Byzantine; said here once, for all parts.
        allow_beyond_tolerance: build the rule even where c is more than it stands, to study it
            beyond its breakdown.

    Raises:
        ValueError: a name is unknown, n or c is out of range, or the rule does not stand c.
    """
    if num_gradients < 1:
        raise ValueError(f"num_gradients is {num_gradients}, must be at least 1")
    if not 0 <= num_byzantine < num_gradients:
        raise ValueError(
            f"num_byzantine is {num_byzantine}, must be at least 0 and below the"
            f" {num_gradients} gradients"
        )
    rule = _parse(name).with_byzantine(num_byzantine)
    tolerance = rule.tolerance(num_gradients)
    if num_byzantine > tolerance and not allow_beyond_tolerance:
        raise ValueError(
            f"num_byzantine is {num_byzantine}, but {name} stands at most {tolerance} of"
            f" {num_gradients} gradients: it needs {rule.condition} ({rule.source})"
        )
    return rule


def _parse(name: str) -> AggregationRule:
    *before, last = name.split("+")
    unknown = [part for part in before if part not in PRE_AGGREGATORS]
    if last not in RULES or unknown:
        raise ValueError(
            f"rule is {name!r}, must be one of {', '.join(RULES)}, optionally after"
            f" {', '.join(PRE_AGGREGATORS)} and plus signs"
        )
    rule = RULES[last]()
    if not before:
        return rule
    return Composed(tuple(PRE_AGGREGATORS[part]() for part in before), rule)


__all__ = [
    "PRE_AGGREGATORS",
    "RULES",
    "AggregationRule",
    "Auror",
    "Average",
    "Bulyan",
    "Caf",
    "CenteredClipping",
    "Composed",
    "CoordinatewiseRule",
    "DenseRule",
    "GeometricMedian",
    "Krum",
    "LinearRule",
    "Mda",
    "Meamed",
    "Median",
    "MedianOfMeans",
    "Monna",
    "MultiKrum",
    "PreAggregator",
    "SignSgd",
    "Smea",
    "ToldByzantine",
    "TrimmedMean",
    "make_rule",
]
