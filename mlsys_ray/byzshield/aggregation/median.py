"""The coordinate-wise median, ByzShield's own rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.aggregation.base import AggregationRule


@dataclass(frozen=True)
class Median(AggregationRule):
    """Median of every coordinate; the mean of the middle two for even n (Yin et al. 2018)."""

    name: ClassVar[str] = "median"

    def tolerance(self, num_gradients: int) -> int:
        """Every minority."""
        return (num_gradients - 1) // 2

    def aggregate(self, gradients: np.ndarray) -> np.ndarray:
        """Coordinate-wise median of float32 `[n, d]`."""
        n = len(gradients)
        low, high = (n - 1) // 2, n // 2
        middle = np.partition(gradients, (low, high), axis=0)
        return middle[low] if low == high else (middle[low] + middle[high]) / 2
