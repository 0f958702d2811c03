"""Pre-aggregators: they mix or shorten the inputs before a rule combines them."""

from __future__ import annotations

from mlsys_ray.byzshield.aggregation.preaggregation.arc import Arc
from mlsys_ray.byzshield.aggregation.preaggregation.base import PreAggregator
from mlsys_ray.byzshield.aggregation.preaggregation.bucketing import Bucketing
from mlsys_ray.byzshield.aggregation.preaggregation.clipping import Clipping
from mlsys_ray.byzshield.aggregation.preaggregation.composed import Composed
from mlsys_ray.byzshield.aggregation.preaggregation.nnm import Nnm

PRE_AGGREGATORS: dict[str, type[PreAggregator]] = {
    part.name: part for part in (Arc, Bucketing, Clipping, Nnm)
}

__all__ = [
    "PRE_AGGREGATORS",
    "Arc",
    "Bucketing",
    "Clipping",
    "Composed",
    "Nnm",
    "PreAggregator",
]
