"""The coordinate-wise median, ByzShield's own rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.aggregation.coordinatewise import CoordinatewiseRule


@dataclass(frozen=True)
class Median(CoordinatewiseRule):
    """Median of every coordinate; the mean of the middle two for even n.

    Equal in every bit to `torch.median` for odd n, and to `numpy.median` for all n.
    """

    name: ClassVar[str] = "median"
    source: ClassVar[str] = "Yin et al. 2018"
    condition: ClassVar[str] = "n >= 2c + 1"

    def tolerance(self, num_gradients: int) -> int:
        """Every minority."""
        return (num_gradients - 1) // 2

    def compiled(self, num_gradients: int) -> tuple[str, int]:
        """See `CoordinatewiseRule.compiled`."""
        return "median", 0

    def combine_columns(self, columns: np.ndarray) -> np.ndarray:
        """Median of float32 `[n, m]`."""
        low, high = (len(columns) - 1) // 2, len(columns) // 2
        middle = np.partition(columns, (low, high), axis=0)
        return middle[low] if low == high else (middle[low] + middle[high]) / 2
