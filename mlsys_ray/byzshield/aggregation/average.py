"""The plain average, which no Byzantine input leaves correct."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.aggregation.geometry import Points
from mlsys_ray.byzshield.aggregation.linear import LinearRule
from mlsys_ray.byzshield.aggregation.rows import Rows


@dataclass(frozen=True)
class Average(LinearRule):
    """Average over the inputs; stands no Byzantine one."""

    name: ClassVar[str] = "average"
    source: ClassVar[str] = "Blanchard et al. 2017, Lemma 1"
    condition: ClassVar[str] = "c = 0"

    def tolerance(self, num_gradients: int) -> int:
        """None."""
        return 0

    def weights(self, points: Points) -> np.ndarray:
        """The same weight for all."""
        return np.full(len(points), 1 / len(points))

    def combine_rows(self, rows: Rows) -> np.ndarray | None:
        """See `AggregationRule.combine_rows`; no distances are needed."""
        # An overflow is how an unusable row shows.
        with np.errstate(over="ignore", invalid="ignore"):
            result = rows.weighted_sum(np.full(len(rows), 1 / len(rows)))
            finite = np.isfinite(np.dot(result, result))
        return result if finite or rows.screened else None
