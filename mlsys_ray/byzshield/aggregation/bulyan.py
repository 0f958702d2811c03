"""Bulyan: repeated Krum, then the mean around the median."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.aggregation.base import AggregationRule, ToldByzantine
from mlsys_ray.byzshield.aggregation.coordinatewise import combine_by_column
from mlsys_ray.byzshield.aggregation.geometry import Points, measure
from mlsys_ray.byzshield.aggregation.krum import krum_ranking
from mlsys_ray.byzshield.aggregation.meamed import mean_nearest_median
from mlsys_ray.byzshield.aggregation.rows import Rows


@dataclass(frozen=True)
class Bulyan(ToldByzantine, AggregationRule):
    """Mean around the median of n - 2c inputs that Krum picks one after the other.

    In every coordinate it is the mean of all but 2c of the picked values, those nearest the median.
    Each pick recomputes the scores among the inputs left, as published; taking the n - 2c best
    scores at once, as some codes do, is another rule.
    """

    name: ClassVar[str] = "bulyan"
    source: ClassVar[str] = "El Mhamdi et al. 2018"
    condition: ClassVar[str] = "n >= 4c + 3"

    def tolerance(self, num_gradients: int) -> int:
        """Less than a quarter."""
        return max(0, (num_gradients - 3) // 4)

    def select(self, points: Points) -> np.ndarray:
        """The inputs picked, in order; intp `[n - 2c]`."""
        left = np.arange(len(points))
        picked = []
        for _ in range(len(points) - 2 * self.minority(len(points))):
            among_left = points.squared_distances[np.ix_(left, left)]
            best = krum_ranking(among_left, self.num_byzantine)[0]
            picked.append(left[best])
            left = np.delete(left, best)
        return np.array(picked)

    def combine_rows(self, rows: Rows) -> np.ndarray | None:
        """See `AggregationRule.combine_rows`."""
        points = measure(rows)
        if points is None:
            return None
        picked = self.select(points)
        dropped = min(2 * self.num_byzantine, len(picked) - 1)
        return combine_by_column(
            rows.take(picked, screened=True),
            ("nearest_mean", dropped),
            lambda columns: mean_nearest_median(columns, dropped),
        )
