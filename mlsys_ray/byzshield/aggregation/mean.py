"""The plain average, which no Byzantine input leaves correct."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.aggregation.base import AggregationRule


@dataclass(frozen=True)
class Mean(AggregationRule):
    """Average over the inputs; stands no Byzantine one (Blanchard et al. 2017, Lemma 1)."""

    name: ClassVar[str] = "mean"

    def tolerance(self, num_gradients: int) -> int:
        """None."""
        return 0

    def aggregate(self, gradients: np.ndarray) -> np.ndarray:
        """Average of float32 `[n, d]`."""
        return gradients.mean(axis=0, dtype=np.float32)
