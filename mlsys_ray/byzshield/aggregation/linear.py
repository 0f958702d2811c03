"""Rules whose output is a weighted sum of the inputs, with weights from their distances."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from mlsys_ray.byzshield.aggregation.base import AggregationRule
from mlsys_ray.byzshield.aggregation.geometry import Points, measure
from mlsys_ray.byzshield.aggregation.rows import Rows


class LinearRule(AggregationRule):
    """A rule that measures all distances in one pass and adds up the inputs in another."""

    @abstractmethod
    def weights(self, points: Points) -> np.ndarray:
        """Weight of each of the n inputs, float64 `[n]`."""

    def combine_rows(self, rows: Rows) -> np.ndarray | None:
        """See `AggregationRule.combine_rows`."""
        points = measure(rows)
        return None if points is None else rows.weighted_sum(self.weights(points))
